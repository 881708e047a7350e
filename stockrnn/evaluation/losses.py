"""Compute a day's loss of a forecast variance (QLIKE) or of a forecast probability (log loss, Brier score).

Each function takes arrays of shape (days,) and returns one of shape (days,); smaller is better.
"""

import numpy as np

__all__ = ["MIN_PROBABILITY", "brier", "log_loss", "qlike", "qlike_of_logs"]

MIN_PROBABILITY = 1e-12  # a forecast of exactly 0 or 1 that is wrong has a finite log loss


def qlike(variance: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return the QLIKE loss v/f - ln(v/f) - 1: 0 for a perfect forecast, above 0 for any other.

    The mean loss ranks forecasts of the true variance correctly even if `variance` is an unbiased but noisy estimate.
    It does not depend on the unit. Source: Patton (2011), doi 10.1016/j.jeconom.2010.03.034.

    Args:
        variance: estimated variance v, above 0.
        forecast: forecast variance f, above 0; the loss of 0 or infinity is infinite, that of NaN is NaN.
    """
    with np.errstate(divide="ignore"):
        return qlike_of_logs(np.log(variance), np.log(forecast))


def qlike_of_logs(log_variance: np.ndarray, log_forecast: np.ndarray) -> np.ndarray:
    """Return `qlike` from natural logs, so that no small or large variance underflows or overflows."""
    difference = np.asarray(log_variance, dtype=float) - np.asarray(log_forecast, dtype=float)
    with np.errstate(over="ignore", invalid="ignore"):
        loss: np.ndarray = np.expm1(difference) - difference
    return np.where(np.isinf(difference), np.inf, loss)


def log_loss(up: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return the log loss, the negative natural log of the probability that was forecast for the actual direction.

    Args:
        up: True if the close is higher.
        probability: forecast probability that it is higher, 0 to 1; it is clipped to 1e-12 and 1 - 1e-12.
    """
    clipped = np.clip(probability, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    loss: np.ndarray = -np.log(np.where(up, clipped, 1 - clipped))
    return loss


def brier(up: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return the Brier score, the squared difference between the probability and the outcome (1 if up, else 0).

    Source: Brier (1950), doi 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    loss: np.ndarray = (np.asarray(probability, dtype=float) - np.asarray(up, dtype=float)) ** 2
    return loss
