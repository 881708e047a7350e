"""Order decisions by a virtual clock: the real order of the reports, kills and resumes change no decision."""

import math
import random

import pytest

from search.results.event_log import TrialEnd, TrialLog
from search.tune.virtual_order import VirtualOrder

RUNGS, MAX_EPOCHS = (1, 3), 6
REPORT = {"epoch": 1, "done": False, "score": 1.0}


class Study:
    """A study whose decisions depend on everything that was decided before, as those of a sampler and of ASHA do.

    Args:
        workers: virtual workers.
        rng: chooses which worker reports next.
        log: events of an earlier part of the study.
    """

    def __init__(self, workers, rng, total=12, log=()):
        self.rng, self.total, self.events = rng, total, list(log)
        known = TrialLog(self.events)
        self.order = VirtualOrder(workers, RUNGS, lambda point: point["seconds"], total, known)
        self.running = {trial_id: 0 for trial_id in known.points if trial_id not in known.ended}
        self.points, self.waiting = dict(known.points), {}
        # An epoch that ends a trial whose end is missing is decided again, as ASHA does.
        last = {trial_id: epoch for trial_id, epoch, *_ in known.epochs if trial_id in known.ending}
        self.events = [e for e in self.events if e["event"] != "epoch" or last.get(e["trial_id"]) != e["epoch"]]

    @property
    def history(self):
        """Everything that decisions may depend on."""
        return [
            (event["trial_id"], event.get("epoch"), event["event"])
            for event in self.events if event["event"] == "end" or event.get("epoch") in RUNGS
        ]  # fmt: skip

    def chance(self, *salt):
        return random.Random(repr((self.history, salt))).random()

    def write(self, event, trial_id, **more):
        self.events.append({"event": event, "trial_id": trial_id, "time": "2026-01-01", "scores": {}, **more})

    def propose(self):
        trial_id = f"{len(self.points):05d}"
        while len(self.points) < self.total and self.order.may_start(trial_id):
            point = {"seconds": 0.5 + self.chance(trial_id)}
            self.write("start", trial_id, point=point)
            self.order.start(trial_id, point)
            self.points[trial_id], self.running[trial_id] = point, 0
            trial_id = f"{len(self.points):05d}"

    def train(self):
        """Let one worker report its next epoch."""
        trial_id = self.rng.choice([trial_id for trial_id in self.running if trial_id not in self.waiting])
        epoch = self.running[trial_id] = self.running[trial_id] + 1
        patience = random.Random(f"{self.points[trial_id]} {epoch}").random() < 0.1
        unknown = random.Random(f"{epoch} {self.points[trial_id]}").random() < 0.05
        report = {"epoch": epoch, "done": epoch == MAX_EPOCHS or patience, "score": math.nan if unknown else 1.0}
        if self.order.report(trial_id, report):
            self.waiting[trial_id] = report
        elif (trial_id, epoch) not in {(event["trial_id"], event.get("epoch")) for event in self.events}:
            self.write("epoch", trial_id, epoch=epoch)

    def decide(self):
        while (trial_id := self.order.next_turn()) is not None:
            report = self.waiting.pop(trial_id)
            stopped = not report["done"] and (math.isnan(report["score"]) or self.chance(trial_id) < 0.5)
            known = (trial_id, report["epoch"]) in {(event["trial_id"], event.get("epoch")) for event in self.events}
            if not known:
                last = {"last": True} if report["done"] or stopped else {}
                self.write("epoch", trial_id, epoch=report["epoch"], **last)
            if report["done"] or stopped:
                end = TrialEnd(
                    trial_id=trial_id, time="2026-01-01", status="stopped" if stopped else "complete",
                    point=self.points[trial_id], scores={}, epochs=report["epoch"],
                )  # fmt: skip
                self.write("end", trial_id, **{name: getattr(end, name) for name in TrialEnd.__dataclass_fields__
                                               if name not in ("trial_id", "time", "scores")})  # fmt: skip
                del self.running[trial_id]
                self.order.end(trial_id)
            else:
                self.order.proceed(trial_id)
            self.propose()

    def run(self, steps=10_000):
        self.propose()
        while steps and self.running:
            self.train()
            self.decide()
            steps -= 1
        return self


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_order_of_the_reports_changes_no_decision(workers):
    histories = {repr(Study(workers, random.Random(seed)).run().history) for seed in range(30)}
    assert len(histories) == 1


def test_another_number_of_workers_gives_other_trials():
    first, second = (Study(workers, random.Random(0)).run() for workers in (2, 3))
    assert first.history != second.history


@pytest.mark.parametrize("seed", range(40))
def test_a_study_that_is_killed_and_resumed_decides_the_same(seed):
    """A kill loses the reports that wait, and the workers start their trials again."""
    rng = random.Random(seed)
    log = Study(3, rng).run(rng.randrange(40)).events
    log = Study(3, rng, log=log[: len(log) - rng.randrange(2)]).run(rng.randrange(20)).events
    assert Study(3, rng, log=log).run().history == Study(3, random.Random(0)).run().history


def test_a_study_that_is_killed_after_any_event_decides_the_same():
    whole = Study(3, random.Random(0)).run()
    for cut in range(len(whole.events)):
        assert Study(3, random.Random(cut), log=whole.events[:cut]).run().history == whole.history


def test_starts_that_are_logged_in_another_order_change_nothing():
    """Two workers become free in a row; the second one starts its trial first, and the study is killed."""
    whole = Study(2, random.Random(0)).run()
    ends = [number for number, event in enumerate(whole.events) if event["event"] == "end"]
    third, fourth = (
        next(event for event in whole.events if (event["event"], event["trial_id"]) == ("start", f"{number:05d}"))
        for number in (2, 3)
    )
    log = [event for event in whole.events[: ends[1] + 1] if event["trial_id"] < "00002"]
    orders = []
    for starts in ([third, fourth], [fourth]):
        order = VirtualOrder(2, RUNGS, lambda point: point["seconds"], 12, TrialLog([*log, *starts]))
        order.start("00002", third["point"])
        assert order.report("00002", {"epoch": 1, "done": True, "score": 1.0})
        assert order.report("00003", {"epoch": 1, "done": True, "score": 1.0})
        orders.append(order.next_turn())
    assert orders[0] == orders[1]


def test_a_report_without_a_finite_score_waits_although_its_epoch_is_no_rung():
    order = VirtualOrder(2, RUNGS, lambda point: 1.0, 2)
    for trial_id in ("00000", "00001"):
        order.start(trial_id, {})
    assert not order.report("00000", {"epoch": 2, "done": False, "score": 1.0})
    assert order.report("00001", {"epoch": 2, "done": False, "score": math.nan})


def test_trials_that_are_added_later_start_when_a_worker_had_become_free():
    whole = Study(2, random.Random(0)).run()
    part = Study(2, random.Random(1), total=7).run()
    assert len(TrialLog(part.events).finished) == 7
    assert len(TrialLog(Study(2, random.Random(2), log=part.events).run().events).finished) == 12
    assert [end.point for end in TrialLog(whole.events).finished][:3] == [
        end.point for end in TrialLog(part.events).finished
    ][:3]


def test_a_report_that_waits_is_forgotten_when_its_worker_dies():
    order = VirtualOrder(2, RUNGS, lambda point: 1.0, 2)
    for trial_id in ("00000", "00001"):
        order.start(trial_id, {})
    assert order.report("00001", REPORT)
    assert order.next_turn() is None  # 00000 may report its first epoch at the same time, and comes first
    order.withdraw("00001")
    assert order.report("00000", REPORT)
    assert order.next_turn() == "00000"
    order.proceed("00000")
    assert order.next_turn() is None
    assert order.report("00001", REPORT)
    assert order.next_turn() == "00001"


def test_an_order_that_is_abandoned_lets_every_report_pass():
    order = VirtualOrder(2, RUNGS, lambda point: 1.0, 2)
    for trial_id in ("00000", "00001"):
        order.start(trial_id, {})
    assert order.report("00001", REPORT)
    order.abandon()
    assert order.next_turn() == "00001"
