"""Run whole studies through the command line, with a real journal: on Ray, or where Ray is no subject, without it."""

import contextlib
import csv
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from search.cluster.demands import ResourceDemands
from search.results.event_log import read_log
from search.run import main
from search.study.finalists import Finalist
from search.study.refit import refit_finalists
from stockrnn import forecast
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load

ROOT = Path(__file__).parents[3]
COLUMNS = ["rank", "trial_id", "status", "architecture", "head", "hidden_size", "num_layers", "sequence_length"]


def command(space, output, *options):
    return [sys.executable, "-m", "search.run", str(space), "--output", str(output), *options]


def run(space, output, *options):
    return subprocess.run(
        command(space, output, *options), cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )


def search(space, output, *options):
    """Run a study in this process, with this process's Ray unless the options say otherwise; return the exit code."""
    return main([str(space), "--output", str(output), "--quiet", *options])


def events(folder, kind):
    lines = (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == kind]


def leaderboard(folder):
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def journal(folder):
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.load_study(study_name="small", storage=storage).trials


@pytest.mark.ray
def test_a_study_leaves_a_complete_folder_and_says_what_it_found(space_file, tmp_path, capsys):
    result = run(space_file(scheduler={"max_epochs": 9, "grace_period": 1, "patience": 3}), tmp_path)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "small"
    rows = leaderboard(folder)
    assert list(rows[0])[:8] == COLUMNS
    assert {"persistence", "drift", "ar1"} < {row["trial_id"] for row in rows}
    ranks = [float(row["val_relative_loss"]) for row in rows if row["rank"]]
    assert ranks == sorted(ranks)
    persistence = next(row for row in rows if row["trial_id"] == "persistence")
    assert float(persistence["val_relative_loss"]) == 1.0
    for row in rows:  # Theil's U is a ratio that a reader can check
        ratio = float(row["val_rmse"]) / float(persistence["val_rmse"])
        assert float(row["val_relative_loss"]) == pytest.approx(ratio, rel=1e-6)

    ends = read_log(folder / "trials.jsonl").ends
    assert sorted(end.trial_id for end in ends) == [f"{number:05d}" for number in range(6)]
    reports = events(folder, "epoch")
    for end in ends:
        own = [report for report in reports if report["trial_id"] == end.trial_id]
        assert [report["epoch"] for report in own] == list(range(1, end.epochs + 1))
        assert end.scores["val_relative_loss"] == min(report["scores"]["val_relative_loss"] for report in own)
    assert len({end.worker for end in ends}) <= 2  # workers are reused

    states = {trial.number: trial for trial in journal(folder)}
    for end in ends:
        trial = states[int(end.trial_id)]
        expected = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "default": TrialState.FAIL}[
            end.status
        ]
        assert trial.state == expected
        if end.status != "default":  # it lies outside of the space
            assert trial.value == pytest.approx(end.scores["val_relative_loss"])

    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["data"]["sha256"]
    assert manifest["end"]
    [opening] = manifest["test_openings"]
    assert len(opening["finalists"]) == 2
    tested = [row for row in rows if row["test_relative_loss"]]
    assert {row["trial_id"] for row in tested} == {
        "persistence", "drift", "ar1", "ensemble", *(one["trial_id"] for one in opening["finalists"])
    }  # fmt: skip
    assert manifest["verdict"] in " ".join(result.stdout.split())
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "00000" in report
    assert f"On {manifest['proof']['test_days']} unseen days" in report
    assert "persistence" in result.stdout
    assert str(folder / "leaderboard.csv") in result.stdout
    for noise in ("Warning", "ray::", "Traceback", "(raylet)", "Tune Status", "INFO", "WARNING"):
        assert noise not in result.stderr + result.stdout

    predictions = pd.read_parquet(folder / "predictions.parquet")
    finished = {end.trial_id for end in ends if end.status in ("default", "complete", "stopped")}
    assert set(predictions[predictions["split"] == "validation"]["trial_id"]) == finished
    assert set(predictions[predictions["split"] == "test"]["trial_id"]) == {row["trial_id"] for row in tested}
    for row in rows:  # the scores on the leaderboard are those of the forecasts on disk
        for split, column in (("validation", "val_rmse"), ("test", "test_rmse")):
            own = predictions[(predictions["trial_id"] == row["trial_id"]) & (predictions["split"] == split)]
            if len(own):
                rmse = ((own["forecast"] - own["actual"]) ** 2).mean() ** 0.5
                assert float(row[column]) == pytest.approx(rmse, rel=1e-4)

    for rank, finalist in enumerate(opening["finalists"], start=1):
        assert forecast.main([str(folder), "--rank", str(rank), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["forecaster"]["trial_id"] == finalist["trial_id"]

    left = {path.name for path in (folder / "ray").rglob("*") if path.is_file()}
    assert left <= {"tuner.pkl", ".validate_storage_marker"}  # of Tune's snapshots none, which nobody reads

    assert search(space_file(), tmp_path) == 2
    [again] = capsys.readouterr().err.splitlines()
    assert "exists" in again


def test_no_price_of_the_test_block_reaches_anything_but_the_test_columns(space_file, tmp_path):
    """The prices of the test block are multiplied by three and shuffled: the search must not notice."""
    rng = np.random.default_rng(0)
    closes = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=500)))
    outcomes = []
    for name in ("clean", "poisoned"):
        if name == "poisoned":
            closes[-40:] = 3 * rng.permutation(closes[-40:])
        days = pd.bdate_range("2020-01-01", periods=500)
        table = pd.DataFrame({column: closes for column in ("Open", "High", "Low", "Close")}, index=days)
        table.assign(Volume=1000 + np.arange(500)).to_csv(tmp_path / f"{name}.csv", index_label="Date")
        space = space_file(
            data={"source": str(tmp_path / f"{name}.csv")},
            space={"architecture": ["rnn", "gru"], "scaling": ["minmax", "relative"], "hidden_size": 4},
            search={"num_samples": 4, "sampler": "grid"},
        )
        assert search(space, tmp_path, "--name", name, "--in-process") == 0
        folder = tmp_path / name
        rows = [
            {key: value for key, value in row.items() if not key.startswith("test_") and key not in
             ("seconds", "in_mcs", "seeds_sd")}
            for row in leaderboard(folder)
        ]  # fmt: skip
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        predictions = pd.read_parquet(folder / "predictions.parquet", filters=[("split", "==", "validation")])
        weights = [path.read_bytes() for path in sorted(folder.glob("forecasters/*/model.safetensors"))]
        proof = {key: manifest["proof"][key] for key in ("trials", "spa_p", "pbo")}
        outcomes.append((rows, manifest["test_openings"][0]["finalists"], predictions, weights, proof))
        tested = [row["test_relative_loss"] for row in leaderboard(folder) if row["test_relative_loss"]]
        outcomes[-1] = (*outcomes[-1], tested)
    (rows, finalists, predictions, weights, proof, tested), other = outcomes
    assert rows == other[0]
    assert finalists == other[1]
    pd.testing.assert_frame_equal(predictions, other[2])
    assert len(weights) == 2
    assert weights == other[3]
    assert proof == other[4]
    assert tested != other[5]


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_finalist_that_fails_is_named_and_the_others_go_on(small_space, study_context):
    """One gets validation forecasts of too few days, from which its intervals cannot be read."""
    space = small_space()
    prices = clean(load("nasdaq"))
    splits = space.split(prices)
    finalists = [
        Finalist(rank=rank, trial_id=f"{rank:05d}", point={"architecture": "rnn", "hidden_size": 4}, epochs=1, seeds=1)
        for rank in (1, 2)
    ]
    needs = ResourceDemands(space, splits, len(prices), None)
    validation = {"00001": np.ones(3), "00002": np.full(60, 2000.0)}
    refitted, failed = refit_finalists(study_context(space, prices), finalists, needs.at, validation)
    assert [one.finalist.trial_id for one in refitted] == ["00002"]
    assert list(failed) == ["00001"]
    assert failed["00001"].startswith("ValueError: forecast and actual have shapes (3,) and (60,)")


def test_a_test_block_of_few_days_leaves_columns_empty_and_says_why(space_file, tmp_path):
    space = space_file(data={"test_size": 5}, search={"num_samples": 1, "finalists": 1})
    assert search(space, tmp_path, "--in-process") == 0
    [tested] = [row for row in leaderboard(tmp_path / "small") if row["test_rmse"] and row["status"] == "default"]
    assert (tested["test_dm_p"], tested["in_mcs"]) == ("", "")
    manifest = json.loads((tmp_path / "small" / "manifest.json").read_text(encoding="utf-8"))
    assert "5 days" in manifest["test_openings"][0]["reasons"][tested["trial_id"]]["test_dm_p"]
    assert "one trial" in manifest["proof"]["reasons"]["pbo"]
    assert manifest["proof"]["test_spa_p"] is None


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_the_number_of_workers_does_not_change_a_score(space_file, tmp_path, capsys):
    space = space_file(  # long enough that the second worker gets a share
        search={"finalists": 0}, validation={"train_size": 1200}, scheduler={"max_epochs": 30, "grace_period": 30}
    )
    scores = []
    for workers in ("1", "2"):
        assert search(space, tmp_path, "--workers", workers, "--name", f"with{workers}") == 0
        assert capsys.readouterr().err == ""
        folder = tmp_path / f"with{workers}"
        assert len({report["worker"] for report in events(folder, "epoch")}) == int(workers)
        scores.append({(report["trial_id"], report["epoch"]): report["scores"] for report in events(folder, "epoch")})
        points = {end.trial_id: end.point for end in read_log(folder / "trials.jsonl").ends}
        scores[-1].update(points)
    assert scores[0] == scores[1]


def test_a_study_in_which_everything_diverges_ends_with_code_0(space_file, tmp_path):
    space = {"architecture": "rnn", "optimizer": "sgd", "learning_rate": 9.0, "output_init": "uniform"}
    space["hidden_size"] = [16, 20]
    path = space_file(space=space, search={"num_samples": 2}, scheduler={"max_epochs": 200, "grace_period": 200})
    assert search(path, tmp_path, "--in-process") == 0
    ends = read_log(tmp_path / "small" / "trials.jsonl").ends
    assert [(end.status, end.scores) for end in ends] == [("diverged", {}), ("diverged", {})]
    assert (tmp_path / "small" / "report.html").exists()
    proof = json.loads((tmp_path / "small" / "manifest.json").read_text(encoding="utf-8"))["proof"]
    assert {name: proof[name] for name in ("spa_p", "pbo", "test_spa_p")} == dict.fromkeys(
        ("spa_p", "pbo", "test_spa_p")
    )
    assert set(proof["reasons"]) == {"spa_p", "pbo", "test_spa_p"}
    assert not (tmp_path / "small" / "forecasters").exists()
    assert {trial.state for trial in journal(tmp_path / "small")} == {TrialState.PRUNED}


@pytest.mark.nightly
@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_study_cleanly_with_all_that_had_ended_on_disk(space_file, tmp_path, number):
    space = space_file(search={"num_samples": 500}, scheduler={"max_epochs": 20, "grace_period": 20})
    process = subprocess.Popen(
        command(space, tmp_path), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    trials = tmp_path / "small" / "trials.jsonl"
    deadline = time.monotonic() + 240
    while not (trials.exists() and trials.read_text(encoding="utf-8").count('"event": "end"') >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    os.kill(process.pid, number)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "Interrupted after" in stdout
    ends = read_log(trials).ends
    statuses = {end.status for end in ends}
    assert {"interrupted"} < statuses <= {"default", "complete", "interrupted"}
    assert len({end.trial_id for end in ends}) == len(ends)
    states = [trial.state for trial in journal(tmp_path / "small")]
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.COMPLETE) == sum(end.status == "complete" for end in ends)
    rows = leaderboard(tmp_path / "small")
    assert {end.trial_id for end in ends} < {row["trial_id"] for row in rows}
    assert not any(row["test_relative_loss"] for row in rows)  # an interrupted study does not open the test block


SLOW_START = """
import sys, time

import search.study.ray_executor
from search.run import main
from search.tune.trainable import TrialTrainable


class SlowStart(TrialTrainable):
    def setup(self, config, **shared):
        time.sleep(20)
        super().setup(config, **shared)


search.study.ray_executor.TrialTrainable = SlowStart
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.nightly
@pytest.mark.ray
def test_a_time_budget_ends_the_search_and_still_opens_the_test_block(space_file, tmp_path):
    """It counts from the first trial's start: workers that start longer than the budget do not use it up."""
    space = space_file(search={"num_samples": 5000}, scheduler={"max_epochs": 20, "grace_period": 20})
    result = subprocess.run(
        [sys.executable, "-c", SLOW_START, str(space), "--output", str(tmp_path), "--time-budget", "15s"], cwd=ROOT,
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "The time budget ended the search after" in result.stdout
    assert "of 5000 trials" in result.stdout
    assert sum(bool(row["test_relative_loss"]) for row in leaderboard(tmp_path / "small")) == 6


def test_a_terminal_shows_one_live_view_and_keeps_only_the_result(space_file, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(space_file(), tmp_path, "--in-process"), cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, text=True,
        env={**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal's end of file, when the process has gone
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    stdout, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    for word in ("trials   6 of 6 ended", "best     Theil's U", "persistence 1.0000", "waiting for", "time     "):
        assert word in text
    assert max(map(len, re.split(r"[\r\n]+", text))) <= 80
    manifest = json.loads((tmp_path / "small" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["verdict"] in " ".join(stdout.split())


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_trial_that_asks_for_more_than_there_is_is_refused_and_leaves_no_folder(space_file, tmp_path, capsys):
    assert search(space_file(resources={"cpu": 999}), tmp_path / "results") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "resources.cpu: 999 per trial" in line
    assert not (tmp_path / "results" / "small").exists()


def test_an_address_without_a_cluster_is_one_line(space_file, tmp_path):
    result = run(space_file(), tmp_path, "--address", "127.0.0.1:1", "--quiet")
    assert result.returncode == 2
    assert "--address 127.0.0.1:1: no Ray cluster answers" in result.stderr
    assert "Traceback" not in result.stderr
