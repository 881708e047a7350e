"""Configurations: frozen, strict, and every wrong value refused where it is made."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from stockrnn.configuration import (
    COLUMNS,
    FEATURE_SETS,
    DataConfig,
    NetworkConfig,
    TrainingConfig,
    ValidationConfig,
    WindowConfig,
    features_label,
    parse_features,
)

DEFAULTS = [DataConfig, ValidationConfig, WindowConfig, TrainingConfig]


@pytest.mark.parametrize("config", [*DEFAULTS, NetworkConfig])
def test_a_configuration_is_frozen_and_knows_its_fields(config):
    made = config() if config in DEFAULTS else config(architecture="gru")
    name = next(iter(config.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, getattr(made, name))
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        config.model_validate(made.model_dump() | {"hidden_sise": 3})
    assert config.model_validate(made.model_dump()) == made


@pytest.mark.parametrize("config", [*DEFAULTS, NetworkConfig])
def test_every_field_says_what_it_is(config):
    assert all(field.description for field in config.model_fields.values())


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (DataConfig, {"source": ""}),
        (DataConfig, {"horizon": 0}),
        (DataConfig, {"test_size": 0}),
        (DataConfig, {"features": "prices"}),
        (ValidationConfig, {"folds": 0}),
        (ValidationConfig, {"fold_size": 1}),
        (ValidationConfig, {"seeds": 0}),
        (ValidationConfig, {"folds": 2.0}),
        (ValidationConfig, {"folds": "2"}),
        (ValidationConfig, {"folds": True}),
        (WindowConfig, {"target": "return"}),
        (WindowConfig, {"scaling": "none"}),
        (WindowConfig, {"sequence_length": 0}),
        (NetworkConfig, {"architecture": "gru", "hidden_size": 0}),
        (NetworkConfig, {"architecture": "transformer"}),
        (NetworkConfig, {"architecture": "gru", "dropout": 1.0}),
        (NetworkConfig, {"architecture": "gru", "dropout": float("nan")}),
        (NetworkConfig, {}),
        (TrainingConfig, {"learning_rate": 0.0}),
        (TrainingConfig, {"learning_rate": float("nan")}),
        (TrainingConfig, {"gradient_clip": 0.0}),
        (TrainingConfig, {"batch_size": 0}),
        (TrainingConfig, {"loss": "rmse"}),
    ],
)
def test_a_wrong_value_is_refused(config, wrong):
    with pytest.raises(ValidationError):
        config(**wrong)


def test_a_sliding_window_needs_its_size_and_an_expanding_one_has_none():
    assert ValidationConfig(window="sliding", train_size=500).train_size == 500
    with pytest.raises(ValidationError, match="sliding needs train_size"):
        ValidationConfig(window="sliding")
    with pytest.raises(ValidationError, match="goes with window: sliding only"):
        ValidationConfig(train_size=500)


@pytest.mark.parametrize(
    ("written", "columns"),
    [
        ("ohlcv", ("open", "high", "low", "close", "volume")),
        ("close_only", ("close",)),
        ("close", ("close",)),
        ("volume, close", ("volume", "close")),
        (["close", "open"], ("close", "open")),
        (("high",), ("high",)),
    ],
)
def test_features_are_a_set_a_list_or_a_label(written, columns):
    assert parse_features(written) == columns
    assert WindowConfig(features=written).features == columns
    assert DataConfig(features=written).features == columns


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ([], "must be a list of columns"),
        ("", "is no column"),
        (3, "must be a list of columns"),
        ({"close": 1}, "must be a list of columns"),
        (["close", 1], "must be a list of columns"),
        (["close", "price"], "'price' is no column and no set; columns are open, high, low, close, volume"),
        (["close", "open", "close"], "repeats a column"),
    ],
)
def test_wrong_features_are_named(written, rule):
    with pytest.raises(ValueError, match=rule):
        parse_features(written)


def test_labels_come_back_as_the_same_features():
    for columns in (*FEATURE_SETS.values(), ("volume",), ("low", "close")):
        assert parse_features(features_label(columns)) == columns
    assert features_label(COLUMNS) == "ohlcv"
    assert features_label(("low", "close")) == "low,close"


def test_configurations_are_read_without_anything_heavy():
    heavy = "{'torch', 'numpy', 'pandas', 'ray', 'optuna', 'yaml'}"
    code = f"import sys, stockrnn.configuration; print(*{heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
