"""Warn about anomalies in a clean daily series. Nothing is changed here.

Each check is a function that returns a finding, or None. It expects prices above 0, sorted, with one row per day.
"""

from datetime import UTC, datetime

import numpy as np

from stockrnn.prices.repairs import first_dates
from stockrnn.prices.series import PRICE_COLUMNS, Finding, Prices, count

__all__ = [
    "UNUSABLE", "contradictory_ranges", "missing_column_reason", "unusable_volume_reason", "warnings_for",
]  # fmt: skip

UNUSABLE = "dropped the column {}, which no network can use: "  # text of a finding, followed by the reason
MAX_FLAT_SHARE = 0.01  # of the sessions, with the same price all day
MAX_REPEATED_OPEN_SHARE = 0.5
MAX_ZERO_VOLUME_SHARE = 0.2
MIN_UNIT_RATIO = 50  # median volume of a year over that of the year before, for a change of unit
MIN_YEAR_SESSIONS = 20  # sessions with volume, for the median of a year
MAX_RETURN = 0.3
SPLIT_RATIOS = (2, 3, 4, 5, 10, 20, 50, 100)  # new shares for one old share, or the reverse
SPLIT_TOLERANCE = 0.03  # log units: a split day has its own return too
MAX_GAP_DAYS = 12  # longer than Lunar New Year and Golden Week
MIN_WEEKDAY_SHARE = 0.1  # of all sessions, for a day of the week on which the exchange opens
MIN_WEEKDAY_SESSIONS = 10
MIN_WEEKDAYS = 4  # of a daily series; a weekly one has one
MAX_CLOSED_RATIO = 0.1  # sessions on a day of the week with a few special sessions, to those on an open day
MONDAY, FRIDAY, SATURDAY, SUNDAY = 0, 4, 5, 6
MIN_SPACING_DAYS = 5  # between sessions of a series that is not daily


def warnings_for(prices: Prices) -> list[Finding]:
    """Return the warnings of all checks below."""
    checks = (
        _missing_prices, _ranges, _stale, _flat, _opens, _no_volume, _zero_volume, _volume_units, _splits, _jumps,
        _gaps, _weekends, _week, _spacing, _newest,
    )  # fmt: skip
    found = (check(prices) for check in checks)
    return [finding for finding in found if finding is not None]


def unusable_volume_reason(prices: Prices) -> str | None:
    """Return why the volume cannot be an input of a network; None if it can."""
    if "volume" not in prices.columns:
        return missing_column_reason(prices, "volume")
    zero = prices.column("volume") == 0
    if zero.mean() > MAX_ZERO_VOLUME_SHARE:
        return f"the volume is 0 on {zero.sum()} of {len(prices)} sessions; at most 20 % may be 0"
    return None


def missing_column_reason(prices: Prices, name: str) -> str:
    """Return why a series does not have a column: the value for which it was dropped, or that there was none."""
    start = UNUSABLE.format(name.capitalize())
    dropped = (finding.text.removeprefix(start) for finding in prices.findings if finding.text.startswith(start))
    return next(dropped, f"there is no {name.capitalize()} column")


def contradictory_ranges(prices: Prices) -> np.ndarray:
    """Return whether the high is below open or close, or the low above: bool, shape (sessions,)."""
    columns = {name: prices.column(name) for name in PRICE_COLUMNS if name in prices.columns}
    tolerance = 1e-6 * columns["close"]  # files round to different digits
    middle = np.array([columns[name] for name in ("open", "close") if name in columns])
    bad = np.zeros(len(prices), dtype=bool)
    if "high" in columns:
        bad |= columns["high"] < middle.max(axis=0) - tolerance
    if "low" in columns:
        bad |= columns["low"] > middle.min(axis=0) + tolerance
    return bad


def _warning(prices: Prices, check: str, text: str, selected: np.ndarray, consequence: str = "") -> Finding | None:
    """Return a warning with the number of selected sessions and the first of them; None if there are none."""
    rows = int(selected.sum())
    if not rows:
        return None
    dates = first_dates(prices, selected)
    more = f" and {rows - 3} more" if rows > 3 else ""
    end = f"; {consequence}" if consequence else ""
    text = f"{text.format(sessions=count(rows, 'session'))}: {', '.join(dates[:3])}{more}{end}"
    return Finding(check=check, severity="warning", text=text, rows=rows, dates=dates)


def _missing_prices(prices: Prices) -> Finding | None:
    missing = [
        name.capitalize() for name in PRICE_COLUMNS
        if name not in prices.columns and missing_column_reason(prices, name).startswith("there is no")
    ]  # fmt: skip
    text = f"there is no column {' or '.join(missing)}; features that need it cannot be used"
    return Finding(check="missing columns", severity="warning", text=text) if missing else None


def _ranges(prices: Prices) -> Finding | None:
    text = "High or Low contradicts Open or Close on {sessions}, not changed"
    return _warning(prices, "range", text, contradictory_ranges(prices))


def _stale(prices: Prices) -> Finding | None:
    same = np.r_[False, (prices.values[1:] == prices.values[:-1]).all(axis=1)]
    return _warning(prices, "stale", "all values equal those of the session before on {sessions}", same)


def _flat(prices: Prices) -> Finding | None:
    if not {*PRICE_COLUMNS} <= {*prices.columns}:
        return None
    quotes = np.column_stack([prices.column(name) for name in PRICE_COLUMNS])
    flat = (quotes == quotes[:, :1]).all(axis=1)
    if flat.mean() <= MAX_FLAT_SHARE:
        return None
    return _warning(prices, "flat bars", "Open, High, Low and Close are equal on {sessions}", flat)


def _opens(prices: Prices) -> Finding | None:
    if len(prices) < 2 or "open" not in prices.columns:
        return None
    repeated = np.r_[False, prices.column("open")[1:] == prices.column("close")[:-1]]
    if repeated[1:].mean() <= MAX_REPEATED_OPEN_SHARE:
        return None
    text = "Open equals the previous Close on {sessions}"
    return _warning(prices, "opens", text, repeated, "the feature open carries no information there")


def _no_volume(prices: Prices) -> Finding | None:
    reason = unusable_volume_reason(prices)
    if "volume" in prices.columns or reason != "there is no Volume column":
        return None
    return Finding(check="volume", severity="warning", text=f"{reason}; the volume cannot be a feature")


def _zero_volume(prices: Prices) -> Finding | None:
    if "volume" not in prices.columns:
        return None
    consequence = "the volume cannot be a feature" if unusable_volume_reason(prices) else ""
    return _warning(prices, "volume", "Volume is 0 on {sessions}", prices.column("volume") == 0, consequence)


def _volume_units(prices: Prices) -> Finding | None:
    if "volume" not in prices.columns:
        return None
    volumes, years = prices.column("volume"), prices.dates.astype("datetime64[Y]")
    breaks, before = [], None
    for year in np.unique(years):
        traded = volumes[(years == year) & (volumes > 0)]
        if len(traded) < MIN_YEAR_SESSIONS:
            continue
        median = float(np.median(traded))
        if before and abs(np.log(median) - np.log(before)) >= np.log(MIN_UNIT_RATIO):
            breaks.append((str(year), before, median))
        before = median
    if not breaks:
        return None
    year, old, new = breaks[0]
    text = f"the median Volume changes from {old:,.6g} to {new:,.6g} in {year}; check whether its unit changed"
    first = prices.dates[years == np.datetime64(year)][0]
    return Finding(check="volume units", severity="warning", text=text, rows=len(breaks), dates=(str(first),))


def _growth_factors(prices: Prices) -> np.ndarray:
    """Return close over the previous close, 1 for the first session; shape (sessions,)."""
    closes = prices.column("close")
    return np.concatenate([[1.0], closes[1:] / closes[:-1]])


def _is_split_like(factors: np.ndarray) -> np.ndarray:
    distances = [np.abs(np.log(factors) + sign * np.log(ratio)) for ratio in SPLIT_RATIOS for sign in (1, -1)]
    nearest: np.ndarray = np.min(distances, axis=0)
    return nearest <= SPLIT_TOLERANCE


def _splits(prices: Prices) -> Finding | None:
    return _warning(
        prices, "split", "Close changes by a factor that looks like a split on {sessions}",
        _is_split_like(_growth_factors(prices)), "not corrected; use prices that are adjusted for splits",
    )  # fmt: skip


def _jumps(prices: Prices) -> Finding | None:
    factors = _growth_factors(prices)
    large = (np.abs(factors - 1) > MAX_RETURN) & ~_is_split_like(factors)
    text = f"Close changes by more than {100 * MAX_RETURN:.0f} % on {{sessions}}"
    return _warning(prices, "jump", text, large, "check whether this was a split")


def _gaps(prices: Prices) -> Finding | None:
    gaps = np.r_[0, np.diff(prices.dates).astype(int)]
    text = f"more than {MAX_GAP_DAYS} days without a session before {{sessions}}"
    return _warning(prices, "gap", text, gaps > MAX_GAP_DAYS, f"the longest gap has {gaps.max()} days")


def _weekends(prices: Prices) -> Finding | None:
    weekday = _weekdays(prices)
    unexpected = np.zeros(len(prices), dtype=bool)
    for day in (SATURDAY, SUNDAY):
        on_day = weekday == day
        if not _is_trading_weekday(on_day):
            unexpected |= on_day
    return _warning(prices, "weekend", "{sessions} on a weekend, when this exchange is closed", unexpected)


def _week(prices: Prices) -> Finding | None:
    """Warn of weeks from Sunday to Thursday or from Tuesday to Saturday, as in dates that are a day early or late."""
    shares = np.bincount(_weekdays(prices), minlength=7) / len(prices)
    if (shares >= MIN_WEEKDAY_SHARE).sum() < MIN_WEEKDAYS:
        return None
    for first, last, shift, places in (
        (SUNDAY, FRIDAY, "early", "Tel Aviv and Riyadh"), (SATURDAY, MONDAY, "late", "no exchange"),
    ):  # fmt: skip
        if shares[first] >= MIN_WEEKDAY_SHARE and shares[last] <= MAX_CLOSED_RATIO * shares[first]:
            days = "Sunday to Thursday" if first == SUNDAY else "Tuesday to Saturday"
            text = f"sessions are from {days}, as in {places}; elsewhere, the dates are a day {shift}"
            return Finding(check="week", severity="warning", text=text, rows=len(prices))
    return None


def _weekdays(prices: Prices) -> np.ndarray:
    """Return the day of the week of each session, 0 for Monday, shape (sessions,)."""
    weekdays: np.ndarray = (prices.dates.astype("datetime64[D]").astype(int) + 3) % 7
    return weekdays


def _is_trading_weekday(on_day: np.ndarray) -> bool:
    """Return whether the exchange opens on this weekday: now (crypto), or in earlier years (Seoul on Saturdays)."""
    if on_day.mean() >= MIN_WEEKDAY_SHARE:
        return True
    first, last = np.flatnonzero(on_day)[[0, -1]] if on_day.any() else (0, 0)
    return bool(on_day.sum() >= MIN_WEEKDAY_SESSIONS and on_day[first : last + 1].mean() >= MIN_WEEKDAY_SHARE)


def _spacing(prices: Prices) -> Finding | None:
    typical = np.median(np.diff(prices.dates).astype(int)) if len(prices) > 1 else 1
    if typical < MIN_SPACING_DAYS:
        return None
    text = f"sessions are {typical:g} days apart: the series is not daily, and a horizon of 1 means that many days"
    return Finding(check="spacing", severity="warning", text=text, rows=len(prices))


def _newest(prices: Prices) -> Finding | None:
    unfinished = prices.dates >= np.datetime64(datetime.now(UTC).date())
    text = "{sessions} dated today or later"
    return _warning(prices, "newest bar", text, unfinished, "a bar is incomplete until the market closes")
