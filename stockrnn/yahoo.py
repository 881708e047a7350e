"""Daily prices from Yahoo Finance: a download that ends within a time limit, whatever happens, in prices or one line.

The download itself is `download`, in a process of its own, which is ended when its time is over. Its databases of time
zones and cookies are in a folder of its own too, gone with it: several downloads at once share nothing to wait for.
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

from stockrnn.series import Finding, PriceError, Prices

__all__ = ["AwayError", "YahooError", "check_ticker", "download", "source_name"]

COLUMNS = ("open", "high", "low", "close", "volume")
SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9^.=&_-]*", re.ASCII)
FIRST_DAY = date(1900, 1, 1)  # Yahoo has nothing older, and the times of day 1 are beyond what it reads
SETTLING = timedelta(minutes=30)  # Yahoo's prices lag, and the last of a session come after it
WITHOUT = "or use a file with data.source"
LATER = f"wait some minutes and try again, {WITHOUT}"

# What happened; what it means; what to do. {status} and {text} are what Yahoo and yfinance said.
FAILURES = {
    "limited": (
        "Yahoo answered 429, too many requests", "Yahoo refuses who asks often, for minutes or hours",
        f"wait an hour and try again, {WITHOUT}",
    ),
    "server": ("Yahoo answered {status}, an error of its own", "that passes in most cases", LATER),
    "garbled": (
        "Yahoo's answer cannot be read ({text})", "it is out of order, or has changed the form of its answers",
        f"try again, then pip install -U yfinance, {WITHOUT}",
    ),
    "denied": ("Yahoo answered {status}, not allowed", "it wants a cookie that it did not give", LATER),
    "network": (
        "Yahoo cannot be reached ({text})", "a download needs a network that lets it through",
        f"check the network and its proxy, {WITHOUT}",
    ),
    "slow": ("no answer in time ({text})", "one request may take ten seconds", LATER),
    "unknown": (
        "Yahoo knows no such ticker, or has delisted it",
        "it says so at times, wrongly, of good ones too",
        f"check data.ticker on finance.yahoo.com, try later, {WITHOUT}",
    ),
    "empty": (
        "Yahoo has no prices for these days ({text})", "a span has sessions in it, after the first and before the last",
        "check data.start, data.end and data.ticker",
    ),
    "setup": (
        "the connection is not to be trusted ({text})", "a proxy that reads along needs its certificate known",
        "name it in CURL_CA_BUNDLE, or mend HTTPS_PROXY",
    ),
    "other": ("the download failed ({text})", "this was not foreseen", f"pip install -U yfinance, {WITHOUT}"),
}  # fmt: skip
AWAY = ("limited", "server", "denied", "network", "slow")  # it may answer another time


class YahooError(PriceError):
    """Yahoo gave no prices: `yahoo TICKER: what happened; what it means; what to do` in one line."""


class AwayError(YahooError):
    """Yahoo could not be asked, or not now, and there is no copy; it says nothing against the ticker."""


def source_name(ticker: str) -> str:
    """What a series from Yahoo is called."""
    return f"yahoo {ticker.upper()}"


def check_ticker(ticker: str) -> None:
    """Refuse what can be no symbol of Yahoo's.

    Raises:
        YahooError: it has a letter that symbols do not have.
    """
    if not SYMBOL.fullmatch(ticker.upper()):
        raise YahooError(
            f"data.ticker: {ticker!r} is no symbol of Yahoo's; it has letters, digits and ^ . = & _ - only, as in "
            f"^KS11, BRK-B, KRW=X; look it up on finance.yahoo.com"
        )


def download(ticker: str, start: date | None, end: date | None, adjust: bool, time_limit: float) -> Prices:
    """Ask Yahoo for a series from `start` to `end`, both included and both optional, unchecked.

    Prices are adjusted for splits, and with `adjust` for dividends. A session that is not over is left out, and so
    are rows without any price; findings say so.

    Args:
        time_limit: seconds until the download with all its repetitions is over.

    Raises:
        YahooError: no prices came.
    """
    check_ticker(ticker)
    tomorrow = datetime.now(UTC).date() + timedelta(days=2)  # somewhere it is tomorrow already
    request = {
        "ticker": ticker.upper(),
        "start": str(start) if start and start > FIRST_DAY else None,
        "end": str(end + timedelta(days=1)) if end and end < tomorrow else None,  # yfinance leaves the end out
        "adjust": adjust,
        "limit": time_limit,
    }
    answers = _ask(request, time_limit)
    if "prices" in answers[-1]:
        return _series(source_name(ticker), answers[-1]["prices"])
    raise _error(ticker, answers[-1]["failure"])


def _ask(request: dict[str, Any], time_limit: float) -> list[dict[str, Any]]:
    """What the process wrote until it ended or had to; at least one answer."""
    began = datetime.now(UTC)
    script = Path(__file__).with_name("download.py")
    with tempfile.TemporaryDirectory(prefix="stockrnn-", ignore_cleanup_errors=True) as folder:
        # -P: neither this package's modules nor the user's files are taken for other packages' modules.
        command = [sys.executable, "-P", "-W", "ignore", str(script), json.dumps(request | {"folder": folder})]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=time_limit)
        except subprocess.TimeoutExpired as expired:
            answers = _lines(expired.stdout)
            took = (datetime.now(UTC) - began).total_seconds()
            return answers or [{"failure": {"kind": "slow", "attempts": 1, "text": f"{took:.0f} s"}}]
    answers = _lines(done.stdout)
    if not answers:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        answers = [{"failure": {"kind": "other", "attempts": 1, "text": last[0][:200]}}]
    return answers


def _lines(output: bytes | None) -> list[dict[str, Any]]:
    whole, _, _ = (output or b"").rpartition(b"\n")  # one that was being written is none
    return [json.loads(line) for line in whole.splitlines()]


def _error(ticker: str, failure: dict[str, Any]) -> YahooError:
    what, meaning, advice = FAILURES[failure["kind"]]
    what = what.format(status=failure.get("status"), text=failure["text"].replace(";", ","))
    tried = f" (tried {failure['attempts']} times)" if failure["attempts"] > 1 else ""
    error = AwayError if failure["kind"] in AWAY else YahooError
    return error(f"{source_name(ticker)}: {what}{tried}; {meaning}; {advice}")


def _series(source: str, answer: dict[str, Any]) -> Prices:
    values = np.array(answer["values"], dtype=float).reshape(-1, len(COLUMNS))
    prices = Prices(
        source=source, dates=np.array(answer["dates"], dtype="datetime64[D]"), columns=COLUMNS, values=values,
        lines=np.array([], dtype=int), fetched=answer["fetched"],
    )  # fmt: skip
    prices = _drop_unfinished(_drop_empty(prices), answer)
    if not len(prices):
        raise _error(source.removeprefix("yahoo "), {"kind": "empty", "text": "no session is over", "attempts": 1})
    return prices


def _drop_empty(prices: Prices) -> Prices:
    of_prices = prices.values[:, :4]
    empty = (np.isnan(of_prices) | (of_prices == 0)).all(axis=1)
    return _without(prices, empty, "empty rows", f"{empty.sum()} of Yahoo's rows without any price dropped")


def _drop_unfinished(prices: Prices, answer: dict[str, Any]) -> Prices:
    """Leave out today's session, at the exchange, unless Yahoo says that it has been over for a while."""
    today, fetched = np.datetime64(answer["today"]), datetime.fromisoformat(answer["fetched"])
    end = datetime.fromisoformat(answer["session_end"]) if answer["session_end"] else None
    over = end is not None and str(end.date()) == answer["today"] and fetched >= end + SETTLING
    unfinished = prices.dates > today if over else prices.dates >= today
    days = " and ".join(prices.dates[unfinished].astype(str))
    return _without(prices, unfinished, "unfinished session", f"{days} dropped: the session is not over")


def _without(prices: Prices, dropped: np.ndarray, check: str, text: str) -> Prices:
    if not dropped.any():
        return prices
    days = tuple(str(day) for day in prices.dates[dropped][:3])
    finding = Finding(check=check, severity="repair", text=text, rows=int(dropped.sum()), dates=days)
    return prices.rows(~dropped).noting(finding)
