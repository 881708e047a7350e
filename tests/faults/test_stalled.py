"""Suspend workers with SIGSTOP: the study replaces them and continues the trials or finalists."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import studies
from studies import GRID, until

import search.cost.stalls
import search.study.refit
from search.cluster.demands import ResourceDemands
from search.results.event_log import read_log
from search.space.space import load_space
from search.study.finalists import Finalist
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

HANGS = """
import os, signal, sys, time
from pathlib import Path

import search.cost.stalls
import search.study.ray_executor
from search.run import main
from search.tune.trainable import TrialTrainable

PLACES, MARKS = sys.argv.pop().split(","), Path(sys.argv.pop())
search.cost.stalls.MIN_FIRST_REPORT, search.cost.stalls.MIN_WORKER_START = 10.0, 30.0


def hang(place):
    path = MARKS / f"{place}-{os.getpid()}"
    if place in PLACES and (place == "always" or not list(MARKS.glob(f"{place}-*"))):
        path.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(1)


class Hangs(TrialTrainable):
    def setup(self, config, **shared):
        hang("start")
        super().setup(config, **shared)

    def reset_config(self, new_config):
        hang("reset")
        return super().reset_config(new_config)

    def _start(self, config):
        self.number, self.steps = config["trial_id"], 0
        super()._start(config)

    def step(self):
        self.steps += 1
        hang("first" if self.steps == 1 else "later")
        if self.number == "00001":
            hang("always")
        return super().step()


search.study.ray_executor.TrialTrainable = Hangs
sys.exit(main(sys.argv[1:]))
"""


def run_with_hangs(places, *arguments):
    """A study whose workers stop themselves once at each place; returns what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, *map(str, arguments), ",".join(places)], cwd=studies.ROOT, text=True,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        return studies.finish(process)
    finally:
        studies.kill(process, group=True)


def retries(folder):
    return [event for event in studies.events(folder) if event["event"] == "retry"]


def is_alive(pid):
    return Path(f"/proc/{pid}").exists()


@pytest.mark.nightly
def test_a_worker_that_is_stopped_for_ever_is_killed_and_its_trial_goes_on(tmp_path):
    path = studies.write(
        tmp_path, GRID, search={"stall_timeout": 5, "max_failures": 100},
        scheduler={"max_epochs": 40, "grace_period": 40},
    )  # fmt: skip
    process = studies.begin(path, "--output", tmp_path, ray=True)
    folder = tmp_path / "grid"
    trial_id, worker = until(lambda: next(iter(studies.workers(folder).items()), None), process)
    os.kill(worker, signal.SIGSTOP)
    _, err = studies.finish(process)
    assert not is_alive(worker)
    studies.assert_whole(folder, 12)
    stalled = {event["trial_id"] for event in retries(folder) if event["message"] == "no progress for 5 s"}
    end = next(event for event in studies.events(folder) if event["event"] == "end" and event["trial_id"] == trial_id)
    reported = max(event["epoch"] for event in studies.events(folder) if event.get("worker") == worker)
    assert stalled, (trial_id, reported, end)  # the worker had gone on to the next trial, where another is named
    assert "no progress for 5 s; the trial continues with another worker" in err


@pytest.mark.nightly
def test_a_worker_that_hangs_at_whatever_it_does_is_replaced(tmp_path):
    """While it starts, while it is made ready for the next trial, before its first report and after it."""
    places, marks = ("start", "reset", "first", "later"), tmp_path / "marks"
    marks.mkdir()
    path = studies.write(tmp_path, GRID, search={"stall_timeout": 5, "max_failures": 100})
    run_with_hangs(places, path, "--output", tmp_path, "--quiet", marks)
    stopped = [mark.name.split("-") for mark in marks.iterdir()]
    assert {place for place, _ in stopped} == set(places)
    assert not [pid for _, pid in stopped if is_alive(pid)]
    studies.assert_whole(tmp_path / "grid", 12)
    messages = [event["message"] for event in retries(tmp_path / "grid")]
    assert len(messages) >= len(stopped)
    assert {f"no progress for {seconds} s" for seconds in (5, 10, 30)} == set(messages)


@pytest.mark.nightly
def test_a_trial_that_hangs_whenever_it_is_tried_fails_alone(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    path = studies.write(tmp_path, GRID, search={"stall_timeout": 5, "max_failures": 1})
    run_with_hangs(["always"], path, "--output", tmp_path, "--quiet", marks)
    ends = {end.trial_id: end for end in read_log(tmp_path / "grid" / "trials.jsonl").ends}
    assert (ends["00001"].status, ends["00001"].message) == ("failed", "no progress for 10 s (2 times)")
    assert [end.status for name, end in sorted(ends.items()) if name != "00001"] == ["default"] + ["complete"] * 10
    assert [event["trial_id"] for event in retries(tmp_path / "grid")] == ["00001"]
    assert len(list(marks.iterdir())) == 2


@pytest.mark.nightly
@pytest.mark.usefixtures("local_ray")
def test_finalists_that_hang_or_die_are_trained_again_and_fail_alone(tmp_path, monkeypatch, study_context):
    marks = tmp_path / "marks"
    marks.mkdir()
    refit = search.study.refit.refit

    def faulty(finalist, *arguments, **options):
        first = not list(marks.glob(f"{finalist.trial_id}-*"))
        (marks / f"{finalist.trial_id}-{os.getpid()}").touch()
        if finalist.trial_id == "00001" or (first and finalist.trial_id == "00002"):
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(1)
        if first and finalist.trial_id == "00003":
            os.kill(os.getpid(), signal.SIGKILL)
        return refit(finalist, *arguments, **options)

    monkeypatch.setattr(search.study.refit, "refit", faulty)
    monkeypatch.setattr(search.cost.stalls, "MIN_FIRST_REPORT", 25.0)
    path = studies.write(tmp_path, GRID, search={"stall_timeout": 1, "max_failures": 1, **studies.FINALIST})
    space, prices = load_space(str(path)), clean(load("nasdaq"))
    splits = space.split(prices)
    point = {"architecture": "rnn", "hidden_size": 4, "sequence_length": 5}
    finalists = [Finalist(rank=rank, trial_id=f"{rank:05d}", point=point, epochs=1, seeds=1) for rank in (1, 2, 3, 4)]
    validation = {finalist.trial_id: np.full(200, 2000.0) for finalist in finalists}
    said = []
    needs = ResourceDemands(space, splits, len(prices), None)
    context = study_context(space, prices, say=said.append)
    refitted, failed = search.study.refit.refit_finalists(context, finalists, needs.at, validation)
    assert [one.finalist.trial_id for one in refitted] == ["00002", "00003", "00004"]
    assert failed == {"00001": "no progress for 25 s (2 times)"}
    assert sorted(said) == [
        "finalist 00001: no progress for 25 s; it is trained again",
        "finalist 00002: no progress for 25 s; it is trained again",
        "finalist 00003: its worker died; it is trained again",
    ]
    assert len(list(marks.iterdir())) == 7
    assert not [mark.name for mark in marks.glob("0000[12]-*") if studies.training([mark.name.split("-")[1]])]
