"""Stop studies early: signals, the time budget, and the first reason."""

import ast
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli.summary import summary
from search.results.event_log import TrialEnd
from search.study.study import Outcome
from search.terminal.tty import ABORT_MESSAGE, INTERRUPTED
from search.tune.stopper import Stop, StudyStopped, ignore_hangups

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def ended(stop):
    try:
        return stop.stop_all()
    except StudyStopped:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted(number):
    said = []
    stop = Stop(None, lambda: said.append("ending"))
    with stop.handle_signals():
        assert not ended(stop)
        os.kill(os.getpid(), number)
        assert (said, stop.signalled, stop.requested, ended(stop)) == (["ending"], True, True, True)
    assert said == ["ending"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_second_signal_ends_the_process_at_once(number):
    program = f"""
import os
from search.tune.stopper import Stop
class Destroyed:
    def __del__(self):  # where an exception is shown and forgotten
        os.kill(os.getpid(), {int(number)})
with Stop(None, lambda: None).handle_signals():
    os.kill(os.getpid(), {int(number)})
    Destroyed()
    print("went on")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", f"{ABORT_MESSAGE}\n")


def test_handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with ignore_hangups(), Stop(None, print).handle_signals():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_under_nohup_a_hangup_is_ignored():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop(None, print)
        with ignore_hangups() as nohup, stop.handle_signals(nohup=nohup):
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.signalled
    finally:
        signal.signal(signal.SIGHUP, former)


def test_the_end_of_the_time_budget_is_not_a_requested_stop():
    now = 0.0
    stop = Stop(25.0, print, clock=lambda: now)
    stop.note_trial_start()
    assert not ended(stop)
    now += 25
    assert stop.stop_all()
    assert not stop.requested


def test_the_time_budget_starts_with_the_first_trial():
    now = 100.0
    stop = Stop(25.0, print, clock=lambda: now)
    now += 3600
    assert not ended(stop)
    stop.note_trial_start()
    assert stop.startup == 3600
    now += 20
    assert not ended(stop)
    stop.note_trial_start()
    now += 4.9
    assert not ended(stop)
    now += 0.1
    assert stop.stop_all()
    assert stop.startup == 3600


def test_the_first_reason_counts():
    stop = Stop(None, print)
    stop.request_stop("no room")
    stop.request_stop("no luck")
    assert (stop.reason, stop.requested, ended(stop)) == ("no room", True, True)


def test_its_pickle_is_empty():
    assert pickle.loads(pickle.dumps(Stop(1.0, print))).__dict__ == {}


def test_no_clock_that_can_be_set_measures_a_time():
    """`time.time` and its kin jump; whatever is measured here is measured by clocks that cannot."""
    allowed = {"search/results/event_log.py", "search/tracking/mlflow.py"}  # they say when something happened
    for path in sorted(ROOT.glob("search/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                if called in ("time.time", "datetime.now", "datetime.utcnow", "datetime.today"):
                    assert str(path.relative_to(ROOT)) in allowed, f"{path}:{node.lineno}: {called}"


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (
            (("00000", 3), ("00001", 0)),
            "00000 had reached epoch 3. 00001 was in its first epoch. A trial has at most 4 epochs.",
        ),
        (
            [(f"{number:05d}", 1) for number in range(6)],
            "00003 had reached epoch 1. 2 more trials were running. A trial has at most 4 epochs.",
        ),
    ],
)
def test_a_time_budget_over_before_any_trial_ended_says_what_the_start_took(small_space, tmp_path, ends, said):
    running = [TrialEnd(trial_id=name, status="interrupted", point={}, epochs=epochs) for name, epochs in ends]
    outcome = Outcome(rows=[], ends=running, verdict="None.", interrupted=False, seconds=66.0, startup=41.0)
    shown = summary(small_space(), outcome, tmp_path, "results/small")
    words = " ".join(shown.split())
    assert "The time budget ended the search before any of its 6 trials had ended. It started with the first" in words
    assert "trial, 41s after the study." in words
    assert said in words
    assert "python -m search.run --resume results/small --time-budget TIME" in words
    ended = Outcome(
        rows=[], ends=[TrialEnd(trial_id="00000", status="complete", point={})], verdict="None.", interrupted=False,
        seconds=66.0, startup=41.0,
    )  # fmt: skip
    assert "ended the search after 1 of 6 trials." in summary(small_space(), ended, tmp_path, "results/small")
