"""Measure the number of trials per second that the driver can process, with trials that only sleep and report.

    python -m benchmarks.scale [--trials 1000] [--workers 2 8 32 64] [--sleep 0.02] [--sampler tpe] [--grace 9]
    python -m benchmarks.scale --trials 10000 --workers 8 --sleep 0 --course
    python -m benchmarks.scale --before 9500 --trials 500 --workers 2
    python -m benchmarks.scale --workers 8 --profile 40

Everything except the training is as in a normal study: `search.study` with event log, journal, predictions, leaderboard
and live view, on Ray and Optuna. There may be more workers than cores. Each study runs in its own process. The cost of
the driver is the CPU time and the memory of this process. Rates and memory are measured between the first and the last
tenth of the trials. `--before` makes a study with so many random trials of one epoch, without Ray, which the measured
one continues.
"""

import argparse
import cProfile
import json
import os
import pstats
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from ray import tune

from search.results.event_log import read_events
from search.space.space import load_space
from stockrnn.dataset.alignment import prepare

EPOCHS = 27
FOUND = "found "  # prefix of the line with the results of a study
HEADS = ("workers", "trials/s", "reports/s", "ms CPU/trial", "kB/trial", "journal B/trial", "record B/trial", "end s")


class Sleeper(tune.Trainable):
    """A trial that sleeps instead of training, and reports like a normal trial."""

    def setup(self, config: dict[str, Any], folds: tuple = (), space: Any = None, **_: Any) -> None:
        self._space, self._days = space, sum(len(fold.validation) for fold in folds)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        time.sleep(float(os.environ["SCALE_SLEEP"]))
        self._epoch += 1
        done = self._epoch >= self._space.scheduler.max_epochs
        return make_report(self._epoch, self._level, self._days, done=done) | {
            "seconds": time.monotonic() - self._began
        }  # fmt: skip

    def _begin(self, config: dict[str, Any]) -> None:
        self._epoch, self._began, self._level = 0, time.monotonic(), 1 + Random(config["trial_id"]).random()


def make_report(epoch: int, level: float, days: int, *, done: bool) -> dict[str, Any]:
    """Return the report of an epoch, without training; the score falls towards a level."""
    from stockrnn.tasks.price import PRICE
    from stockrnn.tasks.scoring import score_names

    score = level + 0.1 / epoch
    scores = dict.fromkeys(score_names(PRICE), score)
    return {
        "epoch": epoch, "status": "complete" if done else "running", "done": done, "score": score, "best_epoch": epoch,
        "best": scores, "forecast": np.full(days, score, np.float32), "scores": scores, "loss": score,
        "form": "batched", "parameters": 1000, "seconds": 0.0, "worker": os.getpid(), "resumed_from": None,
        "checkpoint_error": None,
    }  # fmt: skip


def report_once(space: Any, prices: Any, folds: tuple, point: Any, *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
    """Yield the reports of a trial of one epoch."""
    yield make_report(1, 1 + Random(str(point)).random(), sum(len(fold.validation) for fold in folds), done=True)


def sample(record: Any, samples: list[tuple[float, ...]]) -> None:
    """Sample every half second: number of finished trials, CPU time of the process, its memory in kB."""
    page = resource.getpagesize() / 1024
    while True:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        samples.append((time.monotonic(), len(record.ends), time.process_time(), pages * page))
        time.sleep(0.5)


def study(options: argparse.Namespace) -> None:
    """Run one study in this process and print its cost as JSON."""
    import ray

    from search.cluster.ray_session import ENVIRONMENT, OBJECT_STORE_BYTES
    from search.study.in_process_executor import in_process_executor
    from search.study.ray_executor import ray_executor
    from search.study.study import Options, run_study

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["SCALE_SLEEP"] = str(options.sleep)
    ray.init(
        address="local", num_cpus=options.workers[0], include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False, logging_level="CRITICAL",
    )  # fmt: skip
    trials = options.before + options.trials
    overrides = {
        "search": {"sampler": options.sampler, "num_samples": trials, "finalists": 0},
        "scheduler": {"max_epochs": EPOCHS, "grace_period": min(options.grace, EPOCHS), "patience": None},
    }
    space = load_space("spaces/all.yaml", [(name, json.dumps(value), name) for name, value in overrides.items()])
    prices = prepare(space.data)
    samples: list[tuple[float, ...]] = []

    @contextmanager
    def sampled(context: Any) -> Iterator[Any]:
        with ray_executor(context, trainable=Sleeper) as executor:
            run_trials = executor.run_trials

            def run_sampled(*arguments: Any) -> None:
                threading.Thread(target=sample, args=(context.record, samples), daemon=True).start()
                profile = cProfile.Profile()
                if options.profile:
                    profile.enable()
                run_trials(*arguments)
                if options.profile:
                    profile.disable()
                    pstats.Stats(profile, stream=sys.__stdout__).sort_stats("tottime").print_stats(options.profile)
                samples.append((time.monotonic(), len(context.record.ends), time.process_time()))  # without memory

            executor.run_trials = run_sampled
            yield executor

    with tempfile.TemporaryDirectory() as output:
        folder = Path(output) / "scale"
        if options.before:
            first = replace(space, search=space.search.model_copy(
                update={"sampler": "random", "num_samples": options.before}
            ))  # fmt: skip
            run_study(first, prices, space.split(prices), Options(
                folder=folder, command="scale", executor=partial(in_process_executor, train=report_once), quiet=True
            ))  # fmt: skip
        study_options = Options(folder=folder, command="scale", executor=sampled, resume=bool(options.before))
        outcome = run_study(space, prices, space.split(prices), study_options)
        ended = time.monotonic()
        assert len(outcome.ends) == trials, outcome.failure
        times = [line["time"] for line in read_events(folder / "trials.jsonl") if line["event"] == "epoch"]
        times = times[options.before :]
        sizes = {name: (folder / name).stat().st_size for name in ("study.journal", "trials.jsonl")}
    searched_by = next(each for each in samples if len(each) == 3)
    samples = [each for each in samples if each[0] < searched_by[0]]
    samples = [(at, ends - options.before, *rest) for at, ends, *rest in samples]
    found = {"samples": samples, "reports": len(times), "end": ended - searched_by[0], "sizes": sizes}
    print(f"{FOUND}{json.dumps(found)}", flush=True)


def between(samples: list[tuple[float, ...]], low: float, high: float) -> list[tuple[float, ...]]:
    """Return the samples between two numbers of finished trials."""
    return [each for each in samples if low <= each[1] <= high]


def costs(samples: list[tuple[float, ...]]) -> tuple[float, float, float]:
    """Return trials per second, CPU seconds per trial and kB per trial over the samples."""
    first, last = samples[0], samples[-1]
    ends = last[1] - first[1]
    slope = statistics.linear_regression([each[1] for each in samples], [each[3] for each in samples]).slope
    return ends / (last[0] - first[0]), (last[2] - first[2]) / ends, slope


def measured(options: argparse.Namespace, workers: int) -> None:
    """Run a study in a subprocess with a discarded terminal, and print its line."""
    command = [
        sys.executable, "-m", "benchmarks.scale", "--study", "--workers", str(workers), "--trials", str(options.trials),
        "--sleep", str(options.sleep), "--sampler", options.sampler, "--grace", str(options.grace),
        "--profile", str(options.profile), "--before", str(options.before),
    ]  # fmt: skip
    ours, its = pty.openpty()

    def drain() -> None:
        try:
            while os.read(ours, 65536):
                pass
        except OSError:  # the other end is closed
            os.close(ours)

    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=its, text=True)
    os.close(its)
    threading.Thread(target=drain, daemon=True).start()
    text, _ = process.communicate()
    said = text.splitlines()
    lines = [line.removeprefix(FOUND) for line in said if line.startswith(FOUND)]
    if process.returncode or not lines:
        sys.exit(f"{' '.join(command)} failed with {process.returncode}\n{text[-2000:]}")
    if options.profile:
        print(*(line for line in said if not line.startswith(FOUND)), sep="\n")
    found = json.loads(lines[0])
    samples, trials = found["samples"], options.trials
    rate, cpu, memory = costs(between(samples, 0.1 * trials, 0.9 * trials))
    a_trial = found["reports"] / trials
    cells = (
        workers, f"{rate:.1f}", f"{rate * a_trial:.0f}", f"{1000 * cpu:.1f}", f"{memory:.1f}",
        *(f"{found['sizes'][name] / (trials + options.before):.0f}" for name in ("study.journal", "trials.jsonl")),
        f"{found['end']:.1f}",
    )  # fmt: skip
    show(cells)
    for tenth in range(10) if options.course else ():
        part = between(samples, tenth * trials / 10, (tenth + 1) * trials / 10)
        if len(part) > 2:
            rate, cpu, memory = costs(part)
            show((f"{tenth + 1}/10", f"{rate:.1f}", f"{rate * a_trial:.0f}", f"{1000 * cpu:.1f}", f"{memory:.1f}"))


def show(cells: tuple[object, ...]) -> None:
    """Return one line of the table."""
    print("  ".join(str(cell).rjust(len(head)) for cell, head in zip(cells, HEADS, strict=False)), flush=True)


def main() -> None:
    """Run the studies; with --study, run one study in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--before", type=int, default=0, help="random trials before the measured ones")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8, 32, 64])
    parser.add_argument("--sleep", type=float, default=0.02, help="seconds per epoch")
    parser.add_argument("--grace", type=int, default=9, help=f"the only rung; with {EPOCHS}, no trial stops early")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--course", action="store_true", help="print the table for each tenth of the trials")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="print the N slowest functions")
    parser.add_argument("--study", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.study:
        study(options)
        return
    show(HEADS)
    for workers in options.workers:
        measured(options, workers)


if __name__ == "__main__":
    main()
