"""Test the progress of a study: plain lines, the live view, and a closed terminal."""

import io
import itertools
import sys
from types import SimpleNamespace

import pytest

from search.results.event_log import TrialEnd
from search.terminal.progress import STOPPING, Progress
from search.terminal.tty import FailSafeStream

BASELINES = {"persistence": {"val_relative_loss": 1.0}}


def trial(trial_id, status, score):
    scores = {} if score is None else {"val_relative_loss": score}
    return TrialEnd(
        trial_id=trial_id, status=status, point={"architecture": "gru", "learning_rate": 0.00123}, scores=scores,
        epochs=3, best_epoch=score and 2, seconds=65.0,
    )  # fmt: skip


@pytest.fixture
def record():
    """Two trials that ended and one that runs; stands in for `search.results.event_log.Record`."""
    running = {"00002": {"epoch": 1, "score": 0.99, "best": {"val_relative_loss": 0.99}}}
    return SimpleNamespace(ends=[trial("00000", "complete", 0.98), trial("00001", "failed", None)], running=running)


@pytest.fixture
def space(small_space):
    return small_space(search={"num_samples": 4})


def test_the_end_of_a_trial_is_one_line(space, record, capsys):
    progress = Progress(space, record, BASELINES)
    for end in record.ends:
        progress.print_result(end)
    point = "architecture=gru learning_rate=0.00123; 1m 05s"
    assert capsys.readouterr().err.splitlines() == [
        f"[2/4] 00000 complete: Theil's U 0.9800 at epoch 2 of 3; {point}",
        f"[2/4] 00001 failed: no score; {point}",
    ]


def test_plain_lines_say_what_the_study_waits_for(space, record, capsys):
    progress = Progress(space, record, BASELINES)
    progress.refresh()
    assert capsys.readouterr().err == "", "too early for another line"
    progress.refresh(force=True)
    assert capsys.readouterr().err == "2 of 4 ended, 1 complete, 1 failed, 1 running; 0s\n"
    record.running.clear()
    progress.show_waiting("3 workers to start")
    assert "; waiting for 3 workers to start; " in capsys.readouterr().err


def test_before_the_first_end_the_running_trials_are_shown(space, record, capsys):
    record.ends.clear()
    record.running |= {"00003": {}, "00004": {"epoch": 2, "score": float("nan")}}
    progress = Progress(space, record, BASELINES)
    progress.refresh(force=True)
    shown = capsys.readouterr().err
    assert shown == "00002: epoch 1 of 4, U 0.9900; 00003: starting; 00004: epoch 2 of 4, no score yet; 0s\n"
    record.running.clear()
    progress.refresh(force=True)
    assert capsys.readouterr().err == "4 trials; waiting for the first trial; 0s\n"


def test_the_first_lines_come_soon(space, record, capsys, monkeypatch):
    clock = itertools.chain([0.0], itertools.repeat(6.0))
    monkeypatch.setattr("search.terminal.progress.time", SimpleNamespace(monotonic=clock.__next__))
    ends, record.ends = record.ends, []
    Progress(space, record, BASELINES).refresh()
    assert capsys.readouterr().err == "00002: epoch 1 of 4, U 0.9900; 6s\n"
    record.ends = ends
    clock = itertools.chain([0.0], itertools.repeat(6.0))
    monkeypatch.setattr("search.terminal.progress.time", SimpleNamespace(monotonic=clock.__next__))
    Progress(space, record, BASELINES).refresh()
    assert capsys.readouterr().err == ""


def test_an_interrupted_study_says_how_to_stop_it_immediately(space, record, capsys):
    Progress(space, record, BASELINES).show_stopping()
    assert capsys.readouterr().err == f"{STOPPING}; finished trials are saved\n"


def test_quiet_shows_nothing(space, record, capsys):
    with Progress(space, record, BASELINES, quiet=True) as progress:
        progress.refresh(force=True)
        progress.print_note("a note")
        progress.print_result(record.ends[0])
        progress.show_stopping()
    assert capsys.readouterr().err == ""


def test_the_live_view(space, record, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    clock = SimpleNamespace(monotonic=itertools.count(step=10).__next__)
    monkeypatch.setattr("search.terminal.progress.time", clock)
    with Progress(space, record, BASELINES, time_budget=3600) as progress:
        progress.show_stopping()
        progress.print_note("a note")
    shown = terminal.getvalue()
    for words in (
        "trials   2 of 4 ended", "best     Theil's U 0.9800 (00000), persistence 1.0000",
        "running  00002: epoch 1 of 4, U 0.9900", "time budget 1h 00m from the start of the first trial", STOPPING,
        "a note",
    ):  # fmt: skip
        assert words in shown


def test_a_stream_whose_terminal_has_closed_discards_everything():
    class Closed(io.StringIO):
        def write(self, text):
            raise OSError(5, "Input/output error")

    stream = FailSafeStream(Closed())
    assert stream.write("text") == 4
    assert stream.write("more") == 4
    stream.flush()
    assert stream.isatty() is False
