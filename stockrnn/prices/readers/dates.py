"""Parse a column of dates, or report why a date is ambiguous.

Dates with the year first (2019-01-30, 2019/1/30, 20190130), with a month in letters (Jan 30, 2019), Unix times (seconds
to nanoseconds) and Taiwan's years (108/01/30) are unambiguous. 01/02/2019 can be two days, and 01/02/19 three: they are
read only if exactly one order of day, month and year fits every row and puts the rows in order of time. All other
formats need data.date_format. `clock` decides what a time of day says about the date.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np

from stockrnn.prices.readers.clock import Stamps
from stockrnn.prices.series import Finding, PriceError

__all__ = ["is_date", "read_dates"]

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
MONTH += r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
WEEKDAY = r"(?:(?:mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(?:day)?,? )?"
TIME = (
    r"(?: ?\(\w\))?(?:[T ,]\s?(?P<half>오전 ?|오후 ?)?(?P<hour>\d{1,2})"
    r"(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?|(?=[- ]?[ap]m))[- ]?(?P<meridiem>[ap]m)?"
    r"\s?(?P<zone>Z|UTC|GMT|KST|JST|[ECMP][SD]T|[+-]\d{2}(?::?\d{2}(?::\d{2})?)?)?)?"
)


def _date_pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(WEEKDAY + pattern + TIME, re.IGNORECASE)


YEAR_FIRST = (
    _date_pattern(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"),
    _date_pattern(r"(?P<year>[0-9]{4}) ?([-/.]) ?(?P<month>[0-9]{1,2}) ?\2 ?(?P<day>[0-9]{1,2})\.?"),
    _date_pattern(r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"),
    _date_pattern(r"(?P<year>[0-9]{4})[년年] ?(?P<month>[0-9]{1,2})[월月] ?(?P<day>[0-9]{1,2})[일日]"),
    _date_pattern(rf"(?P<year>[0-9]{{4}})[ -](?P<month>{MONTH})[ -](?P<day>[0-9]{{1,2}})"),
    re.compile(
        r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})[T ]?(?P<hour>[0-9]{2})(?P<minute>[0-9]{2})"
        r"(?P<second>[0-9]{2})?(?P<zone>Z)?(?P<half>)(?P<meridiem>)"
    ),
)
MONTH_IN_LETTERS = (
    _date_pattern(rf"(?P<month>{MONTH})\.? (?P<day>[0-9]{{1,2}}),? (?P<year>[0-9]{{4}})"),
    _date_pattern(rf"(?P<day>[0-9]{{1,2}})[ ./-](?P<month>{MONTH})\.?[ ./-](?P<year>[0-9]{{4}})"),
)
TAIWAN = _date_pattern(r"(?P<taiwan>1[0-9]{2})([-/.年])(?P<month>[0-9]{1,2})[-/.月](?P<day>[0-9]{1,2})日?")
TAIWAN_YEAR_0 = 1911
ORDERED = _date_pattern(
    rf"(?P<left>[0-9]{{1,2}})(?P<mark>[-/. ])(?P<middle>[0-9]{{1,2}}|{MONTH})(?P=mark)(?P<right>[0-9]{{4}}|[0-9]{{2}})"
)
UNIX_TIME = re.compile(r"([0-9]{9,19})(?:\.0*)?", re.ASCII)
UNIX_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
MIN_UNIX_TIME, MAX_UNIX_TIME = 10**8, 4 * 10**9  # seconds: 1973 to 2096, so that no number fits two units
FIRST_SHORT_YEAR = 69  # 69 is 1969, 68 is 2068, as in POSIX
DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
YEAR_DIRECTIVES = set("YyGcx")
KNOWN_DIRECTIVES = set("aAbBcdfGHIjmMpSuUVwWxXyYzZ%")
DATE_RULE = "is not a date; a date is YYYY-MM-DD, as in 2019-01-30, or has the format data.date_format; rewrite it"
UTC_NAMES = ("Z", "UTC", "GMT")

Locate = Callable[[int], str]
Reading = list[date | None]


def is_date(cell: str) -> bool:
    """Return whether a cell is a date in a form that `read_dates` reads without a format, or could be one."""
    text = " ".join(cell.split())
    return bool(_parse_unambiguous(text) or ORDERED.fullmatch(text) or UNIX_TIME.fullmatch(text))


def read_dates(
    cells: Sequence[str], date_format: str | None, locate: Locate, *, short_years: bool = True
) -> tuple[Stamps, tuple[Finding, ...]]:
    """Return the dates and times of a column of text, as written, and findings about their format.

    Args:
        cells: the texts, one per row.
        date_format: format of all dates, as for `datetime.strptime`; None: detect it (see the module).
        locate: returns `SOURCE:LINE` of a row.
        short_years: whether years may have two digits; False where they could be Taiwan's years.

    Raises:
        PriceError: a text is not a date, or is ambiguous.
    """
    texts = [" ".join(cell.split()) for cell in cells]
    if date_format is not None:
        return _parse_with_format(texts, date_format, locate), ()
    if all(UNIX_TIME.fullmatch(text) for text in texts) and not all(map(_parse_unambiguous, texts)):
        return _parse_unix_times(texts, locate)
    if (found := ORDERED.fullmatch(texts[0])) and (found["middle"].isdigit() or len(found["right"]) == 2):
        return _parse_by_order(texts, locate, short_years)
    parsed = [_parse_unambiguous(text) for text in texts]
    days = _require_all([each[0] if each else None for each in parsed], cells, locate, DATE_RULE)
    findings: tuple[Finding, ...] = ()
    if TAIWAN.fullmatch(texts[0]) and parsed[0]:
        text = f"read years as those of Taiwan: {texts[0][:40]} is {days[0]}"
        findings = (Finding(check="date order", severity="repair", text=text, rows=len(days)),)
    return _stamps(days, [each[1] if each else None for each in parsed]), findings


def _stamps(days: Sequence[date], matches: Sequence[re.Match[str] | None]) -> Stamps:
    """Return dates with the times of day in their texts."""
    seconds = [_seconds(match) if match else 0 for match in matches]
    zones = {match["zone"] for match in matches if match}
    is_utc = all(zone and (zone.upper() in UTC_NAMES or not zone.strip("+-0:")) for zone in zones)
    return Stamps(days=np.array(days, dtype="datetime64[D]"), seconds=np.array(seconds), is_utc=bool(zones) and is_utc)


def _seconds(match: re.Match[str]) -> int:
    """Return the seconds since midnight of a match of TIME."""
    if match["hour"] is None:
        return 0
    hour, half = int(match["hour"]), (match["meridiem"] or match["half"] or "").strip().lower()
    if half:
        hour = hour % 12 + (12 if half in ("pm", "오후") else 0)
    return 3600 * hour + 60 * int(match["minute"] or 0) + int(match["second"] or 0)


def _require_all(days: Sequence[date | None], cells: Sequence[str], locate: Locate, rule: str) -> list[date]:
    valid = [day for day in days if day is not None]
    if len(valid) < len(days):
        row = days.index(None)
        wrong = len(days) - len(valid)
        raise PriceError(f"{locate(row)}: Date: {cells[row][:40]!r} {rule} ({wrong} of {len(days)} rows are wrong)")
    return valid


def _parse_unambiguous(text: str) -> tuple[date, re.Match[str]] | None:
    for pattern in (*YEAR_FIRST, *MONTH_IN_LETTERS, TAIWAN):
        if found := pattern.fullmatch(text):
            year = TAIWAN_YEAR_0 + int(found["taiwan"]) if pattern is TAIWAN else int(found["year"])
            day = _valid_date(year, _month(found["month"]), int(found["day"]))
            return (day, found) if day and _seconds(found) < 86400 else None
    return None


def _month(text: str) -> int:
    return int(text) if text.isdigit() else MONTHS.index(text[:3].lower()) + 1


def _valid_date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _parse_unix_times(texts: Sequence[str], locate: Locate) -> tuple[Stamps, tuple[Finding, ...]]:
    """Return the times in UTC of numbers of seconds, milliseconds, microseconds or nanoseconds since 1970."""
    numbers = [int(text.partition(".")[0]) for text in texts]
    fitting = [
        unit for unit, factor in UNIX_UNITS.items() if MIN_UNIX_TIME <= numbers[0] // factor < MAX_UNIX_TIME
    ]  # at most one
    factor = UNIX_UNITS[fitting[0]] if fitting else 0
    wrong = [not (factor and MIN_UNIX_TIME <= number // factor < MAX_UNIX_TIME) for number in numbers]
    if any(wrong):
        row = wrong.index(True)
        rule = "is not a date, and not a Unix time of the same unit as the others; write YYYY-MM-DD, as in 2019-01-30"
        raise PriceError(f"{locate(row)}: Date: {texts[row]!r} {rule} ({sum(wrong)} of {len(texts)} rows are wrong)")
    seconds = np.array([number // factor for number in numbers])
    days = np.array(seconds // 86400, dtype="datetime64[D]")
    text = f"read dates as Unix times in {fitting[0]}: {texts[0]} is {np.datetime64(int(seconds[0]), 's')} UTC"
    finding = Finding(check="unix time", severity="repair", text=text.replace("T", " ", 1), rows=len(texts))
    return Stamps(days=days, seconds=seconds % 86400, is_utc=True), (finding,)


def _parse_by_order(texts: Sequence[str], locate: Locate, short_years: bool) -> tuple[Stamps, tuple[Finding, ...]]:
    """Parse dates such as 30/01/2019 or 30-Jan-19 if exactly one order of day, month and year fits all of them."""
    matches = [ORDERED.fullmatch(text) for text in texts]
    first = next(match for match in matches if match)
    readings = _readings(matches, first, short_years)
    neither = [all(reading[row] is None for reading in readings.values()) for row in range(len(texts))]
    if any(neither):
        row = neither.index(True)
        count = f"({sum(neither)} of {len(texts)} rows are wrong)"
        raise PriceError(f"{locate(row)}: Date: {texts[row][:40]!r} {DATE_RULE} {count}")
    fitting = [date_format for date_format, days in readings.items() if None not in days]
    if len(fitting) != 1:
        raise _ambiguity_error(texts, readings, fitting, locate)
    days = [day for day in readings[fitting[0]] if day is not None]
    descending = [later <= earlier for earlier, later in pairwise(days)]
    ascending = [later >= earlier for earlier, later in pairwise(days)]
    if not all(descending) and not all(ascending):
        row = max(descending.index(False), ascending.index(False)) + 1  # the first change of direction
        raise PriceError(
            f"{locate(row)}: Date: only {fitting[0]} fits all rows, but it does not put them in order of time, so days "
            f"and months may be mixed up; write YYYY-MM-DD or sort the rows; set data.date_format if {fitting[0]} is "
            f"right"
        )
    example = next((row for row, day in enumerate(days) if day.day > 12), 0)
    text = f"read dates as {fitting[0]}, the only order that fits: {texts[example][:40]} is {days[example]}"
    return _stamps(days, matches), (Finding(check="date order", severity="repair", text=text, rows=len(days)),)


def _readings(matches: Sequence[re.Match[str] | None], first: re.Match[str], short_years: bool) -> dict[str, Reading]:
    """Return the dates of all rows by the format of each possible order; None for a text that it does not fit.

    A year of two digits must not be in the future. All rows must be like the first: in their mark, the digits of their
    year, and whether their month is in letters.
    """
    mark, letters, digits = first["mark"], not first["middle"].isdigit(), len(first["right"])
    year, month = "%Y" if digits == 4 else "%y", "%b" if letters else "%m"
    orders = {f"%d{mark}{month}{mark}{year}": (2, 1, 0), f"%m{mark}%d{mark}{year}": (2, 0, 1)}
    orders[f"{year}{mark}{month}{mark}%d"] = (0, 1, 2)
    if letters:
        del orders[f"%m{mark}%d{mark}{year}"]
    if digits == 4 or not short_years:
        del orders[f"{year}{mark}{month}{mark}%d"]
    if digits == 2 and not short_years:
        orders = {}
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    readings: dict[str, Reading] = {order: [] for order in orders} or {"": []}
    for match in matches:
        parts = match and (match["left"], match["middle"], match["right"])
        same = match and (match["mark"], not match["middle"].isdigit(), len(match["right"])) == (mark, letters, digits)
        for order, days in readings.items():
            day = None
            if parts and same and orders:
                at = orders[order]
                number = int(parts[at[0]])
                number += 0 if digits == 4 else 1900 if number >= FIRST_SHORT_YEAR else 2000
                day = _valid_date(number, _month(parts[at[1]]), int(parts[at[2]]))
                day = None if day and digits == 2 and day > tomorrow else day
            days.append(day)
    return readings


def _ambiguity_error(
    texts: Sequence[str], readings: dict[str, Reading], fitting: Sequence[str], locate: Locate
) -> PriceError:
    if not fitting:
        first, second = list(readings)[:2] if len(readings) > 1 else list(readings) * 2
        row = readings[first].index(None)
        other = readings[second].index(None)
        return PriceError(
            f"{locate(row)}: Date: {texts[row][:40]!r} only fits {second}, {texts[other][:40]!r} ({locate(other)}) "
            f"only fits {first}; all dates must have the same order of day and month; write them as YYYY-MM-DD"
        )
    first, second = fitting[:2]
    differing = (row for row in range(len(texts)) if readings[first][row] != readings[second][row])
    row = next(differing, 0)
    return PriceError(
        f"{locate(row)}: Date: {texts[row][:40]!r} is {readings[first][row]} or {readings[second][row]}; an ambiguous "
        f"date needs a format; set data.date_format to {first!r} or {second!r}"
    )


def _parse_with_format(texts: Sequence[str], date_format: str, locate: Locate) -> Stamps:
    _check_format(date_format)
    rule = f"does not fit data.date_format {date_format!r}; all dates must have this format; correct one of the two"
    parsed = [_parse(text, date_format) for text in texts]
    days = _require_all([each.date() if each else None for each in parsed], texts, locate, rule)
    times = [each for each in parsed if each]
    return Stamps(
        days=np.array(days, dtype="datetime64[D]"),
        seconds=np.array([3600 * each.hour + 60 * each.minute + each.second for each in times]),
        is_utc=all(each.tzinfo is not None and not each.utcoffset() for each in times),
        is_local=True,
    )


def _parse(text: str, date_format: str) -> datetime | None:
    try:
        return datetime.strptime(text, date_format)
    except (ValueError, re.error):  # re.error: the format repeats a directive
        return None


def _check_format(date_format: str) -> None:
    """Raise PriceError unless the format can write two sample days and read them back."""
    directives = set(DIRECTIVE.findall(date_format))
    valid = directives <= KNOWN_DIRECTIVES and directives & YEAR_DIRECTIVES
    for day in (datetime(2019, 1, 30, tzinfo=UTC), datetime(1987, 12, 7, tzinfo=UTC)):
        text = " ".join(day.strftime(date_format).split()) if valid else ""
        parsed = _parse(text, date_format)
        if not valid or parsed is None or parsed.date() != day.date():
            raise PriceError(
                f"data.date_format: {date_format!r} does not define a day; a format needs year, month and day as "
                f"directives of strptime; for example write %d/%m/%Y for 30/01/2019"
            )
