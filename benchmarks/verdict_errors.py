"""Measure how often the verdict on volatility is wrong: simulated studies with nothing to gain, and with planted skill.

    python -m benchmarks.verdict_errors [--studies 200] [--gains 0 0.4 0.6] [--processes 1]

HAR with leverage is fitted on the Nasdaq. Each study has a new series: the fitted HAR with pairs of residual and
standardized return drawn from the Nasdaq. With a gain, the log variance of the next session also contains gain times
the absolute distance of today's from its 22-day mean, which is not linear, so that no HAR knows it. A study has 40
trials, three folds and a test set of 250 sessions. A trial is a small network with random hidden weights on the terms
of HAR, whose output is fitted by ridge regression, so that a study takes less than a second. The five trials with the
smallest QLIKE on validation are finalists. The rival is HAR with leverage, fitted on the same days.

The rows `equally good` have forecasts in place of networks: the true conditional mean plus noise, with as much noise in
the rival. Their expected losses are equal, so that a test at 5 % should reject in 5 % of the studies.

The program prints the share of studies in which each test has p <= 0.05, and in which the verdict is "unlikely to be
luck": the first finalist is better than the rival on the test set, and SPA over the trials on validation,
Diebold-Mariano for the first finalist, and SPA over the finalists on the test set all have p <= 0.05.
"""

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from stockrnn.evaluation.forecast_tests import diebold_mariano
from stockrnn.evaluation.losses import qlike
from stockrnn.evaluation.multiple_testing import spa
from stockrnn.prices.readers.table import read_shipped
from stockrnn.volatility.estimators import daily_variance, mean_future_variance
from stockrnn.volatility.features import log_return
from stockrnn.volatility.forecasts import calibrate
from stockrnn.volatility.har import fit_har, har_terms

TRAIN, BLOCK, FOLDS = 1500, 250, 3  # sessions
BURN_IN = 500
TRIALS, FINALISTS, LEVEL = 40, 5, 0.05
WIDTHS, RIDGES = (4, 8, 16, 32), (1.0, 10.0, 100.0)
MAX_DISTANCE, MEAN_DISTANCE = 2.0, 0.6  # of the log variance from its 22-day mean, in the planted term
NOISE = 0.2  # standard deviation of equally good forecasts around the conditional mean, natural log


@dataclass(frozen=True)
class Process:
    """HAR with leverage and what is drawn from: residuals of the log variance with the returns of the same sessions."""

    coefficients: np.ndarray
    residuals: np.ndarray
    returns: np.ndarray  # of a session over its volatility


def fit_process() -> Process:
    """Fit the process on the Nasdaq's Parkinson variance."""
    prices = read_shipped("nasdaq")
    variance, _ = daily_variance(None, prices.column("high"), prices.column("low"), None, "parkinson")
    close = prices.column("close")
    fitted = fit_har(variance, close, range(len(close)), 1, leverage=True)
    before = fitted.forecast(variance, close).log_variance[21:-1]
    return Process(
        coefficients=fitted.coefficients,
        residuals=np.log(variance[22:]) - before,
        returns=log_return(close)[22:] / np.sqrt(variance[22:]),
    )


def simulate(process: Process, sessions: int, gain: float, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return variance, close, and the true conditional mean of the next log variance, each (sessions,)."""
    total = sessions + BURN_IN
    drawn = random.integers(len(process.residuals), size=total)
    residuals, shocks = process.residuals[drawn].tolist(), process.returns[drawn].tolist()
    constant, day, week, month, negative, absolute = process.coefficients.tolist()
    logs, changes, means = [math.log(1e-4)] * 22, [0.0] * 22, [math.nan] * 22
    for session in range(22, total):
        monthly = sum(logs[-22:]) / 22
        mean = constant + day * logs[-1] + week * sum(logs[-5:]) / 5 + month * monthly
        mean += 100 * (negative * min(changes[-1], 0) + absolute * abs(changes[-1]))
        mean += gain * (min(abs(logs[-1] - monthly), MAX_DISTANCE) - MEAN_DISTANCE)
        means[-1] = mean  # known at the session before
        means.append(math.nan)
        logs.append(max(math.log(1e-8), min(mean + residuals[session], math.log(0.1))))
        changes.append(max(-0.3, min(math.exp(logs[-1] / 2) * shocks[session], 0.3)))
    kept = slice(BURN_IN, total)
    return np.exp(np.array(logs)[kept]), 100 * np.exp(np.cumsum(np.array(changes)[kept])), np.array(means)[kept]


def network(
    terms: np.ndarray, variance: np.ndarray, train: range, width: int, ridge: float, random: np.random.Generator
) -> np.ndarray:
    """Return the forecast variance of a network, (sessions,), whose hidden weights are random and not fitted."""
    rows = slice(train.start + 22, train.stop - 1)
    inputs = (terms[:, 1:] - terms[rows, 1:].mean(axis=0)) / terms[rows, 1:].std(axis=0)
    hidden = np.tanh(inputs @ random.normal(0, 0.7, (inputs.shape[1], width)) + random.normal(size=width))
    design = np.column_stack([np.ones(len(inputs)), inputs, hidden])
    penalty = np.concatenate([np.full(inputs.shape[1] + 1, 1e-6), np.full(width, ridge)])
    target = np.log(mean_future_variance(variance, 1))
    fitted = design[rows]
    weights = np.linalg.solve(fitted.T @ fitted + np.diag(penalty), fitted.T @ target[rows])
    return calibrate(design @ weights, variance, train, 1).variance


def trial_losses(variance: np.ndarray, close: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the QLIKE of all trials, (trials, days), and of HAR, (days,), on the folds and the test set."""
    target = mean_future_variance(variance, 1)
    terms = har_terms(variance, close, leverage=True)
    trials, rival = np.empty((TRIALS, 0)), np.empty(0)
    for block in range(FOLDS + 1):
        train = range(TRAIN + block * BLOCK)
        days = slice(train.stop - 1, train.stop - 1 + BLOCK)
        rival = np.concatenate(
            [
                rival,
                qlike(target, fit_har(variance, close, train, 1, leverage=True).forecast(variance, close).variance)[
                    days
                ],
            ]
        )
        forecasts = [
            network(terms, variance, train, WIDTHS[trial % 4], RIDGES[trial % 3], np.random.default_rng([seed, trial]))[
                days
            ]
            for trial in range(TRIALS)
        ]
        trials = np.concatenate([trials, qlike(target[days], np.stack(forecasts))], axis=1)
    return trials, rival


def equally_good_losses(
    variance: np.ndarray, mean: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the QLIKE of forecasts, (trials, days), and of a rival, (days,), that all have the same expected loss."""
    days = slice(TRAIN - 1, TRAIN - 1 + (FOLDS + 1) * BLOCK)
    target = mean_future_variance(variance, 1)[days]
    noise = random.normal(0, NOISE, (TRIALS + 1, len(target)))
    smearing = np.mean(target / np.exp(mean[days]))
    losses = qlike(target, smearing * np.exp(mean[days] + noise))
    return losses[:-1], losses[-1]


def study(process: Process, gain: float | None, seed: int) -> tuple[float, float, float, float]:
    """Return SPA's p on validation, Diebold-Mariano's and SPA's p on the test set, and QLIKE over the rival's there.

    Args:
        process: what the series is simulated from.
        gain: strength of the planted term; None for equally good forecasts.
        seed: of the series and of the trials.
    """
    random = np.random.default_rng(seed)
    variance, close, mean = simulate(process, TRAIN + (FOLDS + 1) * BLOCK, gain or 0.0, random)
    if gain is None:
        trials, rival = equally_good_losses(variance, mean, random)
    else:
        trials, rival = trial_losses(variance, close, seed)
    validation, test = slice(0, FOLDS * BLOCK), slice(FOLDS * BLOCK, None)
    finalists = trials[np.argsort(trials[:, validation].mean(axis=1))[:FINALISTS], test]
    return (
        spa(trials[:, validation], rival[validation]),
        diebold_mariano(finalists[0], rival[test]),
        spa(finalists, rival[test]),
        float(finalists[0].mean() / rival[test].mean()),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--gains", type=float, nargs="+", default=[0.0, 0.4, 0.6], help="strengths of the planted term")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    process = fit_process()
    print("| studies | QLIKE / HAR's, test | SPA, validation | Diebold-Mariano, test | SPA, test | verdict |")
    print("|---|---:|---:|---:|---:|---:|")
    for gain in (None, *options.gains):
        with ProcessPoolExecutor(options.processes) as pool:
            found = np.array([*pool.map(partial(study, process, gain), range(options.studies), chunksize=5)])
        small = found[:, :3] <= LEVEL
        shares = [*small.mean(axis=0), (small.all(axis=1) & (found[:, 3] < 1)).mean()]
        name = "equally good" if gain is None else f"networks, gain {gain:g}"
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
        print(f"| {name} | {np.mean(found[:, 3]):.3f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
