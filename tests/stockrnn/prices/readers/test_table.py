"""Read the exports of many programs as the same series, and reject ambiguous dates and numbers."""

import gzip
import re
import time

import numpy as np
import pandas as pd
import pytest

from stockrnn.prices.config import SourceConfig
from stockrnn.prices.loading import load
from stockrnn.prices.series import PriceError

HEADER = "Date,Open,High,Low,Close,Volume"
DATES = ["2019-01-30", "2019-01-31", "2019-02-01", "2019-02-07"]
VALUES = [
    [2183.49, 2206.2, 2177.88, 2206.2, 1480400],
    [2222.88, 2222.88, 2201.22, 2204.85, 545200],
    [2211.93, 2218.78, 2201.41, 2203.46, 479400],
    [2215.77, 2215.79, 2196.77, 2203.42, 427800],
]
DMY, MDY = "%d/%m/%Y", "%m/%d/%Y"


def text_of(header=HEADER, dates=DATES, values=VALUES, number=repr, by=","):
    """A CSV with the columns date, open, high, low, close, volume."""
    rows = ([date, *(number(value) for value in row)] for date, row in zip(dates, values, strict=True))
    return "\n".join([header, *(by.join(row) for row in rows), ""])


@pytest.fixture
def read(tmp_path):
    """Write text or bytes to a file and read it back, unchecked."""

    def read_content(content, date_format=None, name="prices.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load(SourceConfig(source=str(path), date_format=date_format))

    return read_content


@pytest.fixture
def rejected(read, tmp_path):
    """Write a file that is rejected and return the error's line, without the path."""

    def error_of(content, date_format=None, name="prices.csv"):
        with pytest.raises(PriceError) as caught:
            read(content, date_format, name)
        text = str(caught.value)
        assert "\n" not in text
        assert text.count("; ") >= 2, "must state the problem, the rule and the fix"
        return text.removeprefix(f"{tmp_path / name}:")

    return error_of


def expect_the_series(prices):
    assert prices.dates.astype(str).tolist() == DATES
    assert prices.columns == ("open", "high", "low", "close", "volume")
    assert prices.values.tolist() == VALUES


def texts(prices):
    return [found.text for found in prices.findings]


def in_order(pattern):
    return [pattern.format(*(int(part) for part in date.split("-"))) for date in DATES]


def grouped(value):
    return f"{value:,}"


def german(value):
    return f"{value:,}".translate(str.maketrans(",.", ".,"))


def frame_of(dates=DATES):
    names = HEADER.split(",")[1:]
    return pd.DataFrame(VALUES, columns=names, index=pd.DatetimeIndex(dates, name="Date"))


def yfinance_csv(by_ticker=False, tickers=("^KS11",)):
    """Return what `yf.download(...).to_csv()` writes: columns with two levels, in three header lines."""
    frame = pd.concat(dict.fromkeys(tickers, frame_of()), axis=1, names=["Ticker", "Price"])
    return (frame if by_ticker else frame.swaplevel(axis=1)).to_csv()


QUOTED = '"Date","Open","High","Low","Close","Volume"'


@pytest.mark.parametrize("pattern", [
    "{}/{:02}/{:02}", "{}/{}/{}", "{}.{:02}.{:02}", "{}. {}. {}.", "{}- {:02}- {:02}", "{}{:02}{:02}", "{}-{}-{}",
    "{}년 {:02}월 {:02}일", "{}-{:02}-{:02} 09:00:00+09:00", "{}-{:02}-{:02}T23:30:00.000Z", "{}/{}/{} 15:30",
    "{}-{:02}-{:02} 00:00:00-05:00", "{}-{:02}-{:02} 00:00:00 UTC",
])  # fmt: skip
def test_dates_with_the_year_first_are_unambiguous(pattern, read):
    prices = read(text_of(dates=in_order(pattern)))
    expect_the_series(prices)
    assert prices.findings == ()


@pytest.mark.parametrize("dates", [
    ["Jan 30, 2019", "Jan 31, 2019", "Feb 1, 2019", "Feb 07, 2019"],
    ["30-Jan-2019", "31-JAN-2019", "1-feb-2019", "07-Feb-2019"],
    ["30 January 2019", "31 January 2019", "1 February 2019", "7 February 2019"],
])  # fmt: skip
def test_dates_with_a_month_in_letters_are_unambiguous(dates, read):
    header = '"' + HEADER.replace(",", '","') + '"'
    expect_the_series(read(text_of(header, [f'"{date}"' for date in dates])))


@pytest.mark.parametrize("mark", ["/", ".", "-"])
@pytest.mark.parametrize(
    ("pattern", "date_format"), [("{2:02}{m}{1:02}{m}{0}", "%d{m}%m{m}%Y"), ("{1}{m}{2}{m}{0}", "%m{m}%d{m}%Y")]
)
def test_days_and_months_are_read_in_the_only_order_that_fits(mark, pattern, date_format, read):
    dates = [pattern.format(*map(int, date.split("-")), m=mark) for date in DATES]
    expected = date_format.format(m=mark)
    detected, given = read(text_of(dates=dates)), read(text_of(dates=dates), expected)
    expect_the_series(detected)
    expect_the_series(given)
    assert given.findings == ()
    (finding,) = detected.findings
    assert finding.text == f"read dates as {expected}, the only order that fits: {dates[0]} is 2019-01-30"


def test_ambiguous_dates_are_an_error_with_both_meanings(read, rejected):
    dates = ["01/02/2019", "04/02/2019", "05/02/2019", "06/02/2019"]
    error = rejected(text_of(dates=dates))
    assert error.startswith("2: Date: '01/02/2019' is 2019-02-01 or 2019-01-02; ")
    assert error.endswith(f"set data.date_format to {DMY!r} or {MDY!r}")
    assert read(text_of(dates=dates), DMY).dates.astype(str)[0] == "2019-02-01"
    assert read(text_of(dates=dates), MDY).dates.astype(str)[0] == "2019-01-02"


def test_the_error_shows_a_row_where_the_two_meanings_differ(rejected):
    dates = ["02/02/2019", "03/03/2019", "05/04/2019", "06/06/2019"]
    assert rejected(text_of(dates=dates)).startswith("4: Date: '05/04/2019' is 2019-04-05 or 2019-05-04; ")


def test_dates_in_both_orders_are_an_error_with_one_of_each(rejected):
    dates = ["30/01/2019", "01/31/2019", "02/01/2019", "02/07/2019"]
    error = rejected(text_of(dates=dates))
    assert re.match(r"3: Date: '01/31/2019' only fits %m/%d/%Y, '30/01/2019' \(.*:2\) only fits %d/%m/%Y; ", error)


def test_an_order_that_fits_but_does_not_sort_the_rows_is_an_error(read, rejected):
    dates = ["04/01/2019", "02/05/2019", "30/01/2019", "01/02/2019"]
    error = rejected(text_of(dates=dates))
    assert error.startswith("4: Date: only %d/%m/%Y fits all rows, but it does not put them in order of time")
    assert len(read(text_of(dates=dates), DMY)) == 4


@pytest.mark.parametrize(("date", "date_format"), [
    ("30/01/2019", DMY), ("30.1.19", "%d.%m.%y"), ("Wed 30 Jan 2019", "%a %d %b %Y"), ("20190130", "%Y%m%d"),
    ("2019-030", "%Y-%j"), ("01/30/2019 16:00", "%m/%d/%Y %H:%M"), ("30/01/2019 23:00 -0500", "%d/%m/%Y %H:%M %z"),
])  # fmt: skip
def test_dates_are_read_with_the_given_format(date, date_format, read):
    assert read(text_of(dates=[date], values=VALUES[:1]), date_format).dates.astype(str).tolist() == ["2019-01-30"]


@pytest.mark.parametrize(
    "date_format", ["%d/%m", "%Y", "nothing", "%Q", "%", "%d/%m/%Y%", "%d/%d/%m/%Y", "%-d/%m/%Y", "\0%d%m%Y", "%s"]
)
def test_a_date_format_that_does_not_define_a_day_is_an_error(date_format, rejected):
    assert rejected(text_of(), date_format).startswith(f"data.date_format: {date_format!r} does not define a day; ")


def test_a_date_that_does_not_fit_the_format_is_an_error(rejected):
    dates = ["30/01/2019", "31/01/2019", "02/13/2019", "2019-02-07"]
    error = rejected(text_of(dates=dates), DMY)
    assert error.startswith("4: Date: '02/13/2019' does not fit data.date_format '%d/%m/%Y'; ")
    assert error.endswith("(2 of 4 rows are wrong)")


@pytest.mark.parametrize("form", [yfinance_csv(), yfinance_csv(by_ticker=True)])
def test_the_three_header_lines_of_yfinance_are_read_as_one(form, read):
    prices = read(form)
    expect_the_series(prices)
    assert texts(prices) == ["read the 3 header lines of yfinance as one"]
    assert prices.lines.tolist() == [4, 5, 6, 7]


def test_other_headers_of_frames_are_read(read):
    expect_the_series(read(frame_of().to_csv()))
    expect_the_series(read(frame_of().rename_axis(None).to_csv()))
    two_lines = yfinance_csv().split("\n")
    expect_the_series(read("\n".join([two_lines[0], *two_lines[2:]])))
    stamped = frame_of(pd.DatetimeIndex(DATES).tz_localize("Asia/Seoul")).to_csv()
    assert "+09:00" in stamped
    expect_the_series(read(stamped))


def test_several_tickers_in_one_file_are_an_error(rejected):
    for form in (yfinance_csv(tickers=("SPY", "QQQ")), yfinance_csv(by_ticker=True, tickers=("SPY", "QQQ"))):
        assert rejected(form).startswith(" has 2 tickers (QQQ, SPY); a file has one series; ")


@pytest.mark.parametrize("by", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("compressed", [False, True])
def test_delimiters_and_encodings_make_no_difference(by, encoding, compressed, read):
    content = text_of(HEADER.replace(",", by), by=by).encode(encoding)
    prices = read(gzip.compress(content) if compressed else content)
    expect_the_series(prices)
    assert prices.findings == ()


def test_the_line_with_the_delimiter_that_excel_writes_is_skipped(read):
    prices = read("sep=;\n" + text_of(HEADER.replace(",", ";"), by=";"))
    expect_the_series(prices)
    assert prices.lines.tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize(("by", "number"), [
    (",", lambda value: f'"{value:,}"'), (";", grouped), ("\t", grouped), (";", german), ("\t", german),
    (",", lambda value: f'"{german(value)}"'), (";", lambda value: repr(value).replace(".", ",")),
    (",", lambda value: f"${value}"),
])  # fmt: skip
def test_thousands_separators_and_decimal_marks_are_detected(by, number, read):
    expect_the_series(read(text_of(HEADER.replace(",", by), number=number, by=by)))


def test_volumes_show_the_thousands_separator_of_whole_prices(read):
    values = [[43200, 43900, 42950, 43500, 345678], [43500, 44000, 43000, 43100, 800]]
    prices = read(text_of(dates=DATES[:2], values=values, number=lambda value: f'"{value:,}"'))
    assert prices.values.tolist() == values


@pytest.mark.parametrize(("by", "written"), [(";", "109,345"), (";", "109.345"), (",", '"109,345"'), ("\t", "109,345")])
def test_ambiguous_numbers_are_an_error_with_both_meanings(by, written, rejected):
    row = by.join(["2019-01-30", *[written] * 4, "0"])
    error = rejected(f"{HEADER.replace(',', by)}\n{row}\n")
    assert error.startswith(f"2: Open: {written.strip(chr(34))!r} is 109.345 or 109345; ")


def test_two_decimal_marks_in_one_file_are_an_error(rejected):
    error = rejected("Date;Open;High;Low;Close\n2019-01-30;12,5;12,6;12,4;12,5\n2019-01-31;12,5;12.6;12,4;12,5\n")
    assert re.match(r"3: High: '12\.6' and '12,5' \(.*:2\) have different decimal marks; ", error)


@pytest.mark.parametrize(
    "wrong", ["1,23,45.5", "1,2345.5", "1.2,3.4", "12,34.5", "1,,234.5", ",5.5", "12.5%", "12 34.5", "1 234 5"]
)
def test_invalid_groups_of_digits_are_an_error(wrong, rejected):
    assert re.match(r"2: Open: ", rejected(text_of().replace("2183.49", f'"{wrong}"')))


def korean(number, dates="{}/{:02}/{:02}"):
    header = "일자,시가,고가,저가,종가,거래량"
    return text_of(header, in_order(dates), number=number)


@pytest.mark.parametrize("encoding", ["cp949", "euc-kr", "utf-8-sig"])
def test_an_export_of_the_korean_exchange_is_read(encoding, read):
    prices = read(korean(lambda value: f'"{value:,}"').encode(encoding))
    expect_the_series(prices)
    columns = "renamed columns: 일자 to Date, 시가 to Open, 고가 to High, 저가 to Low, 종가 to Close, "
    expected = [columns + "거래량 to Volume"]
    assert texts(prices) == (
        expected if encoding == "utf-8-sig" else ["read as Korean text (CP949), since the file is not UTF-8", *expected]
    )


def test_other_bytes_are_not_read_as_korean(rejected):
    error = rejected(text_of("Date,Open,High,Low,Preiß,Volume").encode("cp1252"))
    assert error.startswith(" is not text with columns of prices; ")


def test_an_export_of_investing_com_is_read(read):
    header = '"Date","Price","Open","High","Low","Vol.","Change %"'
    rows = ['"02/01/2019","2,203.46","2,211.93","2,218.78","2,201.41","350.5K","-0.06%"']
    rows += ['"01/31/2019","2,204.85","2,222.88","2,222.88","2,201.22","1.2M","-0.06%"']
    rows += ['"01/30/2019","2,206.20","2,183.49","2,206.20","2,177.88","-","1.05%"']
    prices = read("\n".join([header, *rows]))
    assert prices.dates.astype(str).tolist() == DATES[2::-1]
    assert np.array_equal(prices.values[:, :4], np.array(VALUES)[2::-1, :4])
    assert np.array_equal(prices.column("volume"), [350_500, 1_200_000, np.nan], equal_nan=True)
    assert texts(prices) == [
        "renamed columns: Price to Close",
        "read dates as %m/%d/%Y, the only order that fits: 01/31/2019 is 2019-01-31",
        "expanded 2 volumes that end in K, M or B (1.2M to 1,200,000); they are rounded",
    ]


def test_an_export_of_nasdaq_com_is_read(read):
    header = "Date,Close/Last,Volume,Open,High,Low"
    prices = read(f"{header}\n01/30/2019,$11.5,1000,$11,$12,$10\n")
    assert prices.values.tolist() == [[11, 12, 10, 11.5, 1000]]


def test_a_file_without_volume_has_no_such_column(read):
    lines = [line.rpartition(",")[0] for line in text_of().split()]
    prices = read("\n".join(lines))
    assert prices.columns == ("open", "high", "low", "close")
    assert np.array_equal(prices.values, np.array(VALUES)[:, :4])


PARQUET = {
    "yfinance's columns": pd.concat({"^KS11": frame_of()}, axis=1).swaplevel(axis=1),
    "by ticker": pd.concat({"^KS11": frame_of()}, axis=1, names=["Ticker", "Price"]),
    "two levels of index": pd.concat({"^KS11": frame_of()}, names=["Ticker"]),
    "seconds": frame_of(pd.DatetimeIndex(DATES).as_unit("s")),
    "milliseconds in Seoul": frame_of(pd.DatetimeIndex(DATES).as_unit("ms").tz_localize("Asia/Seoul")),
    "days": frame_of().set_axis(pd.DatetimeIndex(DATES).to_period("D").rename("Date")),
    "whole numbers": frame_of().reset_index().assign(Date=[int(date.replace("-", "")) for date in DATES]),
    "Korean": frame_of().reset_index().set_axis(["일자", "시가", "고가", "저가", "종가", "거래량"], axis=1),
}


@pytest.mark.parametrize("form", PARQUET)
@pytest.mark.parametrize("compressed", [False, True])
def test_parquet_is_read_in_any_form(form, compressed, read):
    content = PARQUET[form].to_parquet()
    expect_the_series(read(gzip.compress(content) if compressed else content, name="prices.parquet"))


def test_parquet_dates_ignore_the_date_format(read):
    expect_the_series(read(frame_of().to_parquet(), DMY))
    assert (
        read(frame_of().reset_index(drop=True).assign(Date="30/01/2019").to_parquet(), DMY).dates[0].item().month == 1
    )


def test_parquet_of_32_bit_floats_keeps_their_value(read):
    prices = read(frame_of().astype("float32").to_parquet())
    assert prices.values[0, 0] == float(np.float32(2183.49))


def test_several_tickers_in_parquet_are_an_error(rejected):
    frame = pd.concat({"SPY": frame_of(), "QQQ": frame_of()}, axis=1)
    assert rejected(frame.to_parquet(), name="p.parquet").startswith(" has 2 tickers (QQQ, SPY); ")


def test_all_members_of_a_gzip_file_are_read(read):
    content = text_of().encode()
    expect_the_series(read(gzip.compress(content[:60]) + gzip.compress(content[60:])))


def test_a_file_that_decompresses_to_too_much_is_an_error(rejected):
    assert rejected(gzip.compress(bytes(300 << 20), 1)).startswith(" decompresses to more than 256 MiB; ")


def test_25_years_are_read_and_checked_quickly(synthetic, tmp_path):
    from stockrnn.prices.cleaning import clean

    prices = synthetic(6300)
    frame = pd.DataFrame(prices.values, columns=[name.capitalize() for name in prices.columns])
    frame.assign(Date=prices.dates).to_csv(tmp_path / "prices.csv", index=False)
    started = time.process_time()
    found = clean(load(str(tmp_path / "prices.csv")))
    assert time.process_time() - started < 5  # CPU seconds; usually a fifth of one
    assert found.sha256 == prices.sha256
