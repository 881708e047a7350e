"""Test the predicted seconds of an epoch: they are a fixed function of the shape and of the constants in a file."""

import pytest

from search.cost.workload import SECONDS, epoch_workload
from stockrnn.dataset.config import WindowConfig
from stockrnn.networks.cells import ARCHITECTURES, GRU
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.ensemble import NetworkEnsemble
from stockrnn.training.config import TrainingConfig

BASE = {
    "architecture": "gru", "head": "last", "hidden_size": 16, "num_layers": 2, "sequence_length": 20, "batch_size": 32,
    "features": ("close",), "dropout": 0.0, "bidirectional": False, "train": [1000, 1200], "days": 100, "seeds": 2,
    "mode": None,
}  # fmt: skip


def workload(**changes):
    at = BASE | changes
    window = WindowConfig(features=at["features"], sequence_length=at["sequence_length"])
    network = NetworkConfig(
        **{name: at[name] for name in ("architecture", "head", "hidden_size", "num_layers", "dropout", "bidirectional")}
    )
    training = TrainingConfig(batch_size=at["batch_size"])
    return epoch_workload(window, network, training, at["train"], at["days"], at["seeds"], 1, at["mode"])


@pytest.mark.parametrize("mode", ["batched", "looped"])
@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "unrolled"])
def test_every_form_has_constants(architecture, mode):
    constants = SECONDS[f"{architecture} {mode}"]
    assert constants.keys() <= workload().counts.keys()
    assert all(0 < seconds < 1 for seconds in constants.values())


@pytest.mark.parametrize("mode", ["batched", "looped"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({}, {"hidden_size": 64}), ({}, {"num_layers": 3}), ({}, {"sequence_length": 60}), ({"batch_size": 64}, {}),
        ({}, {"train": [2000, 2200]}), ({}, {"train": [1000, 1100, 1200]}), ({}, {"seeds": 4}), ({}, {"days": 400}),
        ({}, {"bidirectional": True}), ({}, {"dropout": 0.2}), ({}, {"features": ("open", "close", "volume")}),
    ],
)  # fmt: skip
def test_more_of_anything_takes_no_less_time(architecture, mode, less, more):
    small, large = (workload(architecture=architecture, mode=mode, **changes) for changes in (less, more))
    assert small.seconds <= large.seconds


def test_a_large_network_is_bound_by_its_products_and_a_small_one_by_its_steps():
    small, large = workload(hidden_size=4), workload(hidden_size=512)
    assert large.operations / small.operations > 2 * large.seconds / small.seconds


def test_a_batch_that_is_too_large_for_one_group_takes_more_passes():
    assert workload(hidden_size=16).counts["passes"] < 50
    assert workload(hidden_size=2048, num_layers=3).counts["passes"] > 100


def test_the_steps_are_those_of_the_training():
    """1000 and 1200 sessions are 980 and 1180 windows, 31 and 37 batches; the forecast is a third of a pass."""
    counts = workload(mode="batched").counts
    assert counts["steps"] == 37
    assert counts["passes"] == pytest.approx(37 + 1 / 3)
    assert counts["parameters"] == 2 * (31 + 37) * NetworkEnsemble(
        NetworkConfig(architecture="gru", hidden_size=16, num_layers=2), 1, 20, [0]
    ).parameters.shape[1]  # fmt: skip
    assert workload(mode="looped").counts["passes"] == pytest.approx(2 * (31 + 37) + 4 / 3)


def test_another_architecture_has_the_constants_of_unrolled_layers(monkeypatch):
    monkeypatch.delitem(SECONDS, "gru batched")
    assert workload(mode="batched").form == "unrolled batched"
    assert workload(mode="batched").counts["gates"] == GRU.gates * workload(mode="batched").counts["recurrent"]
