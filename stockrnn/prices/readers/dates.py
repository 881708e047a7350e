"""Parse a column of dates, or report why a date is ambiguous.

Dates with the year first (2019-01-30, 2019/1/30, 20190130) or with a month in letters (Jan 30, 2019) are unambiguous.
01/02/2019 can be two days: it is read only if exactly one order of day and month fits every row and puts the rows in
order of time. All other formats need data.date_format. A time of day or time zone after the date is ignored, since the
date is the exchange's local date.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np

from stockrnn.prices.series import Finding, PriceError

__all__ = ["read_dates"]

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
MONTH += r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
TIME = r"(?:[T ]\s?\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s?(?:Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?"


def _date_pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern + TIME, re.ASCII | re.IGNORECASE)


YEAR_FIRST = (
    _date_pattern(r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"),
    _date_pattern(r"(?P<year>\d{4}) ?([-/.]) ?(?P<month>\d{1,2}) ?\2 ?(?P<day>\d{1,2})\.?"),
    _date_pattern(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})"),
    _date_pattern(r"(?P<year>\d{4})년 ?(?P<month>\d{1,2})월 ?(?P<day>\d{1,2})일"),
)
MONTH_IN_LETTERS = (
    _date_pattern(rf"(?P<month>{MONTH})\.? (?P<day>\d{{1,2}}),? (?P<year>\d{{4}})"),
    _date_pattern(rf"(?P<day>\d{{1,2}})[ -](?P<month>{MONTH})\.?[ -](?P<year>\d{{4}})"),
)
TWO_NUMBERS = _date_pattern(r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4})")
DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
YEAR_DIRECTIVES = set("YyGcx")
KNOWN_DIRECTIVES = set("aAbBcdfGHIjmMpSuUVwWxXyYzZ%")
DATE_RULE = "is not a date; a date is YYYY-MM-DD, as in 2019-01-30, or has the format data.date_format; rewrite it"

Locate = Callable[[int], str]


def read_dates(cells: Sequence[str], date_format: str | None, locate: Locate) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return the dates of a column of text, datetime64[D], shape (rows,), and findings about their format.

    Args:
        cells: the texts, one per row.
        date_format: format of all dates, as for `datetime.strptime`; None: detect it (see the module).
        locate: returns `SOURCE:LINE` of a row.

    Raises:
        PriceError: a text is not a date, or is ambiguous.
    """
    texts = [" ".join(cell.split()) for cell in cells]
    findings: tuple[Finding, ...] = ()
    if date_format is not None:
        days = _parse_with_format(texts, date_format, locate)
    elif texts and TWO_NUMBERS.fullmatch(texts[0]):
        days, findings = _parse_by_order(texts, locate)
    else:
        days = _require_all([_parse_unambiguous(text) for text in texts], cells, locate, DATE_RULE)
    return np.array(days, dtype="datetime64[D]"), findings


def _require_all(days: Sequence[date | None], cells: Sequence[str], locate: Locate, rule: str) -> list[date]:
    valid = [day for day in days if day is not None]
    if len(valid) < len(days):
        row = days.index(None)
        wrong = len(days) - len(valid)
        raise PriceError(f"{locate(row)}: Date: {cells[row][:40]!r} {rule} ({wrong} of {len(days)} rows are wrong)")
    return valid


def _parse_unambiguous(text: str) -> date | None:
    for pattern in (*YEAR_FIRST, *MONTH_IN_LETTERS):
        if found := pattern.fullmatch(text):
            month = found["month"]
            number = int(month) if month.isdigit() else MONTHS.index(month[:3].lower()) + 1
            return _valid_date(int(found["year"]), number, int(found["day"]))
    return None


def _valid_date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _parse_by_order(texts: Sequence[str], locate: Locate) -> tuple[list[date], tuple[Finding, ...]]:
    """Parse dates such as 30/01/2019 or 01/30/2019 if exactly one order of day and month fits all of them."""
    matches = [TWO_NUMBERS.fullmatch(text) for text in texts]
    mark = next(match["mark"] for match in matches if match)
    numbers = [(int(one["first"]), int(one["second"]), int(one["year"])) if one else (0, 0, 0) for one in matches]
    readings = {
        f"%d{mark}%m{mark}%Y": [_valid_date(year, second, first) for first, second, year in numbers],
        f"%m{mark}%d{mark}%Y": [_valid_date(year, first, second) for first, second, year in numbers],
    }
    for row, both in enumerate(zip(*readings.values(), strict=True)):
        if both == (None, None):
            raise PriceError(f"{locate(row)}: Date: {texts[row][:40]!r} {DATE_RULE}")
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
    example = next(row for row, day in enumerate(days) if day.day > 12)
    text = f"read dates as {fitting[0]}, the only order that fits: {texts[example][:40]} is {days[example]}"
    return days, (Finding(check="date order", severity="repair", text=text, rows=len(days)),)


def _ambiguity_error(
    texts: Sequence[str], readings: dict[str, list[date | None]], fitting: Sequence[str], locate: Locate
) -> PriceError:
    first, second = readings
    if not fitting:
        row = readings[first].index(None)
        other = readings[second].index(None)
        return PriceError(
            f"{locate(row)}: Date: {texts[row][:40]!r} only fits {second}, {texts[other][:40]!r} ({locate(other)}) "
            f"only fits {first}; all dates must have the same order of day and month; write them as YYYY-MM-DD"
        )
    differing = (row for row in range(len(texts)) if readings[first][row] != readings[second][row])
    row = next(differing, 0)
    return PriceError(
        f"{locate(row)}: Date: {texts[row][:40]!r} is {readings[first][row]} or {readings[second][row]}; an ambiguous "
        f"date needs a format; set data.date_format to {first!r} or {second!r}"
    )


def _parse_with_format(texts: Sequence[str], date_format: str, locate: Locate) -> list[date]:
    _check_format(date_format)
    rule = f"does not fit data.date_format {date_format!r}; all dates must have this format; correct one of the two"
    return _require_all([_parse(text, date_format) for text in texts], texts, locate, rule)


def _parse(text: str, date_format: str) -> date | None:
    try:
        return datetime.strptime(text, date_format).date()
    except (ValueError, re.error):  # re.error: the format repeats a directive
        return None


def _check_format(date_format: str) -> None:
    """Raise PriceError unless the format can write two sample days and read them back."""
    directives = set(DIRECTIVE.findall(date_format))
    valid = directives <= KNOWN_DIRECTIVES and directives & YEAR_DIRECTIVES
    for day in (datetime(2019, 1, 30, tzinfo=UTC), datetime(1987, 12, 7, tzinfo=UTC)):
        text = " ".join(day.strftime(date_format).split()) if valid else ""
        if not valid or _parse(text, date_format) != day.date():
            raise PriceError(
                f"data.date_format: {date_format!r} does not define a day; a format needs year, month and day as "
                f"directives of strptime; for example write %d/%m/%Y for 30/01/2019"
            )
