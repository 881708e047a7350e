"""Send signals to a study, close its terminal or its output, and start a second writer."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time

import pytest
import studies
from studies import GRID, until

from search.results.event_log import read_log
from search.terminal.progress import STOPPING
from search.terminal.tty import ABORT_MESSAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LONG = {  # trials long enough to be met while they run
    "space": {"sequence_length": [5]},
    "scheduler": {"max_epochs": 150, "grace_period": 150},
}


def test_a_hangup_ends_a_study_cleanly_and_it_goes_on(tmp_path):
    process = studies.begin(
        studies.write(tmp_path, GRID, **LONG), "--output", tmp_path, "--quiet",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests may run under nohup themselves
    )  # fmt: skip
    folder = tmp_path / "grid"
    until(lambda: studies.ended(folder) >= 1, process)
    process.send_signal(signal.SIGHUP)
    out, _ = studies.finish(process, 130)
    assert "Interrupted after" in out
    ends = read_log(folder / "trials.jsonl").ends
    before = {end.trial_id: end.scores for end in ends if end.status in ("default", "complete")}
    assert {end.status for end in ends} <= {
        "default",
        "complete",
        "interrupted",
    }  # between two trials, none is interrupted
    assert 1 <= len(before) < 4
    assert studies.manifest(folder)["interrupted"]
    assert not studies.manifest(folder)["test_openings"]
    assert all(trial.state.is_finished() for trial in studies.journal(folder))

    out, _ = studies.run("--resume", folder, "--quiet")
    studies.assert_whole(folder, 4)
    assert f"4 trials ({len(before)} before the resume)" in out
    after = {end.trial_id: end.scores for end in read_log(folder / "trials.jsonl").ends}
    assert before.items() <= after.items()


@pytest.mark.nightly
@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(tmp_path, number):
    """The last line is about it: no summary of the study follows."""
    folder, errors = tmp_path / "grid", tmp_path / "errors"
    with errors.open("w") as file:
        process = studies.begin(
            studies.write(tmp_path, GRID, **LONG), "--output", tmp_path, ray=True, stderr=file
        )  # fmt: skip
    until(lambda: studies.ended(folder) >= 1, process)
    process.send_signal(number)
    until(lambda: STOPPING in errors.read_text(), process)
    process.send_signal(number)
    out, _ = process.communicate(timeout=studies.PATIENCE)
    assert process.returncode == 130
    assert "Interrupted after" not in out
    assert errors.read_text().splitlines()[-1] == ABORT_MESSAGE
    studies.run("--resume", folder, "--quiet")
    studies.assert_whole(folder, 4)


def in_a_terminal(*arguments):
    """A study that a terminal of its own controls, and the end of that terminal that is ours."""
    ours, theirs = pty.openpty()

    def take() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "search.run", *map(str, arguments)], cwd=studies.ROOT, stdin=theirs, stdout=theirs,
        stderr=theirs, preexec_fn=take, env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )  # fmt: skip
    os.close(theirs)
    os.set_blocking(ours, False)
    return process, ours


def shown(ours):
    """What the terminal has been shown since this was last asked."""
    text = b""
    with contextlib.suppress(OSError):
        while part := os.read(ours, 65536):
            text += part
    return text.decode(errors="replace")


@pytest.mark.parametrize(
    ("after", "options"),
    [pytest.param(0, (), marks=[pytest.mark.ray, pytest.mark.nightly]), pytest.param(2, ("--in-process",))],
)
def test_a_terminal_that_is_closed_does_not_end_a_study(tmp_path, after, options):
    process, ours = in_a_terminal(studies.write(tmp_path, GRID), "--output", tmp_path, *options)
    folder = tmp_path / "grid"
    if after:
        until(lambda: shown(ours) is not None and studies.ended(folder) >= after, process)
    else:
        time.sleep(3)  # while Ray starts
        shown(ours)
    assert process.poll() is None
    os.close(ours)
    assert process.wait(timeout=studies.PATIENCE) == 0
    studies.assert_whole(folder, 12)
    assert not studies.manifest(folder)["interrupted"]


@pytest.mark.ray
def test_control_c_in_a_terminal_ends_it_cleanly_though_ray_hears_it_too(tmp_path):
    process, ours = in_a_terminal(studies.write(tmp_path, GRID, **LONG), "--output", tmp_path)
    folder = tmp_path / "grid"
    until(lambda: shown(ours) is not None and studies.ended(folder) >= 1, process)
    os.write(ours, b"\x03")
    said = ""
    while process.poll() is None:
        said += shown(ours)
        time.sleep(0.05)
    said += shown(ours)
    os.close(ours)
    assert process.returncode == 130
    assert "Interrupted after" in said
    assert "Traceback" not in said
    assert "worker died" not in said
    statuses = {end.status for end in read_log(folder / "trials.jsonl").ends}
    assert {"interrupted"} < statuses <= {"default", "complete", "interrupted"}


def test_a_reader_that_goes_away_ends_no_study(tmp_path):
    process = studies.begin(
        studies.write(tmp_path, GRID), "--output", tmp_path, stderr=subprocess.STDOUT, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()  # as `| head -1` does
    assert process.wait(timeout=studies.PATIENCE) == 0
    studies.assert_whole(tmp_path / "grid", 12)


def test_a_folder_has_one_writer_and_the_lock_of_a_dead_one_is_no_lock(tmp_path):
    process = studies.begin(studies.write(tmp_path, GRID, **LONG), "--output", tmp_path, "--quiet")
    folder = tmp_path / "grid"
    until(lambda: studies.ended(folder) >= 1, process)
    process.send_signal(signal.SIGSTOP)  # it is alive, and does not end before the other one starts
    _, err = studies.run("--resume", folder, "--quiet", code=2)
    assert f"{folder}: is written by process {process.pid} on " in err
    assert len(err.splitlines()) == 1
    studies.kill(process)
    assert json.loads((folder / "lock.json").read_text())["pid"] == process.pid  # of a dead process
    if not (folder / "study.journal.lock").is_symlink():
        (folder / "study.journal.lock").symlink_to("study.journal")  # Optuna's, as if it died while it wrote
    studies.run("--resume", folder, "--quiet")
    studies.assert_whole(folder, 4)


def test_of_two_studies_of_one_name_one_is_refused(tmp_path):
    path = studies.write(tmp_path, GRID)
    both = [studies.begin(path, "--output", tmp_path, "--quiet") for _ in range(2)]
    results = [process.communicate(timeout=studies.PATIENCE) for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    [refused] = [err for process, (_, err) in zip(both, results, strict=True) if process.returncode == 2]
    assert f"{tmp_path / 'grid'}" in refused
    assert "choose another name" in refused
    assert len(refused.splitlines()) == 1
    studies.assert_whole(tmp_path / "grid", 12)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["grid", "grid.yaml"]
