"""List the baseline forecasts of variance, each fitted on the training part and corrected for the bias of logs.

Each baseline takes `variance` (sessions,), `close` (sessions,), the training part `train` and the `horizon`, and
returns a `VarianceForecast` at every session. It raises `VolatilityError` if it cannot be fitted, with the reason.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from stockrnn.volatility.forecasts import VarianceForecast, ewma, persistence
from stockrnn.volatility.garch import garch
from stockrnn.volatility.har import har

__all__ = ["BASELINES", "RIVAL", "Baseline"]

Baseline = Callable[[np.ndarray, np.ndarray, range, int], VarianceForecast]


def _persistence(variance: np.ndarray, close: np.ndarray, train: range, horizon: int) -> VarianceForecast:
    return persistence(variance, train, horizon)


def _ewma(variance: np.ndarray, close: np.ndarray, train: range, horizon: int) -> VarianceForecast:
    return ewma(variance, train, horizon)


RIVAL = "har_leverage"
BASELINES: dict[str, Baseline] = {
    "persistence": _persistence,
    "ewma": _ewma,
    "har": partial(har, leverage=False),
    RIVAL: partial(har, leverage=True),
    "garch": partial(garch, asymmetric=False),
    "gjr_garch": partial(garch, asymmetric=True),
}
