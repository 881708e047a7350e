"""Read daily prices: accepted formats, rejected files, and the line numbers in errors."""

import gzip
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from stockrnn.prices.loading import load
from stockrnn.prices.series import PriceError
from stockrnn.prices.sources import SHIPPED

HEADER = "Date,Open,High,Low,Close,Volume"
ROWS = (
    "2019-01-02,10,12,9,11,1000",
    "2019-01-03,11,13,10,12.5,1100",
    "2019-01-04,12.5,14,12,13.25,0",
)
CSV = "\n".join([HEADER, *ROWS])
DATES = ["2019-01-02", "2019-01-03", "2019-01-04"]
VALUES = [[10, 12, 9, 11, 1000], [11, 13, 10, 12.5, 1100], [12.5, 14, 12, 13.25, 0]]


@pytest.fixture
def written(tmp_path):
    """Write lines (or bytes) to a file and return its path."""

    def write(*lines, name="prices.csv"):
        path = tmp_path / name
        content = lines[0] if isinstance(lines[0], bytes) else "\n".join([*lines, ""]).encode()
        path.write_bytes(content)
        return str(path)

    return write


def expect_the_series(prices):
    assert prices.dates.astype(str).tolist() == DATES
    assert prices.dates.dtype == np.dtype("datetime64[D]")
    assert prices.columns == ("open", "high", "low", "close", "volume")
    assert prices.values.tolist() == VALUES


def error_of(source):
    with pytest.raises(PriceError) as caught:
        load(source)
    text = str(caught.value)
    assert "\n" not in text
    assert text.count("; ") >= 2, "must state the problem, the rule and the fix"
    return text


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_series(name):
    prices = load(name)
    assert prices.provenance.source == name
    assert prices.provenance.sessions == len(prices) == 5031
    assert (prices.provenance.start, prices.provenance.end) == ("1999-01-04", "2018-12-31")
    assert (np.diff(prices.dates) > np.timedelta64(0, "D")).all()
    assert np.isfinite(prices.values).all()
    if name == "nasdaq":
        assert prices.values[0].tolist() == [2207.540039, 2233.570068, 2192.679932, 2208.050049, 936660000]


def test_shipped_series_are_read_without_importing_the_package_that_ships_them():
    code = (
        "import sys; from stockrnn.prices.loading import load; load('nasdaq'); "
        "print(*{'arch', 'statsmodels', 'pandas', 'torch'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def in_order(order, header=HEADER):
    lines = [line.split(",") for line in (header, *ROWS)]
    return "\n".join(",".join(line[index] for index in order) for line in lines)


READABLE = {
    "another order": in_order([4, 5, 0, 3, 2, 1]),
    "lower case": CSV.lower(),
    "upper case and spaces": in_order([3, 0, 1, 5, 2, 4], " DATE ,OPEN, HIGH,LOW ,CLOSE,VOLUME"),
    "timestamp column": CSV.replace("Date", "Timestamp"),
    "byte order mark": "\ufeff" + CSV,
    "Windows line ends": CSV.replace("\n", "\r\n"),
    "gzip": gzip.compress(CSV.encode(), mtime=0),
    "blank lines": "\n" + CSV.replace("\n", "\n\n,,,,,\n   \n") + "\n\n",
    "quoted": re.sub(r"([^,\n]+)", r'"\1"', CSV),
    "spaces": CSV.replace(",", " , "),
    "trailing comma": "\n".join([HEADER, *(row + "," for row in ROWS)]),
    "time of day": re.sub(r"(2019-\d\d-\d\d)", r"\1 16:00:00", CSV),
    "adjusted close": "\n".join([HEADER + ",Adj Close,Dividends", *(f"{row},{row.split(',')[4]},0" for row in ROWS)]),
    "other spellings": CSV.replace(",1000", ",1e3").replace(",12.5,", ",+12.50,").replace(",0", ",.0"),
}


@pytest.mark.parametrize("form", READABLE)
def test_a_csv_is_read_in_any_form(form, written):
    prices = load(written(READABLE[form]))
    expect_the_series(prices)
    assert prices.findings == ()
    assert prices.sha256 == load(written(CSV)).sha256


def test_unused_columns_are_a_warning(written):
    path = written(f"{HEADER},VWAP,Adj Close,Trades", *(f"{row},1,{number},3" for number, row in enumerate(ROWS, 11)))
    assert [found.text for found in load(path).findings] == [
        "columns not used: Trades, VWAP",
        "Close is used, not Adj Close, which differs on 2 rows; check whether Close includes dividends",
    ]


@pytest.mark.parametrize(
    "stamp",
    ["{} 00:00:00-05:00", "{}T20:30:00-05:00", "{}T00:30:00+09:00", "{} 23:59:59.5+00:00", "{}T05:00Z"],
)
def test_a_timestamp_keeps_the_local_date(stamp, written):
    rows = (stamp.format(row[:10]) + row[10:] for row in ROWS)
    expect_the_series(load(written(HEADER, *rows)))


def test_cells_without_a_value_are_missing_numbers(written):
    prices = load(written(HEADER, "2019-01-02,null,NaN,,N/A,-", *ROWS[1:]))
    assert np.isnan(prices.values).tolist() == [[True] * 5, [False] * 5, [False] * 5]
    frame = FRAME.assign(Date=INDEX, Open=["10", None, "12"], Volume=pd.array([1, None, 3], dtype="Int64"))
    prices = load(written(frame.to_parquet(), name="prices.parquet"))
    assert np.isnan(prices.values).tolist() == [[False] * 5, [True, False, False, False, True], [False] * 5]


def test_the_three_header_lines_of_yfinance_are_read_as_one(written):
    path = written("Price,Open,High,Low,Close,Volume", "Ticker,SPY,SPY,SPY,SPY,SPY", "Date,,,,,", *ROWS)
    prices = load(path)
    expect_the_series(prices)
    assert prices.location(0) == f"{path}:4"
    assert [found.text for found in prices.findings] == ["read the 3 header lines of yfinance as one"]


def test_sessions_have_line_numbers(written):
    path = written(HEADER, ROWS[2], "", *ROWS[:2])
    prices = load(path)
    assert prices.lines.tolist() == [2, 4, 5]
    assert prices.rows(np.array([2, 0])).location(1) == f"{path}:2"


FRAME = pd.DataFrame(VALUES, columns=["Open", "High", "Low", "Close", "Volume"], dtype=float)
INDEX = pd.DatetimeIndex(DATES)
PARQUET = {
    "date index": FRAME.set_index(INDEX),
    "named date index": FRAME.set_index(INDEX.rename("Date")),
    "local time index": FRAME.set_index(INDEX.tz_localize("America/New_York").rename("Date")),
    "date column": FRAME.assign(Date=INDEX),
    "local time column": FRAME.assign(datetime=INDEX.tz_localize("Asia/Seoul")),
    "text column": FRAME.assign(date=DATES),
    "days": FRAME.assign(Date=INDEX.date),
    "days as index": FRAME.set_index(pd.Index(INDEX.date, name="Date")),
    "index and column": FRAME.assign(Date=INDEX).set_index(INDEX.rename("date")),
    "whole numbers and text": FRAME.assign(
        Date=INDEX, Volume=pd.array([1000, 1100, 0], dtype="Int64"), Open=["10", "11", "12.5"]
    ),
    "repeated row labels": FRAME.assign(Date=INDEX).set_index(pd.Index([0, 0, 1])),
}


@pytest.mark.parametrize("form", PARQUET)
def test_parquet_is_read_in_any_form(form, written):
    path = written(PARQUET[form].to_parquet(), name="prices.parquet")
    prices = load(path)
    expect_the_series(prices)
    assert prices.location(1) == path
    assert prices.sha256 == load(written(HEADER, *ROWS)).sha256


def test_the_content_of_a_file_decides_its_format_not_its_name(written):
    expect_the_series(load(written(FRAME.assign(Date=INDEX).to_parquet(), name="prices.csv")))
    expect_the_series(load(written(CSV, name="prices.parquet")))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME, "Date: missing; "),
        (FRAME.assign(Date=[20190102, 20190103, 43469]), "row 3: Date: '43469' is not a date; "),
        (FRAME.assign(Date=[*INDEX[:2], None]), "row 3: Date: '' is not a date; "),
        (FRAME.assign(Date=INDEX, Low=[True, False, True]), "row 1: Low: 'True' is not a number; "),
        (FRAME.assign(Date=INDEX, close=1.0), "Close: is the name of two columns; "),
        (FRAME.assign(Date=INDEX)[:0], "no rows below the header; "),
    ],
)
def test_a_wrong_parquet_is_an_error(frame, message, written):
    path = written(frame.to_parquet(), name="prices.parquet")
    assert error_of(path).startswith(f"{path}: {message}")


def test_equal_numbers_have_the_same_hash_and_any_change_has_another(tmp_path, synthetic):
    original = synthetic(50)
    frame = pd.DataFrame(original.values, columns=list(original.columns)).assign(date=original.dates)
    frame.to_csv(tmp_path / "prices.csv", index=False)
    frame.sample(frac=1, axis=1, random_state=0).to_csv(tmp_path / "prices.csv.gz", index=False)
    frame.to_parquet(tmp_path / "prices.parquet")
    paths = [tmp_path / name for name in ("prices.csv", "prices.csv.gz", "prices.parquet")]
    assert {load(str(path)).sha256 for path in paths} == {original.sha256}

    hashes = {original.sha256}
    for column in range(5):
        changed = original.rows(np.arange(50))
        changed.values[17, column] = np.nextafter(changed.values[17, column], np.inf)
        hashes.add(changed.sha256)
    changed = original.rows(np.arange(50))
    changed.dates[17] += 1
    hashes |= {changed.sha256, original.rows(np.arange(49)).sha256}
    assert len(hashes) == 8


@pytest.mark.parametrize(
    ("line", "number", "message"),
    [
        ("2019-01-03,11,13,ten,12.5,1100", 3, "Low: 'ten' is not a number; numbers are digits and a point"),
        ('2019-01-03,"1,10.5",13,10,12.5,1100', 3, "Open: '1,10.5' is not a number; "),
        ("2019-01-03,1_100,13,10,12.5,1100", 3, "Open: '1_100' is not a number; "),
        (
            "2019-01-03,1,100.5,13,10,12.5,1100",
            3,
            "has 7 fields, but the header has 6; .* commas need quotes",
        ),
        ("2019-01-03,11,13", 3, "has 3 fields, but the header has 6; "),
        (
            "03/01/2019,11,13,10,12.5,1100",
            3,
            "Date: '03/01/2019' is not a date; a date is YYYY-MM-DD",
        ),
        ("2019-02-30,11,13,10,12.5,1100", 3, "Date: '2019-02-30' is not a date; "),
        ("0000-01-01,11,13,10,12.5,1100", 3, "Date: '0000-01-01' is not a date; "),
        ("2019013,11,13,10,12.5,1100", 3, "Date: '2019013' is not a date; "),
        ("2019-01-03 noon,11,13,10,12.5,1100", 3, "Date: '2019-01-03 noon' is not a date; "),
        (",11,13,10,12.5,1100", 3, "Date: '' is not a date; "),
        ('2019-01-03,11,"13"0,10,12.5,1100', 3, "cannot be read as CSV "),
    ],
)
def test_the_error_has_the_number_of_the_wrong_line(line, number, message, written):
    path = written(HEADER, ROWS[0], line, ROWS[2])
    assert re.match(rf"{re.escape(path)}:{number}: {message}", error_of(path))


def test_the_line_number_counts_blank_lines_and_the_error_counts_wrong_rows(written):
    path = written(HEADER, "", ROWS[0], "", "2019-01-03,x,13,10,12.5,1100", "2019-01-04,x,14,12,13.25,0")
    assert error_of(path).startswith(f"{path}:5: Open: 'x' is not a number")
    assert error_of(path).endswith("(2 of 3 rows are wrong)")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Date,Open,High,Low,Final,Volume", "Close: missing; "),
        ("Day,Open,High,Low,End,Volume", "Date, Close: missing; .* the file has 'Day', 'Open', "),
        ("Date,Open,High,Low,Close,CLOSE,Volume", "Close: is the name of two columns; "),
        ("Date~Open~High~Low~Close", "Date, Close: missing; .* the file has 'Date~Open~"),
        ("Date,Open,High,Last,Settle", "Close: could be 'Last' and 'Settle'; only one can be used; "),
        ("일자,시가,Final", r"Close: missing; .* of which Date \('일자'\), Open \('시가'\) are recognized; "),
    ],
)
def test_missing_and_repeated_columns_are_errors(header, message, written):
    path = written(header, ",".join(["1"] * (header.count(",") + 1)))
    assert re.match(rf"{re.escape(path)}:1: {message}", error_of(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (HEADER.encode(), "no rows below the header"),
        (bytes(range(256)), "is not text"),
        (b"Date\0,Open\n", "is not text"),
        ("Date,Öffnung".encode("latin-1"), "is not text"),
        (f"{HEADER}\n".encode("utf-16")[:-1], "is not text"),
        (b"PAR1 and nothing of Parquet", "cannot be read as Parquet"),
        (b"\x1f\x8b and nothing of gzip", "cannot be decompressed"),
        (gzip.compress(HEADER.encode(), mtime=0)[:-9], "cannot be decompressed"),
        (gzip.compress(b"\xff\xfe\x00", mtime=0), "is not text"),
    ],
)
def test_a_file_without_prices_is_an_error(content, message, written):
    path = written(content)
    assert re.match(rf"{re.escape(path)}(:1)?: {message}", error_of(path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nasdac", "nasdac: no such file; .*; did you mean nasdaq?"),
        ("NASDAQ", "NASDAQ: no such file; .*; did you mean nasdaq?"),
        ("no/such/folder.csv", "no/such/folder.csv: no such file; .*; check the path"),
        ("~nobody-at-all/prices.csv", "~nobody-at-all/prices.csv: no such file; "),
        ("x" * 5000, "x+: cannot be read "),
    ],
)
def test_a_missing_source_is_an_error(source, message):
    assert re.match(message, error_of(source))


def test_a_misspelt_path_and_a_folder_are_errors(written, tmp_path):
    path = written(HEADER, *ROWS, name="Kospi.csv")
    assert error_of(str(tmp_path / "kopsi.csv")).endswith(f"did you mean {path}?")
    assert error_of(f"{path}/x.csv").startswith(f"{path}/x.csv: no such file; ")
    assert error_of(str(tmp_path)).startswith(f"{tmp_path}: is a folder; ")
