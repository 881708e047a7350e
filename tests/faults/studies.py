"""Start studies, also as processes to be killed, and check the results folder afterwards."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import yaml
from commands import call
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search.results.event_log import TrialLog, read_events
from search.results.predictions import read_predictions
from search.run import main

ROOT = Path(__file__).parents[2]
FINALIST = {"finalists": 1, "finalist_seeds": 1}
PATIENCE = 480  # seconds after which a test gives up; a study on a busy machine takes less
DATA = {"source": "nasdaq", "features": "close_only", "test_size": 100}
VALIDATION = {"folds": 2, "fold_size": 100, "window": "sliding", "train_size": 400, "seeds": 1}
GRID = {
    "name": "grid",
    "data": DATA,
    "validation": VALIDATION,
    "space": {"architecture": ["rnn", "gru"], "hidden_size": [4, 16], "sequence_length": [5, 10, 15]},
    "search": {"sampler": "grid", "finalists": 0},
    "scheduler": {"max_epochs": 6, "grace_period": 6, "patience": None},
}
ASHA = {
    "name": "asha",
    "data": DATA,
    "validation": VALIDATION,
    "space": {
        "architecture": ["rnn", "gru"],
        "hidden_size": {"int": [2, 16]},
        "learning_rate": {"float": [1e-4, 1e-1], "log": True},
    },
    "search": {"sampler": "tpe", "num_samples": 14, "finalists": 0},
    "scheduler": {"max_epochs": 9, "grace_period": 1, "reduction_factor": 3, "patience": None},
}


def write(folder, space, /, **changes):
    """A space file in the folder, sections changed."""
    content = {**space, **{key: {**space.get(key, {}), **value} for key, value in changes.items()}}
    path = folder / f"{space['name']}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def begin(*arguments, ray=False, env=None, before=(), **options):
    """A study in a session of its own, so that what it leaves running is known by the session.

    Args:
        ray: run the trials on Ray; else in the process of the study, which starts in a fifth of the time.
        before: a command that becomes the study.
    """
    where = () if ray else ("--in-process",)
    return subprocess.Popen(
        [*before, sys.executable, "-m", "search.run", *map(str, arguments), *where], cwd=ROOT, text=True,
        start_new_session=True, env={**os.environ, **(env or {})},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )  # fmt: skip


def finish(process, code=0):
    """Wait for the study's end; returns what it printed."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, (process.returncode, out, err)
    assert "Traceback" not in err
    return out, err


def run(*arguments, code=0, **options):
    """Run a study until it ends; return what it printed. Without options, it runs in this process."""
    if options:
        return finish(begin(*arguments, **options), code)
    done = call(main, *arguments, "--in-process")
    assert done.returncode == code, done
    return done.stdout, done.stderr


def kill(process, *, group=False, number=signal.SIGKILL):
    """Kill a study's driver, or all of its processes."""
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(process.pid, number)
    process.communicate(timeout=240)


def until(condition, process=None, seconds=PATIENCE, every=0.02):
    """Wait until a condition holds or the process has ended; whether it holds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if process is not None and process.poll() is not None:
            return condition()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)
    return found


def session(number):
    """The living processes of a session: pid and command."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                name, _, rest = (entry / "stat").read_text().rpartition(")")
                state, _, _, its_session = rest.split()[:4]
                if int(its_session) == number and state != "Z":
                    found.append((int(entry.name), name.partition("(")[2]))
    return found


def events(folder):
    path = folder / "trials.jsonl"
    return list(read_events(path)) if path.exists() else []


def ended(folder):
    """How many trials have ended; also while the file is being written."""
    path = folder / "trials.jsonl"
    return path.read_bytes().count(b'"event": "end"') if path.exists() else 0


def workers(folder):
    """The process of each trial's last report, of those that run."""
    found = {}
    for event in events(folder):
        if event["event"] == "epoch":
            found[event["trial_id"]] = event["worker"]
        elif event["event"] == "end":
            found.pop(event["trial_id"], None)
    return found


def training(pids):
    """Those of the processes that train a trial, or are about to."""
    found = []
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if b"Trainable" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def leaderboard(folder):
    """Rows by trial id, without what may differ from one machine to the next."""
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        rows = {row.pop("trial_id"): row for row in csv.DictReader(file)}
    for row in rows.values():
        del row["seconds"]
    return rows


def journal(folder):
    storage = JournalStorage(JournalFileBackend(str(folder.resolve() / "study.journal")))
    return optuna.load_study(study_name=manifest(folder)["name"], storage=storage).trials


def assert_whole(folder, trials):
    """Every trial ended once, nothing was done twice, and all files say the same."""
    lines = events(folder)
    ids = [f"{number:05d}" for number in range(trials)]
    ends = [event["trial_id"] for event in lines if event["event"] == "end"]
    assert sorted(ends) == ids, "each trial ends exactly once"
    starts = [event["trial_id"] for event in lines if event["event"] == "start"]
    assert sorted(starts) == ids, "each trial starts exactly once"
    epochs = Counter((event["trial_id"], event["epoch"]) for event in lines if event["event"] == "epoch")
    assert set(epochs.values()) == {1}, "no epoch's line is repeated"
    for end in TrialLog(lines).ends:
        own = sorted(epoch for trial_id, epoch in epochs if trial_id == end.trial_id)
        assert own == list(range(1, end.epochs + 1))
        assert end.status in ("default", "complete", "stopped"), end

    trials_of_journal = journal(folder)
    assert all(trial.state.is_finished() for trial in trials_of_journal), "no trial is left RUNNING"
    closed = [trial for trial in trials_of_journal if trial.user_attrs.get("status") not in (None, "interrupted")]
    assert sorted(trial.user_attrs["trial_id"] for trial in closed) == ids, "the journal knows each end once"
    scores = {end.trial_id: end.scores["val_relative_loss"] for end in TrialLog(lines).ends}
    assert {trial.user_attrs["trial_id"]: trial.value for trial in closed} == scores

    rows = leaderboard(folder)
    assert set(ids) <= set(rows)
    table = read_predictions(folder / "predictions.parquet")
    per_fold = Counter(zip(table["trial_id"].to_pylist(), table["split"].to_pylist(), table["fold"].to_pylist()))  # noqa: B905
    for trial_id in ids:
        assert [per_fold[trial_id, "validation", fold] for fold in (1, 2)] == [100, 100], "each forecast stands once"
    tested = {trial_id for trial_id, split, _ in per_fold if split == "test"}
    assert tested == {trial_id for trial_id, row in rows.items() if row["test_relative_loss"]}
    assert all(per_fold[trial_id, "test", 0] == 100 for trial_id in tested)
    found = manifest(folder)
    assert found["end"]
    chosen = yaml.safe_load((folder / "space.yaml").read_text(encoding="utf-8"))["search"]["finalists"]
    assert len(found["test_openings"]) == (chosen > 0), "the test block is opened once, or not at all"
    assert all(opening["scores"] for opening in found["test_openings"])
    assert bool(tested) == (chosen > 0)
    assert (folder / "report.html").stat().st_size > 10_000
    assert not (folder / "lock").exists()
    assert not list((folder / "checkpoints").glob("*"))
    assert not [path.name for path in (folder / "predictions.parquet").iterdir() if path.name.startswith(".")]


def assert_equal(rows, expected):
    """Two leaderboards are equal to 1e-6."""
    assert list(rows) == list(expected), "in the same order"
    for trial_id, row in rows.items():
        assert row.keys() == expected[trial_id].keys()
        for column, value in row.items():
            other = expected[trial_id][column]
            if value != other:
                assert abs(float(value) - float(other)) <= 1e-6, (trial_id, column, value, other)
