"""A process of its own that asks Yahoo for a series: `python download.py REQUEST`, which `yahoo` starts and ends.

Its time-outs add up to minutes whatever it is told, so yfinance runs where it can be ended from outside; and neither it
nor pandas is imported by who only wants prices. What happens is written as JSON, a line each: a failure, or the prices.
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

__all__ = ["ATTEMPTS", "fetch"]

# How often each failure is tried in all; one that is not here would come again. A user without a network waits
# seconds, one who asked too often has the whole time limit.
ATTEMPTS = {"limited": 7, "server": 6, "garbled": 4, "denied": 3, "network": 4, "slow": 7}
FIRST_PAUSE, LONGEST_PAUSE, SHORTEST_ATTEMPT = 0.5, 20.0, 0.5  # seconds
LONGEST_ANSWER = 10.0  # seconds for one request; where yfinance asks for 30 it would leave none for the next
COLUMNS = ["Open", "High", "Low", "Close", "Volume"]

Tell = Callable[[dict[str, Any]], None]


def fetch(request: dict[str, Any], tell: Tell) -> None:
    """Download a series, again and again where that may help; `tell` hears of each failure, then of the prices.

    Args:
        request: `ticker`; `start` and `end` as YYYY-MM-DD or None, the end not included; `adjust`; `folder` for
            yfinance's own databases; `limit`, the seconds there are for all of it.
    """
    began = time.monotonic()
    session = _session()
    _quieten(request["folder"])
    from yfinance.data import YfData

    failures = 0
    while True:
        try:
            prices = _history(request, session)
        except Exception as error:  # yfinance has no tree of errors: what it raises is told apart by its name
            failures += 1
            failure = _failure(error, session)
        else:
            tell({"prices": prices})
            return
        pause = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)
        left = request["limit"] - (time.monotonic() - began)
        again = failures < ATTEMPTS.get(failure["kind"], 1) and pause + SHORTEST_ATTEMPT < left
        tell({"failure": failure | {"attempts": failures, "last": not again}})
        if not again:
            return
        time.sleep(pause)
        YfData.cache_get.cache_clear()  # it keeps failures too: a healthy server would not be asked


def _history(request: dict[str, Any], session: Any) -> dict[str, Any]:
    import yfinance

    session.status, session.page = None, False
    ticker = yfinance.Ticker(request["ticker"], session=session)
    start, end = request["start"], request["end"]
    span = {"start": start, "end": end} if start else {"period": "max", "end": end}
    frame = ticker.history(
        **span, interval="1d", auto_adjust=request["adjust"], actions=False, keepna=True, timeout=LONGEST_ANSWER
    )
    facts = ticker.get_history_metadata()
    closes: Any = ((facts.get("currentTradingPeriod") or {}).get("regular") or {}).get("end")
    return {
        "dates": [str(day) for day in frame.index.date],
        "values": frame[COLUMNS].astype(float).to_numpy().tolist(),
        "today": str(datetime.now(frame.index.tz).date()),
        "session_end": closes.isoformat() if hasattr(closes, "isoformat") else None,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _failure(error: Exception, session: Any) -> dict[str, Any]:
    names, status = {kind.__name__ for kind in type(error).__mro__}, session.status
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
        return "garbled"  # yfinance reached into an answer that has not the form it knows
    return "other"


def _session() -> Any:
    """The session yfinance would make, which remembers the last answer's status and waits no longer than told."""
    from curl_cffi import requests

    class Session(requests.Session):
        status: int | None = None
        page = False

        def request(self, method: Any, url: str, **options: Any) -> Any:  # type: ignore[override]
            options["timeout"] = LONGEST_ANSWER
            chart = "/v8/finance/chart/" in url
            self.status = None if chart else self.status
            answer = super().request(method, url, **options)
            if chart:
                self.status, self.page = answer.status_code, "html" in answer.headers.get("content-type", "")
            return answer

    return Session(impersonate="chrome")


def _quieten(folder: str) -> None:
    import logging

    import yfinance

    warnings.simplefilter("ignore")  # after the import, which sets filters of its own
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    yfinance.config.debug.hide_exceptions = False
    yfinance.set_tz_cache_location(folder)


def _main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not come between the answers

    def tell(what: dict[str, Any]) -> None:
        print(json.dumps(what), file=answers, flush=True)

    fetch(json.loads(sys.argv[1]), tell)


if __name__ == "__main__":
    _main()
