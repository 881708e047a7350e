"""Prices from Yahoo: the real yfinance against a server on loopback that answers, fails and hangs as Yahoo does."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from yahoo_server import Yahoo

from stockrnn.configuration import SourceConfig
from stockrnn.prices import Access, load
from stockrnn.quality import clean
from stockrnn.series import PriceError
from stockrnn.yahoo import YahooError, download

pytestmark = pytest.mark.slow

TICKER, LAST = "^KS11", "2024-05-31"  # a Friday


@pytest.fixture
def market(yahoo):
    """The server with 60 sessions of one index."""
    yahoo.list(TICKER, 60, LAST, factor=0.9)
    return yahoo


def ask(limit=30.0, start=None, end=None, adjust=True, ticker=TICKER):
    return download(ticker, start and date.fromisoformat(start), end and date.fromisoformat(end), adjust, limit)


def failure(limit=30.0, **span):
    with pytest.raises(YahooError) as caught:
        ask(limit, **span)
    expect_one_line(str(caught.value))
    return str(caught.value)


def expect_one_line(text):
    assert "\n" not in text
    assert text.count("; ") == 2, f"what, the rule and the fix: {text}"
    assert len(text) < 450


def test_a_series_comes_as_yahoo_has_it(market, capfd):
    prices = ask(adjust=False)
    rows = market.charts[TICKER]
    assert prices.source == "yahoo ^KS11"
    assert prices.columns == ("open", "high", "low", "close", "volume")
    assert prices.dates.dtype == np.dtype("datetime64[D]")
    assert prices.dates.astype(str).tolist() == [row[0] for row in rows]
    assert prices.values == pytest.approx(np.array([[*row[1:5], row[6]] for row in rows]), rel=1e-12)
    assert (len(prices.lines), prices.findings) == (0, ())
    assert abs(datetime.now(UTC) - datetime.fromisoformat(prices.fetched)) < timedelta(minutes=1)
    assert prices.provenance.fetched == prices.fetched
    assert clean(prices).sha256 == prices.sha256
    assert capfd.readouterr() == ("", "")


def test_prices_are_adjusted_for_dividends_and_volume_is_not(market):
    prices = ask(ticker="^ks11")
    rows = market.charts[TICKER]
    assert prices.column("close") == pytest.approx([0.9 * row[4] for row in rows])
    assert prices.column("open") == pytest.approx([0.9 * row[1] for row in rows])
    assert prices.column("volume").tolist() == [row[6] for row in rows]


@pytest.mark.parametrize(
    ("start", "end", "first", "last", "sessions"),
    [
        ("2024-05-27", "2024-05-29", "2024-05-27", "2024-05-29", 3),
        ("2024-05-25", "2024-05-26", None, None, 0),  # a weekend
        ("2024-05-29", "2024-05-29", "2024-05-29", "2024-05-29", 1),
        (None, "2024-05-29", "2024-03-11", "2024-05-29", 58),
        ("2024-05-30", None, "2024-05-30", "2024-05-31", 2),
        ("0001-01-01", "9999-12-31", "2024-03-11", "2024-05-31", 60),
    ],
)
def test_the_last_day_is_included(start, end, first, last, sessions, market):
    if not sessions:
        assert "yahoo ^KS11: Yahoo has no prices for these days (" in failure(start=start, end=end)
        return
    prices = ask(start=start, end=end)
    assert (str(prices.dates[0]), str(prices.dates[-1]), len(prices)) == (first, last, sessions)
    if end == "2024-05-29":
        midnight = datetime(2024, 5, 30, tzinfo=ZoneInfo("Asia/Seoul"))
        assert int(market.asked[-1][1]["period2"]) == midnight.timestamp()


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Auckland"])
def test_dates_are_those_of_the_exchange(zone, market):
    market.zone = zone
    assert ask().dates.astype(str).tolist() == [row[0] for row in market.charts[TICKER]]


def here_it_is_noon():
    """A zone in which it is noon, or nearly, and its date."""
    ahead = 12 - datetime.now(UTC).hour
    zone = f"Etc/GMT{-ahead:+d}"
    return zone, datetime.now(ZoneInfo(zone)).date()


@pytest.mark.parametrize(
    ("ends_in", "kept"),
    [(timedelta(hours=1), False), (None, False), (timedelta(minutes=-10), False), (timedelta(hours=-1), True)],
)
def test_a_session_that_is_not_over_is_left_out(ends_in, kept, market):
    market.zone, today = here_it_is_noon()
    market.session_end = ends_in
    market.charts[TICKER].append((str(today), 10, 12, 9, 11, 11, 5))
    prices = ask()
    assert len(prices) == 60 + kept
    found = [] if kept else [("unfinished session", "repair", 1, (str(today),))]
    assert [(each.check, each.severity, each.rows, each.dates) for each in prices.findings] == found


def test_rows_without_any_price_are_dropped_and_counted(market):
    rows = market.charts[TICKER]
    rows[3] = (rows[3][0], *[None] * 6)
    rows[7] = (rows[7][0], *[0] * 6)
    rows[9] = (rows[9][0], None, *rows[9][2:])  # one price that is missing is for the quality checks to see
    prices = ask()
    assert len(prices) == 58
    assert [(each.check, each.rows, each.dates) for each in prices.findings] == [
        ("empty rows", 2, (rows[3][0], rows[7][0]))
    ]
    assert np.isnan(prices.values).sum() == 1
    market.charts[TICKER] = [(row[0], *[None] * 6) for row in rows]
    assert "Yahoo has no prices for these days" in failure()


# yfinance itself asks twice where the status is an error: a failure that is to reach this project needs two.
PASSING = {"429": 2, "500": 2, "401": 2, "html": 1, "truncated": 1, "cut": 1, "null": 1, "reset": 1}
LASTING = {
    "404": "Yahoo knows no such ticker, or has delisted it; it says so at times, wrongly",
    "429": "Yahoo answered 429, too many requests (tried",
    "500": "Yahoo answered 500, an error of its own (tried",
    "401": "Yahoo answered 401, not allowed (tried",
    "html": "Yahoo's answer cannot be read (a web page instead of prices) (tried",
    "truncated": "Yahoo's answer cannot be read (JSONDecodeError: ",
    "cut": "Yahoo cannot be reached (",
    "null": "Yahoo's answer cannot be read (TypeError: ",
    "reset": "Yahoo cannot be reached (ConnectionError: ",
}


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    """Yahoo with a symbol for each failure, and what came of asking for each: prices or an error, and seconds."""
    with Yahoo(tmp_path_factory.mktemp("troubled")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        for fault, times in PASSING.items():
            server.list(f"PASSING-{fault.upper()}", 60, LAST)
            server.fail(fault, times=times, symbol=f"PASSING-{fault.upper()}")
        for fault in LASTING:
            server.fail(fault, symbol=f"LASTING-{fault.upper()}")

        def outcome(symbol):
            began = time.monotonic()
            try:
                # days long over, for which yfinance caches a failure as it caches prices
                found = ask(10, ticker=symbol, start="2024-05-01", end=LAST)
            except YahooError as error:
                found = str(error)
            return found, time.monotonic() - began

        symbols = [*(f"LASTING-{fault}" for fault in LASTING), *(f"PASSING-{fault}" for fault in PASSING)]
        with ThreadPoolExecutor(3) as several:
            yield server, dict(zip(symbols, several.map(outcome, symbols), strict=True))


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again(fault, troubled):
    server, outcomes = troubled
    prices, _ = outcomes[f"PASSING-{fault}"]
    assert len(prices) == 23
    assert [symbol for symbol, _ in server.asked].count(f"PASSING-{fault.upper()}") == PASSING[fault] + 2


@pytest.mark.parametrize("fault", LASTING)
def test_what_lasts_is_said_in_one_line(fault, troubled):
    text, seconds = troubled[1][f"LASTING-{fault}"]
    assert seconds < 11
    assert text.startswith(f"yahoo LASTING-{fault.upper()}: {LASTING[fault]}")
    expect_one_line(text)
    assert ("(tried " in text) is (fault != "404")
    assert "data.source" in text


def test_a_refused_connection_is_said_in_one_line(market, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, market.refused)
    text = failure(limit=3)
    assert text.startswith("yahoo ^KS11: Yahoo cannot be reached (ConnectionError: ")
    assert "check the network" in text


@pytest.mark.parametrize("fault", ["slow", "black hole"])
def test_the_time_limit_holds_whatever_yahoo_does(fault, market):
    market.fail(fault)
    began = time.monotonic()
    assert failure(limit=2).startswith("yahoo ^KS11: no answer in time (2 s); ")
    assert time.monotonic() - began < 3


def test_a_failure_before_the_silence_is_the_one_named(market):
    market.fail("html", times=1, then="slow")
    assert failure(limit=4).startswith("yahoo ^KS11: Yahoo's answer cannot be read (a web page instead of prices); ")


def test_a_certificate_that_is_not_known_is_not_tried_again(market, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name)
    text = failure()
    assert text.startswith("yahoo ^KS11: the connection is not to be trusted (CertificateVerifyError")
    assert "CURL_CA_BUNDLE" in text


@pytest.mark.parametrize("ticker", ["KRW=X", "M&M.NS"])
def test_a_ticker_that_is_unknown_is_named_as_it_is_asked_for(ticker, market):
    assert failure(ticker=ticker).startswith(f"yahoo {ticker}: Yahoo knows no such ticker")
    assert {symbol for symbol, _ in market.asked} == {ticker}
    market.list(ticker, 5, LAST)
    assert len(ask(ticker=ticker)) == 5


@pytest.mark.parametrize("ticker", ["../x", "A B", "A/B", "A?x=1", "삼성", "A\nB", "A;B", "A#"])
def test_what_can_be_no_ticker_is_refused_without_asking(ticker, market, tmp_path):
    with pytest.raises(YahooError, match=r"^data\.ticker: .* is no symbol of Yahoo's; .*; look it up"):
        load(SourceConfig(source="yahoo", ticker=ticker), Access(cache=tmp_path))
    assert market.paths == []


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"source": "yahoo"}, "data.ticker: missing; source: yahoo needs Yahoo's symbol; add ticker: ^KS11, say"),
        (
            {"ticker": "SPY"},
            "data.ticker: SPY beside source: nasdaq; a ticker goes with source: yahoo; set data.source",
        ),
        ({"date_format": "%d/%m/%Y"}, "data.date_format: %d/%m/%Y beside source: nasdaq; "),
        (
            {"source": "yahoo", "ticker": "SPY", "start": "2020-01-02", "end": "2020-01-01"},
            "data.start: 2020-01-02 is after data.end, 2020-01-01; ",
        ),
        ({"start": "2019-01-01"}, "data.start: 2019-01-01: no session of nasdaq is left; it has those from 1999-01-04"),
        (
            {"start": "2001-01-06", "end": "2001-01-07"},
            "data.start: 2001-01-06, data.end: 2001-01-07: no session of nasdaq is left; ",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_named(fields, what, tmp_path):
    with pytest.raises(PriceError) as caught:
        load(SourceConfig(**fields), Access(cache=tmp_path))
    assert str(caught.value).startswith(what)
    assert str(caught.value).count("; ") == 2


def test_start_and_end_cut_every_source(tmp_path):
    whole, cut = load("nasdaq"), load(SourceConfig(start="2000-01-01", end="2000-12-29"))
    assert (str(cut.dates[0]), str(cut.dates[-1]), len(cut)) == ("2000-01-03", "2000-12-29", 252)
    assert cut.values.tolist() == whole.values[(whole.dates >= cut.dates[0]) & (whole.dates <= cut.dates[-1])].tolist()
    path = tmp_path / "prices.csv"
    lines = ["Date,Open,High,Low,Close,Volume", *(f"2019-01-0{day},10,12,9,11,1000" for day in range(2, 6))]
    path.write_text("\n".join(lines))
    assert load(SourceConfig(source=str(path), date_format="%Y-%d-%m")).dates[0] == np.datetime64("2019-02-01")
    cut = load(SourceConfig(source=str(path), start="2019-01-03", end="2019-01-04"))
    assert (cut.dates.astype(str).tolist(), cut.lines.tolist()) == (["2019-01-03", "2019-01-04"], [3, 4])


def test_who_wants_prices_imports_neither_yfinance_nor_pandas(market, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from stockrnn.prices import Access, load; from stockrnn.configuration import SourceConfig\n"
        f"load(SourceConfig(source='yahoo', ticker='{TICKER}'), Access(cache=Path({str(tmp_path)!r})))\n"
        "print(*{'yfinance', 'curl_cffi', 'pandas', 'torch', 'requests'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (found.stdout.strip(), found.stderr) == ("", "")


def test_files_of_the_user_are_not_taken_for_modules(market, tmp_path, monkeypatch):
    for name in ("random", "json", "yfinance", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('taken')")
    monkeypatch.chdir(tmp_path)
    assert len(ask()) == 60


def test_a_download_leaves_nothing_behind(market, tmp_path, monkeypatch):
    for name in ("TMPDIR", "XDG_CACHE_HOME", "HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("tempfile.tempdir", None)
    ask()
    market.fail("slow")
    failure(limit=2)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_yfinance_that_does_not_start_is_one_line_too(market, tmp_path, monkeypatch):
    (tmp_path / "yfinance.py").write_text("raise RuntimeError('broken on purpose')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert failure().startswith("yahoo ^KS11: the download failed (RuntimeError: broken on purpose); ")
