"""Read the files of exchanges, brokers, banks and trading programs: expected dates and closes of each form."""

import re

import numpy as np
import pytest

from stockrnn.prices.cleaning import clean
from stockrnn.prices.config import SourceConfig
from stockrnn.prices.loading import load
from stockrnn.prices.series import PriceError

DATES = ["2015-01-02", "2015-01-05", "2015-01-13"]
OHLC = ("open", "high", "low", "close")
OHLCV = (*OHLC, "volume")
VALUES = [[100.5, 103, 99, 101.25, 1500], [101, 104.5, 100.5, 104, 2000], [104, 104, 97.5, 98, 1750]]
BARS = [[number * 1000 for number in row] for row in VALUES]  # of a Korean stock, in won


def lines(header, *rows):
    return "\n".join([header, *rows, ""])


EXPORTS = {
    "Stooq": lines(
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        "AAA.US,D,20150102,000000,100.5,103,99,101.25,1500,0",
        "AAA.US,D,20150105,000000,101,104.5,100.5,104,2000,0",
        "AAA.US,D,20150113,000000,104,104,97.5,98,1750,0",
    ),
    "MetaTrader 5, with tick volumes": lines(
        "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        "2015.01.02\t100.5\t103\t99\t101.25\t1500\t0\t2",
        "2015.01.05\t101\t104.5\t100.5\t104\t2000\t0\t2",
        "2015.01.13\t104\t104\t97.5\t98\t1750\t0\t2",
    ),
    "Finam, Russia": lines(
        "<TICKER>;<PER>;<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>",
        "AAA;D;20150102;0;100.5;103;99;101.25;1500",
        "AAA;D;20150105;0;101;104.5;100.5;104;2000",
        "AAA;D;20150113;0;104;104;97.5;98;1750",
    ),
    "investing.com in German": lines(
        '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"',
        '"13.01.2015","98,00","104,00","104,00","97,50","1,75K","-5,77%"',
        '"05.01.2015","104,00","101,00","104,50","100,50","2,00K","2,72%"',
        '"02.01.2015","101,25","100,50","103,00","99,00","1,50K","0,10%"',
    ).replace("Eröffn.", "Eröffnung"),
    "a German bank, in cp1252, with a title and a note": lines(
        'Kurshistorie "Muster AG";',
        "",
        "Datum;Eröffnung;Hoch;Tief;Schluss;Stück",
        "13.01.2015;104,00 €;104,00 €;97,50 €;98,00 €;1.750",
        "05.01.2015;101,00 €;104,50 €;100,50 €;104,00 €;2.000",
        "02.01.2015;100,50 €;103,00 €;99,00 €;101,25 €;1.500",
        "Alle Angaben ohne Gewähr",
    ).encode("cp1252"),
    "France": lines(
        "Date;Ouverture;Plus haut;Plus bas;Clôture;Volume",
        "02/01/2015;100,5;103;99;101,25;1 500",
        "05/01/2015;101;104,5;100,5;104;2 000",
        "13/01/2015;104;104;97,5;98;1\u202f750",
    ),
    "Brazil": lines(
        '"Data","Último","Abertura","Máxima","Mínima","Vol.","Var%"',
        '"13.01.2015","98,00","104,00","104,00","97,50","1,75K","-5,77%"',
        '"05.01.2015","104,00","101,00","104,50","100,50","2,00K","2,72%"',
        '"02.01.2015","101,25","100,50","103,00","99,00","1,50K","0,10%"',
    ),
    "Poland": lines(
        "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen",
        "2015-01-02,100.5,103,99,101.25,1500",
        "2015-01-05,101,104.5,100.5,104,2000",
        "2015-01-13,104,104,97.5,98,1750",
    ),
    "Turkey": lines(
        '"Tarih","Şimdi","Açılış","Yüksek","Düşük","Hac.","Fark %"',
        '"13.01.2015","98,00","104,00","104,00","97,50","1,75K","-5,77%"',
        '"05.01.2015","104,00","101,00","104,50","100,50","2,00K","2,72%"',
        '"02.01.2015","101,25","100,50","103,00","99,00","1,50K","0,10%"',
    ),
    "Russia, in cp1251": lines(
        "Дата;Откр.;Макс.;Мин.;Закрытие;Объём",
        "02.01.2015;100,5;103;99;101,25;1500",
        "05.01.2015;101;104,5;100,5;104;2000",
        "13.01.2015;104;104;97,5;98;1750",
    ).encode("cp1251"),
    "Japan, in Shift JIS": lines(
        "日付,始値,高値,安値,終値,出来高,終値調整値",
        "2015年1月2日,100.5,103,99,101.25,1500,101.25",
        "2015年1月5日,101,104.5,100.5,104,2000,104",
        "2015年1月13日,104,104,97.5,98,1750,98",
    ).encode("cp932"),
    "China": lines(
        "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率",
        "2015-01-02,000001,100.5,101.25,103,99,1500,1,1,1,1,1",
        "2015-01-05,000001,101,104,104.5,100.5,2000,1,1,1,1,1",
        "2015-01-13,000001,104,98,104,97.5,1750,1,1,1,1,1",
    ),
    "Taiwan, in Big5, with its own years, a title and notes": lines(
        '"104年01月 9999 範例公司 各日成交資訊"',
        '"日期","成交股數","成交金額","開盤價","最高價","最低價","收盤價","漲跌價差","成交筆數",',
        '"104/01/02","1,500","1","100.50","103.00","99.00","101.25","+0.10","1",',
        '"104/01/05","2,000","1","101.00","104.50","100.50","104.00","+2.75","1",',
        '"104/01/13","1,750","1","104.00","104.00","97.50","98.00","-6.00","1",',
        '"說明:"',
        '"符號說明 範例"',
    ).encode("big5"),
    "India's exchange": "\ufeff"
    + lines(
        '"Date ","series ","OPEN ","HIGH ","LOW ","PREV. CLOSE ","ltp ","close ","vwap ","VOLUME ","VALUE "',
        '"13-Jan-2015","EQ","104.00","104.00","97.50","104.00","98.10","98.00","100.1","1,750","12,34,567.00"',
        '"05-Jan-2015","EQ","101.00","104.50","100.50","101.25","103.90","104.00","102.2","2,000","12,34,567.00"',
        '"02-Jan-2015","EQ","100.50","103.00","99.00","100.00","101.20","101.25","101.5","1,500","12,34,567.00"',
    ),
    "Alpha Vantage": lines(
        "date,1. open,2. high,3. low,4. close,5. volume",
        "2015-01-13,104,104,97.5,98,1750",
        "2015-01-05,101,104.5,100.5,104,2000",
        "2015-01-02,100.5,103,99,101.25,1500",
    ),
    "lines that are quoted as a whole": lines(
        '"Date,""Price"",""Open"",""High"",""Low"",""Vol."""',
        '"01/13/2015,""98.00"",""104.00"",""104.00"",""97.50"",""1.75K"""',
        '"01/05/2015,""104.00"",""101.00"",""104.50"",""100.50"",""2.00K"""',
        '"01/02/2015,""101.25"",""100.50"",""103.00"",""99.00"",""1.50K"""',
    ),
    "row names of R": lines(
        '"open","high","low","price","volume"',
        '"2015-01-02",100.5,103,99,101.25,1500',
        '"2015-01-05",101,104.5,100.5,104,2000',
        '"2015-01-13",104,104,97.5,98,1750',
    ),
    "single letters": lines(
        ",c,h,l,o,s,t,v",
        "0,101.25,103,99,100.5,ok,1420174800,1500",  # 05:00 UTC, the midnight of New York
        "1,104,104.5,100.5,101,ok,1420434000,2000",
        "2,98,104,97.5,104,ok,1421125200,1750",
    ),
    "days before months in letters and short years": lines(
        "Trade Date|Open Price|High Price|Low Price|Close Price|Volume",
        "02-Jan-15|100.5|103|99|101.25|1500",
        "05-Jan-15|101|104.5|100.5|104|2000",
        "13-Jan-15|104|104|97.5|98|1750",
        "27-Jan-15|,,,",
    ).replace("27-Jan-15|,,,\n", ""),
    "times of the session": lines(
        "Date,Open,High,Low,Close,Volume",
        "1/2/2015 4:00:00 PM,100.5,103,99,101.25,1500",
        "1/5/2015 4:00:00 PM,101,104.5,100.5,104,2000",
        "1/13/2015 4:00:00 PM,104,104,97.5,98,1750",
    ),
    "a spreadsheet in Korean": lines(
        "날짜,오픈,고가,저가,종가,거래량",
        "2015. 1. 2 오후 3:30:00,100.5,103,99,101.25,1500",
        "2015. 1. 5 오후 3:30:00,101,104.5,100.5,104,2000",
        "2015. 1. 13 오후 3:30:00,104,104,97.5,98,1750",
    ),
}


@pytest.fixture
def read(tmp_path):
    """Write text or bytes to a file, read it back and clean it."""

    def read_content(content, date_format=None):
        path = tmp_path / "prices.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return clean(load(SourceConfig(source=str(path), date_format=date_format)))

    return read_content


@pytest.fixture
def rejected(read, tmp_path):
    """Return the error of a file that is refused, without its path."""

    def error_of(content, date_format=None):
        with pytest.raises(PriceError) as caught:
            read(content, date_format)
        text = str(caught.value)
        assert "\n" not in text
        return text.removeprefix(f"{tmp_path / 'prices.csv'}:")

    return error_of


@pytest.mark.parametrize("form", EXPORTS)
def test_an_export_is_read_with_its_dates_and_values(form, read):
    content = EXPORTS[form]
    date_format = "%d-%b-%y" if "short years" in form else None  # 13 rows would do without
    prices = read(content, date_format)
    assert prices.dates.astype(str).tolist() == DATES
    assert prices.columns == OHLCV
    assert prices.values.tolist() == VALUES
    assert not [found for found in prices.findings if found.check == "unusable column"]


KOREAN_BARS = {
    "an HTS whose 현재가 has the sign of the change": lines(
        "일자,현재가,대비,등락률,시가,고가,저가,거래량",
        '2015/01/13,"-98,000","-6,000",-5.77,"-104,000","-104,000","-97,500","1,750,000"',
        '2015/01/05,"+104,000","+2,750",+2.72,"+101,000","+104,500","-100,500","2,000,000"',
        '2015/01/02,"+101,250","+750",+0.75,"+100,500","+103,000","-99,000","1,500,000"',
    ),
    "won signs": lines(
        "일자,시가,고가,저가,종가,거래량",
        '20150102,"₩100,500","₩103,000","￦99,000","₩101,250","1,500,000"',
        '20150105,"₩101,000","₩104,500","₩100,500","₩104,000","2,000,000"',
        '20150113,"₩104,000","₩104,000","₩97,500","₩98,000","1,750,000"',
    ),
    "the word won, in CP949": lines(
        "일자;시가(원);고가(원);저가(원);종가(원);거래량(주)",
        "2015-01-02;100,500원;103,000원;99,000원;101,250원;1,500,000주",
        "2015-01-05;101,000원;104,500원;100,500원;104,000원;2,000,000주",
        "2015-01-13;104,000원;104,000원;97,500원;98,000원;1,750,000주",
    ).encode("cp949"),
    "Upbit": lines(
        "market,candle_date_time_utc,candle_date_time_kst,opening_price,high_price,low_price,trade_price,timestamp,"
        "candle_acc_trade_price,candle_acc_trade_volume,prev_closing_price",
        "KRW-AAA,2015-01-13T00:00:00,2015-01-13T09:00:00,104000,104000,97500,98000,1421193599000,1.5,1750000,104000",
        "KRW-AAA,2015-01-05T00:00:00,2015-01-05T09:00:00,101000,104500,100500,104000,1420502399000,1.5,2000000,101250",
        "KRW-AAA,2015-01-02T00:00:00,2015-01-02T09:00:00,100500,103000,99000,101250,1420243199000,1.5,1500000,100000",
    ),
    "the rates of a bank, below its query, in CP949": lines(
        "[기간환율변동],,,,,",
        ",,,,,",
        "조회시작일, 2015-01-01 ,,,,",
        "통화, USD:달러(미국) ,,,,",
        "일자,시가,고가,저가,매매기준율,거래량",
        ' 2015-01-02 ,"100,500.00","103,000.00","99,000.00","101,250.00","1,500,000"',
        ' 2015-01-05 ,"101,000.00","104,500.00","100,500.00","104,000.00","2,000,000"',
        ' 2015-01-13 ,"104,000.00","104,000.00","97,500.00","98,000.00","1,750,000"',
    ).encode("cp949"),
    "the exchange, with units in its names": lines(
        "년/월/일,종가,대비,등락률(%),시가,고가,저가,거래량(천주),거래대금(원),상장시가총액(원)",
        '2015-01-13,"98,000",-6.0,-5.77,"104,000","104,000","97,500","1,750,000","1","1"',
        '2015-01-05,"104,000",2.75,2.72,"101,000","104,500","100,500","2,000,000","1","1"',
        '2015-01-02,"101,250",0.75,0.75,"100,500","103,000","99,000","1,500,000","1","1"',
    ).encode("cp949"),
    "an API of a broker": lines(
        "stck_bsop_date,stck_clpr,stck_oprc,stck_hgpr,stck_lwpr,acml_vol",
        "20150113,98000,104000,104000,97500,1750000",
        "20150105,104000,101000,104500,100500,2000000",
        "20150102,101250,100500,103000,99000,1500000",
    ),
}


@pytest.mark.parametrize("form", KOREAN_BARS)
def test_a_korean_export_is_read_with_its_dates_and_values(form, read):
    prices = read(KOREAN_BARS[form])
    assert prices.dates.astype(str).tolist() == DATES
    assert prices.columns == OHLCV
    assert prices.values.tolist() == BARS


def test_removed_signs_and_currencies_are_reported(read):
    texts = [found.text for found in read(KOREAN_BARS["an HTS whose 현재가 has the sign of the change"]).findings]
    assert "removed the minus signs of 6 prices: with 현재가, they show a fall since the session before" in texts
    assert "read prices without their currency, ₩" in [found.text for found in read(KOREAN_BARS["won signs"]).findings]


def rows_of(dates):
    values = [",".join(map(repr, row)) for row in VALUES]
    return lines("Date,Open,High,Low,Close,Volume", *map(",".join, zip(dates, values, strict=True)))


@pytest.mark.parametrize(("unit", "factor"), [("seconds", 1), ("milli", 10**3), ("micro", 10**6), ("nano", 10**9)])
@pytest.mark.parametrize("mark", ["", ".0"])
def test_unix_times_are_read_in_their_unit(unit, factor, mark, read):
    seconds = [1420156800, 1420416000, 1421107200]  # midnights of DATES in UTC
    prices = read(rows_of([f"{second * factor}{mark}" for second in seconds]))
    assert prices.dates.astype(str).tolist() == DATES
    assert prices.values.tolist() == VALUES
    finding = prices.findings[0]
    assert finding.text.startswith(f"read dates as Unix times in {unit}")
    assert finding.text.endswith(f": {1420156800 * factor}{mark} is 2015-01-02 00:00:00 UTC")


@pytest.mark.parametrize("stamp", ["{}{}{}0900", "{}{}{}093000", "{}{}{} 0900", "{}{}{}T090000", "{}{}{} 09:00:00"])
def test_compact_times_are_not_unix_times(stamp, read):
    prices = read(rows_of([stamp.format(*day.split("-")) for day in DATES]))
    assert prices.dates.astype(str).tolist() == DATES


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (["1420156800", "1420416000000", "1421107200"], "3: Date: '1420416000000' is not a date, and not a Unix time "),
        (["2015-01-02", "1420416000", "2015-01-13"], "3: Date: '1420416000' is not a date; "),
        (["02-Jan-15", "05-Jan-15", "13-Jan-15"], "2: Date: '02-Jan-15' is 2015-01-02 or 2002-01-15; "),
        (["02/01/15", "05/01/15", "13/01/15"], "2: Date: '02/01/15' is 2015-01-02 or 2002-01-15; "),
        (["2/1/15", "5/1/15", "3/1/15"], "2: Date: '2/1/15' is 2015-01-02 or 2015-02-01; "),
        (["02/01/15", "05/01/2015", "13/01/15"], "3: Date: '05/01/2015' is not a date; "),
    ],
)
def test_ambiguous_dates_are_refused(dates, message, rejected):
    error = rejected(rows_of(dates))
    assert error.startswith(message), error
    assert error.endswith("(1 of 3 rows are wrong)") or "set data.date_format to" in error


def test_short_years_are_read_if_one_order_fits_and_is_not_in_the_future(read, rejected):
    days = ["28/12/14", "29/12/14", "02/01/15"]
    assert read(rows_of(days)).dates.astype(str).tolist() == ["2014-12-28", "2014-12-29", "2015-01-02"]
    letters = ["28-Dec-98", "29-Dec-98", "04-Jan-99"]
    assert read(rows_of(letters)).dates.astype(str).tolist() == ["1998-12-28", "1998-12-29", "1999-01-04"]
    chinese = rows_of(["28/12/14", "29/12/14", "02/01/15"]).replace("Date", "日期")
    assert rejected(chinese).startswith("2: Date: '28/12/14' is not a date; ")  # could be a year of Taiwan


def test_currencies_that_differ_are_refused(rejected):
    error = rejected(lines("Date,Close", "2015-01-02,$10.5", "2015-01-05,€11.5"))
    assert re.match(r"3: Close: '€11.5' and '\$10.5' \(.*:2\) have different currencies; ", error)


@pytest.mark.parametrize(
    ("volume", "expected"),
    [("1.2T", 1.2e12), ("12만", 120_000), ("1.5억", 1.5e8), ("3,45,678", 345_678), ("1'234'567", 1_234_567)],
)
def test_volumes_with_magnitudes_and_groups_are_read(volume, expected, read):
    row = "100.5,103,99,101.25"
    prices = read(lines("Date,Open,High,Low,Close,Volume", f'2015-01-02,{row},"{volume}"', f"2015-01-05,{row[:-1]},7"))
    assert prices.column("volume").tolist() == [expected, 7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            lines("2015-01-02,100,101,99,100.5,7", "2015-01-05,100,101,99,100.5,7"),
            "1: no header line: ",
        ),
        (lines("20150102;100;101;99;100,5;7"), "1: no header line: the first row looks like prices ('20150102', "),
        (b"PK\x03\x04 and more", " is a ZIP file or an Excel workbook; unpack it, or save the sheet as CSV; "),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", " is an Excel workbook; "),
        (b'[\n  {"date": "2015-01-02"}]', " is JSON; "),
        (b'{"t": [1420156800]}', " is JSON; "),
        (b"<html><table>", " is a web page, also if its name ends in .xls; "),
        (
            lines("Date,Open,High,Low,Close", "2015-01-02,1,2", "2015-01-05,1,2,1,2", "2015-01-06,1"),
            "2: has 3 fields, but the header has 5; all lines need the same number, and numbers with commas need "
            "quotes; correct the line (2 such lines)",
        ),
    ],
)
def test_a_file_without_columns_is_refused_and_named(content, message, rejected):
    assert rejected(content).startswith(message)


def long_form(**changes):
    names = {"name": "Name", "second": DATES} | changes
    rows = [f"{day},100,{number},AAA" for number, day in enumerate(DATES, 100)]
    rows += [f"{day},50,{number},BBB" for number, day in enumerate(names["second"], 40)]
    return lines(f"date,open,close,{names['name']}", *rows)


@pytest.mark.parametrize("name", ["Name", "ticker", "종목코드", "Whatever"])
def test_several_tickers_are_refused_by_their_names(name, rejected):
    assert rejected(long_form(name=name)).startswith(f" has 2 tickers ({name}: AAA, BBB); a file has one series; ")


def test_a_ticker_that_is_renamed_is_a_warning(read):
    prices = read(long_form(second=["2015-02-02", "2015-02-03"]))
    assert prices.column("close").tolist() == [100, 101, 102, 40, 41]
    assert "Name changes from AAA to BBB; all rows are used as one series" in [each.text for each in prices.findings]


@pytest.mark.parametrize("form", ["2015-01-{0:02} {1:02}:30:00+09:00", "2015-01-{0:02}T{1:02}:30", "1/{0}/2015 {1}:30"])
def test_several_bars_a_day_are_refused_as_intraday(form, rejected):
    stamps = [form.format(day, hour) for day in (13, 14, 15) for hour in (9, 10, 11)]
    rows = (f"{stamp},{100 + number},{100 + number}" for number, stamp in enumerate(stamps))
    error = rejected(lines("Datetime,Open,Close", *rows))
    assert error.startswith(" Date: several bars a day (up to 3, on 3 of 3 days): the prices are intraday; daily ")


@pytest.mark.parametrize("times", [("09:00", "10:00", "11:00"), ("090000", "100000", "110000"), ("900", "930", "1100")])
def test_several_bars_a_day_with_a_column_of_times_are_refused_as_intraday(times, rejected):
    rows = (f"20150{month}02,{time},{month}{number}" for month in (1, 2, 3) for number, time in enumerate(times))
    assert " several bars a day (up to 3, on 3 of 3 days)" in rejected(lines("<DATE>,<TIME>,<CLOSE>", *rows))


def test_recognized_columns_are_reported(read):
    prices = read(EXPORTS["Poland"])
    assert prices.findings[0].text == (
        "renamed columns: Data to Date, Otwarcie to Open, Najwyzszy to High, Najnizszy to Low, Zamkniecie to Close, "
        "Wolumen to Volume"
    )


def test_a_title_above_two_columns_and_rows_without_a_date_are_skipped(read):
    rows = ("2015/1/2,101.25,5", ",,7", "2015/1/5,104,5", "2015/1/13,98,5")
    prices = read(lines("NKY Index,,", "Start Date,2015/1/1,", "Date,PX_LAST,", *(f"{row[:-2]}," for row in rows)))
    assert prices.column("close").tolist() == [101.25, 104, 98]
    prices = read(lines("Date,Close,Shares", *rows))
    assert prices.dates.astype(str).tolist() == DATES
    assert prices.lines.tolist() == [2, 4, 5]
    assert "dropped 1 row without a date and without prices" in [found.text for found in prices.findings]


def test_hours_without_minutes_are_times(rejected):
    rows = [f"2015-01-{day:02} {hour:02}-AM,{day}" for day in (2, 5, 6) for hour in (7, 8)]
    assert " several bars a day (up to 2, on 3 of 3 days)" in rejected(lines("date,close", *rows))


def test_titles_and_notes_are_reported_and_lines_keep_their_numbers(read):
    prices = read(EXPORTS["a German bank, in cp1252, with a title and a note"])
    texts = [found.text for found in prices.findings]
    assert "read as Western European text (CP1252), since the file is not UTF-8" in texts
    assert any(text.startswith("the header is on line 3; not read above it: Kurshistorie") for text in texts)
    assert "not read at the end, from line 7 on: Alle Angaben ohne Gewähr" in texts
    assert sorted(prices.lines.tolist()) == [4, 5, 6]
    assert np.isfinite(prices.values).all()
