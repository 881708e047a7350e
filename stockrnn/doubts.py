"""What a user should look at in a daily series that is otherwise in order. Nothing is changed here.

Every check is a function from the series to a finding, or to None; it takes prices above 0, sorted, one row a day.
"""

from datetime import UTC, datetime

import numpy as np

from stockrnn.repairs import PRICE_COLUMNS, days
from stockrnn.series import Finding, Prices

__all__ = ["contradictions", "doubts", "usable_volume"]

MOST_FLAT = 0.01  # share of sessions with one price all day
MOST_REPEATED_OPENS = 0.5
MOST_ZERO_VOLUMES = 0.2
UNIT_BREAK = 50  # one year's median volume over that of the year before
WHOLE_YEAR = 20  # sessions with a volume, for its median to count
LARGE_RETURN = 0.3
SPLITS = (2, 3, 4, 5, 10, 20, 50, 100)  # shares for one, or one for so many
NEAR_SPLIT = 0.03  # beside the day's own return
LONG_GAP = 12  # days; Lunar New Year and Golden Week stay below
REGULAR = 0.1  # share of sessions on a day of the week from which on the exchange opens on it
REGULAR_SESSIONS = 10
SATURDAY, SUNDAY = 5, 6
NOT_DAILY = 5  # days between sessions


def doubts(prices: Prices) -> list[Finding]:
    """All findings of the checks below, those that say nothing left out."""
    checks = (
        _ranges, _stale, _flat, _opens, _no_volume, _zero_volume, _volume_units, _splits, _jumps, _gaps, _weekends,
        _spacing, _newest,
    )  # fmt: skip
    found = (check(prices) for check in checks)
    return [finding for finding in found if finding is not None]


def usable_volume(prices: Prices) -> str | None:
    """Why the volume cannot be an input of a network; None where it can."""
    if "volume" not in prices.columns:
        return "there is no Volume column"
    zero = prices.column("volume") == 0
    if zero.mean() > MOST_ZERO_VOLUMES:
        return f"the volume is 0 on {zero.sum()} of {len(prices)} sessions; at most 20 % may be"
    return None


def contradictions(prices: Prices) -> np.ndarray:
    """Where the high lies below open or close, or the low above: bool, shape (sessions,)."""
    opens, highs, lows, closes = (prices.column(name) for name in PRICE_COLUMNS)
    tolerance = 1e-6 * closes  # files round to different digits
    return (highs < np.maximum(opens, closes) - tolerance) | (lows > np.minimum(opens, closes) + tolerance)


def _warning(prices: Prices, check: str, what: str, chosen: np.ndarray, then: str = "") -> Finding | None:
    """`what` of so many sessions, the first few of them, and what follows from it; None where there are none."""
    rows = int(chosen.sum())
    if not rows:
        return None
    dates = days(prices, chosen)
    more = f" and {rows - 3} more" if rows > 3 else ""
    text = f"{what.format(sessions=_sessions(rows))}: {', '.join(dates[:3])}{more}{f'; {then}' if then else ''}"
    return Finding(check=check, severity="warning", text=text, rows=rows, dates=dates)


def _sessions(rows: int) -> str:
    return f"{rows:,} session{'' if rows == 1 else 's'}"


def _ranges(prices: Prices) -> Finding | None:
    what = "High or Low contradicts Open or Close on {sessions}, kept as it is"
    return _warning(prices, "range", what, contradictions(prices))


def _stale(prices: Prices) -> Finding | None:
    same = np.r_[False, (prices.values[1:] == prices.values[:-1]).all(axis=1)]
    return _warning(prices, "stale", "the prices of {sessions} repeat those of the session before", same)


def _flat(prices: Prices) -> Finding | None:
    quotes = np.column_stack([prices.column(name) for name in PRICE_COLUMNS])
    flat = (quotes == quotes[:, :1]).all(axis=1)
    if flat.mean() <= MOST_FLAT:
        return None
    return _warning(prices, "flat bars", "Open, High, Low and Close are one price on {sessions}", flat)


def _opens(prices: Prices) -> Finding | None:
    repeated = np.r_[False, prices.column("open")[1:] == prices.column("close")[:-1]]
    if len(prices) < 2 or repeated[1:].mean() <= MOST_REPEATED_OPENS:
        return None
    what = "Open repeats the previous Close on {sessions}"
    return _warning(prices, "opens", what, repeated, "the feature open says nothing there")


def _no_volume(prices: Prices) -> Finding | None:
    if "volume" in prices.columns:
        return None
    return Finding(check="volume", severity="warning", text="no Volume column: the volume can be no feature")


def _zero_volume(prices: Prices) -> Finding | None:
    if "volume" not in prices.columns:
        return None
    refused = "the volume can be no feature" if usable_volume(prices) else ""
    return _warning(prices, "volume", "Volume is 0 on {sessions}", prices.column("volume") == 0, refused)


def _volume_units(prices: Prices) -> Finding | None:
    if "volume" not in prices.columns:
        return None
    volumes, years = prices.column("volume"), prices.dates.astype("datetime64[Y]")
    breaks, before = [], None
    for year in np.unique(years):
        traded = volumes[(years == year) & (volumes > 0)]
        if len(traded) < WHOLE_YEAR:
            continue
        median = float(np.median(traded))
        if before and abs(np.log(median) - np.log(before)) >= np.log(UNIT_BREAK):
            breaks.append((str(year), before, median))
        before = median
    if not breaks:
        return None
    year, old, new = breaks[0]
    text = f"the median Volume goes from {old:,.6g} to {new:,.6g} in {year}: another unit?"
    first = prices.dates[years == np.datetime64(year)][0]
    return Finding(check="volume units", severity="warning", text=text, rows=len(breaks), dates=(str(first),))


def _factors(prices: Prices) -> np.ndarray:
    """Close over the previous close, 1 for the first session; shape (sessions,)."""
    closes = prices.column("close")
    return np.r_[1.0, closes[1:] / closes[:-1]]


def _split_like(factors: np.ndarray) -> np.ndarray:
    distances = [np.abs(np.log(factors) + sign * np.log(shares)) for shares in SPLITS for sign in (1, -1)]
    return np.min(distances, axis=0) <= NEAR_SPLIT


def _splits(prices: Prices) -> Finding | None:
    factors = _factors(prices)
    return _warning(
        prices, "split", "Close goes by about a whole factor, as at a split, on {sessions}", _split_like(factors),
        "never mended here: use prices adjusted for splits",
    )  # fmt: skip


def _jumps(prices: Prices) -> Finding | None:
    factors = _factors(prices)
    large = (np.abs(factors - 1) > LARGE_RETURN) & ~_split_like(factors)
    return _warning(
        prices, "jump", f"Close moves by more than {100 * LARGE_RETURN:.0f} % on {{sessions}}", large, "a split?"
    )


def _gaps(prices: Prices) -> Finding | None:
    gaps = np.r_[0, np.diff(prices.dates).astype(int)]
    longest = f"the longest has {gaps.max()} days"
    return _warning(
        prices, "gap", f"more than {LONG_GAP} days without a session before {{sessions}}", gaps > LONG_GAP, longest
    )


def _weekends(prices: Prices) -> Finding | None:
    weekday = (prices.dates.astype("datetime64[D]").astype(int) + 3) % 7
    stray = np.zeros(len(prices), dtype=bool)
    for day in (SATURDAY, SUNDAY):
        on_it = weekday == day
        if not _opens_on(on_it):
            stray |= on_it
    return _warning(prices, "weekend", "{sessions} on a weekend of an exchange closed then", stray)


def _opens_on(on_it: np.ndarray) -> bool:
    """Whether sessions on a day of the week are the rule, now (crypto) or for years (Seoul's Saturdays until 1998)."""
    if on_it.mean() >= REGULAR:
        return True
    first, last = np.flatnonzero(on_it)[[0, -1]] if on_it.any() else (0, 0)
    return on_it.sum() >= REGULAR_SESSIONS and on_it[first : last + 1].mean() >= REGULAR


def _spacing(prices: Prices) -> Finding | None:
    typical = np.median(np.diff(prices.dates).astype(int)) if len(prices) > 1 else 1
    if typical < NOT_DAILY:
        return None
    text = f"sessions are {typical:g} days apart: this is no daily series, and a session ahead means that many days"
    return Finding(check="spacing", severity="warning", text=text, rows=len(prices))


def _newest(prices: Prices) -> Finding | None:
    fresh = prices.dates >= np.datetime64(datetime.now(UTC).date())
    return _warning(prices, "newest bar", "{sessions} from today on", fresh, "unfinished before the market's close")
