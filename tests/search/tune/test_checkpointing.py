"""When checkpoints are written, by a clock that the test winds."""

import numpy as np
import pytest

from search.tune.checkpointing import CheckpointPolicy, TrialProgress
from stockrnn.evaluation.scores import Scores
from stockrnn.io.files import FileError
from stockrnn.training.checkpoint import Checkpoint, Checkpoints

SCORES = Scores(
    val_theils_u=0.99, val_theils_u_sd=0.01, val_worst_fold=float("inf"), val_rmse=1.0, val_mae=0.1 + 0.2,
    val_direction_accuracy=float("nan"),
)  # fmt: skip


class Clock:
    """Seconds, which pass when the test says so; `cost` of them for a checkpoint."""

    def __init__(self, cost):
        self.now, self.cost = 1000.0, cost

    def __call__(self):
        return self.now


class Still:
    """A training whose state takes its time."""

    def __init__(self, clock):
        self.clock, self.states = clock, 0

    def state(self):
        self.clock.now += self.clock.cost
        self.states += 1
        return {"parameters": np.zeros((2, 3), dtype=np.float32)}


def standing(epoch=1):
    return TrialProgress(
        forecast=np.arange(3, dtype=np.float32), epoch=epoch, scores=SCORES, loss=0.25, best=SCORES, best_epoch=1,
        seconds=1.5,
    )  # fmt: skip


def kept(tmp_path, seconds_per_epoch, epochs, *, cost=0.01, rungs=(), every=30.0):
    """The epochs after which checkpoints were written, of a trial of these many seconds an epoch."""
    clock = Clock(cost)
    keeper = CheckpointPolicy(Checkpoints(tmp_path / "t", {}), rungs, every, clock)
    training, written = Still(clock), []
    for epoch in range(1, epochs + 1):
        clock.now += seconds_per_epoch
        before = training.states
        keeper.write_if_due(training, standing(epoch))
        written += [epoch] * (training.states - before)
    assert keeper.take_errors() is None
    return written


def test_a_trial_shorter_than_the_interval_writes_none(tmp_path):
    assert kept(tmp_path, 0.9, 30, rungs=(3,)) == []
    assert not (tmp_path / "t").exists()


def test_a_long_one_writes_at_the_interval(tmp_path):
    assert kept(tmp_path, 8.0, 12) == [4, 8, 12]


def test_a_rung_is_worth_one_after_a_sixth_of_the_interval(tmp_path):
    assert kept(tmp_path, 2.0, 12, rungs=(3, 4, 9)) == [3, 9]
    assert kept(tmp_path, 0.5, 12, rungs=(3, 9)) == []


def test_costly_ones_are_rarer(tmp_path):
    """Two seconds a checkpoint: a hundred to the next, 2 % of the time."""
    assert kept(tmp_path, 10.0, 30, cost=2.0) == [3, 13, 23]


def test_no_interval_is_every_epoch(tmp_path):
    assert kept(tmp_path, 0.0, 3, every=0.0) == [1, 2, 3]


def test_where_a_trial_stood_is_exact(tmp_path):
    before = standing()
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
def test_notes_of_a_stranger_are_refused(notes):
    with pytest.raises(FileError):
        TrialProgress.from_checkpoint(Checkpoint(epoch=1, notes=notes, arrays=standing().arrays()))
