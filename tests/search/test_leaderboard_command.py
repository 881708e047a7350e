"""Run `python -m search.leaderboard` on running, finished and damaged studies, and on folders of studies."""

import csv
import io
import json
import math

import pytest

from search.leaderboard import main
from search.results.event_log import Record
from search.results.manifest import write_manifest

BASELINES = {"persistence": {"val_relative_loss": 1.0}, "drift": {"val_relative_loss": 0.99}}


@pytest.fixture
def study(small_space, tmp_path):
    """Makes a study's folder: scores of trials in turn, None for a failed one; with or without an end."""

    def make(name="small", scores=(1.2, 0.97, None), ended=True, tested=None, **manifest):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        (folder / "space.yaml").write_text(small_space().as_yaml(), encoding="utf-8")
        record = Record(folder / "trials.jsonl")
        for number, score in enumerate(scores):
            trial_id = f"{number:05d}"
            record.start(trial_id, {"architecture": "gru", "hidden_size": 4 + number, "learning_rate": 0.01})
            if score is not None:
                best = {"val_relative_loss": score, "val_rmse": 10 * score, "val_direction_accuracy": math.nan}
                record.epoch(trial_id, {
                    "epoch": 1, "done": True, "score": score, "best_epoch": 1, "best": best, "scores": best,
                    "loss": 1.0, "seconds": 2.0 - number, "worker": 1, "parameters": 100, "form": "batched",
                })  # fmt: skip
            record.end(trial_id, "failed" if score is None else "complete")
        record.close()
        opening = {
            "scores": {"00001": {"test_relative_loss": 1.01, "in_mcs": True}},
            "ensemble": {"val_relative_loss": 0.98},
        }
        write_manifest(folder, {
            "name": name, "start": "2026-01-02T03:04:05+00:00", "end": "2026-01-02T03:05:05+00:00" if ended else None,
            "baselines": BASELINES, "data": {"source": "nasdaq"}, "test_openings": [opening] if tested else [],
            **manifest,
        })  # fmt: skip
        return folder

    return make


def printed(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_the_table_of_an_ended_study(study, capsys):
    text = printed(capsys, study(tested=True))
    assert [line.split()[1] for line in text.splitlines()[1:]] == [
        "00001", "ensemble", "drift", "persistence", "00000", "00002",
    ]  # fmt: skip
    assert "average of the finalists" in text
    assert "1.0100" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_running_study_shows_what_has_ended_without_waiting_for_the_csv(study, capsys):
    folder = study(ended=False)
    assert not (folder / "leaderboard.csv").exists()
    assert "00001" in printed(capsys, folder)
    assert "running" in printed(capsys, folder.parent)


def test_a_torn_last_line_of_the_record_is_no_error(study, capsys):
    folder = study(ended=False)
    with (folder / "trials.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "end", "trial_id": "0000')
    assert "00001" in printed(capsys, folder)


def test_csv_has_every_column_and_all_rows(study, capsys):
    rows = list(csv.DictReader(io.StringIO(printed(capsys, study(), "--format", "csv"))))
    assert [row["trial_id"] for row in rows] == ["00001", "drift", "persistence", "00000", "00002"]
    assert rows[0]["val_relative_loss"] == "0.97"
    assert rows[0]["val_direction_accuracy"] == ""  # unknown is empty
    assert "seeds_sd" in rows[0]


def test_json_is_json_and_unknown_is_null(study, capsys):
    rows = json.loads(printed(capsys, study(), "--format", "json", "--top", "1"))
    assert len(rows) == 1
    assert (rows[0]["rank"], rows[0]["val_relative_loss"], rows[0]["val_direction_accuracy"]) == (1, 0.97, None)


def test_markdown_with_columns_of_ones_own(study, capsys):
    text = printed(capsys, study(), "--format", "markdown", "--columns", "rank, trial_id ,network")
    lines = text.splitlines()
    assert lines[:3] == ["| rank | trial_id | network |", "| ---: | --- | --- |", "| 1 | 00001 | gru last 5x1 seq 20 |"]


@pytest.mark.parametrize(
    ("options", "order"),
    [
        (["--sort", "seconds"], ["00001", "00000"]),
        (["--sort", "seconds", "--reverse"], ["00000", "00001"]),
        (["--sort", "val_rmse"], ["00001", "00000"]),
        (["--sort", "trial_id", "--reverse"], ["persistence", "drift"]),
    ],
)
def test_sorting_puts_rows_without_a_value_last_in_either_direction(study, capsys, options, order):
    rows = json.loads(printed(capsys, study(), *options, "--format", "json"))
    assert [row["trial_id"] for row in rows][:2] == order
    assert rows[-1].get(options[1]) is None or options[1] == "trial_id"


def test_studies_of_a_folder_are_listed_oldest_first_and_a_damaged_one_is_named(study, capsys):
    study("late", start="2026-03-01T00:00:00+00:00", interrupted=True)
    folder = study("early", start="2026-01-01T00:00:00+00:00", tested=True)
    damaged = study("damaged")
    (damaged / "manifest.json").write_text("{", encoding="utf-8")
    assert main([str(folder.parent), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [(row["study"], row["state"], row["trials"]) for row in rows] == [
        ("early", "timed out", "3/6"), ("late", "interrupted", "3/6"),
    ]  # fmt: skip
    assert (rows[0]["best"], rows[0]["val_relative_loss"], rows[0]["test_relative_loss"]) == ("00001", 0.97, 1.01)
    assert len(err.splitlines()) == 1
    assert "damaged" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--columns", "rank,netwrok"], "--columns netwrok: there is no such column; did you mean network?"),
        (
            ["--sort", "val_relativ_loss"],
            "--sort val_relativ_loss: there is no such column; did you mean val_relative_loss?",
        ),
        (["--top", "0"], "--top 0: is no number of rows; write a whole number, at least 1"),
        (["--top", "-1"], "--top -1: is no number of rows"),
    ],
)
def test_a_wrong_option_is_one_line(study, capsys, options, words):
    name, value = options
    assert main([str(study()), f"{name}={value}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_studies(tmp_path, capsys, made):
    folder = tmp_path / "nothing"
    if made:
        folder.mkdir()
    assert main([str(folder)]) == 2
    assert "holds no study" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("manifest.json", "[]", "is no study's manifest"),
        ("manifest.json", '{"baselines": 3}', "is no study's manifest"),
        ("space.yaml", "space: {architecture: [gru, gnu]}", "did you mean gru?"),
        ("trials.jsonl", "nonsense\n{}\n", "is no event of a trial"),
    ],
)
def test_a_damaged_study_is_one_line(study, capsys, file, content, words):
    folder = study()
    (folder / file).write_text(content, encoding="utf-8")
    assert main([str(folder)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert len(err.splitlines()) == 1
