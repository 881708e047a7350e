"""A disk that fills while a study runs, or that cannot be written from the start."""

import contextlib
import json
import os
import subprocess

import pytest
import studies
from studies import GRID, until

from search.record import read_ends

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


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
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder, but, name="filled"):
    """Leave only so many bytes."""
    with (folder / name).open("wb", buffering=0) as file:
        while (free := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize) > but:
            with contextlib.suppress(OSError):  # the study took some of it meanwhile
                file.write(bytes(free - but))


@pytest.mark.parametrize("after", [2, 12])
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
        ends = read_ends(folder / "trials.jsonl")  # whole, whatever was being written
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
        again = {end.trial_id: end for end in read_ends(folder / "trials.jsonl")}
        assert all(again[end.trial_id] == end for end in ends if end.status == "complete")


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
