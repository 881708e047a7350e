"""Compare this project's TPE, which reads a bounded number of trials, with Optuna's own on a known function.

    python -m benchmarks.tpe [--trials 600] [--seeds 20] [--histories 250 1000]

The function is defined on the space of `spaces/all.yaml`: floats, integers, choices and a condition. Its minimum is 0.
The program prints the best value found after a quarter, half and all of the trials: mean over the seeds, and mean
difference to Optuna's sampler with the same options (multivariate, group), with its standard error.
"""

import argparse
import math
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
from optuna.samplers import TPESampler

from search.results.event_log import TrialEnd
from search.space.space import Space, load_space
from search.tune import proposals

ARCHITECTURES = {"rnn": 0.3, "gru": 0.0, "lstm": 0.1}
HEADS = {"last": 0.1, "flatten": 0.25, "mean": 0.0, "attention": 0.15}
SCALINGS = {"minmax": 0.4, "standard": 0.2, "relative": 0.0}


def function(point: Mapping[str, Any]) -> float:
    """Return the value at a point: a valley along learning rate and batch size, plus a part for each choice."""
    rate, batch = math.log10(point["learning_rate"]), math.log2(point["batch_size"])
    return (
        1.0 * (rate + 2.7 - 0.2 * (batch - 6)) ** 2
        + 0.3 * (math.log2(point["hidden_size"]) - 4.3 + 0.5 * (point["num_layers"] - 2)) ** 2
        + 0.1 * (batch - 6) ** 2
        + 0.1 * abs(point["num_layers"] - 2)
        + 0.02 * abs(point["sequence_length"] - 20) ** 0.5
        + 2.0 * (point.get("dropout", 0.1) - 0.1) ** 2
        + ARCHITECTURES[point["architecture"]]
        + HEADS[point["head"]] * (2 if point["architecture"] == "lstm" else 1)
        + SCALINGS[point["scaling"]]
        + (0.2 if point["target"] == "close" else 0.0)
    )


def bounded(space: Space, trials: int, history: int, seed: int) -> tuple[list[float], float]:
    """Search with this project's proposals, which read at most so many trials; return all values, and the CPU time."""
    proposals.MAX_HISTORY = history
    seeded, known, values = replace(space, seed=seed), proposals.History(space), []
    began = time.process_time()
    for number in range(trials):
        point = space.point(proposals.propose(seeded, known, {}, number))
        values.append(function(point))
        scores = {space.search.metric: values[-1]}
        known.add(
            TrialEnd(
                trial_id=f"{number:05d}", status="complete", point=point, scores=scores, epochs=1, best_epoch=1
            )
        )  # fmt: skip
    return values, time.process_time() - began


def plain(space: Space, trials: int, options: Mapping[str, Any], seed: int) -> tuple[list[float], float]:
    """Search with Optuna's TPE, which reads all trials; return all values, and the CPU time."""
    values = []
    began = time.process_time()
    study = optuna.create_study(sampler=TPESampler(seed=seed, **options))
    for _ in range(trials):
        trial = study.ask()
        values.append(function(proposals.choose_values(space, trial)))
        study.tell(trial, values[-1])
    return values, time.process_time() - began


def be_quiet() -> None:
    """Show no messages of Optuna."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def main() -> None:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--histories", type=int, nargs="+", default=[250, 1000])
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    space = load_space("spaces/all.yaml")
    start = (space, options.trials)
    searches = {"Optuna, same options": partial(plain, *start, {"multivariate": True, "group": True})}
    searches |= {f"at most {history} trials": partial(bounded, *start, history) for history in options.histories}
    searches |= {"Optuna, default options": partial(plain, *start, {})}
    marks = [options.trials // 4, options.trials // 2, options.trials]
    reference: list[list[float]] = []
    print(f"{'':24}", *(f"{f'{mark} trials: mean, difference':>34}" for mark in marks), "  ms/trial")
    for name, search in searches.items():
        with multiprocessing.Pool(options.processes, be_quiet) as pool:
            found = pool.map(search, range(options.seeds), chunksize=1)
        runs = [values for values, _ in found]
        took = statistics.mean(seconds for _, seconds in found) / options.trials
        best = [[min(values[:mark]) for mark in marks] for values in runs]
        reference = reference or best
        cells = []
        for index in range(len(marks)):
            differences = [own[index] - other[index] for own, other in zip(best, reference, strict=True)]
            error = statistics.stdev(differences) / len(differences) ** 0.5
            mean = statistics.mean(own[index] for own in best)
            cells.append(f"{mean:14.4f}, {statistics.mean(differences):+.4f} +- {error:.4f}")
        print(f"{name:24}", *cells, f"{1000 * took:9.1f}", flush=True)


if __name__ == "__main__":
    main()
