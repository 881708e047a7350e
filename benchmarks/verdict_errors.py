"""Measure how often the verdict on volatility is wrong: simulated studies with nothing to gain, and with planted skill.

    python -m benchmarks.verdict_errors [--studies 200] [--gain GAIN]
    python -m benchmarks.verdict_errors --real 20 [--planted 10]

Each study has a new series (`benchmarks.simulated_series`). With nothing to gain, it is HAR with leverage, fitted on
the Nasdaq, and HAR with leverage is the rival. With planted skill, it is GJR-GARCH, fitted on the Nasdaq, with a term
that is not linear. The strength of this term was chosen on 30 other studies: the first finalist of the median study had
a QLIKE of 0.87 of the rival's on 250 test sessions, as that of `spaces/volatility.yaml` has on the Nasdaq.

Without `--real`, a study has 24 trials and 3 finalists, as `spaces/volatility.yaml`, three folds of 250 sessions and a
test set of 250, 500 or 750. A trial is a small network with random hidden weights on the terms of HAR, whose output is
fitted by ridge regression, so that a study takes a fraction of a second. The rows `equally good forecasts` have
forecasts in place of networks: the true conditional mean plus noise, with as much noise in the rival. Their expected
losses are equal, so that a test at 5 % should reject in 5 % of the studies.

The program prints the share of studies in which each test has p <= 0.05, and in which the verdict is "unlikely to be
luck": the first finalist is better than the rival on the test set, and SPA over the trials on validation,
Diebold-Mariano for the first finalist, and SPA over the finalists on the test set all have p <= 0.05.

With `--real`, `search.run_study` runs whole studies in this process: networks of `REAL` on the open, high, low and
close of a simulated series. The program prints how many verdicts say "Evidence of skill".
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulated_series import Process, fit_garch_process, fit_har_process, ohlc, simulate
from stockrnn.evaluation.forecast_tests import diebold_mariano
from stockrnn.evaluation.losses import qlike
from stockrnn.evaluation.multiple_testing import spa
from stockrnn.volatility.estimators import mean_future_variance
from stockrnn.volatility.forecasts import smearing
from stockrnn.volatility.har import fit_har, har_terms

TRAIN, BLOCK, FOLDS = 1500, 250, 3  # sessions
TESTS = (250, 500, 750)  # sessions of the test set
VALIDATION = FOLDS * BLOCK
TRIALS, FINALISTS, LEVEL = 24, 3, 0.05
WIDTHS, RIDGES = (4, 8, 16, 32), (1.0, 10.0, 100.0)
NOISE = 0.2  # standard deviation of equally good forecasts around the conditional mean, natural log
GAIN = 0.75  # of the planted term
BATCH = 50  # series that are simulated at once

REAL_SESSIONS, REAL_TEST = 1500, 250
REAL: dict[str, Any] = {
    "data": {"task": "volatility", "source": "nasdaq", "estimator": "parkinson", "test_size": REAL_TEST},
    "validation": {"folds": 2, "fold_size": 125, "seeds": 1},
    "space": {
        "architecture": ["rnn", "gru"],
        "hidden_size": [4, 8],
        "sequence_length": [5, 10],
        "learning_rate": 0.01,
        "loss": "qlike",
        "batch_size": 32,
    },
    "search": {"num_samples": 4, "finalists": 2},
    "scheduler": {"max_epochs": 10},
}
SKILL = "Evidence of skill"


@dataclass(frozen=True, kw_only=True)
class Losses:
    """QLIKE on the validation sessions and those of the longest test set, which follow them.

    Attributes:
        trials: shape (trials, days).
        rival: shape (days,).
    """

    trials: np.ndarray
    rival: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Result:
    """Results of a study with a test set of some length: the p-values, and the first finalist's QLIKE over the rival's.

    Attributes:
        spa_p: SPA over the trials on validation.
        dm_p: Diebold-Mariano for the first finalist on the test set.
        test_spa_p: SPA over the finalists on the test set.
        ratio: QLIKE over the rival's on the test set.
    """

    spa_p: float
    dm_p: float
    test_spa_p: float
    ratio: float

    @property
    def significant(self) -> tuple[bool, bool, bool, bool]:
        """Return for SPA, Diebold-Mariano, SPA on the test set, and the verdict whether there is skill."""
        small = (self.spa_p <= LEVEL, self.dm_p <= LEVEL, self.test_spa_p <= LEVEL)
        return (*small, all(small) and self.ratio < 1)


def network_losses(variance: np.ndarray, close: np.ndarray, seed: int) -> Losses:
    """Return the losses of networks whose hidden weights are random, and of HAR, trained before each block.

    Args:
        variance, close: shape (sessions,).
        seed: of the hidden weights.
    """
    target, terms = mean_future_variance(variance, 1), har_terms(variance, close, leverage=True)
    logs = np.log(target)
    first = terms[22 : TRAIN - 1, 1:]  # of the first training part, which scales the inputs
    inputs = (terms[:, 1:] - first.mean(axis=0)) / first.std(axis=0)
    random = np.random.default_rng(seed)
    widths = [WIDTHS[trial % len(WIDTHS)] for trial in range(TRIALS)]
    weights = np.concatenate([random.normal(0, 0.7, (inputs.shape[1], width)) for width in widths], axis=1)
    hidden = np.tanh(inputs @ weights + random.normal(size=sum(widths)))
    design = np.column_stack([np.ones(len(inputs)), inputs, hidden])
    linear = inputs.shape[1] + 1
    ends = np.cumsum([linear, *widths])
    trials, rivals = [], []
    for block in range(FOLDS + 1):
        train = range(TRAIN + block * BLOCK)
        rows = slice(22, train.stop - 1)
        days = slice(train.stop - 1, train.stop - 1 + (BLOCK if block < FOLDS else max(TESTS)))
        rival = fit_har(variance, close, train, 1, leverage=True).forecast(variance, close)
        rivals.append(qlike(target[days], rival.variance[days]))
        products, moments = design[rows].T @ design[rows], design[rows].T @ logs[rows]
        outputs = np.zeros((design.shape[1], TRIALS))
        for trial in range(TRIALS):
            own = np.r_[:linear, ends[trial] : ends[trial + 1]]
            penalty = np.where(own < linear, 1e-6, RIDGES[trial % len(RIDGES)])
            outputs[own, trial] = np.linalg.solve(products[np.ix_(own, own)] + np.diag(penalty), moments[own])
        residuals = logs[rows, None] - design[rows] @ outputs
        factors = [smearing(residuals[:, trial]) for trial in range(TRIALS)]
        trials.append(qlike(target[days], (np.exp(design[days] @ outputs) * factors).T))
    return Losses(trials=np.concatenate(trials, axis=1), rival=np.concatenate(rivals))


def equally_good_losses(variance: np.ndarray, mean: np.ndarray, seed: int) -> Losses:
    """Return the losses of forecasts and of a rival that all have the same expected loss.

    Args:
        variance: shape (sessions,).
        mean: true mean of the next log variance, shape (sessions,).
        seed: of the noise.
    """
    days = slice(TRAIN - 1, TRAIN - 1 + VALIDATION + max(TESTS))
    target = mean_future_variance(variance, 1)[days]
    noise = np.random.default_rng(seed).normal(0, NOISE, (TRIALS + 1, len(target)))
    factor = np.mean(target / np.exp(mean[days]))
    losses = qlike(target, factor * np.exp(mean[days] + noise))
    return Losses(trials=losses[:-1], rival=losses[-1])


def judge(losses: Losses) -> list[Result]:
    """Return the results of a study for each length of the test set in TESTS."""
    validation = slice(0, VALIDATION)
    order = np.argsort(losses.trials[:, validation].mean(axis=1))
    spa_p = spa(losses.trials[:, validation], losses.rival[validation])
    results = []
    for days in TESTS:
        test = slice(VALIDATION, VALIDATION + days)
        finalists, rival = losses.trials[order[:FINALISTS], test], losses.rival[test]
        results.append(
            Result(
                spa_p=spa_p,
                dm_p=diebold_mariano(finalists[0], rival),
                test_spa_p=spa(finalists, rival),
                ratio=float(finalists[0].mean() / rival.mean()),
            )
        )
    return results


def simulated_studies(
    process: Process, gain: float, seeds: Sequence[int], *, equal: bool = False
) -> list[list[Result]]:
    """Return the results of a simulated study for each seed, by length of the test set.

    Args:
        process: what the series are simulated from.
        gain: strength of the planted term.
        seeds: of the series and of the trials.
        equal: equally good forecasts in place of networks.
    """
    found = []
    for start in range(0, len(seeds), BATCH):
        batch = seeds[start : start + BATCH]
        generators = [np.random.default_rng([seed, 0]) for seed in batch]
        series = simulate(process, TRAIN + VALIDATION + max(TESTS), gain, generators)
        for row, seed in enumerate(batch):
            if equal:
                losses = equally_good_losses(series.variance[row], series.mean[row], seed)
            else:
                losses = network_losses(series.variance[row], series.close[row], seed)
            found.append(judge(losses))
    return found


def simulated_rows(name: str, found: Sequence[Sequence[Result]]) -> list[str]:
    """Return a row of the table for each length of the test set."""
    rows = []
    for days, results in zip(TESTS, zip(*found, strict=True), strict=True):
        shares = np.mean([result.significant for result in results], axis=0)
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
        rows.append(f"| {name} | {days} | {np.median([result.ratio for result in results]):.3f} | {cells} |")
    return rows


def real_verdicts(process: Process, gain: float, seeds: Sequence[int], folder: Path) -> list[str]:
    """Run a study of networks on a simulated series for each seed and return the verdicts.

    Args:
        process, gain: see `simulated_studies`.
        seeds: of the series and of the studies.
        folder: where the studies are written.
    """
    import search  # PyTorch and the rest, which simulated studies do not need

    space = folder / "real.yaml"
    space.write_text(json.dumps(REAL), encoding="utf-8")  # JSON is YAML
    verdicts = []
    for seed in seeds:
        random = np.random.default_rng([seed, 0])
        series = simulate(process, REAL_SESSIONS, gain, [random])
        study = search.run_study(
            space, prices=ohlc(series.variance[0], series.close[0], random), in_process=True, quiet=True,
            overrides={"name": f"gain-{gain:g}-{seed}", "seed": seed}, output=folder,
        )  # fmt: skip
        verdicts.append(study.verdict)
    return verdicts


def main() -> None:
    """Print the table of simulated studies, or that of real ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200, help="simulated studies of each kind")
    parser.add_argument("--gain", type=float, default=GAIN, help="strength of the planted term")
    parser.add_argument("--real", type=int, default=0, help="run this many whole studies with nothing to gain instead")
    parser.add_argument("--planted", type=int, default=0, help="with --real: whole studies with the planted term")
    options = parser.parse_args()
    if options.planted and not options.real:
        parser.error("--planted: counts whole studies; add --real")
    nothing, planted = "networks, nothing to gain", f"networks, planted gain {options.gain:g}"
    if not options.real:
        print("| forecasts | test days | median QLIKE / HAR's, test | SPA, validation | Diebold-Mariano, test "
              "| SPA, test | verdict |")  # fmt: skip
        print("|---|---:|---:|---:|---:|---:|---:|")
        seeds, har = range(options.studies), fit_har_process()
        for row in simulated_rows("equally good forecasts", simulated_studies(har, 0, seeds, equal=True)):
            print(row, flush=True)
        for row in simulated_rows(nothing, simulated_studies(har, 0, seeds)):
            print(row, flush=True)
        for row in simulated_rows(planted, simulated_studies(fit_garch_process(), options.gain, seeds)):
            print(row, flush=True)
        return
    print(f'| series | studies | "{SKILL}" |\n|---|---:|---:|')
    with tempfile.TemporaryDirectory() as folder:
        kinds = (
            ("nothing to gain", fit_har_process(), 0.0, options.real),
            (f"planted gain {options.gain:g}", fit_garch_process(), options.gain, options.planted),
        )
        for name, process, gain, count in kinds:
            verdicts = real_verdicts(process, gain, range(count), Path(folder))
            print(f"| {name} | {count} | {sum(one.startswith(SKILL) for one in verdicts)} |", flush=True)
            print("\n".join(verdicts), file=sys.stderr)


if __name__ == "__main__":
    main()
