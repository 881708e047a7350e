"""Dates as people write them: which day a text means, or why that cannot be known.

Year first (2019-01-30, 2019/1/30, 20190130) and a month in letters (Jan 30, 2019) mean one day. 01/02/2019 means two:
it is read only where every row fits one order of day and month, not the other, and the rows are then in order of
time; anything else needs data.date_format. A time of day or a zone behind the date is left out: the date written is the
exchange's own.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np

from stockrnn.series import Finding, PriceError

__all__ = ["read_dates"]

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
MONTH += r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
TIME = r"(?:[T ]\s?\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s?(?:Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern + TIME, re.ASCII | re.IGNORECASE)


YEAR_FIRST = (
    _form(r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"),
    _form(r"(?P<year>\d{4}) ?([-/.]) ?(?P<month>\d{1,2}) ?\2 ?(?P<day>\d{1,2})\.?"),
    _form(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})"),
    _form(r"(?P<year>\d{4})년 ?(?P<month>\d{1,2})월 ?(?P<day>\d{1,2})일"),
)
LETTERS = (
    _form(rf"(?P<month>{MONTH})\.? (?P<day>\d{{1,2}}),? (?P<year>\d{{4}})"),
    _form(rf"(?P<day>\d{{1,2}})[ -](?P<month>{MONTH})\.?[ -](?P<year>\d{{4}})"),
)
TWO_NUMBERS = _form(r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4})")
DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
YEARS = set("YyGcx")
KNOWN_DIRECTIVES = set("aAbBcdfGHIjmMpSuUVwWxXyYzZ%")
A_DATE = "is not a date; dates are written YYYY-MM-DD, as in 2019-01-30, or as data.date_format says; rewrite it"

Where = Callable[[int], str]


def read_dates(cells: Sequence[str], date_format: str | None, where: Where) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """The days of a column of text.

    Args:
        cells: the texts, one a row.
        date_format: how all of them are written, as `datetime.strptime` has it; None: see the module.
        where: `SOURCE:LINE` of a row.

    Returns:
        datetime64[D], shape (rows,), and what a user should know about the reading.

    Raises:
        PriceError: a text that is no date, or one that may mean two.
    """
    texts = [" ".join(cell.split()) for cell in cells]
    findings: tuple[Finding, ...] = ()
    if date_format is not None:
        days = _by_format(texts, date_format, where)
    elif texts and TWO_NUMBERS.fullmatch(texts[0]):
        days, findings = _by_order(texts, where)
    else:
        days = _all([_plain_day(text) for text in texts], cells, where, A_DATE)
    return np.array(days, dtype="datetime64[D]"), findings


def _all(days: Sequence[date | None], cells: Sequence[str], where: Where, rule: str) -> list[date]:
    known = [day for day in days if day is not None]
    if len(known) < len(days):
        row = days.index(None)
        wrong = len(days) - len(known)
        raise PriceError(f"{where(row)}: Date: {cells[row][:40]!r} {rule} ({wrong} of {len(days)} rows differ)")
    return known


def _plain_day(text: str) -> date | None:
    for form in (*YEAR_FIRST, *LETTERS):
        if found := form.fullmatch(text):
            month = found["month"]
            number = int(month) if month.isdigit() else MONTHS.index(month[:3].lower()) + 1
            return _day(int(found["year"]), number, int(found["day"]))
    return None


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _by_order(texts: Sequence[str], where: Where) -> tuple[list[date], tuple[Finding, ...]]:
    """Days written as 30/01/2019 or 01/30/2019, where only one of the two can be meant."""
    forms = [TWO_NUMBERS.fullmatch(text) for text in texts]
    mark = next(form["mark"] for form in forms if form)
    numbers = [(int(form["first"]), int(form["second"]), int(form["year"])) if form else (0, 0, 0) for form in forms]
    readings = {
        f"%d{mark}%m{mark}%Y": [_day(year, second, first) for first, second, year in numbers],
        f"%m{mark}%d{mark}%Y": [_day(year, first, second) for first, second, year in numbers],
    }
    for row, both in enumerate(zip(*readings.values(), strict=True)):
        if both == (None, None):
            raise PriceError(f"{where(row)}: Date: {texts[row][:40]!r} {A_DATE}")
    fitting = [name for name, days in readings.items() if None not in days]
    if len(fitting) != 1:
        raise _two_meanings(texts, readings, fitting, where)
    days = [day for day in readings[fitting[0]] if day is not None]
    falling = [later <= earlier for earlier, later in pairwise(days)]
    rising = [later >= earlier for earlier, later in pairwise(days)]
    if not all(falling) and not all(rising):
        row = max(falling.index(False), rising.index(False)) + 1  # the first that turns back
        raise PriceError(
            f"{where(row)}: Date: only {fitting[0]} fits all rows, but then they are not in order of time, as if days "
            f"and months were mixed up; dates are YYYY-MM-DD, or in order; write data.date_format if it is right"
        )
    shown = next(row for row, day in enumerate(days) if day.day > 12)
    text = f"dates read as {fitting[0]}, the only order that fits: {texts[shown][:40]} is {days[shown]}"
    return days, (Finding(check="date order", severity="repair", text=text, rows=len(days)),)


def _two_meanings(
    texts: Sequence[str], readings: dict[str, list[date | None]], fitting: Sequence[str], where: Where
) -> PriceError:
    first, second = readings
    if not fitting:
        row = readings[first].index(None)
        other = readings[second].index(None)
        return PriceError(
            f"{where(row)}: Date: {texts[row][:40]!r} is only {second}, {texts[other][:40]!r} ({where(other)}) only "
            f"{first}; all dates have one order of day and month; write them YYYY-MM-DD"
        )
    differing = (row for row in range(len(texts)) if readings[first][row] != readings[second][row])
    row = next(differing, 0)
    return PriceError(
        f"{where(row)}: Date: {texts[row][:40]!r} is {readings[first][row]} or {readings[second][row]}; such "
        f"dates are read only when told how; set data.date_format to {first!r} or {second!r}"
    )


def _by_format(texts: Sequence[str], date_format: str, where: Where) -> list[date]:
    _check_format(date_format)
    rule = f"does not fit data.date_format {date_format!r}; all dates are written like that; correct one or the other"
    return _all([_formatted(text, date_format) for text in texts], texts, where, rule)


def _formatted(text: str, date_format: str) -> date | None:
    try:
        return datetime.strptime(text, date_format).date()
    except (ValueError, re.error):  # the latter for a directive that stands twice
        return None


def _check_format(date_format: str) -> None:
    """A format is good where it writes days that it reads back."""
    directives = set(DIRECTIVE.findall(date_format))
    known = directives <= KNOWN_DIRECTIVES and directives & YEARS
    for day in (datetime(2019, 1, 30, tzinfo=UTC), datetime(1987, 12, 7, tzinfo=UTC)):
        read = _formatted(_written(day, date_format), date_format) if known else None
        if read is None or read != day.date():
            raise PriceError(
                f"data.date_format: {date_format!r} does not tell a day; it names year, month and day with the "
                f"directives of strptime; write %d/%m/%Y for 30/01/2019, say"
            )


def _written(day: datetime, date_format: str) -> str:
    return " ".join(day.strftime(date_format).split())
