"""Resume studies: refused and forced changes, finished trials, and a test set that stays closed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from commands import call

from search.results.event_log import read_log
from search.results.resume import list_changes, read_resume_state
from search.run import main
from search.space.space import load_space
from stockrnn.prices.snapshot import read_prices

ROOT = Path(__file__).parents[3]
SPACE = {
    "name": "small",
    "data": {"source": "nasdaq", "test_size": 40},
    "validation": {"folds": 2, "fold_size": 30, "window": "sliding", "train_size": 120, "seeds": 1},
    "space": {"architecture": ["rnn", "gru"], "hidden_size": {"int": [4, 8]}, "sequence_length": [3, 5]},
    "search": {"sampler": "random", "num_samples": 4, "finalists": 2, "finalist_seeds": 1},
    "scheduler": {"max_epochs": 4, "grace_period": 4, "patience": None},
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(*arguments, code=0, ray=False):
    if ray:
        command = [sys.executable, "-m", "search.run", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    else:
        done = call(main, *arguments, "--in-process")
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.yaml").write_text(yaml.safe_dump(SPACE, sort_keys=False), encoding="utf-8")
    run(folder / "small.yaml", "--output", folder, "--quiet")
    return folder / "small"


@pytest.fixture
def study(finished, tmp_path):
    """A copy of a finished study, to be resumed."""
    return Path(shutil.copytree(finished, tmp_path / "small"))


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_a_finished_study_says_so_rewrites_its_tables_and_starts_no_ray(study, tmp_path, monkeypatch):
    lines = (study / "trials.jsonl").read_bytes()
    for name in ("report.html", "leaderboard.csv"):
        (study / name).unlink()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "nowhere"))  # without a token no Ray starts
    done = run("--resume", study, ray=True)
    assert "All 4 trials had already ended; leaderboard and report are written again." in done.stdout
    assert (study / "report.html").stat().st_size > 10_000
    assert (study / "leaderboard.csv").exists()
    assert (study / "trials.jsonl").read_bytes() == lines
    now = manifest(study)
    assert len(now["test_openings"]) == 1
    assert now["end"]
    assert [set(resume) for resume in now["resumes"]] == [{"time", "command", "trials", "changes"}]
    assert now["resumes"][0]["changes"] == []
    assert not {"lock", "lock.json"} & {path.name for path in study.iterdir()}


def test_more_trials_extend_a_study_and_leave_the_test_block_shut(study):
    before, ends = manifest(study), read_log(study / "trials.jsonl").ends
    tested = pd.read_parquet(study / "predictions.parquet", filters=[("split", "==", "test")])
    weights = {path: path.read_bytes() for path in study.glob("forecasters/*/*")}
    done = run("--resume", study, "--num-samples", "7", "--quiet")
    assert "7 trials (4 before the resume)" in done.stdout
    after, all_ends = manifest(study), read_log(study / "trials.jsonl").ends
    assert all_ends[:4] == ends
    assert [end.trial_id for end in all_ends[4:]] != []
    assert {end.trial_id for end in all_ends} == {f"{number:05d}" for number in range(7)}
    assert after["test_openings"] == before["test_openings"]
    assert after["proof"]["trials"] == 7
    assert after["proof"]["test_spa_p"] == before["proof"]["test_spa_p"]
    assert after["space"]["search"]["num_samples"] == 7
    now = pd.read_parquet(study / "predictions.parquet", filters=[("split", "==", "test")])
    pd.testing.assert_frame_equal(now, tested)
    assert {path: path.read_bytes() for path in study.glob("forecasters/*/*")} == weights

    run("--resume", study, "--reopen-test", "--quiet")  # only this opens it, and both openings are known
    openings = manifest(study)["test_openings"]
    assert openings[:1] == before["test_openings"]
    assert [opening["trials"] for opening in openings] == [4, 7]
    now = pd.read_parquet(study / "predictions.parquet", filters=[("split", "==", "test")])
    assert not now.duplicated(["trial_id", "date"]).any()
    finalists = {one["trial_id"] for one in openings[-1]["finalists"]}
    assert {"persistence", "ensemble", *finalists} <= set(now["trial_id"])
    assert len(list(study.glob("forecasters/*"))) == 2


def test_a_changed_study_is_refused_line_by_line_and_goes_on_where_it_is_forced(study):
    changed = ("--set", "space.architecture=[rnn, gru, lstm]", "--seed", "7", "--num-samples", "6")
    refused = run("--resume", study, *changed, code=2)
    lines = refused.stderr.splitlines()
    assert any("space.architecture is ['rnn', 'gru', 'lstm'], and was ['rnn', 'gru']" in line for line in lines)
    assert any("seed is 7, and was 0" in line for line in lines)
    assert "add --force" in lines[-1]
    assert len(lines) == 3
    assert manifest(study)["resumes"] == []  # nothing was written

    done = run("--resume", study, *changed, "--force")
    assert "study.journal: belongs to another space: architecture had other values" in done.stderr
    assert (study / "study.journal.1").exists()
    assert len(read_log(study / "trials.jsonl").ends) == 6
    assert manifest(study)["resumes"][0]["changes"] == [line.removeprefix(f"--resume {study}: ") for line in lines[:2]]
    assert "All 6 trials had already ended" in run("--resume", study).stdout  # it is what it has become


def test_other_versions_and_other_prices_are_named(study):
    space, (prices, _) = load_space(str(study / "space.yaml"), []), read_prices(study / "prices.parquet")
    assert list_changes(manifest(study), space, prices) == []
    patient = load_space(str(study / "space.yaml"), [("search.stall_timeout", "null", "--set")])
    assert list_changes(manifest(study), patient, prices) == []
    was = manifest(study)
    was["versions"] = {**was["versions"], "torch": "1.13.1", "numpy": None}
    assert [re.sub(r" is .*", "", line) for line in list_changes(was, space, prices)] == ["torch", "numpy"]
    was = manifest(study)
    was["data"] = {**was["data"], "sha256": "0" * 64}
    [line] = list_changes(was, space, prices)
    assert line.startswith("the prices differ: nasdaq, ")


def test_prices_that_were_changed_on_disk_are_refused(study):
    content = bytearray((study / "prices.parquet").read_bytes())
    content[len(content) // 3] ^= 1
    (study / "prices.parquet").write_bytes(content)
    [line] = run("--resume", study, code=2).stderr.splitlines()
    assert "prices.parquet: " in line


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    [line] = run("--resume", tmp_path, code=2).stderr.splitlines()
    assert f"--resume {tmp_path}: not a study" in line


def test_what_is_torn_or_a_cache_is_cleared_away(study):
    (study / "ray").mkdir(exist_ok=True)
    (study / "ray" / "searcher.pkl").write_bytes(b"never unpickled")
    with (study / "trials.jsonl").open("ab") as file:
        file.write(b'{"event": "epoch", "tri')
    begun = read_resume_state(study)
    assert begun.notes == [f"{study / 'trials.jsonl'}: its last line was torn and is cut off (23 bytes)"]
    assert not (study / "ray").exists()
    assert len(begun.ends) == 4
    assert begun.unfinished == {}


def test_a_study_without_finalists_is_finished_too(tmp_path, monkeypatch):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**SPACE, "search": {**SPACE["search"], "num_samples": 1, "finalists": 0}}))
    run(path, "--output", tmp_path, "--quiet")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "nowhere"))  # without a token no Ray starts
    assert "All 1 trials had already ended" in run("--resume", tmp_path / "small", ray=True).stdout
