"""Run studies in unusual conditions: two at once, a read-only home, a moved folder, a changed clock, many trials."""

import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
import studies
from studies import FINALIST, GRID, until
from test_disk import disk, fill
from tiers import count

from search.results.event_log import read_log

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SMALL = {**GRID, "space": {"architecture": ["rnn", "gru"], "hidden_size": [4, 16], "sequence_length": [5]}}
TRIALS = 4
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
static volatile long long *shift;
__attribute__((constructor)) static void attach(void) {
    int file = getenv("CLOCK_SHIFT") ? open(getenv("CLOCK_SHIFT"), O_RDONLY) : -1;
    void *found = file < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) shift = found;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    if (!code && shift && clock == CLOCK_REALTIME) now->tv_sec += *shift;
    return code;
}
"""  # the wall clock plus the seconds in a file, for all processes that load it


@pytest.mark.nightly
@pytest.mark.ray
def test_two_studies_at_once_do_not_meet(tmp_path):
    """Each with a Ray of its own; neither sees the other's workers, token or folder."""
    both = []
    for name in ("one", "two"):
        path = studies.write(tmp_path, {**SMALL, "name": name}, search=FINALIST)
        both.append(studies.begin(path, "--output", tmp_path, "--quiet", ray=True))
    for process in both:
        studies.finish(process)
    for name in ("one", "two"):
        studies.assert_whole(tmp_path / name, TRIALS)
    studies.assert_equal(studies.leaderboard(tmp_path / "one"), studies.leaderboard(tmp_path / "two"))


@pytest.mark.nightly
@pytest.mark.ray
def test_a_home_that_cannot_be_written_is_one_line_and_with_a_token_no_obstacle(tmp_path):
    """Root may write anywhere, so it is a disk that is read-only."""
    arguments = [studies.write(tmp_path, SMALL), "--output", tmp_path, "--quiet"]
    with disk(tmp_path / "home", "size=1m,ro") as home:
        env = {"HOME": str(home), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "XDG_RUNTIME_DIR": ""}
        _, err = studies.run(*arguments, env=env, code=2, ray=True)
        [line] = err.splitlines()
        assert "auth_token: cannot be used (Read-only file system)" in line
        assert "RAY_AUTH_TOKEN_PATH" in line
        assert not (tmp_path / "grid").exists()
        studies.run(*arguments, env={**env, "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}, ray=True)
    studies.assert_whole(tmp_path / "grid", TRIALS)


def test_a_study_that_was_moved_goes_on_where_it_is(tmp_path):
    longer = {"scheduler": {"max_epochs": 60, "grace_period": 60}}
    process = studies.begin(studies.write(tmp_path, SMALL, **longer), "--output", tmp_path, "--quiet")
    until(lambda: studies.ended(tmp_path / "grid") >= 1, process)
    studies.kill(process, group=True)
    (tmp_path / "elsewhere").mkdir()
    folder = Path(shutil.move(tmp_path / "grid", tmp_path / "elsewhere" / "renamed"))
    studies.run("--resume", folder, "--quiet")
    studies.assert_whole(folder, TRIALS)
    assert not (tmp_path / "grid").exists()


@pytest.mark.nightly
@pytest.mark.ray
def test_a_driver_that_was_stopped_for_a_while_goes_on(tmp_path):
    longer = {"scheduler": {"max_epochs": 60, "grace_period": 60}}
    process = studies.begin(studies.write(tmp_path, SMALL, **longer), "--output", tmp_path, "--quiet", ray=True)
    until(lambda: studies.ended(tmp_path / "grid") >= 1, process)
    process.send_signal(signal.SIGSTOP)  # the driver alone, as by Ctrl-Z; Ray goes on meanwhile
    time.sleep(count("STOPPED", 5))
    process.send_signal(signal.SIGCONT)
    studies.finish(process)
    studies.assert_whole(tmp_path / "grid", TRIALS)


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.ray
def test_a_clock_that_is_set_back_does_no_harm(tmp_path):
    """An hour back in mid-study, in all of its processes, for the wall clock alone, as `date -s` or NTP does it."""
    library, shift = tmp_path / "clock.so", tmp_path / "shift"
    build = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(build, input=CLOCK, text=True, check=True)
    shift.write_bytes(struct.pack("q", 0))
    env = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}
    longer = {"scheduler": {"max_epochs": 60, "grace_period": 60}}
    path = studies.write(tmp_path, SMALL, search=FINALIST, **longer)
    process = studies.begin(path, "--output", tmp_path, "--quiet", env=env, ray=True)
    folder = tmp_path / "grid"
    until(lambda: studies.ended(folder) >= 1, process)
    with shift.open("r+b") as file:  # in place: the processes have it mapped
        file.write(struct.pack("q", -3600))
    studies.finish(process)
    studies.assert_whole(folder, TRIALS)
    times = [event["time"] for event in studies.events(folder)]
    assert sorted(times) != times, "the clock did go back"
    assert studies.manifest(folder)["seconds"] > 0


def test_a_disk_that_fills_among_the_finalists_ends_a_study_in_one_line_and_it_goes_on(tmp_path):
    with disk(tmp_path / "disk", "size=8m") as small:
        folder = small / "grid"
        process = studies.begin(studies.write(tmp_path, SMALL, search=FINALIST), "--output", small, "--quiet")
        until(lambda: folder.exists() and studies.manifest(folder)["test_openings"], process, every=0.001)
        fill(small, 0)
        out, err = studies.finish(process, 1)
        assert f"{folder}: cannot be written (No space left on device)" in err
        assert len(err.splitlines()) == 1
        announced = studies.manifest(folder)["test_openings"]
        assert len(announced) == 1
        assert {end.status for end in read_log(folder / "trials.jsonl").ends} <= {"default", "complete"}
        (small / "filled").unlink()
        studies.run("--resume", folder, "--quiet")
        studies.assert_whole(folder, TRIALS)
        [opened] = studies.manifest(folder)["test_openings"]
        assert opened["finalists"] == announced[0]["finalists"]
        assert "Traceback" not in out


@pytest.mark.nightly
@pytest.mark.ray
def test_many_trials_in_a_row(tmp_path):
    """A grid of one-epoch trials: every one ends, and the last is begun as soon as the first (see benchmarks.scale)."""
    trials = count("TRIALS", 50)
    space = {
        **GRID,
        "validation": {"folds": 1, "fold_size": 20, "window": "sliding", "train_size": 40, "seeds": 1},
        "space": {"architecture": ["rnn"], "hidden_size": [2], "learning_rate": {"float": [0.001, 0.1]}},
        "search": {"sampler": "random", "num_samples": trials, "finalists": 0},
        "scheduler": {"max_epochs": 1, "grace_period": 1},
    }
    path = studies.write(tmp_path, space)
    studies.run(path, "--output", tmp_path, "--quiet", ray=True)
    ends = read_log(tmp_path / "grid" / "trials.jsonl").ends
    assert sorted(end.trial_id for end in ends) == [f"{number:05d}" for number in range(trials)]
    assert {end.status for end in ends} == {"default", "complete"}
