"""Files as people have them: every program's export is the same series, and what may mean two things is refused."""

import gzip
import re
import time

import numpy as np
import pandas as pd
import pytest

from stockrnn.configuration import SourceConfig
from stockrnn.prices import load
from stockrnn.series import PriceError

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
    """Writes text or bytes to a file and reads it back, unchecked."""

    def read_content(content, date_format=None, name="prices.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load(SourceConfig(source=str(path), date_format=date_format))

    return read_content


@pytest.fixture
def refused(read, tmp_path):
    """Writes a file that is refused and gives the error's line, without the path."""

    def error_of(content, date_format=None, name="prices.csv"):
        with pytest.raises(PriceError) as caught:
            read(content, date_format, name)
        text = str(caught.value)
        assert "\n" not in text
        assert text.count("; ") >= 2, "states what, the rule and the fix"
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
    """What `yf.download(...).to_csv()` writes: columns of two levels, in three lines of header."""
    whole = pd.concat(dict.fromkeys(tickers, frame_of()), axis=1, names=["Ticker", "Price"])
    return (whole if by_ticker else whole.swaplevel(axis=1)).to_csv()


QUOTED = '"Date","Open","High","Low","Close","Volume"'


@pytest.mark.parametrize("pattern", [
    "{}/{:02}/{:02}", "{}/{}/{}", "{}.{:02}.{:02}", "{}. {}. {}.", "{}- {:02}- {:02}", "{}{:02}{:02}", "{}-{}-{}",
    "{}년 {:02}월 {:02}일", "{}-{:02}-{:02} 09:00:00+09:00", "{}-{:02}-{:02}T23:30:00.000Z", "{}/{}/{} 15:30",
    "{}-{:02}-{:02} 00:00:00-05:00", "{}-{:02}-{:02} 00:00:00 UTC",
])  # fmt: skip
def test_dates_with_the_year_first_mean_one_day(pattern, read):
    prices = read(text_of(dates=in_order(pattern)))
    expect_the_series(prices)
    assert prices.findings == ()


@pytest.mark.parametrize("dates", [
    ["Jan 30, 2019", "Jan 31, 2019", "Feb 1, 2019", "Feb 07, 2019"],
    ["30-Jan-2019", "31-JAN-2019", "1-feb-2019", "07-Feb-2019"],
    ["30 January 2019", "31 January 2019", "1 February 2019", "7 February 2019"],
])  # fmt: skip
def test_dates_with_a_month_in_letters_mean_one_day(dates, read):
    header = '"' + HEADER.replace(",", '","') + '"'
    expect_the_series(read(text_of(header, [f'"{date}"' for date in dates])))


@pytest.mark.parametrize("mark", ["/", ".", "-"])
@pytest.mark.parametrize(
    ("pattern", "date_format"), [("{2:02}{m}{1:02}{m}{0}", "%d{m}%m{m}%Y"), ("{1}{m}{2}{m}{0}", "%m{m}%d{m}%Y")]
)
def test_days_and_months_in_either_order_are_read_where_only_one_fits(mark, pattern, date_format, read):
    dates = [pattern.format(*map(int, date.split("-")), m=mark) for date in DATES]
    wanted = date_format.format(m=mark)
    inferred, told = read(text_of(dates=dates)), read(text_of(dates=dates), wanted)
    expect_the_series(inferred)
    expect_the_series(told)
    assert told.findings == ()
    (finding,) = inferred.findings
    assert finding.text == f"dates read as {wanted}, the only order that fits: {dates[0]} is 2019-01-30"


def test_dates_that_may_mean_two_days_are_refused_with_both(read, refused):
    dates = ["01/02/2019", "04/02/2019", "05/02/2019", "06/02/2019"]
    error = refused(text_of(dates=dates))
    assert error.startswith("2: Date: '01/02/2019' is 2019-02-01 or 2019-01-02; ")
    assert error.endswith(f"set data.date_format to {DMY!r} or {MDY!r}")
    assert read(text_of(dates=dates), DMY).dates.astype(str)[0] == "2019-02-01"
    assert read(text_of(dates=dates), MDY).dates.astype(str)[0] == "2019-01-02"


def test_the_two_readings_shown_are_of_a_row_where_they_differ(refused):
    dates = ["02/02/2019", "03/03/2019", "05/04/2019", "06/06/2019"]
    assert refused(text_of(dates=dates)).startswith("4: Date: '05/04/2019' is 2019-04-05 or 2019-05-04; ")


def test_dates_in_both_orders_are_refused_with_one_of_each(refused):
    dates = ["30/01/2019", "01/31/2019", "02/01/2019", "02/07/2019"]
    error = refused(text_of(dates=dates))
    assert re.match(r"3: Date: '01/31/2019' is only %m/%d/%Y, '30/01/2019' \(.*:2\) only %d/%m/%Y; ", error)


def test_an_order_that_fits_but_jumps_back_and_forth_is_refused(read, refused):
    dates = ["04/01/2019", "02/05/2019", "30/01/2019", "01/02/2019"]
    error = refused(text_of(dates=dates))
    assert error.startswith("4: Date: only %d/%m/%Y fits all rows, but then they are not in order of time")
    assert len(read(text_of(dates=dates), DMY)) == 4


@pytest.mark.parametrize(("date", "date_format"), [
    ("30/01/2019", DMY), ("30.1.19", "%d.%m.%y"), ("Wed 30 Jan 2019", "%a %d %b %Y"), ("20190130", "%Y%m%d"),
    ("2019-030", "%Y-%j"), ("01/30/2019 16:00", "%m/%d/%Y %H:%M"), ("30/01/2019 23:00 -0500", "%d/%m/%Y %H:%M %z"),
])  # fmt: skip
def test_dates_are_read_as_they_are_said_to_be_written(date, date_format, read):
    assert read(text_of(dates=[date], values=VALUES[:1]), date_format).dates.astype(str).tolist() == ["2019-01-30"]


@pytest.mark.parametrize(
    "date_format", ["%d/%m", "%Y", "nothing", "%Q", "%", "%d/%m/%Y%", "%d/%d/%m/%Y", "%-d/%m/%Y", "\0%d%m%Y", "%s"]
)
def test_a_date_format_that_tells_no_day_is_refused(date_format, refused):
    assert refused(text_of(), date_format).startswith(f"data.date_format: {date_format!r} does not tell a day; ")


def test_a_date_that_does_not_fit_the_format_is_named(refused):
    dates = ["30/01/2019", "31/01/2019", "02/13/2019", "2019-02-07"]
    error = refused(text_of(dates=dates), DMY)
    assert error.startswith("4: Date: '02/13/2019' does not fit data.date_format '%d/%m/%Y'; ")
    assert error.endswith("(2 of 4 rows differ)")


@pytest.mark.parametrize("form", [yfinance_csv(), yfinance_csv(by_ticker=True)])
def test_the_three_header_lines_of_yfinance_are_read_as_one(form, read):
    prices = read(form)
    expect_the_series(prices)
    assert texts(prices) == ["the 3 header lines of yfinance read as one"]
    assert prices.lines.tolist() == [4, 5, 6, 7]


def test_other_headers_of_frames_are_understood(read):
    expect_the_series(read(frame_of().to_csv()))
    expect_the_series(read(frame_of().rename_axis(None).to_csv()))
    two_lines = yfinance_csv().split("\n")
    expect_the_series(read("\n".join([two_lines[0], *two_lines[2:]])))
    stamped = frame_of(pd.DatetimeIndex(DATES).tz_localize("Asia/Seoul")).to_csv()
    assert "+09:00" in stamped
    expect_the_series(read(stamped))


def test_several_tickers_in_one_file_are_refused(refused):
    for form in (yfinance_csv(tickers=("SPY", "QQQ")), yfinance_csv(by_ticker=True, tickers=("SPY", "QQQ"))):
        assert refused(form).startswith(" holds 2 tickers (QQQ, SPY); a series is one; ")


@pytest.mark.parametrize("by", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("packed", [False, True])
def test_separators_and_encodings_make_no_difference(by, encoding, packed, read):
    content = text_of(HEADER.replace(",", by), by=by).encode(encoding)
    prices = read(gzip.compress(content) if packed else content)
    expect_the_series(prices)
    assert prices.findings == ()


def test_the_line_with_the_separator_that_excel_writes_is_passed_over(read):
    prices = read("sep=;\n" + text_of(HEADER.replace(",", ";"), by=";"))
    expect_the_series(prices)
    assert prices.lines.tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize(("by", "number"), [
    (",", lambda value: f'"{value:,}"'), (";", grouped), ("\t", grouped), (";", german), ("\t", german),
    (",", lambda value: f'"{german(value)}"'), (";", lambda value: repr(value).replace(".", ",")),
    (",", lambda value: f"${value}"),
])  # fmt: skip
def test_thousands_and_decimals_are_read_as_the_file_marks_them(by, number, read):
    expect_the_series(read(text_of(HEADER.replace(",", by), number=number, by=by)))


def test_whole_prices_in_thousands_are_told_by_their_volumes(read):
    values = [[43200, 43900, 42950, 43500, 345678], [43500, 44000, 43000, 43100, 800]]
    prices = read(text_of(dates=DATES[:2], values=values, number=lambda value: f'"{value:,}"'))
    assert prices.values.tolist() == values


@pytest.mark.parametrize(("by", "written"), [(";", "109,345"), (";", "109.345"), (",", '"109,345"'), ("\t", "109,345")])
def test_numbers_that_may_mean_two_are_refused_with_both(by, written, refused):
    row = by.join(["2019-01-30", *[written] * 4, "0"])
    error = refused(f"{HEADER.replace(',', by)}\n{row}\n")
    assert error.startswith(f"2: Open: {written.strip(chr(34))!r} is 109.345 or 109345; ")


def test_numbers_that_mark_decimals_in_two_ways_are_refused(refused):
    error = refused("Date;Open;High;Low;Close\n2019-01-30;12,5;12,6;12,4;12,5\n2019-01-31;12,5;12.6;12,4;12,5\n")
    assert re.match(r"3: High: '12\.6' and '12,5' \(.*:2\) mark decimals differently; ", error)


@pytest.mark.parametrize(
    "wrong", ["1,23,456.5", "1,2345.5", "1.2,3.4", "12,34.5", "1,,234.5", ",5.5", "12.5%", "1 234.5"]
)
def test_groups_that_are_no_thousands_are_refused(wrong, refused):
    assert re.match(r"2: Open: ", refused(text_of().replace("2183.49", f'"{wrong}"')))


def korean(number, dates="{}/{:02}/{:02}"):
    header = "일자,시가,고가,저가,종가,거래량"
    return text_of(header, in_order(dates), number=number)


@pytest.mark.parametrize("encoding", ["cp949", "euc-kr", "utf-8-sig"])
def test_an_export_of_the_korean_exchange_is_read(encoding, read):
    prices = read(korean(lambda value: f'"{value:,}"').encode(encoding))
    expect_the_series(prices)
    columns = "columns read by other names: 일자 as Date, 시가 as Open, 고가 as High, 저가 as Low, 종가 as Close, "
    said = [columns + "거래량 as Volume"]
    assert texts(prices) == (
        said if encoding == "utf-8-sig" else ["read as Korean text (CP949), since it is no UTF-8", *said]
    )


def test_other_bytes_are_not_taken_for_korean(refused):
    assert refused(text_of("Date,Open,High,Low,Schluß,Volume").encode("cp1252")).startswith(" is not text; ")


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
        "columns read by other names: Price as Close",
        "dates read as %m/%d/%Y, the only order that fits: 01/31/2019 is 2019-01-31",
        "2 volumes end in K, M or B (1.2M read as 1,200,000), so they are rounded",
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
@pytest.mark.parametrize("packed", [False, True])
def test_parquet_is_read_in_any_form(form, packed, read):
    content = PARQUET[form].to_parquet()
    expect_the_series(read(gzip.compress(content) if packed else content, name="prices.parquet"))


def test_parquet_holds_dates_whatever_the_format_of_dates(read):
    expect_the_series(read(frame_of().to_parquet(), DMY))
    assert (
        read(frame_of().reset_index(drop=True).assign(Date="30/01/2019").to_parquet(), DMY).dates[0].item().month == 1
    )


def test_parquet_of_small_floats_keeps_their_value(read):
    prices = read(frame_of().astype("float32").to_parquet())
    assert prices.values[0, 0] == float(np.float32(2183.49))


def test_several_tickers_in_parquet_are_refused(refused):
    frame = pd.concat({"SPY": frame_of(), "QQQ": frame_of()}, axis=1)
    assert refused(frame.to_parquet(), name="p.parquet").startswith(" holds 2 tickers (QQQ, SPY); ")


def test_a_gzip_file_of_several_parts_is_read_whole(read):
    content = text_of().encode()
    expect_the_series(read(gzip.compress(content[:60]) + gzip.compress(content[60:])))


def test_a_file_that_unpacks_without_end_is_refused(refused):
    assert refused(gzip.compress(bytes(300 << 20), 1)).startswith(" unpacks to more than 256 MiB; ")


def test_a_quarter_of_a_century_is_read_and_checked_in_half_a_second(synthetic, tmp_path):
    from stockrnn.quality import clean

    prices = synthetic(6300)
    frame = pd.DataFrame(prices.values, columns=[name.capitalize() for name in prices.columns])
    frame.assign(Date=prices.dates).to_csv(tmp_path / "prices.csv", index=False)
    begun = time.process_time()
    found = clean(load(str(tmp_path / "prices.csv")))
    assert time.process_time() - begun < 0.5
    assert found.sha256 == prices.sha256
