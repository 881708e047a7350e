"""Simulate what the order of replay costs: workers wait where the cost model is wrong.

    python -m benchmarks.replay results/all [--workers 2 8 32] [--trials 400] [--repeats 20]

Trials are drawn from a study that has ended, with replacement: the seconds and the number of their epochs, and the
seconds that the cost model predicts for their points. They run on the real `search.tune.virtual_order`, but on a
simulated clock, and once more without an order. Both run the same trials with the same number of epochs, in the order
in which they were drawn. The price is the ratio of the times at which the last trial ends.

The table also has the share of the workers' time that is unused at the end, when no trial is left to start, and the
time of the end without the rule for the last trials (`search.tune.optuna_searcher.LAST_ASKS`), relative to it.
"""

import argparse
import heapq
import statistics
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from search.cost.workload import training_sizes, trial_workload
from search.results.reader import read_study
from search.tune.optuna_searcher import LAST_ASKS
from search.tune.virtual_order import VirtualOrder
from stockrnn.dataset.alignment import prepare


class Drawn(NamedTuple):
    """A trial of the study: seconds of an epoch, as predicted and as it took, and the number of its epochs."""

    predicted: float
    seconds: float
    epochs: int


class Run(NamedTuple):
    """A simulated study: the time of its last end, and the share of the workers' time that is unused at the end."""

    end: float
    unused: float


def trials_of(folder: Path) -> tuple[list[Drawn], list[int]]:
    """Return the trials of a study that has ended, and its rungs."""
    study = read_study(folder)
    space = study.space
    sizes = training_sizes(space, space.split(prepare(space.data)))
    trials = [
        Drawn(trial_workload(space, sizes, end.point).seconds, end.seconds / end.epochs, end.epochs)
        for end in study.ends
        if end.epochs and end.seconds and space.is_complete(end.point)
    ]
    return trials, list(space.scheduler.rungs)


def free_running(trials: Sequence[Drawn], workers: int) -> float:
    """Run the trials as workers become free; return the time of the last end."""
    free = [0.0] * workers
    for trial in trials:
        heapq.heappush(free, heapq.heappop(free) + trial.seconds * trial.epochs)
    return max(free)


def replayed(trials: Sequence[Drawn], workers: int, rungs: Sequence[int]) -> Run:
    """Run the trials in the order of the virtual clock."""
    order = VirtualOrder(workers, rungs, lambda point: point["predicted"], len(trials))
    reports: list[tuple[float, str, int]] = []  # time, trial and epoch
    waiting: dict[str, int] = {}  # trials that wait for their turn, and their epochs
    ends: list[float] = []
    started = 0

    def start(now: float) -> None:
        nonlocal started
        while started < len(trials) and order.may_start(f"{started:05d}"):
            order.start(f"{started:05d}", {"predicted": trials[started].predicted})
            heapq.heappush(reports, (now + trials[started].seconds, f"{started:05d}", 1))
            started += 1

    start(0.0)
    now = 0.0
    while reports:
        now, trial_id, epoch = heapq.heappop(reports)
        trial = trials[int(trial_id)]
        if order.report(trial_id, {"epoch": epoch, "done": epoch == trial.epochs, "score": 1.0}):
            waiting[trial_id] = epoch
        else:
            heapq.heappush(reports, (now + trial.seconds, trial_id, epoch + 1))
        while (turn := order.next_turn()) is not None:
            epoch = waiting.pop(turn)
            if epoch == trials[int(turn)].epochs:
                order.end(turn)
                ends.append(now)
                start(now)
            else:
                order.proceed(turn)
                heapq.heappush(reports, (now + trials[int(turn)].seconds, turn, epoch + 1))
    assert len(ends) == len(trials)
    return Run(now, sum(now - end for end in ends[-workers:]) / (workers * now))


def cheapest(trial: Drawn, known: Sequence[Drawn], random: Random) -> Drawn:
    """Return the trial with the shortest predicted epochs of this one and others."""
    return min([trial, *random.choices(known, k=LAST_ASKS - 1)], key=lambda each: each.predicted)


def main() -> None:
    """Simulate the studies and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="results folder of a study that has ended")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    known, rungs = trials_of(options.study)
    ratios = np.log([trial.seconds / trial.predicted for trial in known])
    times = np.array([trial.seconds * trial.epochs for trial in known])
    print(f"{len(known)} trials, longest {times.max() / times.sum():.0%} of the time; sd of log(real / predicted) "
          f"{ratios.std():.2f}")  # fmt: skip
    print("workers  price, mean  minimum, maximum  unused at the end  without the rule")
    for workers in options.workers:
        prices, unused, longer = [], [], []
        for repeat in range(options.repeats):
            random = Random(repeat)
            proposed = random.choices(known, k=options.trials)
            drawn = [*proposed[:-workers], *(cheapest(trial, known, random) for trial in proposed[-workers:])]
            ordered = replayed(drawn, workers, rungs)
            prices.append(ordered.end / free_running(drawn, workers))
            unused.append(ordered.unused)
            longer.append(replayed(proposed, workers, rungs).end / ordered.end)
        print(f"{workers:7}  {statistics.mean(prices):11.2f}  {min(prices):7.2f}, {max(prices):7.2f}  "
              f"{statistics.mean(unused):17.1%}  {statistics.mean(longer):16.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
