"""Compare series with exchanges' calendars: exchanges of tickers, missing and unexpected sessions."""

import subprocess
import sys

import numpy as np
import pytest

from stockrnn.prices.calendars import compare_with_calendar, exchange_of
from stockrnn.prices.series import PriceError, Prices

CHRISTMAS = np.datetime64("2018-12-25")


def series(days):
    values = np.arange(1.0, len(days) + 1)[:, None] * np.ones(4)
    columns = ("open", "high", "low", "close")
    return Prices(source="test", dates=days, columns=columns, values=values, lines=np.array([], dtype=int))


WEEKDAYS = np.busday_offset("2018-12-03", np.arange(15))  # to Friday, 2018-12-21; XNYS was closed on the 5th
SESSIONS = WEEKDAYS[np.datetime64("2018-12-05") != WEEKDAYS]


@pytest.mark.parametrize(("ticker", "exchange"), [
    ("^KS11", "XKRX"), ("005930.KS", "XKRX"), ("035720.kq", "XKRX"), ("^GSPC", "XNYS"), ("AAPL", "XNYS"),
    ("BRK-B", "XNYS"), ("7203.T", "XTKS"), ("SAP.DE", "XETR"), ("BTC-USD", None), ("KRW=X", None), ("ES=F", None),
    ("^UNKNOWN", None), ("X.UNKNOWN", None), (".KS", None), ("", None),
])  # fmt: skip
def test_the_exchange_of_a_ticker(ticker, exchange):
    assert exchange_of(ticker) == exchange


def test_equal_sessions_have_no_findings():
    assert compare_with_calendar(series(SESSIONS), "XNYS") == ()


def test_missing_and_unexpected_sessions_are_warnings():
    days = np.sort(np.r_[WEEKDAYS[np.datetime64("2018-12-12") != WEEKDAYS], CHRISTMAS, CHRISTMAS + 1])
    missing, unexpected = compare_with_calendar(series(days), "XNYS")
    assert missing.text == "2 sessions of XNYS missing: 2018-12-12, 2018-12-24"
    assert unexpected.text == "2 sessions on days when XNYS was closed: 2018-12-05, 2018-12-25"
    assert (unexpected.check, unexpected.severity, unexpected.rows) == ("calendar", "warning", 2)
    assert unexpected.dates == ("2018-12-05", "2018-12-25")


def test_a_series_older_than_the_calendar_is_compared_from_its_first_day():
    days = np.r_[np.datetime64("1969-06-04"), np.datetime64("1996-12-30"), np.datetime64("1997-01-06") + np.arange(3)]
    assert compare_with_calendar(series(days), "XTKS") == ()


def test_days_before_the_calendar_are_a_warning():
    (finding,) = compare_with_calendar(series(np.datetime64("1801-01-05") + np.arange(3)), "XTKS")
    assert finding.text.startswith("the calendar XTKS cannot be used: ")


def test_an_unknown_exchange_is_an_error_with_a_suggestion():
    with pytest.raises(PriceError, match=r"^--calendar XKRY: unknown exchange; .*; did you mean XKRX\?$"):
        compare_with_calendar(series(SESSIONS), "XKRY")


def test_one_session_has_no_findings():
    assert compare_with_calendar(series(SESSIONS[:1]), "XNYS") == ()


def test_without_the_package_there_is_no_warning():
    code = (
        "import sys; sys.modules['exchange_calendars'] = None; from stockrnn.prices.inspection import main;"
        "sys.exit(main(['nasdaq', '--calendar', 'XNYS']))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr == ""
    assert "calendar      XNYS: not compared; pip install exchange_calendars" in found.stdout
