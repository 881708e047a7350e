"""Run studies from Python on Ray: on one that they start, and on one that the caller has started."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
CODE = """
import logging, os, signal, threading

import ray

import search
import stockrnn

OVERRIDES = {
    "search.num_samples": 1, "search.finalists": 0, "scheduler.max_epochs": 2, "scheduler.grace_period": 1,
    "data.test_size": 40, "validation.folds": 2, "validation.fold_size": 30,
    "validation.train_size": 120, "validation.seeds": 1, "space.hidden_size": 4,
}
prices = stockrnn.load_prices("nasdaq").iloc[-300:]
boards = []


def state():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [signal.getsignal(number) for number in numbers], dict(os.environ), logging.getLogger("ray").level


def run(name):
    before = state()
    study = search.run_study("smoke.yaml", prices=prices, overrides=OVERRIDES | {"name": name}, workers=1, quiet=True)
    assert state() == before, [one for one in zip(state(), before) if one[0] != one[1]]
    boards.append(study.leaderboard(baselines=False)["val_relative_loss"].tolist())


run("own")
assert not ray.is_initialized()
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
thread = threading.Thread(target=run, args=("given",))
thread.start()
thread.join()
assert ray.get(ray.remote(lambda: 1).remote()) == 1
assert len(boards) == 2 and boards[0] == boards[1], boards
"""


def test_a_study_runs_on_its_own_ray_and_in_a_thread_on_the_callers(tmp_path):
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=tmp_path, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
