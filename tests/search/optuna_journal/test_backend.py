"""Compare the journal backend with Optuna's own: equal trials, several writers, a full disk."""

import os
import subprocess
import sys

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search.optuna_journal.backend import JournalFile

NAME = "study"


def ours(path):
    return JournalStorage(JournalFile(path))


def theirs(path):
    return JournalStorage(JournalFileBackend(str(path)))


def searched(storage):
    """Run twelve trials with intermediate values; every third one fails, and every fourth one is pruned."""
    study = optuna.create_study(study_name=NAME, storage=storage, sampler=optuna.samplers.TPESampler(seed=0))
    for number in range(12):
        trial = study.ask()
        x, kind = trial.suggest_float("x", -1, 1), trial.suggest_categorical("kind", ["gru", "lstm"])
        trial.set_user_attr("trial_id", f"{number:05d}")
        trial.report(x, step=1)
        if number % 3 == 2:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif number % 4 == 3:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, x * x + (kind == "lstm"))
    return study


def facts(storage):
    return [
        (trial.number, trial.state, trial.values, trial.params, trial.user_attrs, trial.intermediate_values)
        for trial in optuna.load_study(study_name=NAME, storage=storage).trials
    ]


def test_both_backends_store_the_same_trials_and_read_each_other(tmp_path):
    one, other = tmp_path / "ours", tmp_path / "theirs"
    searched(ours(one))
    searched(theirs(other))
    expected = facts(theirs(other))
    assert len(expected) == 12
    assert facts(theirs(one)) == facts(ours(one)) == facts(ours(other)) == expected


def test_the_writes_of_another_program_are_read(tmp_path):
    path = tmp_path / "journal"
    study = searched(ours(path))
    note = optuna.load_study(study_name=NAME, storage=theirs(path))
    note.set_user_attr("note", "look at this")
    trial = note.ask()
    note.tell(trial, 0.5)
    assert study.user_attrs["note"] == "look at this"
    assert (len(study.trials), study.trials[-1].value) == (13, 0.5)
    study.tell(study.ask(), 0.25)
    assert [trial.value for trial in note.trials[-2:]] == [0.5, 0.25]


def test_a_batch_is_read_at_once_and_written_at_its_end(tmp_path):
    path = tmp_path / "journal"
    backend = JournalFile(path)
    study = searched(JournalStorage(backend))
    before = path.read_bytes()
    with backend.batch_writes():
        trial = study.ask()
        study.tell(trial, 0.125)
        assert study.trials[-1].value == 0.125
        assert path.read_bytes() == before
    assert path.read_bytes().startswith(before)
    assert facts(theirs(path))[-1][2] == [0.125]


def test_a_batch_is_written_after_an_error(tmp_path):
    path = tmp_path / "journal"
    backend = JournalFile(path)
    study = searched(JournalStorage(backend))

    def breaks_off():
        with backend.batch_writes():
            study.tell(study.ask(), 0.125)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaks_off()
    assert facts(theirs(path))[-1][2] == [0.125]


def test_an_incomplete_line_is_read_once_it_is_complete(tmp_path):
    path = tmp_path / "journal"
    study = searched(ours(path))
    whole = path.read_bytes()
    optuna.load_study(study_name=NAME, storage=theirs(path)).set_user_attr("note", "half")
    line = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + line[:10])
    assert "note" not in study.user_attrs
    path.write_bytes(whole + line)
    assert study.user_attrs["note"] == "half"


FULL = """
import resource, signal, sys
from pathlib import Path

import optuna
from optuna.storages import JournalStorage

from search.optuna_journal.backend import JournalFile

path = Path(sys.argv[1])
backend = JournalFile(path)
study = optuna.load_study(study_name="study", storage=JournalStorage(backend))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, resource.RLIM_INFINITY))
try:
    with backend.batch_writes():
        study.tell(study.ask(), 0.5)
except OSError as error:
    print("said", error.errno)
"""


def test_a_full_disk_leaves_the_file_unchanged(tmp_path):
    path = tmp_path / "journal"
    searched(ours(path))
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, path], capture_output=True, text=True, cwd=os.getcwd(), timeout=240, check=False
    )
    assert done.stdout.startswith("said "), done.stderr
    assert path.read_bytes() == before
    study = optuna.load_study(study_name=NAME, storage=ours(path))
    study.tell(study.ask(), 0.25)
    assert facts(theirs(path))[-1][2] == [0.25]
