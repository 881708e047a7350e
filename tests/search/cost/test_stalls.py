"""Test the detection of jobs without progress: the clock of the driver's loop, and the time limits; without Ray."""

import itertools

import pytest

from search.cost.estimate import estimate_cost
from search.cost.stalls import MIN_FIRST_REPORT, MIN_WORKER_START, Job, Limits, StallLimits, StallWatch, stall_message
from search.cost.workload import Workload
from search.results.event_log import Record
from search.study.finalists import Finalist
from search.terminal.progress import Progress
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load

POINT = {"architecture": "gru", "hidden_size": 4, "sequence_length": 3}


class Driver:
    """A driver's loop with its own clock."""

    def __init__(self):
        self.time = 1000.0
        self.watch = StallWatch(lambda: self.time)

    def run(self, seconds, jobs, step=0.1):
        """Run the loop for so many seconds and return the stalled jobs."""
        found = {}
        for _ in range(round(seconds / step)):
            self.time += step
            if self.watch.step():
                found |= self.watch.find_stalled(jobs)
        return found


def job(worker=1, first=60.0, later=10.0):
    return Job(worker=worker, limits=lambda: Limits(first=first, later=later))


def test_a_job_without_progress_stalls_once_for_each_limit():
    driver, jobs = Driver(), {"00000": job(first=10), "00001": job(first=30)}
    assert driver.run(9, jobs) == {}
    assert driver.run(4, jobs) == {"00000": 10}
    assert driver.run(7, jobs) == {}
    assert driver.run(4, jobs) == {"00000": 10}, "whoever was killed in vain is killed again"


def test_a_report_restarts_the_time_and_ends_the_first_limit():
    driver, jobs = Driver(), {"00000": job()}
    assert driver.run(55, jobs) == {}
    driver.watch.record_progress("00000")
    assert driver.run(9, jobs) == {}
    driver.watch.record_progress("00000")
    assert driver.run(9, jobs) == {}
    assert driver.run(3, jobs) == {"00000": 10}


def test_a_report_before_the_first_check_counts():
    driver = Driver()
    driver.watch.record_progress("00000")
    assert driver.run(13, {"00000": job()}) == {"00000": 10}


def test_another_worker_restarts_the_time():
    driver = Driver()
    driver.run(5, {"00000": job()})
    driver.watch.record_progress("00000")
    assert driver.run(9, {"00000": job()}) == {}
    assert driver.run(55, {"00000": job(worker=2)}) == {}
    assert driver.run(9, {"00000": job(worker=2)}) == {"00000": 60}


@pytest.mark.parametrize("times", [1, 100])
def test_no_job_stalls_while_the_driver_is_suspended(times):
    """At most one second of each interruption counts; a step of the loop takes a tenth of a second."""
    driver, jobs = Driver(), {"00000": job(first=None, later=None), "00001": job(first=150)}
    driver.run(2, jobs)
    for _ in range(times):
        driver.time += 3600
        assert driver.run(0.1, jobs) == {}
    assert driver.watch.silent_jobs().get("00000", 0) <= 3 + times
    assert driver.run(150, jobs) == {"00001": 150}, "the time that counts goes on"


def test_without_limits_no_job_stalls():
    driver = Driver()
    assert driver.run(10_000, {"00000": job(first=None, later=None)}, step=1.0) == {}


@pytest.mark.parametrize("timeout", [None, 1, 600, 5000])
def test_limits_are_the_timeout_or_twenty_times_the_prediction(small_space, monkeypatch, timeout):
    space = small_space(search={"stall_timeout": timeout}, resources={"cpu": 0.5})
    limits = StallLimits(space, space.split(clean(load("nasdaq"))))
    finalist = Finalist(rank=1, trial_id="00000", point=POINT, epochs=3, seeds=1)
    for predicted in (0.001, 100.0):
        monkeypatch.setattr(Workload, "seconds", predicted)
        shared = 20 * predicted / 0.5  # half a core takes twice as long
        found = [
            limits.trial(POINT).later,
            *limits.trial(POINT)[:1],
            *limits.finalist(finalist.point, finalist.epochs),
            *limits.worker_start(),
        ]
        if timeout is None:
            assert found == [None] * 6
        else:
            least = [
                shared,
                max(shared, MIN_FIRST_REPORT),
                *[max(3 * shared, MIN_FIRST_REPORT)] * 2,
                *[MIN_WORKER_START] * 2,
            ]
            assert found == [max(timeout, seconds) for seconds in least]


def test_the_prediction_is_that_of_the_dry_run(small_space):
    """In a space of one point, the mean over its trials is the prediction for each trial."""
    point = {"architecture": "gru", "hidden_size": 4}
    space = small_space(
        space=point, search={"num_samples": 3, "finalists": 0, "stall_timeout": 1}, resources={"cpu": 0.01},
        scheduler={"max_epochs": 1000, "grace_period": 1000},
    )  # fmt: skip
    splits = space.split(clean(load("nasdaq")))
    said = estimate_cost(space, splits)
    epoch = StallLimits(space, splits).trial(point).later / 20 * 0.01
    assert epoch * said.epochs.expected == pytest.approx(said.seconds)


def test_a_silent_trial_is_shown(small_space, tmp_path, capsys):
    driver, jobs = Driver(), {f"{number:05d}": job(first=1000) for number in range(7)}
    progress = Progress(small_space(), Record(tmp_path / "trials.jsonl"), {})
    driver.run(58, jobs)
    driver.watch.record_progress("00002")
    with progress.show_stalls(driver.watch):
        progress.refresh(force=True)
        assert "no report" not in capsys.readouterr().err
        driver.run(4, jobs)
        progress.refresh(force=True)
    shown = "; ".join(f"0000{number}: no report for 1m 01s" for number in (0, 1, 3, 4))
    assert f"; {shown}; and 2 more; " in capsys.readouterr().err


def test_a_silent_job_is_shown_before_its_limit():
    driver = Driver()
    driver.run(1.2, {"00000": job(first=8)})
    silences = [bool(driver.watch.silent_jobs()) or driver.run(1, {"00000": job(first=8)}) for _ in range(6)]
    assert silences == [*itertools.repeat({}, 4), True, True]


def test_the_message_has_the_limit():
    assert stall_message(600.0) == "no progress for 600 s"
