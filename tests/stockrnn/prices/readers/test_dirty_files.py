"""Read thousands of random files with errors: each gives exactly the written numbers, or an error of one line.

STOCKRNN_EXAMPLES sets their number. Each file comes with the values it represents, so that a shifted date, a misplaced
row or a changed value is found.
"""

import csv
import gzip
import io
import math
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiers import count, is_nightly

from stockrnn.prices.cleaning import clean
from stockrnn.prices.config import SourceConfig
from stockrnn.prices.loading import load
from stockrnn.prices.series import PriceError

pytestmark = [pytest.mark.slow, pytest.mark.campaign]

EXAMPLES = count("EXAMPLES", 400)
NAMES = ["Date", "Open", "High", "Low", "Close", "Volume"]
KOREAN = ["일자", "시가", "고가", "저가", "종가", "거래량"]
GERMAN = str.maketrans(",.", ".,")
NUMBERS = {
    "plain": repr,
    "grouped": lambda value: f"{value:,}",
    "german": lambda value: f"{value:,}".translate(GERMAN),
    "decimal comma": lambda value: repr(value).replace(".", ","),
}
DATES = {
    "{0:04}-{1:02}-{2:02}": "%Y-%m-%d",
    "{0}/{1}/{2}": "%Y/%m/%d",
    "{0:04}{1:02}{2:02}": "%Y%m%d",
    "{2:02}/{1:02}/{0}": "%d/%m/%Y",
    "{1}/{2}/{0}": "%m/%d/%Y",
    "{2}.{1}.{0}": "%d.%m.%Y",
    "{0}년 {1}월 {2}일": "%Y년 %m월 %d일",
    "{0:04}-{1:02}-{2:02} 23:59:00-05:00": "%Y-%m-%d %H:%M:%S%z",
    "{0:04}-{1:02}-{2:02}T00:00:00+09:00": "%Y-%m-%dT%H:%M:%S%z",
}
YEAR_FIRST = [form for form in DATES if form.startswith("{0")]
CELLS = {  # texts of cells and their numbers; None: not a number
    "": math.nan, "null": math.nan, "NaN": math.nan, "-": math.nan, "0": 0.0, "-5": -5.0, "inf": math.inf,
    "-Infinity": -math.inf, "1e308": 1e308, "5e-324": 5e-324, " 12 ": 12.0, "1e2": 100.0, "-0": 0.0, "1e999": math.inf,
    "text": None, "１２": None, "1_000": None, "0x10": None, "2019-01-03": None, "12 34": None, "'": None, "=1+1": None,
}  # fmt: skip
BAD_DATES = ["", "null", "2019-02-30", "0000-01-01", "30/30/2019", "43469", "noon", "2019-01", "１/１/2019"]


@dataclass(frozen=True, kw_only=True)
class File:
    """A file's bytes and the values in it: `rows` are (date, numbers by column), None for an invalid cell."""

    content: bytes
    date_format: str | None
    rows: list[tuple[date | None, dict[str, float | None]]]
    valid: bool  # without errors and not ambiguous
    truncated: bool


@st.composite
def files(draw):
    rows = draw(written_rows())
    form, has_format = draw(st.sampled_from(list(DATES))), draw(st.booleans())
    by, container = draw(st.sampled_from([",", ";", "\t"])), draw(st.sampled_from(["csv"] * 6 + ["gzip", "parquet"]))
    # With commas between the columns, a point is a decimal mark, so that 1.234 cannot be written as a thousand.
    number = draw(
        st.sampled_from([name for name in NUMBERS if name != "german" or (by != "," and container != "parquet")])
    )
    texts = [[form.format(day.year, day.month, day.day), *map(NUMBERS[number], row)] for day, row in rows]
    values = [(day, list(row)) for day, row in rows]
    dirty = False
    for row, column, cell, bad in draw(dirt(len(rows))):
        dirty = True
        texts[row][column] = bad if column == 0 else cell
        day, numbers = values[row]
        values[row] = (
            (None, numbers) if column == 0 else (day, [*numbers[: column - 1], CELLS[cell], *numbers[column:]])
        )
    order = draw(orders(len(rows)))
    texts, values = [texts[index] for index in order], [values[index] for index in order]
    columns = draw(st.permutations(range(6)))
    missing = draw(st.sampled_from([None] * 6 + [1, 4, 5, 5, 5, 0]))
    columns = [column for column in columns if column != missing]
    korean = draw(st.booleans())
    if container == "parquet":
        content = parquet(texts, columns, KOREAN if korean else NAMES)
    else:
        content = text(texts, columns, by, korean, draw)
    content = gzip.compress(content, 1) if container == "gzip" else content
    length = draw(st.sampled_from([None] * 9 + [draw(st.integers(0, 400))]))
    plain = number == "plain" and (container == "parquet" or by == ",")
    return File(
        content=content[:length],
        date_format=DATES[form] if has_format else None,
        rows=[
            (
                day,
                {
                    name.lower(): number
                    for at, (name, number) in enumerate(zip(NAMES[1:], numbers, strict=True), 1)
                    if at != missing
                },
            )
            for day, numbers in values
        ],
        valid=not dirty and missing in (None, 5) and length is None and plain and (has_format or form in YEAR_FIRST),
        truncated=length is not None and length < len(content),
    )


@st.composite
def written_rows(draw):
    """Consecutive days with consistent prices of up to 6 decimals."""
    random = np.random.default_rng(draw(st.integers(0, 50)))
    count, digits = draw(st.integers(1, 14)), draw(st.sampled_from([0, 1, 2, 3, 6]))
    start = date(1990, 1, 1) + timedelta(days=draw(st.integers(0, 12_000)))
    closes = draw(st.sampled_from([0.5, 12.0, 950.0, 2200.0, 43_000.0])) * np.exp(random.normal(0, 0.02, (count, 2)))
    quotes = np.round(np.column_stack([closes[:, 0], closes.max(1) * 1.01, closes.min(1) * 0.99, closes[:, 1]]), digits)
    quotes = np.maximum(quotes, 10.0**-digits)
    volumes = random.integers(1, draw(st.sampled_from([900, 400_000, 10**10])), count)
    days = np.cumsum(random.integers(1, 5, count))
    cells = [[*(int(value) if digits == 0 else float(value) for value in row), int(volume)]
             for row, volume in zip(quotes, volumes, strict=True)]  # fmt: skip
    return [(start + timedelta(days=int(day)), row) for day, row in zip(days, cells, strict=True)]


def dirt(rows):
    one = st.tuples(
        st.integers(0, rows - 1), st.integers(0, 5), st.sampled_from(list(CELLS)), st.sampled_from(BAD_DATES)
    )
    return st.just([]) | st.lists(one, max_size=3)


def orders(rows):
    """Orders of rows: unchanged, reversed, shuffled, or with rows left out and repeated."""
    same = list(range(rows))
    return st.sampled_from([same, same[::-1]]) | st.permutations(same) | st.lists(st.integers(0, rows - 1), max_size=16)


def text(rows, columns, by, korean, draw):
    names = KOREAN if korean else draw(st.sampled_from([NAMES, [name.upper() for name in NAMES]]))
    head = [[names[column] for column in columns]]
    extra = draw(st.sampled_from([None, None, "Trades", ""]))
    if columns[0] == 0 and draw(st.booleans()) and not korean:
        head = [
            ["Price", *head[0][1:]],
            ["Ticker", *["^KS11"] * (len(columns) - 1)],
            ["Date", *[""] * (len(columns) - 1)],
        ]
    body = [[row[column] for column in columns] for row in rows]
    if extra is not None:
        head = [[*line, extra if number == 0 else ""] for number, line in enumerate(head)]
        body = [[*line, "7" if extra else ""] for line in body]
    written = io.StringIO(newline="")
    writer = csv.writer(
        written, delimiter=by, lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )  # fmt: skip
    writer.writerows([*head, *body])
    known = ["utf-8", "utf-8-sig", "utf-16", *(["cp949"] if korean else [])]
    return written.getvalue().encode(draw(st.sampled_from(known)), errors="replace")


def parquet(rows, columns, names):
    frame = pd.DataFrame(
        [[row[column] for column in columns] for row in rows], columns=[names[column] for column in columns]
    )
    written = io.BytesIO()
    frame.astype(str).to_parquet(written)
    return written.getvalue()


def expected_series(file):
    """Return the series of a file as {date: numbers by column}, or None if the file must be rejected."""
    if any(day is None or None in numbers.values() for day, numbers in file.rows):
        return None
    found: dict[date, dict[str, float]] = {}
    for day, numbers in file.rows:
        if is_empty(numbers, "open", "high", "low", "close"):
            continue
        if day in found and repr(found[day]) != repr(numbers):
            return None
        found[day] = numbers
    names = list(file.rows[0][1])
    if "volume" in names and all(math.isnan(numbers["volume"]) for numbers in found.values()):
        names.remove("volume")
    if len(found) > 1 and any(math.isnan(found[max(found)][name]) for name in names):
        del found[max(found)]
    halts = [day for day, numbers in found.items() if is_empty(numbers, "open", "high", "low", "volume")]
    if {"open", "high", "low"} <= {*names} and len(halts) <= 0.2 * len(found):
        found = {day: numbers for day, numbers in found.items() if day not in halts}
    good = [name for name in names if all(is_good(name, numbers[name]) for numbers in found.values())]
    if "close" not in good:
        return None
    return {day: {name: found[day][name] for name in good} for day in sorted(found)}


def is_empty(numbers, *names):
    return all(numbers.get(name, 0) == 0 or math.isnan(numbers[name]) for name in names)


def is_good(name, number):
    return 0 <= number <= 1e18 if name == "volume" else 1e-12 <= number <= 1e15


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("dirty") / "prices"


@pytest.mark.timeout(3600)
@settings(
    deadline=None, max_examples=EXAMPLES, database=None, derandomize=not is_nightly(),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(file=files())
def test_a_file_gives_its_series_or_an_error_of_one_line(file, path):
    path.write_bytes(file.content)
    try:
        prices = clean(load(SourceConfig(source=str(path), date_format=file.date_format)))
    except PriceError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert message.startswith(f"{path}:")
        assert message.isprintable(), "the error must be one line"
        assert message.count("; ") >= 2
        closes = {numbers.get("close") for _, numbers in file.rows}
        assert not file.valid or len(closes) < 2, message
        return
    assert np.isfinite(prices.values).all()
    assert all((prices.column(name) > 0).all() for name in prices.columns if name != "volume")
    assert (np.diff(prices.dates) > np.timedelta64(0, "D")).all()
    rows = (dict(zip(prices.columns, row, strict=True)) for row in prices.values.tolist())
    found = dict(zip(prices.dates.tolist(), rows, strict=True))
    if file.truncated:
        written = [(day, {name: numbers.get(name) for name in prices.columns}) for day, numbers in file.rows]
        changed = [day for day, numbers in found.items() if (day, numbers) not in written]
        assert len(changed) <= 1, "only the truncated line may differ"
    else:
        assert found == expected_series(file)
