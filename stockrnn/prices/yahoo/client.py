"""Download daily prices from Yahoo Finance within a time limit, or raise an error of one line.

The module `fetch_process` runs in a subprocess, which is killed at the time limit. Each subprocess has a
temporary folder for yfinance's databases of time zones and cookies, so that parallel downloads do not block each other.
"""

import json
import re
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from stockrnn.prices.series import PRICE_COLUMNS, Finding, PriceError, Prices, count

__all__ = ["YahooError", "YahooUnavailableError", "check_ticker", "download", "source_name"]

COLUMNS = (*PRICE_COLUMNS, "volume")
TICKER = re.compile(r"[A-Z0-9^][A-Z0-9^.=&_-]*", re.ASCII)
FIRST_DAY = date(1900, 1, 1)  # Yahoo has no older prices and cannot read dates near year 1
SETTLING_TIME = timedelta(minutes=30)  # Yahoo's prices are delayed, so the last ones arrive after the session's end
USE_FILE = "or use a file with data.source"
TRY_LATER = f"wait some minutes and try again, {USE_FILE}"

# What happened; an explanation; what to do. {status} is Yahoo's HTTP status, {text} the message of yfinance.
FAILURES = {
    "limited": (
        "Yahoo answered 429, too many requests", "Yahoo blocks clients with many requests for minutes or hours",
        f"wait an hour and try again, {USE_FILE}",
    ),
    "server": ("Yahoo answered {status}, a server error", "such errors are usually temporary", TRY_LATER),
    "garbled": (
        "Yahoo's answer cannot be read ({text})", "Yahoo has a problem or has changed the format of its answers",
        f"try again, then pip install -U yfinance, {USE_FILE}",
    ),
    "denied": ("Yahoo answered {status}, not allowed", "Yahoo requires a cookie that it did not provide", TRY_LATER),
    "network": (
        "Yahoo cannot be reached ({text})", "a download needs access to the internet",
        f"check the network and its proxy, {USE_FILE}",
    ),
    "slow": ("Yahoo did not answer in time ({text})", "a request can take ten seconds", TRY_LATER),
    "unknown": (
        "Yahoo does not know this ticker, or has delisted it", "Yahoo sometimes reports this for valid tickers too",
        f"check data.ticker on finance.yahoo.com, try later, {USE_FILE}",
    ),
    "empty": (
        "Yahoo has no prices for these days ({text})",
        "the days from data.start to data.end must include completed sessions",
        "check data.start, data.end and data.ticker",
    ),
    "setup": (
        "the connection is not trusted ({text})", "the certificate of an intercepting proxy must be known",
        "set CURL_CA_BUNDLE to its file, or correct HTTPS_PROXY",
    ),
    "other": ("the download failed ({text})", "the cause is unknown", f"pip install -U yfinance, {USE_FILE}"),
}  # fmt: skip
TEMPORARY_FAILURES = ("limited", "server", "denied", "network", "slow")


class YahooError(PriceError):
    """Yahoo returned no prices: `yahoo TICKER: what happened; an explanation; what to do` in one line."""


class YahooUnavailableError(YahooError):
    """Yahoo cannot be used at the moment and the cache has no copy; the ticker may be valid."""


def source_name(ticker: str) -> str:
    """Return the name of a series from Yahoo."""
    return f"yahoo {ticker.upper()}"


def check_ticker(ticker: str) -> None:
    """Raise YahooError if a ticker has characters that Yahoo's tickers never have."""
    if not TICKER.fullmatch(ticker.upper()):
        raise YahooError(
            f"data.ticker: {ticker!r} is not a Yahoo ticker; a ticker has only letters, digits and ^ . = & _ -, as in "
            f"^KS11, BRK-B, KRW=X; look it up on finance.yahoo.com"
        )


def download(ticker: str, start: date | None, end: date | None, adjust: bool, time_limit: float) -> Prices:
    """Download a series, unchecked. A finding reports dropped rows: unfinished sessions and rows without prices.

    Args:
        ticker: Yahoo's ticker.
        start, end: first and last day, both included; None: no limit.
        adjust: whether prices are adjusted for dividends; they are always adjusted for splits.
        time_limit: seconds for the whole download, retries included.

    Raises:
        YahooError: Yahoo returned no prices.
    """
    check_ticker(ticker)
    latest = datetime.now(UTC).date() + timedelta(days=2)  # in some time zones it is already tomorrow
    request = {
        "ticker": ticker.upper(),
        "start": str(start) if start and start > FIRST_DAY else None,
        "end": str(end + timedelta(days=1)) if end and end < latest else None,  # yfinance excludes the end
        "adjust": adjust,
        "limit": time_limit,
    }
    answers = _run_download_process(request, time_limit)
    if "prices" in answers[-1]:
        return _to_prices(source_name(ticker), answers[-1]["prices"])
    raise _error(ticker, answers[-1]["failure"])


def _run_download_process(request: dict[str, Any], time_limit: float) -> list[dict[str, Any]]:
    """Return what the process wrote until it exited or was killed; at least one answer."""
    started = datetime.now(UTC)
    script = Path(__file__).with_name("fetch_process.py")
    with tempfile.TemporaryDirectory(prefix="stockrnn-", ignore_cleanup_errors=True) as folder:
        # -P: modules of this package and of the working directory must not shadow other packages.
        command = [sys.executable, "-P", "-W", "ignore", str(script), json.dumps(request | {"folder": folder})]
        try:
            process = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=time_limit)
        except subprocess.TimeoutExpired as expired:
            answers = _parse_lines(expired.stdout)
            seconds = (datetime.now(UTC) - started).total_seconds()
            return answers or [{"failure": {"kind": "slow", "attempts": 1, "text": f"{seconds:.0f} s"}}]
    answers = _parse_lines(process.stdout)
    if not answers:
        errors = process.stderr.decode(errors="replace").strip().splitlines()
        text = errors[-1][:200] if errors else f"exit code {process.returncode}"
        answers = [{"failure": {"kind": "other", "attempts": 1, "text": text}}]
    return answers


def _parse_lines(output: bytes | None) -> list[dict[str, Any]]:
    complete, _, _ = (output or b"").rpartition(b"\n")  # the last line may be incomplete
    return [json.loads(line) for line in complete.splitlines()]


def _error(ticker: str, failure: dict[str, Any]) -> YahooError:
    problem, explanation, advice = FAILURES[failure["kind"]]
    problem = problem.format(status=failure.get("status"), text=failure["text"].replace(";", ","))
    tried = f" (tried {failure['attempts']} times)" if failure["attempts"] > 1 else ""
    error = YahooUnavailableError if failure["kind"] in TEMPORARY_FAILURES else YahooError
    return error(f"{source_name(ticker)}: {problem}{tried}; {explanation}; {advice}")


def _to_prices(source: str, answer: dict[str, Any]) -> Prices:
    values = np.array(answer["values"], dtype=float).reshape(-1, len(COLUMNS))
    prices = Prices(
        source=source, dates=np.array(answer["dates"], dtype="datetime64[D]"), columns=COLUMNS, values=values,
        lines=np.array([], dtype=int), fetched=answer["fetched"],
    )  # fmt: skip
    prices = _drop_unfinished(_drop_empty(prices), answer)
    if not len(prices):
        raise _error(source.removeprefix("yahoo "), {"kind": "empty", "text": "no completed session", "attempts": 1})
    return prices


def _drop_empty(prices: Prices) -> Prices:
    quotes = prices.values[:, :4]
    empty = (np.isnan(quotes) | (quotes == 0)).all(axis=1)
    text = f"dropped {count(empty.sum(), 'row')} without prices from Yahoo's answer"
    return _drop(prices, empty, "empty rows", text)


def _drop_unfinished(prices: Prices, answer: dict[str, Any]) -> Prices:
    """Drop the exchange's session of today unless it ended more than SETTLING_TIME ago."""
    today, fetched = np.datetime64(answer["today"]), datetime.fromisoformat(answer["fetched"])
    end = datetime.fromisoformat(answer["session_end"]) if answer["session_end"] else None
    is_over = end is not None and str(end.date()) == answer["today"] and fetched >= end + SETTLING_TIME
    unfinished = prices.dates > today if is_over else prices.dates >= today
    days = " and ".join(prices.dates[unfinished].astype(str))
    return _drop(prices, unfinished, "unfinished session", f"dropped {days}: the session is not finished")


def _drop(prices: Prices, dropped: np.ndarray, check: str, text: str) -> Prices:
    if not dropped.any():
        return prices
    days = tuple(str(day) for day in prices.dates[dropped][:3])
    finding = Finding(check=check, severity="repair", text=text, rows=int(dropped.sum()), dates=days)
    return prices.rows(~dropped).with_findings(finding)
