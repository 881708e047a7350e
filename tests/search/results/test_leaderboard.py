"""Test the ranking, the CSV file and the terminal table of the leaderboard."""

import csv
import math
from dataclasses import replace

from search.results.columns import list_columns
from search.results.event_log import TrialEnd
from search.results.leaderboard import table, write_csv
from search.results.ranking import rank

BASELINES = {
    "persistence": {"val_relative_loss": 1.0, "val_direction_accuracy": math.nan},
    "drift": {"val_relative_loss": 0.99, "val_direction_accuracy": 0.6},
}


def end(number, score, status="complete", **scores):
    known = {} if score is None else {"val_relative_loss": score, **scores}
    return TrialEnd(
        trial_id=f"{number:05d}", status=status, point={"architecture": "gru", "hidden_size": 8}, scores=known,
        epochs=5, best_epoch=3 if known else None, parameters=100, seconds=1.5,
    )  # fmt: skip


def ranked(ends, metric="val_relative_loss", mode="min", **more):
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


def test_the_finalists_average_is_one_more_row_in_its_place():
    rows = ranked(
        [end(0, 1.2), end(1, 0.98)], ensemble={"val_relative_loss": 0.985}, test={"ensemble": {"in_mcs": True}}
    )
    assert [row["trial_id"] for row in rows] == ["00001", "ensemble", "drift", "persistence", "00000"]
    assert (rows[1]["status"], rows[1]["in_mcs"]) == ("ensemble", True)
    assert "average of the finalists" in table(rows, top=1)


def test_the_file_has_the_columns_of_the_contract_and_empty_cells_for_unknown(small_space, tmp_path):
    rows = ranked([end(0, 0.9), end(1, None, "diverged")], test={"00000": {"test_relative_loss": 1.01}})
    write_csv(tmp_path / "leaderboard.csv", rows, list_columns(small_space()))
    with (tmp_path / "leaderboard.csv").open(encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert list(written[0])[:8] == [
        "rank", "trial_id", "status", "architecture", "head", "hidden_size", "num_layers", "sequence_length",
    ]  # fmt: skip
    assert list(written[0])[8:15] == [
        "learning_rate", "val_relative_loss", "val_relative_loss_sd", "val_worst_fold", "val_rmse", "val_mae",
        "val_direction_accuracy",
    ]  # fmt: skip
    by_id = {row["trial_id"]: row for row in written}
    assert (by_id["00000"]["val_relative_loss"], by_id["00000"]["test_relative_loss"]) == ("0.9", "1.01")
    assert (by_id["00001"]["rank"], by_id["00001"]["val_relative_loss"]) == ("", "")
    assert by_id["persistence"]["val_direction_accuracy"] == ""
    assert not list(tmp_path.glob("*.part"))


def test_the_table_fits_a_terminal_and_always_shows_the_baselines():
    longest = {"architecture": "lstm", "head": "attention", "hidden_size": 64, "num_layers": 3, "sequence_length": 60}
    ends = [replace(end(number, 0.9 + number / 1000, "interrupted"), point=longest) for number in range(50)]
    text = table(ranked(ends, test={"00000": {"test_relative_loss": 1.0}}), top=5)
    lines = text.splitlines()
    assert len(lines) == 1 + 5 + 2
    assert max(map(len, lines)) <= 80
    assert "persistence" in text
    assert "drift" in text
