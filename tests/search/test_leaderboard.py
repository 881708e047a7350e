"""Ranking, the CSV file, the terminal's table and the verdict in words."""

import csv
import math
from dataclasses import replace

import pytest

from search.leaderboard import columns, rank, table, verdict, write_csv
from search.record import TrialEnd

BASELINES = {
    "persistence": {"val_theils_u": 1.0, "val_direction_accuracy": math.nan},
    "drift": {"val_theils_u": 0.99, "val_direction_accuracy": 0.6},
}


def end(number, score, status="complete", **scores):
    known = {} if score is None else {"val_theils_u": score, **scores}
    return TrialEnd(
        trial_id=f"{number:05d}", status=status, point={"architecture": "gru", "hidden_size": 8}, scores=known,
        epochs=5, best_epoch=3 if known else None, parameters=100, seconds=1.5,
    )  # fmt: skip


def ranked(ends, metric="val_theils_u", mode="min", **more):
    return rank(ends, BASELINES, metric=metric, mode=mode, **more)


def test_trials_and_baselines_stand_in_one_ranking_and_the_scoreless_last():
    rows = ranked([end(0, 1.2), end(1, 0.98, "stopped"), end(2, None, "failed"), end(3, None, "diverged")])
    assert [(row.get("rank"), row["trial_id"]) for row in rows] == [
        (1, "00001"), (2, "drift"), (3, "persistence"), (4, "00000"), (None, "00002"), (None, "00003"),
    ]  # fmt: skip


def test_a_metric_that_grows_ranks_downwards_and_persistence_has_no_direction():
    ends = [end(0, 1.0, val_direction_accuracy=0.5), end(1, 1.0, val_direction_accuracy=0.7)]
    rows = ranked(ends, "val_direction_accuracy", "max")
    assert [row["trial_id"] for row in rows] == ["00001", "drift", "00000", "persistence"]
    assert "rank" not in rows[-1]


def test_the_file_has_the_columns_of_the_contract_and_empty_cells_for_unknown(small_space, tmp_path):
    rows = ranked([end(0, 0.9), end(1, None, "diverged")], test={"00000": {"test_theils_u": 1.01}})
    write_csv(tmp_path / "leaderboard.csv", rows, columns(small_space()))
    with (tmp_path / "leaderboard.csv").open(encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert list(written[0])[:8] == [
        "rank", "trial_id", "status", "architecture", "head", "hidden_size", "num_layers", "sequence_length",
    ]  # fmt: skip
    assert list(written[0])[8:15] == [
        "learning_rate", "val_theils_u", "val_theils_u_sd", "val_worst_fold", "val_rmse", "val_mae",
        "val_direction_accuracy",
    ]  # fmt: skip
    by_id = {row["trial_id"]: row for row in written}
    assert (by_id["00000"]["val_theils_u"], by_id["00000"]["test_theils_u"]) == ("0.9", "1.01")
    assert (by_id["00001"]["rank"], by_id["00001"]["val_theils_u"]) == ("", "")
    assert by_id["persistence"]["val_direction_accuracy"] == ""
    assert not list(tmp_path.glob("*.part"))


def test_the_table_fits_a_terminal_and_always_shows_the_baselines():
    longest = {"architecture": "lstm", "head": "attention", "hidden_size": 64, "num_layers": 3, "sequence_length": 60}
    ends = [replace(end(number, 0.9 + number / 1000, "interrupted"), point=longest) for number in range(50)]
    text = table(ranked(ends, test={"00000": {"test_theils_u": 1.0}}), top=5)
    lines = text.splitlines()
    assert len(lines) == 1 + 5 + 2
    assert max(map(len, lines)) <= 80
    assert "persistence" in text
    assert "drift" in text


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1.004, 1.2], "On validation nothing beats 'tomorrow equals today': the best of 2 trials (00000)"),
        ([0.97], "On validation the only trial (00000) beats 'tomorrow equals today': Theil's U 0.9700"),
        ([0.995, 1.0], "The baseline drift does as well without a network (0.9900)."),
        ([0.97, 1.0], "the test block has not been opened"),
        ([None], "No trial has a score"),
    ],
)
def test_the_verdict_says_what_validation_shows(scores, words):
    assert words in verdict(ranked([end(number, score) for number, score in enumerate(scores)]))


@pytest.mark.parametrize(
    ("test_scores", "p_value", "words"),
    [
        ([1.004, 1.01], 0.7, "On the test block none of 2 finalists beats it (best Theil's U 1.0040): do not trade"),
        ([0.99, 1.01], 0.2, "Diebold-Mariano p 0.20: not enough to tell from luck. Do not trade on this."),
        ([0.99, 1.01], math.nan, "not enough to tell from luck"),
        ([1.01, 0.90], 0.9, "1 of 2 finalists beat it; the first (00000) has Theil's U 1.0100"),
        ([0.90, 1.01], 0.001, "unlikely to be luck in a single comparison, though 3 trials were tried"),
    ],
)
def test_the_verdict_says_what_the_test_block_shows(test_scores, p_value, words):
    test = {f"{n:05d}": {"test_theils_u": score, "test_dm_p": p_value} for n, score in enumerate(test_scores)}
    assert words in verdict(ranked([end(number, 0.98) for number in range(3)], test=test))
