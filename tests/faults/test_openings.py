"""Check that each opening of the test set is on the disk, and counted, before the test set is read."""

import json
import shutil
import signal

import numpy as np
import pytest
import studies
from studies import FINALIST, GRID, until

from search.results.event_log import read_log
from search.results.predictions import Predictions, read_predictions
from search.space.space import load_space
from search.study.final_evaluation import FinalEvaluation
from search.study.trial_recorder import LeaderboardFile
from stockrnn.dataset.alignment import prepare
from stockrnn.prices.loading import Access

TRIALS = 4
SPACE = {
    **GRID,
    "space": {"architecture": ["rnn"], "learning_rate": {"float": [0.001, 0.1], "log": True}},
    "search": {"sampler": "random", "num_samples": TRIALS, **FINALIST, "finalists": 2},
    "scheduler": {"max_epochs": 3, "grace_period": 3, "patience": None},
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A study that was killed at the moment its first finalist was saved: the block was scored, nothing says so."""
    folder = tmp_path_factory.mktemp("killed")
    process = studies.begin(studies.write(folder, SPACE), "--output", folder, "--quiet")
    study = folder / "grid"
    until(lambda: (study / "forecasters").exists(), process, every=0.001)
    studies.kill(process, group=True)
    return study


@pytest.fixture
def study(searched, tmp_path):
    return shutil.copytree(searched, tmp_path / "grid")


def names(opening):
    return [one["trial_id"] for one in opening["finalists"]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_killed_after_the_block_was_scored_goes_on_with_the_finalists_it_named(study):
    [announced] = studies.manifest(study)["test_openings"]
    assert "scores" not in announced
    assert len(names(announced)) == 2
    assert set(read_predictions(study / "predictions.parquet")["split"].to_pylist()) >= {"validation"}
    studies.run("--resume", study, "--num-samples", 3 * TRIALS, "--quiet")
    studies.assert_whole(study, 3 * TRIALS)
    [opened] = studies.manifest(study)["test_openings"]
    assert opened.items() >= announced.items()
    assert set(opened["scores"]) >= {*names(announced), "ensemble", "persistence"}
    tested = {row for row, columns in studies.leaderboard(study).items() if columns["test_relative_loss"]}
    assert tested == {*names(announced), "ensemble", "persistence", "drift", "ar1"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_other_finalists_are_a_second_opening(study):
    [announced] = studies.manifest(study)["test_openings"]
    studies.run("--resume", study, "--num-samples", 2 * TRIALS, "--reopen-test", "--quiet")
    first, second = studies.manifest(study)["test_openings"]
    assert first == announced
    assert second["trials"] == 2 * TRIALS
    assert second["scores"]
    assert "opened twice" in (study / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_signal_among_the_finalists_leaves_the_opening_counted(study):
    document = studies.manifest(study)
    document["test_openings"] = []
    (study / "manifest.json").write_text(json.dumps(document), encoding="utf-8")
    process = studies.begin("--resume", study, "--quiet")
    until(lambda: studies.manifest(study)["test_openings"], process, every=0.001)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=studies.PATIENCE)
    assert len(studies.manifest(study)["test_openings"]) == 1


def final_evaluation(study, study_context):
    space = load_space(str(study / "space.yaml"))
    prices = prepare(space.data, Access())
    context = study_context(space, prices, study)
    return FinalEvaluation(
        context=context,
        predictions=Predictions(study / "predictions.parquet", space.task, space.series(prices)),
        leaderboard=LeaderboardFile(study / "leaderboard.csv", space, context.record, {}), executor=None,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_block_whose_opening_cannot_be_kept_stays_shut(study, study_context):
    shutil.rmtree(study / "forecasters")
    announced = []

    def announce(openings):
        announced.extend(openings)
        return False

    evaluation = final_evaluation(study, study_context)
    assert evaluation.evaluate_test_block([], announce) == {}  # it would need an executor to continue
    best = sorted(read_log(study / "trials.jsonl").ends, key=lambda end: end.scores["val_relative_loss"])[:2]
    assert names(announced[0]) == [end.trial_id for end in best]
    assert not (study / "forecasters").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"finalists": [{"trial_id": "00099"}]}, 'trial "00099" has no score in trials.jsonl'),
        ({"finalist_seeds": None}, "finalist_seeds is missing"),
    ],
)
def test_an_opening_that_does_not_fit_the_record_is_refused_in_one_line(study, change, says):
    document = studies.manifest(study)
    document["test_openings"][0] |= change
    (study / "manifest.json").write_text(json.dumps(document), encoding="utf-8")
    _, err = studies.run("--resume", study, "--quiet", code=2)
    assert says in err
    assert len(err.splitlines()) == 1
    assert np.all([end.status in ("default", "complete") for end in read_log(study / "trials.jsonl").ends])
