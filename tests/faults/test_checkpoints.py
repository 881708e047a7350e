"""Kill workers or fail their files under Ray: the trial continues from its checkpoint, and the others do not change."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from ray import tune

from search.space.space import load_space
from search.tune.asha import FiniteASHA
from search.tune.callback import failure_message
from search.tune.trainable import TrialTrainable
from search.tune.trial import train_trial
from stockrnn.prices.loading import load

SPACE = """
name: faults
data: {source: nasdaq, test_size: 40}
validation: {folds: 2, fold_size: 30, window: sliding, train_size: 120, seeds: 2}
space: {architecture: [gru, lstm], hidden_size: {int: [4, 8]}}
search: {sampler: random, num_samples: 4}
scheduler: {max_epochs: 8, grace_period: 8, patience: null}
"""
POINTS = {
    "00000": {"architecture": "gru", "hidden_size": 4, "sequence_length": 3},
    "00001": {"architecture": "lstm", "hidden_size": 6, "sequence_length": 4, "num_layers": 2, "dropout": 0.3},
    "00002": {"architecture": "rnn", "hidden_size": 5, "sequence_length": 3},
    "00003": {"architecture": "gru", "hidden_size": 6, "sequence_length": 5, "num_layers": 2, "dropout": 0.2},
}
HURT = "00001"
DISK = "OSError: [Errno 5] Input/output error"

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


class Listed(tune.search.Searcher):
    """Proposes the listed points and notes what it is told."""

    def __init__(self):
        super().__init__(metric="score", mode="min")
        self.waiting = list(POINTS.items())
        self.names, self.told = {}, []

    def suggest(self, tune_id):
        if not self.waiting:
            return tune.search.Searcher.FINISHED
        name, point = self.waiting.pop(0)
        self.names[tune_id] = name
        return {"trial_id": name, "point": point}

    def on_trial_result(self, tune_id, result):
        pass

    def on_trial_complete(self, tune_id, result=None, error=False):
        self.told.append((self.names[tune_id], error))

    def save(self, checkpoint_path):
        pass

    def restore(self, checkpoint_path):
        pass


class Watching(tune.Callback):
    """Notes all reports, and kills the hurt trial's worker when it has reported an epoch."""

    def __init__(self, kill_at=()):
        self.reports = {name: [] for name in POINTS}
        self.kill_at, self.recovered, self.failed = list(kill_at), [], []

    def on_trial_result(self, iteration, trials, trial, result, **info):
        name = trial.config["trial_id"]
        self.reports[name].append(result)
        if name == HURT and self.kill_at and result["epoch"] == self.kill_at[0]:
            self.kill_at.pop(0)
            os.kill(result["worker"], signal.SIGKILL)

    def on_trial_recover(self, iteration, trials, trial, **info):
        self.recovered.append((trial.config["trial_id"], failure_message(trial)))

    def on_trial_error(self, iteration, trials, trial, **info):
        self.failed.append((trial.config["trial_id"], failure_message(trial)))


class FailingFiles(TrialTrainable):
    """The hurt trial meets a disk's error after epoch 5, once."""

    always = False

    def step(self):
        report = super().step()
        if self.config["trial_id"] == HURT and report.get("epoch") == 5:
            marker = Path(self._checkpoints, "failed")
            if self.always or not marker.exists():
                marker.touch()
                self._reports.close()
                self._reports = failing()
                return super().step()
        return report


class AlwaysFailingFiles(FailingFiles):
    """The hurt trial meets it whenever it gets there."""

    always = True


def failing():
    raise OSError(5, "Input/output error")
    yield


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "faults.yaml"
    path.write_text(SPACE)
    return load_space(str(path))


@pytest.fixture(scope="module")
def prices():
    return load("nasdaq").rows(np.arange(600))


@pytest.fixture(scope="module")
def undisturbed(space, prices):
    """What each trial reports where nothing happens."""
    folds = space.split(prices).folds
    return {name: list(train_trial(space, prices, folds, point)) for name, point in POINTS.items()}


def searched(trainable, watching, space, prices, folder, max_failures=2):
    """Run the four trials on two workers; returns the searcher."""
    (folder / "checkpoints").mkdir()
    searcher = Listed()
    folds = space.split(prices).folds
    shared = {"prices": prices, "folds": folds, "space": space, "checkpoints": str(folder / "checkpoints")}
    tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, checkpoint_interval=0.0, **shared), {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=FiniteASHA(space), num_samples=len(POINTS), max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="ray", storage_path=str(folder), callbacks=[watching], verbose=0,
            failure_config=tune.FailureConfig(max_failures=max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    ).fit()  # fmt: skip
    return searcher


def assert_as_undisturbed(told, expected):
    """Every epoch was reported, with the scores of a trial to which nothing happened."""
    assert {report["epoch"] for report in told} == {report["epoch"] for report in expected}
    for report in told:
        straight = expected[report["epoch"] - 1]
        for key in ("status", "score", "best", "best_epoch", "scores", "loss"):
            assert report[key] == straight[key]
    best = [report["forecast"] for report in told if report["forecast"] is not None][-1]
    np.testing.assert_array_equal(best, [each["forecast"] for each in expected if each["forecast"] is not None][-1])


def assert_others_undisturbed(watching, undisturbed):
    for name in POINTS.keys() - {HURT}:
        assert [report["epoch"] for report in watching.reports[name]] == list(range(1, 9))
        assert_as_undisturbed(watching.reports[name], undisturbed[name])


def test_a_killed_workers_trial_goes_on_from_its_checkpoint(space, prices, undisturbed, tmp_path):
    watching = Watching(kill_at=(4, 7))
    searcher = searched(TrialTrainable, watching, space, prices, tmp_path)
    told = watching.reports[HURT]
    assert watching.recovered == [(HURT, "its worker died")] * 2
    assert watching.kill_at == []
    resumed = [report["resumed_from"] for report in told if report["resumed_from"]]
    assert len(resumed) == 2
    assert resumed[0] >= 3
    assert resumed[1] >= 6
    assert len({report["worker"] for report in told}) == 3
    assert told[-1]["status"] == "complete"
    assert_as_undisturbed(told, undisturbed[HURT])
    assert_others_undisturbed(watching, undisturbed)
    assert sorted(searcher.told) == [(name, False) for name in POINTS]


def test_a_trial_whose_files_fail_once_goes_on_with_another_worker(space, prices, undisturbed, tmp_path):
    watching = Watching()
    searcher = searched(FailingFiles, watching, space, prices, tmp_path)
    told = watching.reports[HURT]
    assert watching.recovered == [(HURT, DISK)]
    assert [report["epoch"] for report in told if report["resumed_from"]] == [5]
    assert [report["epoch"] for report in told] == list(range(1, 9))
    assert len({report["worker"] for report in told}) == 2
    assert_as_undisturbed(told, undisturbed[HURT])
    assert_others_undisturbed(watching, undisturbed)
    assert sorted(searcher.told) == [(name, False) for name in POINTS]


def test_a_trial_that_fails_again_and_again_ends_alone_with_its_cause(space, prices, undisturbed, tmp_path):
    watching = Watching()
    searcher = searched(AlwaysFailingFiles, watching, space, prices, tmp_path, max_failures=1)
    assert watching.recovered == [(HURT, DISK)]
    assert watching.failed == [(HURT, DISK)]
    assert_others_undisturbed(watching, undisturbed)
    assert sorted(searcher.told) == [(name, name == HURT) for name in POINTS]
