"""Test the private folder of a local Ray: permissions, location, removal."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from search.cluster import ray_folder
from search.cluster.ray_folder import FolderError, end_processes, private_folder

ROOT = Path(__file__).parents[3]
HOLD = """
from search.cluster.ray_folder import private_folder
with private_folder() as folder:
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def base(monkeypatch):
    """A temporary folder with a short path; the path of pytest's is too long."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_it_is_private_and_is_removed_with_its_content(base, umask):
    before = os.umask(umask)
    try:
        with private_folder() as folder:
            os.umask(before)
            assert folder.parent == base
            assert mode(folder) == 0o700
            (folder / "r").mkdir()
            (folder / "r" / "log").touch()
    finally:
        os.umask(before)
    assert list(base.iterdir()) == []


def test_it_is_removed_after_an_error(base):
    with pytest.raises(KeyboardInterrupt), private_folder():
        raise KeyboardInterrupt
    assert list(base.iterdir()) == []


def holder():
    """Start a process that has a folder; return both."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD], cwd=ROOT, **pipes)
    return process, Path(process.stdout.readline().strip())


def test_the_next_start_removes_the_folder_of_a_killed_study_only(base):
    (dead, left), (alive, used) = holder(), holder()
    assert left != used
    dead.kill()
    dead.communicate()
    assert left.exists()
    with private_folder() as folder:
        assert {*base.iterdir()} == {folder, used}
    alive.communicate("\n")
    assert alive.returncode == 0
    assert list(base.iterdir()) == []


def test_other_folders_are_not_removed(base):
    elsewhere = base / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "kept").touch()
    (base / "stockrnn-linklink").symlink_to(elsewhere)
    (base / "stockrnn-filefile").touch(mode=0o700)
    (base / "stockrnn-of-a-name-of-its-own").mkdir(mode=0o700)
    (base / "stockrnn-openopen").mkdir()
    (base / "stockrnn-openopen").chmod(0o755)
    if os.geteuid() == 0:
        (base / "stockrnn-stranger").mkdir(mode=0o700)
        os.chown(base / "stockrnn-stranger", 12345, 12345)
    leftover = base / "stockrnn-leftover"
    leftover.mkdir(mode=0o700)
    (leftover / "link").symlink_to(elsewhere)
    before = set(base.iterdir())
    with private_folder():
        pass
    assert set(base.iterdir()) == before - {leftover}
    assert (elsewhere / "kept").exists()


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
@pytest.mark.parametrize("kind", ["nowhere", "long", "file", "open to all"])
def test_an_unsuitable_folder_is_skipped(base, monkeypatch, name, kind):
    bad = base / {"long": "x" * 100}.get(kind, "x")
    if kind == "file":
        bad.touch()
    elif kind != "nowhere":
        bad.mkdir()
    if kind == "open to all":  # other users could rename the folder in it, and replace it
        bad.chmod(0o777)
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv(name, str(bad))
    with private_folder() as folder:
        assert bad not in folder.parents
        longest = folder / "r/session_2026-11-27_07-33-23_121295_4194304/sockets/plasma_store"
        assert len(os.fsencode(longest)) <= 107  # of a Unix socket's path, on Linux


def test_without_a_suitable_folder_the_error_is_one_line(monkeypatch):
    for name in ("RAY_TMPDIR", "TMPDIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ray_folder, "SYSTEM_FOLDERS", ("/nowhere",))
    with (
        pytest.raises(FolderError, match=r"no folder is suitable for .* name one in RAY_TMPDIR$") as caught,
        private_folder(),
    ):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc")
def test_only_processes_that_write_there_are_killed(base):
    (base / "log").touch()
    with (base / "log").open("w") as out, (base / "log").open() as into:
        writes, reads = (subprocess.Popen(["sleep", "100"], **each) for each in ({"stdout": out}, {"stdin": into}))
    end_processes(base)
    assert writes.wait(timeout=240) == -9
    assert reads.poll() is None
    reads.kill()
    reads.wait()
