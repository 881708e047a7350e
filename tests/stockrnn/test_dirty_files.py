"""Thousands of dirty files: each is a clean series, the very numbers that were written, or one line that says why not.

STOCKRNN_EXAMPLES sets how many; what a file means is kept beside its text, so that a shifted date, a row out of order
or a changed value is seen.
"""

import csv
import gzip
import io
import math
import os
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockrnn.configuration import SourceConfig
from stockrnn.prices import load
from stockrnn.quality import clean
from stockrnn.series import PriceError

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("STOCKRNN_EXAMPLES", "2000"))
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
CELLS = {  # what may stand in a cell, and the number it is; None: no number
    "": math.nan, "null": math.nan, "NaN": math.nan, "-": math.nan, "0": 0.0, "-5": -5.0, "inf": math.inf,
    "-Infinity": -math.inf, "1e308": 1e308, "5e-324": 5e-324, " 12 ": 12.0, "1e2": 100.0, "-0": 0.0, "1e999": math.inf,
    "text": None, "１２": None, "1_000": None, "0x10": None, "2019-01-03": None, "12 34": None, "'": None, "=1+1": None,
}  # fmt: skip
BAD_DATES = ["", "null", "2019-02-30", "0000-01-01", "30/30/2019", "43469", "noon", "2019-01", "１/１/2019"]


@dataclass(frozen=True, kw_only=True)
class File:
    """A file's bytes and what they mean: `rows` are (date, numbers), None where a cell is neither."""

    content: bytes
    date_format: str | None
    rows: list[tuple[date | None, list[float | None]]]
    with_volume: bool
    certain: bool  # neither dirty nor written so that it may mean two things
    cut: bool


@st.composite
def files(draw):
    rows = draw(written_rows())
    form, told = draw(st.sampled_from(list(DATES))), draw(st.booleans())
    by, packing = draw(st.sampled_from([",", ";", "\t"])), draw(st.sampled_from(["csv"] * 6 + ["gzip", "parquet"]))
    # Beside commas a point marks decimals: 1.234 is no thousand there, whatever its writer meant.
    number = draw(
        st.sampled_from([name for name in NUMBERS if name != "german" or (by != "," and packing != "parquet")])
    )
    texts = [[form.format(day.year, day.month, day.day), *map(NUMBERS[number], row)] for day, row in rows]
    meanings = [(day, list(row)) for day, row in rows]
    dirty = False
    for row, column, cell, bad in draw(dirt(len(rows))):
        dirty = True
        texts[row][column] = bad if column == 0 else cell
        day, numbers = meanings[row]
        meanings[row] = (
            (None, numbers) if column == 0 else (day, [*numbers[: column - 1], CELLS[cell], *numbers[column:]])
        )
    order = draw(orders(len(rows)))
    texts, meanings = [texts[index] for index in order], [meanings[index] for index in order]
    columns = draw(st.permutations(range(6)))
    missing = draw(st.sampled_from([None] * 6 + [1, 4, 5, 5, 5, 0]))
    columns = [column for column in columns if column != missing]
    korean = draw(st.booleans())
    if packing == "parquet":
        content = parquet(texts, columns, KOREAN if korean else NAMES)
    else:
        content = text(texts, columns, by, korean, draw)
    content = gzip.compress(content, 1) if packing == "gzip" else content
    keep = draw(st.sampled_from([None] * 9 + [draw(st.integers(0, 400))]))
    plain = number == "plain" and (packing == "parquet" or by == ",")
    return File(
        content=content[:keep],
        date_format=DATES[form] if told else None,
        rows=meanings,
        with_volume=missing != 5,
        certain=not dirty and missing in (None, 5) and keep is None and plain and (told or form in YEAR_FIRST),
        cut=keep is not None and keep < len(content),
    )


@st.composite
def written_rows(draw):
    """Days in order with consistent numbers of up to so many digits."""
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
    """As they are, backwards, mixed, or with rows left out and repeated."""
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


def meant(file):
    """The series a file means: {date: numbers}, or None where it means none."""
    width = 5 if file.with_volume else 4
    rows = [(day, numbers[:width]) for day, numbers in file.rows]
    if any(day is None or None in numbers for day, numbers in rows):
        return None
    found: dict[date, list[float]] = {}
    for day, numbers in rows:
        if all(math.isnan(number) for number in numbers[:4]):
            continue
        if day in found and not np.array_equal(found[day], numbers, equal_nan=True):
            return None
        found[day] = numbers
    if found and file.with_volume and all(math.isnan(numbers[4]) for numbers in found.values()):
        found = {day: numbers[:4] for day, numbers in found.items()}
    if len(found) > 1 and any(math.isnan(number) for number in found[max(found)]):
        del found[max(found)]
    if any(math.isnan(number) for numbers in found.values() for number in numbers):
        return None
    return dict(sorted(found.items()))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("dirty") / "prices"


@pytest.mark.timeout(3600)
@settings(
    deadline=None, max_examples=EXAMPLES, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(file=files())
def test_a_dirty_file_is_what_it_means_or_one_line_of_refusal(file, path):
    path.write_bytes(file.content)
    try:
        prices = clean(load(SourceConfig(source=str(path), date_format=file.date_format)))
    except PriceError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert refusal.startswith(f"{path}:")
        assert refusal.isprintable(), "one line, whatever the file holds"
        assert refusal.count("; ") >= 2
        closes = {numbers[3] for _, numbers in file.rows}
        assert not file.certain or len(closes) < 2, refusal
        return
    assert np.isfinite(prices.values).all()
    assert (prices.values[:, :4] > 0).all()
    assert (np.diff(prices.dates) > np.timedelta64(0, "D")).all()
    found = dict(zip(prices.dates.tolist(), prices.values.tolist(), strict=True))
    if file.cut:
        told = [(day, numbers[: len(prices.columns)]) for day, numbers in file.rows]
        changed = [day for day, numbers in found.items() if (day, numbers) not in told]
        assert len(changed) <= 1, "only the line that was cut off may differ"
    else:
        assert found == meant(file)
