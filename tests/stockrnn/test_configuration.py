"""Test the configurations: frozen, strict, and wrong values rejected on creation."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from stockrnn.dataset.config import (
    FEATURE_SETS,
    DataConfig,
    ValidationConfig,
    WindowConfig,
    features_label,
    parse_features,
)
from stockrnn.dataset.features import COLUMNS
from stockrnn.networks.config import NetworkConfig
from stockrnn.training.config import TrainingConfig

DEFAULTS = [DataConfig, ValidationConfig, WindowConfig, TrainingConfig]


@pytest.mark.parametrize("config", [*DEFAULTS, NetworkConfig])
def test_a_configuration_is_frozen_and_rejects_unknown_fields(config):
    made = config() if config in DEFAULTS else config(architecture="gru")
    name = next(iter(config.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, getattr(made, name))
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        config.model_validate(made.model_dump() | {"hidden_sise": 3})
    assert config.model_validate(made.model_dump()) == made


@pytest.mark.parametrize("config", [*DEFAULTS, NetworkConfig])
def test_every_field_has_a_description(config):
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
def test_a_wrong_value_is_an_error(config, wrong):
    with pytest.raises(ValidationError):
        config(**wrong)


def test_only_a_sliding_window_has_a_train_size():
    assert ValidationConfig(window="sliding", train_size=500).train_size == 500
    with pytest.raises(ValidationError, match="sliding needs train_size"):
        ValidationConfig(window="sliding")
    with pytest.raises(ValidationError, match="train_size is only for window: sliding"):
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
        ("volatility_2", ("volatility_2",)),
        (["ma_ratio_500", "range"], ("ma_ratio_500", "range")),
        ("day_of_week", ("weekday_sin", "weekday_cos")),
        ("close, day_of_week", ("close", "weekday_sin", "weekday_cos")),
        ("returns", ("log_return", "range", "gap", "weekday_sin", "weekday_cos")),
        (["returns", "volume_change"], ("log_return", "range", "gap", "weekday_sin", "weekday_cos", "volume_change")),
    ],
)
def test_features_are_a_set_a_list_or_a_label(written, columns):
    assert parse_features(written) == columns
    assert WindowConfig(features=written).features == columns
    assert DataConfig(features=written).features == columns


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ([], "must be a list of features"),
        ("", "is not a feature"),
        (3, "must be a list of features"),
        ({"close": 1}, "must be a list of features"),
        (["close", 1], "must be a list of features"),
        (
            ["close", "price"],
            "'price' is not a feature or a set; features are open, high, low, close, volume, log_return",
        ),
        (["close", "clsoe"], "; did you mean close\\?"),
        (
            ["volatility20"],
            r"volatility_N, log_range_N, ma_ratio_N \(as in volatility_20\).*; did you mean volatility_20\?",
        ),
        ("weekday", "; did you mean weekday_"),
        ("return", "; did you mean returns\\?"),
        ("xyzzy", "; write one of them"),
        (["volatility_1"], "uses 1 sessions; N in volatility_N must be .* from 2 to 500; write volatility_2$"),
        (["ma_ratio_501"], "write ma_ratio_500$"),
        (["ma_ratio_05"], "did you mean ma_ratio_5\\?"),
        (["returns", "log_return"], "returns, log_return repeats a feature"),
        (["close", "open", "close"], "repeats a feature"),
    ],
)
def test_wrong_features_are_errors(written, rule):
    with pytest.raises(ValueError, match=rule):
        parse_features(written)


def test_labels_are_parsed_to_the_same_features():
    for columns in (*FEATURE_SETS.values(), ("volume",), ("weekday_cos", "weekday_sin"), ("range", "ma_ratio_7")):
        assert parse_features(features_label(columns)) == columns
    assert features_label(COLUMNS) == "ohlcv"
    assert features_label(("low", "close")) == "low,close"
    assert features_label(("close", "weekday_sin", "weekday_cos", "volatility_5")) == "close,day_of_week,volatility_5"


def others(*also):
    return [(other.source, other.ticker, other.lag, other.name) for other in DataConfig(also=also).also]


def test_another_series_is_a_shipped_series_a_file_or_a_ticker():
    assert others("sp500", "data/kospi", "ks.csv.gz", "../World.CSV", "^gspc", "KRW=X", "005930.KS") == [
        ("sp500", None, 1, "sp500"),
        ("data/kospi", None, 1, "kospi"),
        ("ks.csv.gz", None, 1, "ks"),
        ("../World.CSV", None, 1, "World"),
        ("yahoo", "^gspc", 1, "^GSPC"),
        ("yahoo", "KRW=X", 1, "KRW=X"),
        ("yahoo", "005930.KS", 1, "005930.KS"),
    ]
    assert others({"source": "sp500", "lag": 0}, {"source": "yahoo", "ticker": "^VIX"}) == [
        ("sp500", None, 0, "sp500"), ("yahoo", "^VIX", 1, "^VIX"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("also", "words"),
    [
        (["sp500", "sp500"], "also: sp500 is repeated"),
        (["a/kospi.csv", "b/kospi.csv"], "also: kospi is repeated.*rename the file"),
        (["^gspc", "^GSPC"], r"\^GSPC is repeated"),
        (["close.csv"], "close is repeated, or is a feature's name"),
        (["volatility_20.csv"], "is a feature's name"),
        ([{"source": "yahoo"}], "needs a ticker; .*; add one, for example ticker: "),
        ([{"source": "sp500", "ticker": "^GSPC"}], "a ticker needs source: yahoo"),
        ([{"lag": 1}], "Field required"),
        ([{"source": "sp500", "lag": -1}], "greater than or equal to 0"),
        ([{"source": "sp500", "lag": 11}], "less than or equal to 10"),
        ([""], "at least 1 character"),
        ("sp500", "valid tuple"),
    ],
)
def test_wrong_other_series_are_errors(also, words):
    with pytest.raises(ValidationError, match=words):
        DataConfig(also=also)


def test_configurations_are_imported_without_heavy_packages():
    heavy = "{'torch', 'pandas', 'pyarrow', 'ray', 'optuna', 'yaml'}"
    code = f"import sys, stockrnn.configuration; print(*{heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
