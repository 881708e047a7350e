"""Refuse results folders that reach outside themselves: symbolic and hard links, pipes, ids that are paths."""

import json
import os
import shutil
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from search import leaderboard, run
from search.common.errors import DamagedError
from search.report import writer as report
from search.results.folder.links import MAX_DEPTH, check_folder
from search.results.predictions import Predictions
from search.space.space import load_space
from search.study.study import _Study
from search.tune.optuna_searcher import OptunaSearcher
from stockrnn import forecast
from stockrnn.dataset.alignment import prepare

pytestmark = pytest.mark.slow

FILES = (
    "manifest.json", "space.yaml", "prices.parquet", "trials.jsonl", "study.journal", "leaderboard.csv", "report.html",
    "lock", "lock.json", "predictions.parquet/.stream.arrows", "predictions.parquet/part-00000.parquet",
    "predictions.parquet/.part-00001.parquet", "leaderboard.part", "report.4711.part",
    "checkpoints/00000/000000001.safetensors", "forecasters/1/forecaster.json", "forecasters/1/model.safetensors",
    "wandb/debug.log", "tensorboard/study/events", "notes.txt",
)  # fmt: skip
FOLDERS = (
    "checkpoints", "checkpoints/00000", "predictions.parquet", "forecasters", "forecasters/1", "ray", "wandb",
    "tensorboard", "tensorboard/00000", "mine",
)  # fmt: skip


@pytest.fixture
def study(finished, tmp_path):
    """A copy of it, as it was received."""
    return Path(shutil.copytree(finished, tmp_path / "results" / "s"))


@pytest.fixture
def canaries(tmp_path):
    """What lies outside: a folder with a file of every name that a study writes or removes."""
    outside = tmp_path / "outside"
    for name in ("file", "000000001.safetensors", "part-00000.parquet", ".part-00001.parquet", ".stream.arrows",
                 "00000/000000001.safetensors", "1/forecaster.json", "experiment_state-1.json"):  # fmt: skip
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_text("kept")
    return outside


@pytest.fixture(autouse=True)
def signals():
    """The command line's handlers do not outlive a test."""
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


def seen(folder):
    """All that is there: kind, time and content of each."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found


def resume(study):
    return run.main(["--resume", str(study), "--quiet", "--force"])


def put(study, name, target):
    """A link in the place of a study's file or folder."""
    path = study / name
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def refused(capsys, command, study, name):
    """A command refuses a folder in one line that names the path."""
    code = command(study)
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), (code, out, err)
    assert err.count("\n") == 1, err
    assert err.startswith(f"{study / name}: "), err
    return err


def test_a_study_that_was_received_goes_on_also_through_a_link_to_its_folder(study, tmp_path, capsys):
    (study / "ray" / "below").mkdir(parents=True)
    (study / "ray" / "link").symlink_to(tmp_path)
    (study / "study.journal.lock").symlink_to(study / "study.journal")  # what a kill within leaves
    (study / "wandb" / "run-1").mkdir(parents=True)
    (study / "wandb" / "latest-run").symlink_to("run-1")
    (tmp_path / "elsewhere").symlink_to(study)
    for place in (study, tmp_path / "elsewhere"):
        assert resume(place) == 0
        assert report.main([str(place)]) == 0
        assert capsys.readouterr().err == ""
    assert (study / "report.html").stat().st_size > 10_000
    assert not (study / "ray").exists()


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
def test_a_link_in_a_received_folder_leads_nowhere(study, canaries, capsys, name):
    put(study, name, canaries if name in FOLDERS else canaries / "file")
    before, inside = seen(canaries), seen(study)
    assert " is a link to " in refused(capsys, resume, study, name)
    assert " is a link to " in refused(capsys, lambda study: report.main([str(study)]), study, name)
    assert " is a link to " in refused(
        capsys, lambda study: report.main([str(study), str(study), "--output", str(study / "both.html")]), study, name
    )
    assert leaderboard.main([str(study)]) in (0, 2)
    assert forecast.main([str(study)]) == 2  # it has no forecaster
    assert "Traceback" not in capsys.readouterr().err
    assert seen(canaries) == before
    assert seen(study) == inside


@pytest.mark.parametrize("name", ["trials.jsonl", "study.journal", "lock"])
def test_a_file_that_is_written_in_place_has_no_second_name(study, canaries, capsys, name):
    (study / name).unlink(missing_ok=True)
    os.link(canaries / "file", study / name)
    before = seen(canaries)
    assert "hard links" in refused(capsys, resume, study, name)
    assert "hard links" in refused(capsys, lambda study: report.main([str(study)]), study, name)
    assert seen(canaries) == before


@pytest.mark.parametrize(
    "name", ["leaderboard.csv", "report.html", "manifest.json", "space.yaml", "lock.json", "leaderboard.part",
             "predictions.parquet/part-00000.parquet", "predictions.parquet/.stream.arrows"]
)  # fmt: skip
def test_a_file_that_is_replaced_may_have_a_second_name_which_stays_as_it_is(study, tmp_path, capsys, name):
    if not (study / name).exists():
        (study / name).write_text("kept")
    other = tmp_path / "other"
    os.link(study / name, other)  # as a backup makes it
    before = seen(other)
    assert resume(study) == 0
    assert capsys.readouterr().err == ""
    assert seen(other) == before


def test_forecasts_are_not_written_through_a_hard_link(finished, tmp_path):
    space = load_space(str(finished / "space.yaml"))
    prices = prepare(space.data)
    splits = space.split(prices)
    folder = tmp_path / "predictions.parquet"
    folder.mkdir()
    (tmp_path / "canary").write_text("kept")
    os.link(tmp_path / "canary", folder / ".stream.arrows")
    predictions = Predictions(folder, space.task, space.series(prices))
    predictions.validation("00000", splits.folds, np.full(200, 5000.0))
    predictions.flush()
    assert (tmp_path / "canary").read_text() == "kept"


@pytest.mark.parametrize("name", ["trials.jsonl", "lock", "report.html", "ray", "checkpoints/00000", "notes"])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_refused(study, capsys, monkeypatch, name, kind):
    path = study / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        monkeypatch.chdir(path.parent)  # a socket's path is short
        with socket.socket(socket.AF_UNIX) as own:
            own.bind(path.name)
    assert f"is a {kind};" in refused(capsys, resume, study, name)
    assert f"is a {kind};" in refused(capsys, lambda study: report.main([str(study)]), study, name)


@pytest.mark.parametrize(
    "name", ["trials.jsonl", "lock", "lock.json", "study.journal", "study.journal.lock", "report.html",
             "leaderboard.csv", "predictions.parquet/part-00000.parquet", "predictions.parquet/.stream.arrows"]
)  # fmt: skip
def test_a_folder_in_the_place_of_a_file_is_refused(study, capsys, name):
    (study / name).unlink(missing_ok=True)
    (study / name / "below").mkdir(parents=True)
    assert "is a folder" in refused(capsys, resume, study, name)


@pytest.mark.parametrize("name", ["checkpoints", "forecasters", "predictions.parquet", "ray"])
def test_a_file_in_the_place_of_a_folder_is_refused(study, capsys, name):
    shutil.rmtree(study / name, ignore_errors=True)
    (study / name).write_text("kept")
    assert "is a file" in refused(capsys, resume, study, name)


def test_a_link_of_weights_and_biases_leads_down_only(study, canaries, capsys):
    (study / "wandb").mkdir()
    for target in ("../manifest.json", "run/../../x", str(canaries), str(study / "wandb")):
        (study / "wandb" / "latest-run").symlink_to(target)
        assert "is a link" in refused(capsys, resume, study, "wandb/latest-run")
        (study / "wandb" / "latest-run").unlink()


def test_a_folder_without_end_is_refused_quickly(tmp_path, monkeypatch):
    deep = tmp_path / "deep"
    (deep / Path(*["x"] * (MAX_DEPTH + 2))).mkdir(parents=True)
    with pytest.raises(DamagedError, match="nested too deeply"):
        check_folder(deep)
    wide = tmp_path / "wide"
    wide.mkdir()
    for number in range(20):
        (wide / str(number)).touch()
    check_folder(wide)
    monkeypatch.setattr("search.results.folder.links.MAX_ENTRIES", 19)
    with pytest.raises(DamagedError, match="holds over 19 files"):
        check_folder(wide)


INVENTED = ["../../outside", "..", "/etc", "00000/..", "a", "", "1", "٠٠٠٠٠", "00000\n", "0" * 300]


@pytest.mark.parametrize("name", INVENTED)
def test_an_invented_id_becomes_no_path(study, canaries, capsys, name):
    end = {"event": "end", "trial_id": name, "time": "2026-01-01T00:00:00+00:00", "status": "failed", "point": {}}
    with (study / "trials.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(end) + "\n")
    (study / "checkpoints").mkdir()
    before = seen(canaries)
    assert resume(study) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(f"{study / 'trials.jsonl'}:")
    assert seen(canaries) == before


@pytest.mark.parametrize("name", [*INVENTED, 7, ["00000"], None])
def test_an_id_that_only_the_journal_knows_becomes_no_path(finished, tmp_path, name):
    space = load_space(str(finished / "space.yaml"))
    first = OptunaSearcher(space, tmp_path / "study.journal")
    first.study.ask().set_user_attr("trial_id", name)
    again = OptunaSearcher(space, tmp_path / "study.journal")
    assert "in place of a trial id" in again.notes[0]
    assert again.suggest("x")["trial_id"] == "00000"


@pytest.mark.parametrize("name", ["../../outside", "/tmp/x", "a/b", "..", "x" * 200])
def test_a_name_in_the_test_blocks_scores_becomes_no_path(study, capsys, name):
    manifest = json.loads((study / "manifest.json").read_text())
    manifest["test_openings"] = [{"scores": {name: {"test_rmse": 1.0}}}]
    (study / "manifest.json").write_text(json.dumps(manifest))
    assert "is neither a trial nor a baseline" in refused(capsys, resume, study, "manifest.json")


def test_the_id_of_a_trial_that_ended_is_checked_once_more_before_its_folder_is_removed(canaries):
    with pytest.raises(AssertionError):
        _Study._delete_checkpoints(
            SimpleNamespace(_context=SimpleNamespace(mirror=None), _checkpoints=canaries.parent / "checkpoints"),
            "../outside",
        )
    assert (canaries / "file").exists()
