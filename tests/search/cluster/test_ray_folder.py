"""The private folder of a Ray of our own: who may enter it, where it lies, and that it goes."""

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
    """A folder for temporary files with a path that is short enough; pytest's is not."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_it_is_for_this_user_alone_and_goes_with_all_that_is_in_it(base, umask):
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


def test_it_goes_where_an_error_or_an_interrupt_ends_the_study_too(base):
    with pytest.raises(KeyboardInterrupt), private_folder():
        raise KeyboardInterrupt
    assert list(base.iterdir()) == []


def holder():
    """A process that has a folder, and that folder."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD], cwd=ROOT, **pipes)
    return process, Path(process.stdout.readline().strip())


def test_a_killed_studys_folder_goes_at_the_next_start_and_a_living_ones_stays(base):
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


def test_what_is_not_ours_for_certain_stays(base):
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
def test_a_folder_that_cannot_serve_is_passed_over(base, monkeypatch, name, kind):
    bad = base / {"long": "x" * 100}.get(kind, "x")
    if kind == "file":
        bad.touch()
    elif kind != "nowhere":
        bad.mkdir()
    if kind == "open to all":  # whoever may rename what is in it may put something else in its place
        bad.chmod(0o777)
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv(name, str(bad))
    with private_folder() as folder:
        assert bad not in folder.parents
        longest = folder / "r/session_2026-11-27_07-33-23_121295_4194304/sockets/plasma_store"
        assert len(os.fsencode(longest)) <= 107  # of a Unix socket's path, on Linux


def test_where_no_folder_serves_one_line_says_so(monkeypatch):
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
def test_processes_that_write_there_end_and_those_that_read_do_not(base):
    (base / "log").touch()
    with (base / "log").open("w") as out, (base / "log").open() as into:
        writes, reads = (subprocess.Popen(["sleep", "100"], **each) for each in ({"stdout": out}, {"stdin": into}))
    end_processes(base)
    assert writes.wait(timeout=60) == -9
    assert reads.poll() is None
    reads.kill()
    reads.wait()
