"""Lock a results folder: one writer at a time, and the lock of a dead process does not count."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search.results.folder.lock import LockedError, is_locked, locked

ROOT = Path(__file__).parents[3]
HOLDS = "import sys, time; from pathlib import Path; from search.results.folder.lock import locked\n" + (
    "with locked(Path(sys.argv[1])):\n    print('holds', flush=True)\n    time.sleep(60)"
)


@pytest.fixture
def owner(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "holds\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_writer_is_told_who_the_first_is(tmp_path, owner):
    with (
        pytest.raises(LockedError, match=rf"{tmp_path}: is written by process {owner.pid} on ") as refused,
        locked(tmp_path),
    ):
        pass
    assert str(refused.value).isprintable()
    assert is_locked(tmp_path)


def test_the_lock_of_a_process_that_was_killed_is_none(tmp_path, owner):
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert (tmp_path / "lock").exists()
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_an_owner_that_cannot_be_read_is_another_process(tmp_path, owner, content):
    (tmp_path / "lock.json").write_text(content)
    with pytest.raises(LockedError, match="is written by another process"), locked(tmp_path):
        pass


def test_a_folder_is_locked_while_it_is_renamed(tmp_path):
    made, name = tmp_path / ".made", tmp_path / "name"
    made.mkdir()
    with locked(made, becomes=name):
        made.rename(name)
        held_by = subprocess.run([sys.executable, "-c", HOLDS, name], cwd=ROOT, capture_output=True, text=True)
        assert f"process {os.getpid()} on" in held_by.stderr
    assert list(name.iterdir()) == []


def test_a_folder_that_nobody_wrote_is_not_held(tmp_path):
    assert not is_locked(tmp_path)
    (tmp_path / "lock").touch()
    assert not is_locked(tmp_path)
