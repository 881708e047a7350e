"""Download one series from Yahoo in a subprocess, `python fetch_process.py REQUEST`, started by `client`.

The time-outs of yfinance add up to minutes and cannot all be set, so it runs in a process that can be killed. This also
keeps yfinance and pandas out of the main process. The process writes JSON lines: one per failure, and then the prices.
"""

import json
import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

__all__ = ["MAX_ATTEMPTS", "fetch"]

# Attempts per kind of failure; other kinds are not retried. Without a network the user waits some seconds; after too
# many requests the retries may use the whole time limit.
MAX_ATTEMPTS = {"limited": 7, "server": 6, "garbled": 4, "denied": 3, "network": 4, "slow": 7}
FIRST_PAUSE, MAX_PAUSE, MIN_ATTEMPT = 0.5, 20.0, 0.5  # seconds
REQUEST_TIMEOUT = 10.0  # seconds; yfinance's own 30 would leave no time for a retry
COLUMNS = ["Open", "High", "Low", "Close", "Volume"]


def fetch(request: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    """Download a series, with retries for temporary failures.

    Args:
        request: `ticker`; `start` and `end` as YYYY-MM-DD or None, the end excluded; `adjust`; `folder` for
            yfinance's databases; `limit`, the seconds for the whole download.
        report: called with each failure, and then with the prices.
    """
    started = time.monotonic()
    session = _session()
    _configure_yfinance(request["folder"])
    from yfinance.data import YfData

    failures = 0
    while True:
        try:
            prices = _history(request, session)
        except Exception as error:  # yfinance's errors share no base class; they are distinguished by name
            failures += 1
            failure = _failure(error, session)
        else:
            report({"prices": prices})
            return
        pause = min(FIRST_PAUSE * 2 ** (failures - 1), MAX_PAUSE) * random.uniform(0.5, 1)
        remaining = request["limit"] - (time.monotonic() - started)
        retry = failures < MAX_ATTEMPTS.get(failure["kind"], 1) and pause + MIN_ATTEMPT < remaining
        report({"failure": failure | {"attempts": failures, "last": not retry}})
        if not retry:
            return
        time.sleep(pause)
        YfData.cache_get.cache_clear()  # it caches failures too, so a retry would not reach the server


def _history(request: dict[str, Any], session: Any) -> dict[str, Any]:
    import yfinance

    session.clear_answer()
    ticker = yfinance.Ticker(request["ticker"], session=session)
    start, end = request["start"], request["end"]
    period = {"start": start, "end": end} if start else {"period": "max", "end": end}
    frame = ticker.history(
        **period, interval="1d", auto_adjust=request["adjust"], actions=False, keepna=True, timeout=REQUEST_TIMEOUT
    )
    metadata = ticker.get_history_metadata()
    session_end: Any = ((metadata.get("currentTradingPeriod") or {}).get("regular") or {}).get("end")
    return {
        "dates": [str(day) for day in frame.index.date],
        "values": frame[COLUMNS].astype(float).to_numpy().tolist(),
        "today": str(datetime.now(frame.index.tz).date()),
        "session_end": session_end.isoformat() if hasattr(session_end, "isoformat") else None,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _failure(error: Exception, session: Any) -> dict[str, Any]:
    names, status = {base.__name__ for base in type(error).__mro__}, session.status
    if status == 200 and session.page:
        return {"kind": "garbled", "status": status, "text": "a web page instead of prices"}
    text = " ".join(str(error).split()).partition(" See https://curl.se")[0].rstrip(".")[:200]
    return {"kind": _kind(names, status), "status": status, "text": f"{type(error).__name__}: {text}"}


def _kind(names: set[str], status: int | None) -> str:
    if status == 429 or "YFRateLimitError" in names:
        return "limited"
    if status in (401, 403):
        return "denied"
    if status is not None and status >= 500:
        return "server"
    if status == 404 or "YFTzMissingError" in names:
        return "unknown"
    if names & {"YFPricesMissingError", "YFInvalidPeriodError"}:
        return "empty"
    if "Timeout" in names:
        return "slow"
    if names & {"CertificateVerifyError", "InvalidProxyURL"}:
        return "setup"
    if "JSONDecodeError" in names:
        return "garbled"
    if names & {"RequestException", "OSError"}:
        return "network"
    if names & {"LookupError", "TypeError", "AttributeError", "ValueError", "YFException"}:
        return "garbled"  # yfinance expected another format of the answer
    return "other"


def _session() -> Any:
    """Return a session as yfinance makes it, which also records the last status and limits each request's time."""
    from curl_cffi import requests

    class Session(requests.Session[requests.Response]):
        status: int | None = None
        page = False

        def clear_answer(self) -> None:
            self.status, self.page = None, False

        def request(self, method: Any, url: str, **options: Any) -> Any:  # type: ignore[override]
            options["timeout"] = REQUEST_TIMEOUT
            is_chart = "/v8/finance/chart/" in url
            self.status = None if is_chart else self.status
            answer = super().request(method, url, **options)
            if is_chart:
                self.status, self.page = answer.status_code, "html" in answer.headers.get("content-type", "")
            return answer

    return Session(impersonate="chrome")


def _configure_yfinance(folder: str) -> None:
    import logging

    import yfinance

    warnings.simplefilter("ignore")  # after the import of yfinance, which sets filters
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    yfinance.config.debug.hide_exceptions = False
    yfinance.set_tz_cache_location(folder)


def _main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries must not print between the answers

    def report(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    fetch(json.loads(sys.argv[1]), report)


if __name__ == "__main__":
    _main()
