"""Test saved forecasters against their training, damaged and hostile folders, and intervals against a plain formula."""

import itertools
import json
import math
import os
import pickle
import resource
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from stockrnn.dataset.alignment import prepare
from stockrnn.dataset.config import DataConfig, WindowConfig
from stockrnn.dataset.windows import Windows
from stockrnn.evaluation.conformal import Interval
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.forecaster.files import read_json_object
from stockrnn.forecaster.forecaster import (
    DOCUMENT,
    WEIGHTS,
    Forecaster,
    ForecasterError,
)
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.heads import HEADS
from stockrnn.networks.network import Network
from stockrnn.networks.parameter_shapes import parameter_shapes
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load
from stockrnn.training.config import TrainingConfig
from stockrnn.training.trainer import train

FOLD = Fold(train=range(200), validation=range(200, 230))
NOTHING_ELSE, ALSO = DataConfig(), DataConfig(also=["sp500"])
INTERVALS = (Interval(level=0.8, half_width=0.01, residuals=50), Interval(level=0.95, half_width=None, residuals=3))


@pytest.fixture(scope="module")
def prices():
    return clean(load("nasdaq")).rows(np.arange(300))


def trained(prices, *, horizon=1, seeds=2, mode=None, dtype=torch.float32, network=None, asked=NOTHING_ELSE, **window):
    """Return a forecaster after two epochs, and the forecasts of its training on the validation block."""
    windows = Windows(prices, [FOLD], WindowConfig(**({"sequence_length": 5} | window)), horizon, dtype=dtype)
    shape = {"architecture": "gru", "hidden_size": 4, "output_init": "uniform"}
    config = NetworkConfig(**(shape | (network or {})))
    training = TrainingConfig(learning_rate=1e-2, batch_size=64)
    *_, last = train(windows, config, training, seeds=seeds, max_epochs=2, mode=mode, dtype=dtype)
    made = Forecaster.from_training(
        windows, last.members, intervals=INTERVALS, rival_intervals=INTERVALS, rank=2, trial_id="t0007",
        epochs=2, span=("1999-01-04", "1999-10-18"), provenance=prices.provenance, asked=asked,
        metrics={"test_rmse": 12.5, "test_direction_accuracy": math.nan},
    )  # fmt: skip
    return made, last.forecasts[0]


def origins(horizon=1):
    return range(FOLD.validation.start - horizon, FOLD.validation.stop - horizon)


def assert_same(one, other):
    for name in ("window", "network", "horizon", "scaling", "intervals", "rival_intervals", "facts"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.weights.keys() == other.weights.keys()
    for name, stacked in one.weights.items():
        assert other.weights[name].dtype == stacked.dtype
        assert torch.equal(other.weights[name], stacked), name


KINDS = list(
    itertools.product(
        ARCHITECTURES,
        HEADS,
        ("minmax", "standard", "relative"),
        ("close", "log_return"),
    )
)


@pytest.mark.parametrize(("architecture", "head", "scaling", "target"), KINDS)
def test_a_loaded_forecaster_has_the_forecasts_of_its_training(tmp_path, prices, architecture, head, scaling, target):
    made, expected = trained(
        prices, network={"architecture": architecture, "head": head}, scaling=scaling, target=target
    )
    made.save(tmp_path / "results" / "1")
    back = Forecaster.load(tmp_path / "results" / "1")
    assert_same(made, back)
    assert back.metrics == {"test_rmse": 12.5, "test_direction_accuracy": None}
    forecast = back.forecast(prices, origins())
    assert forecast.shape == (2, 30)
    assert forecast.dtype == np.float64
    np.testing.assert_allclose(forecast, expected, rtol=1e-6)
    assert sorted(os.listdir(tmp_path / "results" / "1")) == sorted([DOCUMENT, WEIGHTS])


@pytest.mark.parametrize("mode", ["batched", "looped"])
@pytest.mark.parametrize(
    ("network", "window"),
    [
        ({"num_layers": 3, "dropout": 0.2}, {"sequence_length": 9}),
        ({"bidirectional": True, "num_layers": 2, "head": "flatten"}, {}),
        ({"bidirectional": True, "architecture": "lstm", "head": "attention"}, {"features": ("close",)}),
        ({"output": "sigmoid", "hidden_size": 17}, {"scaling": "minmax", "target": "close"}),
        ({"hidden_size": 1, "output_init": "zero"}, {"sequence_length": 1}),
    ],
)
def test_other_shapes_and_both_modes(tmp_path, prices, network, window, mode):
    made, expected = trained(prices, network=network, mode=mode, seeds=3, **window)
    made.save(tmp_path)
    np.testing.assert_allclose(Forecaster.load(tmp_path).forecast(prices, origins()), expected, rtol=1e-6)


@pytest.mark.parametrize("scaling", ["standard", "relative"])
def test_a_horizon_and_double_precision(tmp_path, prices, scaling):
    made, expected = trained(prices, horizon=5, dtype=torch.float64, scaling=scaling)
    made.save(tmp_path)
    back = Forecaster.load(tmp_path)
    assert back.weights["output.weight"].dtype == torch.float64
    assert back.horizon == 5
    np.testing.assert_allclose(back.forecast(prices, origins(5)), expected, rtol=1e-12)


@pytest.fixture(scope="module")
def beside():
    """Return sessions of the Nasdaq with the S&P 500 close of the day before as a column."""
    return prepare(ALSO).rows(np.arange(300))


@pytest.mark.parametrize("scaling", ["minmax", "standard", "relative"])
@pytest.mark.parametrize("features", ["technical", "returns", ["close", "volume_change"]])
def test_derived_features_and_other_series(tmp_path, beside, features, scaling):
    made, expected = trained(beside, asked=ALSO, features=features, others=("sp500",), scaling=scaling)
    made.save(tmp_path)
    back = Forecaster.load(tmp_path)
    assert_same(made, back)
    assert back.facts.asked == ALSO
    assert back.window.inputs[-1] == "sp500"
    np.testing.assert_allclose(back.forecast(beside, origins()), expected, rtol=1e-6)
    longest = 59 if features == "technical" else 1
    assert np.isfinite(back.forecast(beside, [longest + 4])).all()  # the first whole window of 5
    with pytest.raises(
        ForecasterError, match=f"needs {longest + 5} sessions; choose origins from {longest + 4} to 299"
    ):
        back.forecast(beside, [longest + 3])
    with pytest.raises(ForecasterError, match=f"are too few; this forecaster needs {longest + 5}"):
        back.forecast(beside.rows(np.arange(longest + 4)), [longest + 3])


def test_columns_that_are_missing_are_named(prices, beside):
    made, _ = trained(beside, asked=ALSO, features=["close", "volume_change"], others=("sp500",))
    without_volume = replace(beside, columns=[*beside.columns[:4], "_", "sp500"])
    with pytest.raises(
        ForecasterError, match=r"volume: missing \(.*\); the inputs of this forecaster are close, volume_change, sp500"
    ):
        made.forecast(without_volume, [299])
    with pytest.raises(ForecasterError, match="sp500: missing; the inputs of this forecaster are"):
        made.forecast(prices, [299])


def test_prices_without_volume_suffice_where_no_feature_needs_it(prices):
    bare = replace(prices, columns=prices.columns[:4], values=prices.values[:, :4])
    for features in ("ohlc", "returns", "technical"):
        made, expected = trained(bare, features=features)
        np.testing.assert_allclose(made.forecast(bare, origins()), expected, rtol=1e-6)


def test_other_series_are_the_same_in_both_places(prices):
    with pytest.raises(ForecasterError, match=r"facts\.asked\.also: differs from window"):
        trained(prices, asked=ALSO)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_weights_of_a_gpu_forecast_on_the_cpu(tmp_path, prices):
    windows = Windows(prices, [FOLD], WindowConfig(sequence_length=5), 1, device="cuda")
    config = NetworkConfig(architecture="lstm", hidden_size=4, output_init="uniform")
    *_, last = train(windows, config, TrainingConfig(), seeds=2, max_epochs=2)
    made = Forecaster.from_training(
        windows, last.members, intervals=INTERVALS, rival_intervals=INTERVALS, rank=1, trial_id="t", epochs=2,
        span=("1999-01-04", "1999-10-18"), provenance=prices.provenance, asked=DataConfig(),
    )  # fmt: skip
    made.save(tmp_path)
    back = Forecaster.load(tmp_path).forecast(prices, origins())
    np.testing.assert_allclose(back, last.forecasts[0], rtol=1e-6)


def test_the_weights_are_a_copy(prices):
    windows = Windows(prices, [FOLD], WindowConfig(sequence_length=5), 1)
    epochs = train(windows, NetworkConfig(architecture="gru", hidden_size=4), TrainingConfig(), seeds=1, max_epochs=2)
    facts = {
        "intervals": (), "rival_intervals": (), "rank": 1, "trial_id": "t", "epochs": 1,
        "span": ("1999-01-04", "1999-10-18"), "provenance": prices.provenance, "asked": DataConfig(),
    }  # fmt: skip
    first = Forecaster.from_training(windows, next(epochs).members, **facts)
    before = {name: stacked.clone() for name, stacked in first.weights.items()}
    next(epochs)
    assert all(torch.equal(stacked, before[name]) for name, stacked in first.weights.items())


@pytest.mark.parametrize("target", ["close", "log_return"])
@pytest.mark.parametrize("scaling", ["minmax", "standard", "relative"])
def test_newer_rows_with_extreme_prices_change_no_older_forecast(prices, poisoned, scaling, target):
    made, expected = trained(prices, scaling=scaling, target=target)
    np.testing.assert_allclose(made.forecast(poisoned(prices, 228), origins()), expected, rtol=1e-6)
    days = np.arange(4, 228)
    before, after = made.forecast(prices.rows(np.arange(228)), days), made.forecast(poisoned(prices, 227), days)
    np.testing.assert_allclose(before, after, rtol=1e-6)


def test_the_last_session_is_an_origin_and_origins_come_in_any_order(prices):
    made, _ = trained(prices)
    every = made.forecast(prices, range(4, 300))
    assert np.isfinite(every).all()
    np.testing.assert_allclose(made.forecast(prices, [299]), every[:, -1:], rtol=1e-6)
    np.testing.assert_allclose(made.forecast(prices, [50, 299, 4, 50]), every[:, [46, 295, 0, 46]], rtol=1e-6)
    assert made.forecast(prices, []).shape == (2, 0)
    one = made.forecast(prices.rows(np.arange(295, 300)), [4])  # the window alone
    np.testing.assert_allclose(one, every[:, -1:], rtol=1e-6)


def test_forecasting_draws_nothing_from_the_callers_generator(prices):
    made, _ = trained(prices)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    made.forecast(prices, [299])
    assert torch.equal(torch.rand(3), expected)


def test_prices_that_do_not_fit(prices):
    made, _ = trained(prices, sequence_length=20)
    with pytest.raises(ForecasterError, match=r"^nasdaq: 19 sessions are too few; .*needs 20"):
        made.forecast(prices.rows(np.arange(19)), [18])
    for outside in ([18], [300], [-1]):
        with pytest.raises(ForecasterError, match=r"^nasdaq: origins .*; choose origins from"):
            made.forecast(prices, outside)
    no_volume = replace(prices, columns=prices.columns[:4], values=prices.values[:, :4])
    with pytest.raises(ForecasterError, match=r"^nasdaq: volume: missing \(.*\); .*; add the column"):
        made.forecast(no_volume, [299])
    close_only, expected = trained(prices, features=("close",))
    np.testing.assert_allclose(close_only.forecast(no_volume, origins()), expected, rtol=1e-6)


def test_shapes_are_those_of_the_networks():
    kinds = itertools.product(ARCHITECTURES, HEADS, (1, 3), (False, True), (1, 7))
    for architecture, head, layers, bidirectional, hidden in kinds:
        config = NetworkConfig(
            architecture=architecture, head=head, num_layers=layers, bidirectional=bidirectional, hidden_size=hidden
        )
        plain = {name: tuple(p.shape) for name, p in Network(config, 3, 6).named_parameters()}
        assert parameter_shapes(config, 3, 6) == plain


# What can be wrong with a folder


@pytest.fixture(scope="module")
def made(prices):
    return trained(prices, scaling="standard")[0]


@pytest.fixture
def folder(tmp_path, made):
    made.save(tmp_path / "1")
    return tmp_path / "1"


def refused(folder, *words):
    """Load an invalid folder; return the error, which begins with a file of the folder."""
    with pytest.raises(ForecasterError) as refusal:
        Forecaster.load(folder)
    line = str(refusal.value)
    assert line.startswith(str(folder))
    assert "\n" not in line
    assert line.isprintable()
    assert line.count("; ") >= 1
    for word in words:
        assert word in line, line
    return line


def changed(folder, **changes):
    """Change values of the document; `__` in a name separates levels, and the value `...` removes the key."""
    document = json.loads((folder / DOCUMENT).read_text())
    for name, value in changes.items():
        *path, last = name.split("__")
        place = document
        for key in path:
            place = place[int(key)] if key.isdecimal() else place[key]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    (folder / DOCUMENT).write_text(json.dumps(document))


def other_weights(folder, weights):
    """Replace the weights and their hash."""
    content = weights if isinstance(weights, bytes) else safetensors.torch.save(weights)
    (folder / WEIGHTS).write_bytes(content)
    changed(folder, weights_sha256=sha256(content).hexdigest())


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    assert refused(folder, "no such file", DOCUMENT, WEIGHTS).startswith(f"{folder / name}: ")


def test_a_missing_folder(tmp_path):
    refused(tmp_path / "absent", "no such file")


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS])
def test_a_folder_or_a_pipe_in_place_of_a_file(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    assert refused(folder, "is not a regular file").startswith(f"{folder / name}: ")
    (folder / name).rmdir()
    os.mkfifo(folder / name)
    refused(folder, "is not a regular file")


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS])
@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_torn_file(folder, name, share):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    assert refused(folder).startswith(f"{folder / name}: ")


def test_a_flipped_byte_anywhere_in_the_weights(folder):
    content = (folder / WEIGHTS).read_bytes()
    for position in (0, 7, 8, 40, len(content) // 2, len(content) - 1):
        flipped = bytearray(content)
        flipped[position] ^= 1
        (folder / WEIGHTS).write_bytes(flipped)
        refused(folder, WEIGHTS, "is damaged, or was not saved")


def test_files_of_two_forecasters(folder, tmp_path, prices):
    trained(prices, scaling="standard", seeds=2, network={"architecture": "rnn"})[0].save(tmp_path / "other")
    (folder / WEIGHTS).write_bytes((tmp_path / "other" / WEIGHTS).read_bytes())
    refused(folder, WEIGHTS, "is damaged, or was not saved")
    content = (folder / WEIGHTS).read_bytes()
    changed(folder, weights_sha256=sha256(content).hexdigest())
    refused(folder, "has the shape")


def test_invalid_safetensors(folder, made):
    for content in (b"", b"PK\x03\x04", b"\xff" * 200, b"\x08" + b"\0" * 7 + b'{"a": 1}', bytes(10_000)):
        other_weights(folder, content)
        refused(folder, WEIGHTS, "cannot be read as safetensors")
    good = bytearray(safetensors.torch.save(dict(made.weights)))
    random = np.random.default_rng(0)
    header = 8 + int.from_bytes(good[:8], "little")
    for position, value in zip(random.integers(0, header, 200), random.integers(0, 256, 200), strict=True):
        content = bytearray(good)
        content[position] = value
        other_weights(folder, bytes(content))
        try:
            Forecaster.load(folder)
        except ForecasterError as error:
            assert str(error).startswith(f"{folder / WEIGHTS}: ")  # noqa: PT017


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_is_not_unpickled(folder, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    if kind == "pickle":
        (folder / WEIGHTS).write_bytes(pickle.dumps(Trap()))
    else:
        torch.save({"output.bias": Trap()}, folder / WEIGHTS)
    content = (folder / WEIGHTS).read_bytes()
    refused(folder, WEIGHTS, "is damaged, or was not saved")
    changed(folder, weights_sha256=sha256(content).hexdigest())
    refused(folder, WEIGHTS, "cannot be read as safetensors")
    assert not (tmp_path / "unpickled").exists()


def test_tensors_that_do_not_fit(folder, made):
    weights = dict(made.weights)
    renamed = {name.replace("output.bias", "output.bios"): stacked for name, stacked in weights.items()}
    cases = [
        (renamed, "output.bias: is missing"),
        (weights | {"extra": torch.zeros(2, 1)}, "extra: is not one of the network"),
        (weights | {"\x1b[31m\n": torch.zeros(2, 1)}, "[31m: is not one of the network"),
        (weights | {"output.weight": torch.zeros(2, 1, 5)}, "output.weight: has the shape (2, 1, 5)"),
        (weights | {"output.weight": torch.zeros(2, 4)}, "output.weight: has the shape (2, 4)"),
        (weights | {"output.bias": torch.zeros(())}, "output.bias: has the shape ()"),
        ({name: stacked[:1] for name, stacked in weights.items()}, "need (2, "),
        (weights | {"output.bias": torch.tensor([[0.0], [math.nan]])}, "output.bias: has values that are not finite"),
        (weights | {"output.bias": torch.tensor([[0.0], [math.inf]])}, "output.bias: has values that are not finite"),
        ({name: stacked.half() for name, stacked in weights.items()}, "float32"),
        (weights | {"output.bias": weights["output.bias"].double()}, "float32"),
        ({name: stacked.long() for name, stacked in weights.items()}, "float32"),
        ({}, "is missing"),
    ]
    for stacked, words in cases:
        other_weights(folder, {name: tensor.contiguous() for name, tensor in stacked.items()})
        assert refused(folder, words).startswith(f"{folder / WEIGHTS}: ")


def test_a_forecaster_cannot_be_made_from_invalid_parts(made):
    for weights in ({}, {"output.bias": torch.zeros(())}, {**made.weights, "query": torch.zeros(2, 4)}):
        with pytest.raises(ForecasterError):
            replace(made, weights=weights)
    with pytest.raises(ForecasterError, match="there are no seeds"):
        replace(made, weights={name: stacked[:0] for name, stacked in made.weights.items()})
    with pytest.raises(ForecasterError, match=r"^output.bias: has values that are not finite"):
        replace(made, weights={**made.weights, "output.bias": torch.full((2, 1), math.nan)})
    with pytest.raises(ForecasterError, match=r"^scaling: "):
        replace(made, scaling=made.scaling.model_copy(update={"scales": ()}))


def test_a_forecaster_comes_from_one_fold(prices):
    windows = Windows(prices, [FOLD, FOLD], WindowConfig(sequence_length=5), 1)
    *_, last = train(windows, NetworkConfig(architecture="rnn"), TrainingConfig(), seeds=1, max_epochs=1)
    with pytest.raises(ValueError, match="trained on exactly one fold"):
        Forecaster.from_training(
            windows, last.members, intervals=(), rival_intervals=(), rank=1, trial_id="t", epochs=1,
            span=("1999-01-04", "1999-10-18"), provenance=prices.provenance, asked=DataConfig(),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "format: is newer than 1"),
        ({"format": 10**30}, "format: is newer than 1"),
        ({"format": 0}, "format: "),
        ({"format": "1"}, "format: "),
        ({"format": True}, "format: "),
        ({"format": ...}, "format: Field required"),
        ({"surprise": 1}, "surprise: unknown key"),
        ({"\x1b[2J\n": 1}, "[2J: unknown key"),
        ({"network__cell": "gru"}, "network.cell: unknown key"),
        ({"scaling__power": 2.0}, "scaling.power: unknown key"),
        ({"facts__data__path": "../../x"}, "facts.data.path: unknown key"),
        ({"weights": "../../weights.pt"}, "weights: unknown key"),
        ({"horizon": ...}, "horizon: Field required"),
        ({"horizon": 0}, "horizon: "),
        ({"horizon": "1"}, "horizon: "),
        ({"seeds": 3}, "has the shape"),
        ({"seeds": 10**9}, "seeds: "),
        ({"network__hidden_size": 10**9}, "network.hidden_size: "),
        ({"network__hidden_size": 4096, "network__num_layers": 16, "network__bidirectional": True}, "is missing"),
        ({"network__num_layers": 2}, "is missing"),
        ({"network__architecture": "transformer"}, "network.architecture: "),
        ({"network__hidden_size": 3}, "has the shape"),
        ({"window__sequence_length": 10**9}, "window.sequence_length: "),
        ({"window__features": ["close", "secret"]}, "window.features: "),
        ({"window__features": ["close"]}, "scaling: 1 inputs need 1 offsets and scales, not 5 and 5"),
        ({"window__others": ["^GSPC"]}, "facts.asked.also: differs from window.others"),
        ({"facts__asked": ...}, "facts.asked: Field required"),
        ({"facts__asked__also": [{"source": "sp500", "lag": 99}]}, "facts.asked.also.0.lag: "),
        ({"facts__asked__shell": "rm"}, "facts.asked.shell: unknown key"),
        ({"window__features": ["close", "volatility_501"]}, "window.features: "),
        ({"window__scaling": "relative"}, "scaling: relative fits nothing"),
        ({"scaling__scales": [1.0] * 4}, "scaling: 5 inputs need 5 offsets and scales, not 5 and 4"),
        ({"scaling__scales": [0.0] * 5}, "scaling: offsets must be finite numbers, and scales finite numbers above 0"),
        ({"scaling__target_scale": -1.0}, "scaling: offsets must be finite"),
        ({"scaling__target_scale": True}, "scaling.target_scale: "),
        ({"scaling__offsets": "none"}, "scaling.offsets: "),
        ({"scaling": None}, "scaling: "),
        ({"intervals__0__level": 1.0}, "intervals.0.level: "),
        ({"intervals__0__half_width": -0.1}, "intervals.0.half_width: "),
        ({"intervals__0__level": 0.5}, "rival_intervals: have other levels"),
        ({"intervals": []}, "rival_intervals: have other levels"),
        ({"intervals": [INTERVALS[0].model_dump()] * 100_000}, "is larger than"),
        ({"window__target": "up"}, "window.target: up is not a target of facts.asked.task, price"),
        ({"facts__asked__task": "volatility"}, "window.target: "),
        ({"window__estimator": "squared_return"}, "window.estimator: differs from facts.asked.estimator"),
        ({"validation": ...}, "validation: Field required"),
        ({"validation__dates": ["2015-01-02"]}, "validation: Value error, dates, forecast, actual and rival must"),
        ({"validation__rival": "none"}, "validation.rival: "),
        ({"facts__data__sha256": "0"}, "facts.data.sha256: "),
        ({"facts__trained_to": "2019-02-30"}, "facts.trained_to: "),
        ({"facts__trained_to": "2019-W01-1"}, "facts.trained_to: "),
        ({"facts__trial_id": "\ud800"}, ""),
        ({"weights_sha256": "A" * 64}, "weights_sha256: "),
        ({"metrics": {"a": "b"}}, "metrics.a: "),
    ],
)
def test_a_document_that_does_not_fit(folder, changes, words):
    changed(folder, **changes)
    refused(folder, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read as JSON"),
        ("[1, 2]", "is not a JSON object"),
        ("null", "is not a JSON object"),
        ("1", "is not a JSON object"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"a":' * 50_000, "cannot be read as JSON"),
        ('{"horizon": NaN}', "cannot be read as JSON (NaN"),
        ('{"horizon": -Infinity}', "cannot be read as JSON (-Infinity"),
        ('{"horizon": ' + "1" * 10_000 + "}", "cannot be read as JSON"),
        (b"\xff\xfe{}", "cannot be read as JSON"),
        ("{}", "Field required"),
        (" " * 1_000_001, "is larger than"),
    ],
)
def test_an_invalid_document(folder, text, words):
    (folder / DOCUMENT).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert refused(folder, words).startswith(f"{folder / DOCUMENT}: ")


@pytest.mark.parametrize(
    "place", ['"half_width": 0.01', '"test_rmse": 12.5', '"target_scale": ', '"target_offset": ', '"dropout": 0.0']
)
def test_a_number_too_large_for_a_float(folder, place):
    text = (folder / DOCUMENT).read_text()
    assert place in text
    name = place.split(":")[0]
    lines = [f"{name}: 1e999{',' * line.endswith(',')}" if place in line else line for line in text.splitlines()]
    (folder / DOCUMENT).write_text("\n".join(lines))
    refused(folder)


def test_a_weights_file_larger_than_its_networks_is_not_read(folder):
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(200 * 2**30)  # sparse: no disk, but memory if it were read
    refused(folder, WEIGHTS, "is larger than")


def test_a_document_holds_no_file_name_and_no_unknown_number(folder):
    document = json.loads((folder / DOCUMENT).read_text(), parse_constant=pytest.fail)
    assert document["metrics"] == {"test_rmse": 12.5, "test_direction_accuracy": None}
    assert document["format"] == 1
    assert document["facts"]["data"]["source"] == "nasdaq"
    assert WEIGHTS not in json.dumps(document)
    assert document["facts"]["versions"]["torch"] == torch.__version__
    assert read_json_object(folder / DOCUMENT, 10**6) == document


def test_saving_again_replaces_and_a_failed_save_leaves_the_old(folder, made, prices):
    other = trained(prices, scaling="standard", seeds=3)[0]
    other.save(folder)
    assert Forecaster.load(folder).seeds == 3
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # no file may be larger: as a disk that is full
    try:
        with pytest.raises(OSError, match="too large"):
            made.save(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in folder.iterdir()) == sorted([WEIGHTS, "forecaster.json"])
    assert Forecaster.load(folder).seeds == 3
