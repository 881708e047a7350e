"""Test ASHA: rungs, scores that are not finite, and rungs that are restored."""

import math
from dataclasses import dataclass

import pytest

from search.results.event_log import TrialLog
from search.tune.asha import FiniteASHA

TIME = "2026-01-02T03:04:05+00:00"


@dataclass(frozen=True)
class FakeTrial:
    """A trial with the only property that ASHA uses, its id in the study."""

    name: str

    @property
    def config(self):
        return {"trial_id": self.name, "point": {"architecture": "gru"}}


def scheduler_with(small_space, **config):
    return FiniteASHA(small_space(scheduler=config))


def decide(scheduler, name, epoch, score):
    trial = FakeTrial(name)
    if name not in scheduler._trial_info:
        scheduler.on_trial_add(None, trial)
    return scheduler.on_trial_result(None, trial, {"epoch": epoch, "score": score})


def test_the_weak_are_stopped_at_rungs_only(small_space):
    scheduler = scheduler_with(small_space, max_epochs=9, grace_period=2, reduction_factor=3)
    for number in range(6):
        decide(scheduler, f"good{number}", 2, 0.9 + number / 1000)
    assert decide(scheduler, "weak", 1, 5.0) == "CONTINUE"  # before its grace period ends
    assert decide(scheduler, "weak", 2, 5.0) == "STOP"
    assert decide(scheduler, "best", 2, 0.1) == "CONTINUE"
    assert decide(scheduler, "best", 9, 0.1) == "STOP"  # max_epochs


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, None])
def test_a_score_that_is_not_finite_stops_its_trial_and_enters_no_rung(small_space, score):
    scheduler = scheduler_with(small_space, max_epochs=9, grace_period=1, reduction_factor=3)
    assert decide(scheduler, "broken", 1, score) == "STOP"
    scheduler.on_trial_complete(None, FakeTrial("broken"), {"epoch": 1, "score": score})
    for number in range(5):
        decide(scheduler, f"fine{number}", 1, 1.0)
    assert decide(scheduler, "better", 1, 0.5) == "CONTINUE"
    assert decide(scheduler, "worse", 1, 2.0) == "STOP"


def test_larger_is_better_where_the_metric_says_so(small_space):
    space = small_space(search={"metric": "val_direction_accuracy"}, scheduler={"max_epochs": 9, "grace_period": 1})
    scheduler = FiniteASHA(space)
    for number in range(5):
        decide(scheduler, f"fine{number}", 1, 0.5)
    assert decide(scheduler, "better", 1, 0.9) == "CONTINUE"
    assert decide(scheduler, "worse", 1, 0.1) == "STOP"


def test_the_rungs_shown_are_those_of_asha(small_space):
    space = small_space(scheduler={"max_epochs": 30, "grace_period": 3, "reduction_factor": 3})
    asha = sorted(milestone for milestone, _ in FiniteASHA(space)._brackets[0]._rungs)
    assert space.scheduler.rungs == (3, 9, 27)
    assert [math.ceil(milestone) for milestone in asha] == [3, 9, 27]


def epochs(name, *scores):
    return [
        {"event": "epoch", "trial_id": name, "time": TIME, "epoch": number, "score": score, "scores": {}}
        for number, score in enumerate(scores, start=1)
    ]


def test_the_rungs_of_an_interrupted_study_are_restored(small_space):
    """Each trial is in a rung once, under its id in the study; a score that is not finite is in none."""
    space = small_space(scheduler={"max_epochs": 9, "grace_period": 1, "reduction_factor": 3})
    lines = [*epochs("a", 0.9, 0.8), *epochs("b", 0.7, 0.6), *epochs("c", None), *epochs("d", 0.5), *epochs("g", 0.95)]
    lines[-2] |= {"last": True}  # and the study was killed before d ended
    end = {"event": "end", "time": TIME, "status": "complete", "point": {}}
    lines += [{**end, "trial_id": name} for name in "abc"]
    straight, again = FiniteASHA(space), FiniteASHA(space, TrialLog(lines))
    for name, score in (("a", 0.9), ("b", 0.7), ("g", 0.95)):
        decide(straight, name, 1, score)
    for scheduler in (straight, again):
        assert decide(scheduler, "e", 1, 0.85) == "STOP"
        assert decide(scheduler, "f", 1, 0.1) == "CONTINUE"
    rungs = [{known.trial_id if hasattr(known, "trial_id") else known: score for known, score in recorded.items()}
             for _, recorded in again._brackets[0]._rungs]  # fmt: skip
    assert sum(len(recorded) for recorded in rungs) == 5  # not the only epoch of d, which is trained again
    assert decide(again, "a", 1, 0.1) == "CONTINUE"  # it is in the rung already
    assert decide(again, "d", 1, 0.95) == "STOP"
