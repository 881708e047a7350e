"""Kill workers, or exhaust the memory: only the trial concerned is retried or fails."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import studies
from studies import GRID, until
from tiers import count

from search.results.event_log import read_log

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
KILLS = count("WORKERS", 1)
SLOW = {"scheduler": {"max_epochs": 20, "grace_period": 20}}


def retries(folder):
    return [event for event in studies.events(folder) if event["event"] == "retry"]


@pytest.mark.nightly
def test_trials_whose_workers_are_killed_go_on_and_reach_the_same_scores(tmp_path):
    straight, hurt = tmp_path / "straight", tmp_path / "hurt"
    epochs = 15 + 5 * KILLS
    path = studies.write(
        tmp_path, GRID, scheduler={"max_epochs": epochs, "grace_period": epochs}, search={"max_failures": 100}
    )
    studies.run(path, "--output", straight, "--quiet")
    rng = random.Random(0)
    process = studies.begin(path, "--output", hurt, "--quiet", ray=True)
    folder, killed = hurt / "grid", 0
    while killed < KILLS and process.poll() is None:
        time.sleep(rng.uniform(0, 1))
        workers = studies.workers(folder)
        if workers and studies.ended(folder) < 11:
            worker = rng.choice(sorted(workers.values()))
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                killed += 1
                until(lambda count=killed: len(retries(folder)) >= count or studies.ended(folder) == 12, process)
    studies.finish(process)
    studies.assert_whole(folder, 12)
    studies.assert_equal(studies.leaderboard(folder), studies.leaderboard(straight / "grid"))
    found = retries(folder)
    assert killed == KILLS
    assert len(found) >= killed - 1  # one may be met between two trials
    assert {event["message"] for event in found} == {"its worker died"}
    print(f"{killed} workers killed, {len(found)} retries, 12 trials, 0 lost")


DIES_ONCE = """
import os, signal, sys

import search.study.ray_executor
from search.run import main
from search.tune.trainable import TrialTrainable

MARK = sys.argv.pop()


class DiesOnce(TrialTrainable):
    def reset_config(self, new_config):
        try:
            os.close(os.open(MARK, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return super().reset_config(new_config)
        os.kill(os.getpid(), signal.SIGKILL)


search.study.ray_executor.TrialTrainable = DiesOnce
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.nightly
def test_a_worker_that_dies_while_it_is_made_ready_for_the_next_trial_is_replaced(tmp_path):
    """Tune itself would wait for it for ever, and never start that trial."""
    mark, path = tmp_path / "died", studies.write(tmp_path, GRID)
    arguments = [path, "--output", tmp_path, "--quiet", "--workers", 1, mark]
    process = subprocess.Popen(
        [sys.executable, "-c", DIES_ONCE, *map(str, arguments)], cwd=studies.ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        studies.finish(process)
    finally:
        studies.kill(process, group=True)
    assert mark.exists()
    studies.assert_whole(tmp_path / "grid", 12)
    assert [event["message"] for event in retries(tmp_path / "grid")] == ["its worker died"]


@pytest.mark.nightly
def test_a_trial_whose_workers_keep_dying_fails_alone(tmp_path):
    path = studies.write(tmp_path, GRID, **SLOW, search={"max_failures": 1})
    process = studies.begin(path, "--output", tmp_path, ray=True)
    folder = tmp_path / "grid"
    target = until(lambda: next(iter(studies.workers(folder).items()), None), process)[0]
    killed = set()

    def hunt():
        worker = studies.workers(folder).get(target)
        if worker and worker not in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            killed.add(worker)
        return any(end.trial_id == target for end in read_log(folder / "trials.jsonl").ends)

    until(hunt, process)
    _, err = studies.finish(process)
    ends = {end.trial_id: end for end in read_log(folder / "trials.jsonl").ends}
    assert (ends[target].status, ends[target].message) == ("failed", "its worker died (2 times)")
    others = [end.status for name, end in ends.items() if name != target]
    assert set(others) <= {"default", "complete"}
    assert len(others) == 11
    assert f"{target}: its worker died; the trial continues with another worker" in err
    assert studies.leaderboard(folder)[target]["status"] == "failed"


def memory():
    """Bytes in use, and in all."""
    kilobytes = dict(line.split()[:2] for line in Path("/proc/meminfo").read_text().splitlines())
    total = int(kilobytes["MemTotal:"])
    return 1024 * (total - int(kilobytes["MemAvailable:"])), 1024 * total


@pytest.mark.nightly
def test_a_trial_that_eats_all_memory_fails_alone_and_says_so(tmp_path):
    """Of four networks one needs gigabytes; Ray may use only a little more than what is in use now."""
    used, total = memory()
    allowed = (used + 2.5e9) / total
    if allowed > 0.95:
        pytest.skip("the machine has no 2.5 GB to spare")
    space = {
        **GRID,
        "space": {"architecture": "lstm", "hidden_size": [4, 16, 4096], "sequence_length": 5},
        "search": {**GRID["search"], "max_failures": 1},
        "scheduler": {"max_epochs": 2, "grace_period": 2, "patience": None},
    }
    limits = {"RAY_memory_usage_threshold": f"{allowed:.3f}", "RAY_memory_monitor_refresh_ms": "50"}
    _, err = studies.run(studies.write(tmp_path, space), "--output", tmp_path, env=limits, ray=True)
    ends = {end.point["hidden_size"]: end for end in read_log(tmp_path / "grid" / "trials.jsonl").ends}
    assert {size: end.status for size, end in ends.items()} == {4: "complete", 16: "default", 4096: "failed"}
    assert ends[4096].message == "the machine ran out of memory and its worker was killed (2 times)"
    assert "memory" in err
