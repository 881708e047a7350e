"""Forecast the probability that the close is higher: base rate, persistence of direction, logistic regression.

Each baseline is fitted on the training part. The arguments are `closes` (sessions,) in price points, `train` (sessions
to fit on), `origins` (sessions at whose close the forecasts are made) and the `horizon`; the result is the probability
that the close `horizon` sessions after each origin is higher than at the origin, shape (origins,).
"""

from collections.abc import Callable

import numpy as np

from stockrnn.io.errors import UserError

__all__ = [
    "DIRECTION_BASELINES", "DirectionError", "base_rate", "closes_higher", "direction_persistence", "fit_logistic",
    "logistic", "logistic_probability",
]  # fmt: skip

LAGS = 5  # last log returns of the logistic regression
RIDGE = 1e-3  # penalty of a squared coefficient, in observations; keeps coefficients of separable data finite
MIN_ROWS = 50  # training sessions with a target
MAX_STEPS, TOLERANCE = 50, 1e-10


class DirectionError(UserError):
    """A baseline of the direction cannot be fitted; the message is one line: `baseline: value: the rule`."""


def closes_higher(closes: np.ndarray, horizon: int) -> np.ndarray:
    """Return 1 at sessions whose close is higher `horizon` sessions later, else 0; NaN at the end; (sessions,)."""
    assert horizon >= 1
    closes = np.asarray(closes, dtype=float)
    result = np.full(len(closes), np.nan)
    result[: max(0, len(closes) - horizon)] = closes[horizon:] > closes[:-horizon]
    return result


def base_rate(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast the share of training sessions with a higher close; (ups + 1/2) / (sessions + 1), never 0 or 1."""
    _, up = _training_rows(closes, train, horizon, "base rate", first=0)
    return np.full(len(origins), _share(up))


def direction_persistence(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast the share of training sessions with a higher close among those that were like the origin.

    Sessions are alike if their close is higher than `horizon` sessions before, or if it is not.
    """
    rows, up = _training_rows(closes, train, horizon, "persistence of direction", first=horizon)
    rose = closes[rows] > closes[rows - horizon]
    after_rise, after_fall = _share(up[rose]), _share(up[~rose])
    return np.where(closes[origins] > closes[origins - horizon], after_rise, after_fall)


def logistic(closes: np.ndarray, train: range, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast by a logistic regression on the last five log returns, over their training standard deviation."""
    rows, up = _training_rows(closes, train, horizon, "logistic regression", first=LAGS)
    inputs = _lagged_returns(closes, rows)
    scale = float(inputs.std()) or 1.0
    coefficients = fit_logistic(inputs / scale, up)
    return logistic_probability(coefficients, _lagged_returns(closes, np.asarray(origins)) / scale)


def fit_logistic(inputs: np.ndarray, up: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """Return the intercept and the coefficients of a logistic regression, shape (1 + inputs,).

    They minimize the total log loss plus ridge / 2 times the squared coefficients, without the intercept's. Newton's
    method (iteratively reweighted least squares), with halved steps where a full one does not lower the loss. Source:
    Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, section 4.4.1.

    Args:
        inputs: shape (rows, inputs), of order one.
        up: shape (rows,), 1 or 0; both must occur.
        ridge: weight of the penalty, above 0.

    Raises:
        DirectionError: all rows have the same direction, or the iterations do not converge.
    """
    if len(np.unique(up)) < 2:
        raise DirectionError(f"logistic regression: all {len(up)} training sessions have the same direction")
    design = np.column_stack([np.ones(len(inputs)), inputs])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0

    def objective(coefficients: np.ndarray) -> float:
        logits = design @ coefficients
        return float(np.sum(np.logaddexp(0, logits) - up * logits) + penalty @ coefficients**2 / 2)

    coefficients = np.zeros(design.shape[1])
    value = objective(coefficients)
    for _ in range(MAX_STEPS):
        probability = logistic_probability(coefficients, inputs)
        gradient = design.T @ (probability - up) + penalty * coefficients
        weights = probability * (1 - probability)
        step = np.linalg.solve((design * weights[:, None]).T @ design + np.diag(penalty), gradient)
        while (new := objective(coefficients - step)) > value and np.abs(step).max() > TOLERANCE:
            step /= 2
        coefficients, value = coefficients - step, new
        if np.abs(step).max() <= TOLERANCE:
            return coefficients
    raise DirectionError(f"logistic regression: no convergence in {MAX_STEPS} steps")


def logistic_probability(coefficients: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Return the probability of each row, shape (rows,), from coefficients of `fit_logistic`."""
    # A product by rows, not BLAS: a row's probability does not depend on the number of rows.
    logits = coefficients[0] + (inputs * coefficients[1:]).sum(axis=1)
    probability: np.ndarray = np.exp(-np.logaddexp(0, -logits))
    return probability


def _training_rows(
    closes: np.ndarray, train: range, horizon: int, name: str, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the training sessions whose target is in the training part, and whether their close is higher later."""
    start = train.start + first
    rows = np.arange(start, max(start, train.stop - horizon))
    if len(rows) < MIN_ROWS:
        raise DirectionError(
            f"{name}: {len(rows)} of {len(train)} training sessions have {first} earlier ones and a target; "
            f"at least {MIN_ROWS} are needed"
        )
    return rows, (closes[rows + horizon] > closes[rows]).astype(float)


def _lagged_returns(closes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the last LAGS log returns at each row, newest first, shape (rows, LAGS)."""
    logs = np.log(closes)
    return np.column_stack([logs[rows - lag] - logs[rows - lag - 1] for lag in range(LAGS)])


def _share(up: np.ndarray) -> float:
    """Return the share of ups, with half an up and half a down more (Jeffreys' prior), so that it is never 0 or 1."""
    return float((up.sum() + 0.5) / (len(up) + 1))


DIRECTION_BASELINES: dict[str, Callable[[np.ndarray, range, np.ndarray, int], np.ndarray]] = {
    "base_rate": base_rate,
    "direction_persistence": direction_persistence,
    "logistic": logistic,
}
