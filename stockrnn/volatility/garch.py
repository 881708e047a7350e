"""Forecast the variance by GARCH(1,1) or GJR-GARCH, with parameters fitted on the training part.

The conditional variance of the log return is h(t + 1) = omega + (alpha + gamma [e(t) < 0]) e(t)^2 + beta h(t), with
e(t) = r(t) - mu and Student's t distribution; GARCH(1,1) has gamma = 0. `arch` fits the parameters. They are frozen
then, and the recursion goes on over later sessions.

Sources: Bollerslev (1986), doi 10.1016/0304-4076(86)90063-1; Glosten, Jagannathan & Runkle (1993),
doi 10.1111/j.1540-6261.1993.tb05128.x.
"""

import math
from dataclasses import dataclass

import numpy as np

from stockrnn.volatility.features import log_return
from stockrnn.volatility.forecasts import VarianceForecast, VolatilityError, calibrate

__all__ = ["MIN_RETURNS", "Garch", "fit_garch", "garch"]

MIN_RETURNS = 250  # of the training part; with fewer, the estimates are too noisy to be a baseline
PERCENT = 100.0  # arch's optimizer expects returns in per cent


@dataclass(frozen=True, kw_only=True)
class Garch:
    """A fitted GARCH(1,1) or GJR-GARCH of log returns in per cent.

    Attributes:
        mu: mean return, per cent.
        omega: constant of the variance, per cent squared.
        alpha, gamma, beta: coefficients of the squared return, of the squared negative return, of the last variance.
        initial: variance of the first return, per cent squared.
    """

    mu: float
    omega: float
    alpha: float
    gamma: float
    beta: float
    initial: float

    def next_variance(self, close: np.ndarray) -> np.ndarray:
        """Return the variance of the next session's log return, shape (sessions,); NaN for the first session.

        Args:
            close: shape (sessions,), price points.
        """
        from scipy.signal import lfilter  # type: ignore[import-untyped]  # half a second, needed only here

        errors = PERCENT * log_return(close)[1:] - self.mu
        inputs = self.omega + (self.alpha + self.gamma * (errors < 0)) * errors**2
        result = np.full(len(close), np.nan)
        if len(errors):
            result[1:], _ = lfilter([1.0], [1.0, -self.beta], inputs, zi=[self.beta * self.initial])
        return result / PERCENT**2

    def mean_variance(self, close: np.ndarray, horizon: int) -> np.ndarray:
        """Return the mean variance of the next `horizon` sessions' log returns, shape (sessions,)."""
        step = self.next_variance(close)
        total = step.copy()
        persistence = self.alpha + self.gamma / 2 + self.beta  # half of the returns are below the mean
        for _ in range(horizon - 1):
            step = self.omega / PERCENT**2 + persistence * step
            total += step
        mean: np.ndarray = total / horizon
        return mean


def fit_garch(close: np.ndarray, train: range, *, asymmetric: bool) -> Garch:
    """Fit a GARCH(1,1), or a GJR-GARCH if asymmetric, on the log returns of the training part.

    Args:
        close: shape (sessions,), price points.
        train: sessions of the training part.
        asymmetric: negative returns have a coefficient of their own.

    Raises:
        VolatilityError: there are too few returns, they do not vary, or the optimizer does not converge.
    """
    from arch import arch_model  # a second, needed only here

    name = _name(asymmetric)
    returns = PERCENT * log_return(close[train.start : train.stop])[1:]
    if len(returns) < MIN_RETURNS:
        raise VolatilityError(f"{name}: {len(returns)} returns in the training part; at least {MIN_RETURNS} are needed")
    if not np.isfinite(returns).all() or np.ptp(returns) == 0:
        raise VolatilityError(f"{name}: the returns of the training part must be finite and must vary")
    model = arch_model(returns, mean="Constant", vol="GARCH", p=1, o=int(asymmetric), q=1, dist="t", rescale=False)
    with np.errstate(all="ignore"):  # steps of the optimizer outside the parameters that make sense
        fitted = model.fit(disp="off", show_warning=False)
    values = {name: float(value) for name, value in fitted.params.items()}
    if fitted.convergence_flag or not all(math.isfinite(value) for value in values.values()):
        raise VolatilityError(
            f"{name}: the fit on {len(returns)} returns did not converge: {fitted.optimization_result.message}"
        )
    return Garch(
        mu=values["mu"],
        omega=values["omega"],
        alpha=values["alpha[1]"],
        gamma=values.get("gamma[1]", 0.0),
        beta=values["beta[1]"],
        initial=float(fitted.conditional_volatility[0]) ** 2,
    )


def garch(variance: np.ndarray, close: np.ndarray, train: range, horizon: int, *, asymmetric: bool) -> VarianceForecast:
    """Fit on the training part, forecast at every session, and calibrate on the training part.

    The forecast is of the variance from close to close. The calibration turns it into one of `variance`, a range
    estimate that misses the move from the last close to the open.

    Args:
        variance: shape (sessions,), of daily log returns, as targets are.
        close: shape (sessions,), price points.
        train: sessions of the training part.
        horizon: number of sessions whose mean variance is forecast.
        asymmetric: see `fit_garch`.

    Raises:
        VolatilityError: see `fit_garch`; or a forecast is not above 0.
    """
    forecast = fit_garch(close, train, asymmetric=asymmetric).mean_variance(close, horizon)
    known = forecast[train.start + 1 :]
    if not (np.isfinite(known) & (known > 0)).all():
        raise VolatilityError(f"{_name(asymmetric)}: a forecast variance is not a finite number above 0")
    return calibrate(np.log(forecast), variance, train, horizon)


def _name(asymmetric: bool) -> str:
    return "GJR-GARCH" if asymmetric else "GARCH(1,1)"
