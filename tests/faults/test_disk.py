"""Run studies on a disk that is full, read-only or removed, and without free file handles."""

import contextlib
import errno
import json
import os
import resource
import shutil
import subprocess

import pytest
import studies
from studies import GRID, until

from search.common.disk import check_present, disk_error_reason, disk_error_remedy
from search.results.event_log import read_log

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@contextlib.contextmanager
def disk(folder, options):
    """A small disk of its own."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this process may not mount a disk ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=os.path.ismount(folder))


def fill(folder, but, name="filled"):
    """Leave only so many bytes."""
    with (folder / name).open("wb", buffering=0) as file:
        while (free := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize) > but:
            with contextlib.suppress(OSError):  # the study took some of it meanwhile
                file.write(bytes(free - but))


@pytest.mark.parametrize("after", [2, pytest.param(12, marks=pytest.mark.nightly)])
def test_a_disk_that_fills_ends_a_study_cleanly_and_with_room_it_goes_on(tmp_path, after):
    path = studies.write(tmp_path, GRID, scheduler={"max_epochs": 20, "grace_period": 20})
    with disk(tmp_path / "disk", "size=8m") as small:
        folder = small / "grid"
        process = studies.begin(path, "--output", small, "--quiet")
        until(lambda: studies.ended(folder) >= after, process)
        fill(small, 4096)
        out, err = studies.finish(process, 1)
        assert f"{folder}: cannot be written (No space left on device)" in err
        assert f"--resume {folder}" in err
        assert len(err.splitlines()) == 1
        ends = read_log(folder / "trials.jsonl").ends  # whole, whatever was being written
        assert len(ends) >= after
        json.loads((folder / "manifest.json").read_text())
        assert "Traceback" not in out

        fill(small, 0, "more")
        process = studies.begin("--resume", folder, "--quiet")  # there is still no room but what its caches had
        _, err = process.communicate(timeout=studies.PATIENCE)
        assert process.returncode in (1, 2)
        assert "cannot be written (No space left on device)" in err
        assert len(err.splitlines()) == 1

        (small / "filled").unlink()
        (small / "more").unlink()
        studies.run("--resume", folder, "--quiet")
        studies.assert_whole(folder, 12)
        again = {end.trial_id: end for end in read_log(folder / "trials.jsonl").ends}
        assert all(again[end.trial_id] == end for end in ends if end.status in ("default", "complete"))


def test_a_full_disk_is_noticed_before_the_start_and_nothing_is_left_there(tmp_path):
    path = studies.write(tmp_path, GRID)
    with disk(tmp_path / "disk", "size=64k") as small:
        _, err = studies.run(path, "--output", small, "--quiet", code=2)
        assert f"{small / 'grid'}: cannot be written (No space left on device); " in err
        assert len(err.splitlines()) == 1
        assert list(small.iterdir()) == []


def test_a_folder_that_is_read_only_is_noticed_before_the_start(tmp_path):
    path = studies.write(tmp_path, GRID)
    with disk(tmp_path / "disk", "size=1m,ro") as small:
        _, err = studies.run(path, "--output", small, "--quiet", code=2)
        assert "cannot be written (Read-only file system)" in err
        assert len(err.splitlines()) == 1


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)  # the study writes into it meanwhile
    shutil.rmtree(folder, ignore_errors=True)


def replace(folder):
    folder.rename(folder.with_name("moved"))
    folder.write_text("kept")


def move(folder):
    folder.rename(folder.with_name("moved"))


def unmount(folder):
    subprocess.run(["umount", "-l", folder.parent], check=True)


@pytest.mark.parametrize(
    ("vanish", "why"),
    [(remove, "No such file or directory"), (move, "No such file or directory"), (replace, "Not a directory"),
     pytest.param(unmount, "No such file or directory", marks=pytest.mark.nightly)],
)  # fmt: skip
def test_a_folder_that_disappears_ends_a_study_in_one_line(tmp_path, vanish, why):
    path = studies.write(tmp_path, GRID, scheduler={"max_epochs": 40, "grace_period": 40}, search={"finalists": 1})
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(disk(tmp_path / "disk", "size=30m")) if vanish is unmount else tmp_path
        folder = place / "grid"
        process = studies.begin(path, "--output", place, "--quiet")
        until(lambda: studies.ended(folder) >= 2, process)
        vanish(folder)
        out, err = studies.finish(process, 1)
        lines = [f"{folder}: cannot be written ({why}); "]
        if vanish is remove:  # the study may write when its files are gone and its folder is not yet
            lines.append(f"{folder / 'trials.jsonl'}: was changed by another process, or moved, ")
        assert err.startswith(tuple(lines))
        assert len(err.splitlines()) == 1, err
        assert "Traceback" not in out
    assert not (folder / "manifest.json").exists()  # no husk of a study stands in its place
    if vanish is move:
        moved = folder.with_name("moved")
        assert len(read_log(moved / "trials.jsonl").ends) >= 2
        studies.run("--resume", moved, "--quiet", "--set", "search.finalists=0")
        studies.assert_whole(moved, 12)


def test_a_study_without_file_handles_left_ends_in_one_line(tmp_path):
    path = studies.write(tmp_path, GRID, scheduler={"max_epochs": 40, "grace_period": 40})
    folder = tmp_path / "grid"
    process = studies.begin(path, "--output", tmp_path, "--quiet")
    until(lambda: studies.ended(folder) >= 2, process)
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    handles = len(os.listdir(f"/proc/{process.pid}/fd"))
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (handles - 6, hard))  # those that are open stay open
    _, err = studies.finish(process, 1)
    assert err.startswith(f"{folder}: cannot be written (Too many open files); ")
    assert "ulimit -n" in err
    assert len(err.splitlines()) == 1, err
    assert json.loads((folder / "manifest.json").read_text())["failure"]
    assert len(read_log(folder / "trials.jsonl").ends) >= 2


@pytest.mark.nightly
@pytest.mark.ray
def test_256_file_handles_are_enough(tmp_path):
    path = studies.write(tmp_path, GRID, search={"finalists": 1, "finalist_seeds": 1})
    process = studies.begin(
        path, "--output", tmp_path, "--quiet",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)), ray=True
    )  # fmt: skip
    _, err = studies.finish(process)
    assert err == ""
    studies.assert_whole(tmp_path / "grid", 12)


PATHLESS = ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EFBIG", "ESTALE", "EMFILE", "ENFILE")
OF_A_PATH = (
    "ENOENT", "ENOTDIR", "EACCES", "EPERM", "ENODEV", "ENXIO", "ENOTCONN", "ETIMEDOUT", "ELOOP", "EHOSTDOWN",
    "EHOSTUNREACH",
)  # fmt: skip


@pytest.mark.parametrize("name", [*PATHLESS, *OF_A_PATH])
def test_an_error_is_of_the_disk_where_its_path_is_of_the_folder(tmp_path, name):
    number = getattr(errno, name)
    folder, why = tmp_path / "s", os.strerror(number)
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    for path in (folder, folder / "a" / "b", str(folder / "a"), os.fsencode(folder / "a"), os.path.relpath(folder)):
        assert disk_error_reason(OSError(number, "x", path), folder) == why
        assert disk_error_reason(OSError(number, "x", tmp_path / "other", None, path), folder) == why
    assert disk_error_reason(OSError(number, "x", folder / "a"), tmp_path / "link") == why
    for path in (tmp_path, tmp_path / "s2", tmp_path / "s" / ".." / "t", "/etc/x"):
        assert disk_error_reason(OSError(number, "x", path), folder) is None
    assert disk_error_reason(OSError(number, "x"), folder) == (why if name in PATHLESS else None)
    wrapped = ValueError("x")
    wrapped.__cause__ = RuntimeError("x")
    wrapped.__cause__.__context__ = OSError(number, "x", folder / "a")
    assert disk_error_reason(wrapped, folder) == why
    remedies = ("free some space", "restore the folder", "make it writable", "allow more open files (ulimit -n)")
    assert disk_error_remedy(why) in remedies


def test_what_arrow_says_of_the_disk_in_words_is_understood(tmp_path):
    assert disk_error_reason(
        OSError("error reading bytes. Detail: [errno 5] Input/output error"), tmp_path
    ) == os.strerror(5)
    gone = f"Failed to open local file '{tmp_path}/x'. Detail: [errno 2] No such file or directory"
    assert disk_error_reason(OSError(gone), tmp_path) == os.strerror(2)
    assert disk_error_reason(OSError(gone.replace("/x", "").replace(str(tmp_path), "/etc")), tmp_path) is None
    assert disk_error_reason(OSError("no number"), tmp_path) is None


def test_whatever_went_wrong_a_folder_that_is_gone_explains_it(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    assert disk_error_reason(KeyError("x"), folder) is None
    assert list(folder.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        check_present(folder)
    (folder / "manifest.json").touch()
    check_present(folder)
    shutil.rmtree(folder)
    assert disk_error_reason(KeyError("x"), folder) == "No such file or directory"
    folder.touch()
    assert disk_error_reason(KeyError("x"), folder) == "Not a directory"
    with pytest.raises(NotADirectoryError):
        check_present(folder)
