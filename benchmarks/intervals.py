"""Compare prediction intervals for the next close: static, scaled by a volatility forecast, and adaptive.

    python -m benchmarks.intervals [--horizon 1] [--estimator parkinson]

The forecast is persistence on the Nasdaq and the S&P 500 of the package arch. Its errors are log returns. Blocks of 250
sessions follow each other over the whole series. The static interval of a block has the half width of the 750 sessions
before it. HAR with leverage is fitted on all sessions before the block. The scaled intervals go on day by day, and use
the last 750 scores. The program prints a Markdown table: mean distance of the blocks' coverage from the level, largest
distance, and mean interval (Winkler) score over that of the static intervals.
"""

import argparse

import numpy as np

from stockrnn.evaluation.adaptive_intervals import CALIBRATION, GAMMA, adaptive_intervals, winkler_score
from stockrnn.evaluation.conformal import conformal_intervals
from stockrnn.prices.readers.table import read_shipped
from stockrnn.volatility.estimators import ESTIMATORS, daily_variance
from stockrnn.volatility.forecasts import exponential_mean
from stockrnn.volatility.har import fit_har

BLOCK = 250
LEVELS = (0.8, 0.95)
STATIC = "static"


def blocks(sessions: int) -> list[range]:
    """Return the sessions of each block, after the first 2 x 750 sessions (for HAR, for scores)."""
    first = 2 * CALIBRATION
    return [range(start, start + BLOCK) for start in range(first, sessions - BLOCK + 1, BLOCK)]


def har_scale(variance: np.ndarray, close: np.ndarray, horizon: int) -> np.ndarray:
    """Return the volatility that HAR forecasts, shape (sessions,), refitted on all sessions before each block."""
    scale = np.full(len(close), np.nan)
    for start in range(CALIBRATION, len(close), BLOCK):
        fitted = fit_har(variance, close, range(start), horizon, leverage=True)
        made = slice(start - horizon, start - horizon + BLOCK)  # forecasts of the targets of the block
        scale[made] = np.sqrt(horizon * fitted.forecast(variance, close).variance[made])
    return scale


def half_widths(close: np.ndarray, variance: np.ndarray, horizon: int, level: float) -> dict[str, np.ndarray]:
    """Return the half widths for the target of each session by kind of interval, each (sessions,); NaN before."""
    errors = np.log(close[horizon:] / close[:-horizon])  # of the forecasts made at 0, 1, ...
    har = har_scale(variance, close, horizon)[:-horizon]
    ewma = np.sqrt(horizon * exponential_mean(variance))[:-horizon]
    kinds = {
        "scaled by EWMA": (ewma, 0.0),
        "scaled by HAR": (har, 0.0),
        "scaled by EWMA, adaptive": (ewma, GAMMA),
        "scaled by HAR, adaptive": (har, GAMMA),
    }
    result = {STATIC: np.full(len(close), np.nan)}
    for block in blocks(len(close)):
        before = slice(block.start - CALIBRATION, block.start)
        (interval,) = conformal_intervals(close[before.start - horizon : before.stop - horizon], close[before], [level])
        result[STATIC][block.start : block.stop] = interval.half_width
    for name, (scale, gamma) in kinds.items():
        first = CALIBRATION  # an origin; HAR's first forecasts lie before
        widths, _ = adaptive_intervals(errors[first:], scale[first:], level, gamma=gamma, horizon=horizon)
        result[name] = np.concatenate([np.full(horizon + first, np.nan), widths])
    return result


def scores(close: np.ndarray, widths: np.ndarray, horizon: int, level: float) -> tuple[np.ndarray, float]:
    """Return the coverage of each block, and the mean Winkler score over all blocks in natural logs."""
    tested = blocks(len(close))
    days = np.arange(tested[0].start, tested[-1].stop)
    errors = np.log(close[days] / close[days - horizon])
    inside = np.abs(errors) <= widths[days]
    winkler = winkler_score(errors, -widths[days], widths[days], level)
    return inside.reshape(len(tested), BLOCK).mean(axis=1), float(winkler.mean())


def compare(name: str, estimator: str, horizon: int) -> list[str]:
    """Return the rows of the table for a shipped series."""
    prices = read_shipped(name)
    variance, _ = daily_variance(
        *(prices.column(column) for column in ("open", "high", "low", "close")), estimator=estimator
    )
    close = prices.column("close")
    found: dict[str, list[tuple[float, float, float]]] = {}
    for level in LEVELS:
        static = None
        for kind, widths in half_widths(close, variance, horizon, level).items():
            coverage, winkler = scores(close, widths, horizon, level)
            static = winkler if static is None else static
            distance = 100 * np.abs(coverage - level)
            found.setdefault(kind, []).append((distance.mean(), distance.max(), winkler / static))
    rows = []
    for kind, levels in found.items():
        means, worst, ratios = zip(*levels, strict=True)
        cells = (
            " / ".join(f"{value:.{digits}f}" for value in values)
            for values, digits in ((means, 1), (worst, 1), (ratios, 3))
        )
        rows.append(f"| {name} | {kind} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--horizon", type=int, default=1, help="sessions between a forecast and its target")
    parser.add_argument(
        "--estimator", default="parkinson", choices=list(ESTIMATORS), help="variance that HAR and EWMA forecast"
    )
    options = parser.parse_args()
    print("| series | interval | mean distance from the level, points | worst block, points | Winkler, relative |")
    print("|---|---|---:|---:|---:|")
    for name in ("nasdaq", "sp500"):
        print(*compare(name, options.estimator, options.horizon), sep="\n", flush=True)


if __name__ == "__main__":
    main()
