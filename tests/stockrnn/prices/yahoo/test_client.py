"""Download from Yahoo: the real yfinance with a local server that answers, fails and hangs as Yahoo does."""

import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from yahoo_server import Yahoo, fork_downloads

from stockrnn.prices.cleaning import clean
from stockrnn.prices.config import SourceConfig
from stockrnn.prices.loading import Access, load
from stockrnn.prices.series import PriceError
from stockrnn.prices.yahoo import fetch_process
from stockrnn.prices.yahoo.client import YahooError, download

pytestmark = pytest.mark.slow

TICKER, LAST = "^KS11", "2024-05-31"  # a Friday


@pytest.fixture
def market(yahoo):
    """Return the server with 60 sessions of one index."""
    yahoo.list(TICKER, 60, LAST, factor=0.9)
    return yahoo


def fetch(limit=240.0, start=None, end=None, adjust=True, ticker=TICKER):
    return download(ticker, start and date.fromisoformat(start), end and date.fromisoformat(end), adjust, limit)


def failure(limit=240.0, **span):
    with pytest.raises(YahooError) as caught:
        fetch(limit, **span)
    expect_one_line(str(caught.value))
    return str(caught.value)


def expect_one_line(text):
    assert "\n" not in text
    assert text.count("; ") == 2, f"must state the problem, the rule and the fix: {text}"
    assert len(text) < 450


@pytest.mark.usefixtures("download_process")
def test_a_series_equals_yahoos(market, capfd):
    before = datetime.now(UTC).replace(microsecond=0)
    prices = fetch(adjust=False)
    rows = market.charts[TICKER]
    assert prices.source == "yahoo ^KS11"
    assert prices.columns == ("open", "high", "low", "close", "volume")
    assert prices.dates.dtype == np.dtype("datetime64[D]")
    assert prices.dates.astype(str).tolist() == [row[0] for row in rows]
    assert prices.values == pytest.approx(np.array([[*row[1:5], row[6]] for row in rows]), rel=1e-12)
    assert (len(prices.lines), prices.findings) == (0, ())
    assert before <= datetime.fromisoformat(prices.fetched) <= datetime.now(UTC)
    assert prices.provenance.fetched == prices.fetched
    assert clean(prices).sha256 == prices.sha256
    assert capfd.readouterr() == ("", "")


def test_prices_are_adjusted_for_dividends_but_volume_is_not(market):
    prices = fetch(ticker="^ks11")
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
def test_the_start_and_the_end_are_included(start, end, first, last, sessions, market):
    if not sessions:
        assert "yahoo ^KS11: Yahoo has no prices for these days (" in failure(start=start, end=end)
        return
    prices = fetch(start=start, end=end)
    assert (str(prices.dates[0]), str(prices.dates[-1]), len(prices)) == (first, last, sessions)
    if end == "2024-05-29":
        midnight = datetime(2024, 5, 30, tzinfo=ZoneInfo("Asia/Seoul"))
        assert int(market.chart_requests[-1][1]["period2"]) == midnight.timestamp()


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Auckland"])
def test_dates_are_those_of_the_exchange(zone, market):
    market.zone = zone
    assert fetch().dates.astype(str).tolist() == [row[0] for row in market.charts[TICKER]]


def zone_at_noon():
    """Return a time zone in which it is about noon, and its date."""
    ahead = 12 - datetime.now(UTC).hour
    zone = f"Etc/GMT{-ahead:+d}"
    return zone, datetime.now(ZoneInfo(zone)).date()


@pytest.mark.parametrize(
    ("ends_in", "is_over"),
    [(timedelta(hours=1), False), (None, False), (timedelta(minutes=-10), False), (timedelta(hours=-1), True)],
)
def test_an_unfinished_session_is_dropped(ends_in, is_over, market):
    market.zone, today = zone_at_noon()
    market.session_end = ends_in
    market.charts[TICKER].append((str(today), 10, 12, 9, 11, 11, 5))
    prices = fetch()
    assert len(prices) == 60 + is_over
    found = [] if is_over else [("unfinished session", "repair", 1, (str(today),))]
    assert [(each.check, each.severity, each.rows, each.dates) for each in prices.findings] == found


def test_rows_without_prices_are_dropped_and_counted(market):
    rows = market.charts[TICKER]
    rows[3] = (rows[3][0], *[None] * 6)
    rows[7] = (rows[7][0], *[0] * 6)
    rows[9] = (rows[9][0], None, *rows[9][2:])  # a row with only one missing price is not dropped
    prices = fetch()
    assert len(prices) == 58
    assert [(each.check, each.rows, each.dates) for each in prices.findings] == [
        ("empty rows", 2, (rows[3][0], rows[7][0]))
    ]
    assert np.isnan(prices.values).sum() == 1
    market.charts[TICKER] = [(row[0], *[None] * 6) for row in rows]
    assert "Yahoo has no prices for these days" in failure()


# yfinance repeats a request itself when the status is an error, so that two failures in a row reach this project.
TEMPORARY = {"429": 2, "500": 2, "401": 2, "html": 1, "truncated": 1, "cut": 1, "null": 1, "reset": 1}
KINDS = {"429": "limited", "500": "server", "401": "denied", "cut": "network", "reset": "network"}
PERMANENT = {
    "404": "Yahoo does not know this ticker, or has delisted it; Yahoo sometimes reports this for valid tickers too",
    "429": "Yahoo answered 429, too many requests (tried",
    "500": "Yahoo answered 500, a server error (tried",
    "401": "Yahoo answered 401, not allowed (tried",
    "html": "Yahoo's answer cannot be read (a web page instead of prices) (tried",
    "truncated": "Yahoo's answer cannot be read (JSONDecodeError: ",
    "cut": "Yahoo cannot be reached (",
    "null": "Yahoo's answer cannot be read (TypeError: ",
    "reset": "Yahoo cannot be reached (ConnectionError: ",
}


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """Return a server that had a ticker for each failure, and the outcome of each: prices, or the text of an error.

    Downloads do not pause before a retry, so that no time limit ends the retries.
    """
    with Yahoo(tmp_path_factory.mktemp("failing")) as server, pytest.MonkeyPatch.context() as patch:
        fork_downloads(patch, pauses=False)
        for name, value in server.environment.items():
            patch.setenv(name, value)
        for fault, times in TEMPORARY.items():
            server.list(f"TEMPORARY-{fault.upper()}", 60, LAST)
            server.fail(fault, times=times, symbol=f"TEMPORARY-{fault.upper()}")
        for fault in PERMANENT:
            server.fail(fault, symbol=f"PERMANENT-{fault.upper()}")

        def outcome(symbol):
            try:
                # a period in the past, for which yfinance caches failures too
                return fetch(ticker=symbol, start="2024-05-01", end=LAST)
            except YahooError as error:
                return str(error)

        symbols = [*(f"PERMANENT-{fault}" for fault in PERMANENT), *(f"TEMPORARY-{fault}" for fault in TEMPORARY)]
        with ThreadPoolExecutor(3) as threads:
            outcomes = dict(zip(symbols, threads.map(outcome, symbols), strict=True))
    return server, outcomes


@pytest.mark.parametrize("fault", TEMPORARY)
def test_a_temporary_failure_is_retried(fault, failing):
    server, outcomes = failing
    assert len(outcomes[f"TEMPORARY-{fault}"]) == 23
    assert [symbol for symbol, _ in server.chart_requests].count(f"TEMPORARY-{fault.upper()}") == TEMPORARY[fault] + 2


@pytest.mark.parametrize("fault", PERMANENT)
def test_a_permanent_failure_is_an_error_of_one_line(fault, failing):
    text = failing[1][f"PERMANENT-{fault}"]
    assert text.startswith(f"yahoo PERMANENT-{fault.upper()}: {PERMANENT[fault]}")
    expect_one_line(text)
    attempts = fetch_process.MAX_ATTEMPTS[KINDS.get(fault, "garbled")]
    assert (f" (tried {attempts} times)" in text) is (fault != "404")
    assert "data.source" in text


@pytest.mark.parametrize(("limit", "attempts"), [(1000, 7), (10, 4), (1.2, 1)])
def test_no_attempt_starts_after_the_time_limit(limit, attempts, monkeypatch):
    """An attempt takes a second; the clock moves only during attempts and pauses."""
    now, starts, reports = 0.0, [], []

    class YFRateLimitError(Exception):
        pass

    def sleep(seconds):
        nonlocal now
        now += seconds

    def history(*_):
        starts.append(now)
        sleep(1)
        raise YFRateLimitError

    monkeypatch.setattr(fetch_process, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    monkeypatch.setattr(fetch_process, "random", SimpleNamespace(uniform=lambda low, high: high))
    monkeypatch.setattr(fetch_process, "_session", lambda: SimpleNamespace(status=429, page=False))
    monkeypatch.setattr(fetch_process, "_configure_yfinance", lambda folder: None)
    monkeypatch.setattr(fetch_process, "_history", history)
    cache = SimpleNamespace(cache_get=SimpleNamespace(cache_clear=lambda: None))
    monkeypatch.setitem(sys.modules, "yfinance.data", SimpleNamespace(YfData=cache))
    fetch_process.fetch({"folder": "", "limit": limit}, reports.append)
    assert starts == [0, 1.5, 3.5, 6.5, 11.5, 20.5, 37.5][:attempts]
    assert [report["failure"]["last"] for report in reports] == [False] * (attempts - 1) + [True]


def test_a_refused_connection_is_an_error_of_one_line(market, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, market.refused)
    text = failure()
    assert text.startswith("yahoo ^KS11: Yahoo cannot be reached (ConnectionError: ")
    assert "check the network" in text


@pytest.mark.usefixtures("download_process")
@pytest.mark.parametrize("fault", ["slow", "black hole"])
def test_the_time_limit_holds_if_yahoo_does_not_answer(fault, market):
    """The text has the seconds until the process was killed; a request that timed out would have an error's name."""
    market.fail(fault)
    assert re.match(r"yahoo \^KS11: Yahoo did not answer in time \(\d+ s\); ", failure(limit=2))
    assert len(market.chart_requests) <= 1


@pytest.mark.usefixtures("download_process")
def test_a_failure_before_the_time_limit_is_the_one_reported(market, monkeypatch):
    """The time limit expires when the second request has arrived, which is never answered."""
    market.fail("html", times=1, then="slow")
    second_request = threading.Event()
    next_fault = market.next_fault

    def watch(symbol):
        fault = next_fault(symbol)
        if fault == "slow":
            second_request.set()
        return fault

    def run(command, *, capture_output, timeout, **options):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)
        assert second_request.wait(120)
        process.kill()
        raise subprocess.TimeoutExpired(command, timeout, process.communicate()[0])

    monkeypatch.setattr(market, "next_fault", watch)
    monkeypatch.setattr(subprocess, "run", run)
    assert failure().startswith("yahoo ^KS11: Yahoo's answer cannot be read (a web page instead of prices); ")


def test_an_unknown_certificate_is_not_retried(market, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name)
    text = failure()
    assert text.startswith("yahoo ^KS11: the connection is not trusted (CertificateVerifyError")
    assert "CURL_CA_BUNDLE" in text


@pytest.mark.parametrize("ticker", ["KRW=X", "M&M.NS"])
def test_an_unknown_ticker_is_an_error(ticker, market):
    assert failure(ticker=ticker).startswith(f"yahoo {ticker}: Yahoo does not know this ticker")
    assert {symbol for symbol, _ in market.chart_requests} == {ticker}
    market.list(ticker, 5, LAST)
    assert len(fetch(ticker=ticker)) == 5


@pytest.mark.parametrize("ticker", ["../x", "A B", "A/B", "A?x=1", "삼성", "A\nB", "A;B", "A#"])
def test_an_invalid_ticker_is_an_error_without_a_request(ticker, market, tmp_path):
    with pytest.raises(YahooError, match=r"^data\.ticker: .* is not a Yahoo ticker; .*; look it up"):
        load(SourceConfig(source="yahoo", ticker=ticker), Access(cache=tmp_path))
    assert market.paths == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"source": "yahoo"},
            "data.ticker: missing; source: yahoo needs one of Yahoo's tickers; add one, for example ticker: ^KS11",
        ),
        (
            {"ticker": "SPY"},
            "data.ticker: SPY is set, but source: nasdaq has no tickers; a ticker needs source: yahoo; set data.source",
        ),
        ({"date_format": "%d/%m/%Y"}, "data.date_format: %d/%m/%Y is set, but source: nasdaq is not a file; "),
        (
            {"source": "yahoo", "ticker": "SPY", "start": "2020-01-02", "end": "2020-01-01"},
            "data.start: 2020-01-02 is after data.end, 2020-01-01; ",
        ),
        (
            {"start": "2019-01-01"},
            "data.start: 2019-01-01: nasdaq has no sessions in this period; its sessions are from 1999-01-04",
        ),
        (
            {"start": "2001-01-06", "end": "2001-01-07"},
            "data.start: 2001-01-06, data.end: 2001-01-07: nasdaq has no sessions in this period; ",
        ),
    ],
)
def test_settings_that_contradict_are_errors(fields, message, tmp_path):
    with pytest.raises(PriceError) as caught:
        load(SourceConfig(**fields), Access(cache=tmp_path))
    assert str(caught.value).startswith(message)
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


def test_a_download_imports_neither_yfinance_nor_pandas(market, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from stockrnn.prices.loading import Access, load; from stockrnn.prices.config import SourceConfig\n"
        f"load(SourceConfig(source='yahoo', ticker='{TICKER}'), Access(cache=Path({str(tmp_path)!r})))\n"
        "print(*{'yfinance', 'curl_cffi', 'pandas', 'torch', 'requests'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (found.stdout.strip(), found.stderr) == ("", "")


@pytest.mark.usefixtures("download_process")
def test_files_of_the_user_do_not_shadow_modules(market, tmp_path, monkeypatch):
    for name in ("random", "json", "yfinance", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('shadowed')")
    monkeypatch.chdir(tmp_path)
    assert len(fetch()) == 60


@pytest.mark.usefixtures("download_process")
def test_a_download_leaves_no_files(market, tmp_path, monkeypatch):
    for name in ("TMPDIR", "XDG_CACHE_HOME", "HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("tempfile.tempdir", None)
    fetch()
    market.fail("slow")
    failure(limit=2)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("download_process")
def test_a_broken_yfinance_is_an_error_of_one_line(market, tmp_path, monkeypatch):
    (tmp_path / "yfinance.py").write_text("raise RuntimeError('broken on purpose')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert failure().startswith("yahoo ^KS11: the download failed (RuntimeError: broken on purpose); ")
