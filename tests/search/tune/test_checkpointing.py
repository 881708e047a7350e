"""Test the intervals of checkpoints, with a clock that the test sets, and the progress in a checkpoint."""

import numpy as np
import pytest

from search.tune.checkpointing import CheckpointPolicy, TrialProgress
from stockrnn.io.files import FileError
from stockrnn.training.checkpoint import Checkpoint, Checkpoints

SCORES = dict(
    val_relative_loss=0.99, val_relative_loss_sd=0.01, val_worst_fold=float("inf"), val_rmse=1.0, val_mae=0.1 + 0.2,
    val_direction_accuracy=float("nan"),
)  # fmt: skip


class Clock:
    """A clock in seconds that only the test moves; a checkpoint takes `cost` seconds."""

    def __init__(self, cost):
        self.now, self.cost = 1000.0, cost

    def __call__(self):
        return self.now


class FakeTraining:
    """A training that counts how often its state is read."""

    def __init__(self, clock):
        self.clock, self.states = clock, 0

    def state(self):
        self.clock.now += self.clock.cost
        self.states += 1
        return {"parameters": np.zeros((2, 3), dtype=np.float32)}


def progress(epoch=1):
    return TrialProgress(
        forecast=np.arange(3, dtype=np.float32), epoch=epoch, scores=SCORES, loss=0.25, best=SCORES, best_epoch=1,
        seconds=1.5,
    )  # fmt: skip


def written_epochs(tmp_path, seconds_per_epoch, epochs, *, cost=0.01, rungs=(), interval=30.0):
    """Return the epochs after which a trial wrote checkpoints."""
    clock = Clock(cost)
    policy = CheckpointPolicy(Checkpoints(tmp_path / "t", {}), rungs, interval, clock)
    training, written = FakeTraining(clock), []
    for epoch in range(1, epochs + 1):
        clock.now += seconds_per_epoch
        before = training.states
        policy.write_if_due(training, progress(epoch))
        written += [epoch] * (training.states - before)
    assert policy.take_errors() is None
    return written


def test_a_trial_shorter_than_the_interval_writes_none(tmp_path):
    assert written_epochs(tmp_path, 0.9, 30, rungs=(3,)) == []
    assert not (tmp_path / "t").exists()


def test_a_long_trial_writes_at_the_interval(tmp_path):
    assert written_epochs(tmp_path, 8.0, 12) == [4, 8, 12]


def test_at_a_rung_a_sixth_of_the_interval_is_enough(tmp_path):
    assert written_epochs(tmp_path, 2.0, 12, rungs=(3, 4, 9)) == [3, 9]
    assert written_epochs(tmp_path, 0.5, 12, rungs=(3, 9)) == []


def test_slow_checkpoints_take_at_most_two_percent_of_the_time(tmp_path):
    """A checkpoint takes two seconds, so the next follows after a hundred."""
    assert written_epochs(tmp_path, 10.0, 30, cost=2.0) == [3, 13, 23]


def test_with_interval_zero_every_epoch_writes(tmp_path):
    assert written_epochs(tmp_path, 0.0, 3, interval=0.0) == [1, 2, 3]


def test_a_checkpoint_stores_the_progress_exactly(tmp_path):
    before = progress()
    checkpoint = Checkpoint(epoch=1, notes={"best_epoch": 1, "seconds": 1.5}, arrays=before.arrays())
    after = TrialProgress.from_checkpoint(checkpoint)
    np.testing.assert_array_equal(after.forecast, before.forecast)
    assert repr(after) == repr(before)


@pytest.mark.parametrize(
    "notes",
    [
        {}, {"best_epoch": 1}, {"best_epoch": 5, "seconds": 1.0}, {"best_epoch": -1, "seconds": 1.0},
        {"best_epoch": True, "seconds": 1.0}, {"best_epoch": 1, "seconds": "1"}, {"best_epoch": 1, "seconds": -1.0},
    ],
)  # fmt: skip
def test_invalid_notes_are_refused(notes):
    with pytest.raises(FileError, match=r"must be"):
        TrialProgress.from_checkpoint(Checkpoint(epoch=1, notes=notes, arrays=progress().arrays()))
