"""Run a local Yahoo Finance server: an HTTPS proxy that answers for Yahoo's hosts with its own certificate.

Environment variables (`Yahoo.environment`) direct the real yfinance to it, so that subprocesses can use it too.
"""

import json
import multiprocessing
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stockrnn.prices.yahoo import client, fetch_process

__all__ = ["CLOSED", "FAULTS", "Yahoo", "fork_downloads"]

HOSTS = ["*.yahoo.com", "*.finance.yahoo.com", "yahoo.com"]
CHART = "/v8/finance/chart/"
CLOSED = timedelta(hours=-2)  # today's session ended two hours ago
HTML = b"<!DOCTYPE html><html><body>Sorry, something went wrong.</body></html>"
FAULTS = ("404", "429", "500", "401", "html", "truncated", "cut", "null", "reset", "slow", "black hole")


class Yahoo:
    """The server and its settings.

    Attributes:
        environment: variables that direct yfinance to this server.
        charts: symbol -> its rows as (day, open, high, low, close, adjusted close, volume), None where Yahoo has null.
        session_end: end of today's session, from now; None: the answer has no session.
        zone: time zone of the exchange.
        chart_requests: (symbol, query) of each request of the chart.
        paths: path of each request.
    """

    def __init__(self, folder: Path) -> None:
        self.black_hole = False
        self._faults: dict[str | None, Iterator[str | None]] = {}
        self._turn = threading.Lock()
        self.charts: dict[str, list[tuple]] = {}
        self.session_end: timedelta | None = CLOSED
        self.zone = "Asia/Seoul"
        self.chart_requests: list[tuple[str, dict[str, str]]] = []
        self.paths: list[str] = []
        self._over = threading.Event()
        certificate, self._context = _certificate(folder)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.yahoo = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        proxy = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), proxy),
            **dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), str(certificate)),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), ""),
        }

    def __enter__(self) -> "Yahoo":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def list(self, symbol: str, sessions: int, last: str, factor: float = 1.0, seed: int = 0) -> None:
        """Create a symbol with a random walk on weekdays to `last`; adjusted prices are `factor` times the others."""
        random = np.random.default_rng(seed)
        days = np.busday_offset(last, np.arange(1 - sessions, 1), roll="backward").astype(str).tolist()
        close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.01, sessions))), 4).tolist()
        self.charts[symbol] = [
            (day, price * 0.999, price * 1.01, price * 0.99, price, price * factor, 1000 + 7 * at)
            for at, (day, price) in enumerate(zip(days, close, strict=True))
        ]

    @property
    def refused(self) -> str:
        """Address of a closed port."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{free.getsockname()[1]}"

    def fail(
        self, fault: str | None, times: int | None = None, then: str | None = None, symbol: str | None = None
    ) -> None:
        """Let requests of the chart fail.

        Args:
            fault: one of FAULTS; None: no failure.
            times: number of requests that fail; None: all.
            then: fault of the requests after these.
            symbol: symbol that fails; None: all symbols.
        """
        self.black_hole = fault == "black hole"
        self._faults[symbol] = repeat(fault) if times is None else chain([fault] * times, repeat(then))

    def next_fault(self, symbol: str) -> str | None:
        """Return the fault of the next request, or None."""
        with self._turn:
            return next(self._faults.get(symbol, self._faults.get(None, repeat(None))))

    def answer(self, symbol: str, query: dict[str, str]) -> tuple[int, dict]:
        """Return status and JSON of a chart."""
        rows = self.charts.get(symbol)
        if rows is None:
            return 404, _chart(None, {"code": "Not Found", "description": "No data found, symbol may be delisted"})
        zone = ZoneInfo(self.zone)
        rows = [(int(_nine(row[0], zone).timestamp()), *row[1:]) for row in rows]
        first = rows[0][0]
        if "period1" in query:
            begin, end = int(query["period1"]), int(query["period2"])
            rows = [row for row in rows if begin <= row[0] < end]
            if not rows:
                text = f"Data doesn't exist for startDate = {begin}, endDate = {end}"
                return 400, _chart(None, {"code": "Bad Request", "description": text})
        else:
            rows = rows[-1:]
        times, opens, highs, lows, closes, adjusted, volumes = (list(column) for column in zip(*rows, strict=True))
        quote = {"open": opens, "high": highs, "low": lows, "close": closes, "volume": volumes}
        return 200, _chart([{
            "meta": self._meta(symbol, zone, first),
            "timestamp": times,
            "indicators": {"quote": [quote], "adjclose": [{"adjclose": adjusted}]},
        }])  # fmt: skip

    def _meta(self, symbol: str, zone: ZoneInfo, first: int) -> dict:
        end = datetime.now(UTC) + (self.session_end or CLOSED)
        offset = int(datetime.now(zone).utcoffset().total_seconds())
        period = {"timezone": "LCL", "end": int(end.timestamp()), "start": int(end.timestamp()) - 6 * 3600 - 1800,
                  "gmtoffset": offset}  # fmt: skip
        periods = {} if self.session_end is None else {name: dict(period) for name in ("pre", "regular", "post")}
        return {
            "currency": "KRW", "symbol": symbol, "exchangeName": "KSC", "instrumentType": "INDEX",
            "firstTradeDate": first, "regularMarketTime": int(min(end, datetime.now(UTC)).timestamp()),
            "gmtoffset": offset, "timezone": "LCL", "exchangeTimezoneName": self.zone, "priceHint": 2,
            "currentTradingPeriod": periods,
            "dataGranularity": "1d", "range": "",
            "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
        }  # fmt: skip


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["yfinance", "curl_cffi.requests"])


def fork_downloads(patch: pytest.MonkeyPatch, *, pauses: bool = True) -> None:
    """Download in forks of a process that has imported yfinance, which takes a tenth of a new process's time.

    Args:
        patch: where the change is made.
        pauses: whether downloads pause before a retry.
    """
    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "TimeoutExpired")}
    patch.setattr(client, "subprocess", SimpleNamespace(run=partial(_run, pauses), **names))


def _run(pauses: bool, command: list[str], *, timeout: float, **_: object) -> subprocess.CompletedProcess:
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_fetch, args=(command[-1], dict(os.environ), pauses, sender))
    process.start()
    sender.close()
    output = b""
    with receiver:
        try:
            while True:
                if not receiver.poll(timeout):
                    raise subprocess.TimeoutExpired(command, timeout, output)
                output += receiver.recv_bytes()
        except EOFError:
            pass
        finally:
            process.kill()
            process.join()
            process.close()
    return subprocess.CompletedProcess(command, 0, output, b"")


def _fetch(
    request: str, environment: dict[str, str], pauses: bool, sender: multiprocessing.connection.Connection
) -> None:
    os.environ.update(environment)
    if not pauses:
        time.sleep = lambda seconds: None
    fetch_process.fetch(json.loads(request), lambda answer: sender.send_bytes(json.dumps(answer).encode() + b"\n"))


def _chart(result: list | None, error: dict | None = None) -> dict:
    return {"chart": {"result": result, "error": error}}


def _nine(day: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(f"{day}T09:00").replace(tzinfo=zone)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing the server waits for them, so that no socket stays open after a test
    yahoo: Yahoo

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: in some tests the client closes the connection early."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds without a request
    server: _Server

    def finish(self) -> None:
        """Close the TLS connection that CONNECT has created."""
        try:
            super().finish()
        finally:
            self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_CONNECT(self) -> None:
        """Start TLS as the requested host."""
        if self.server.yahoo.black_hole:
            self.server.yahoo._over.wait(30)
        self.send_response_only(200, "Connection established")
        self.end_headers()
        self.connection = self.server.yahoo._context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)

    def do_GET(self) -> None:
        """Answer one of Yahoo's pages."""
        yahoo, url = self.server.yahoo, urlsplit(self.path)
        yahoo.paths.append(url.path)
        if url.path == "/v1/test/getcrumb":
            self._send(200, b"crumb", "text/plain")
        elif url.path.startswith(CHART):
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            symbol = unquote(url.path.removeprefix(CHART))
            yahoo.chart_requests.append((symbol, query))
            self._chart(yahoo, symbol, query)
        else:  # fc.yahoo.com sends its cookie with a 404 too, like the consent page
            self._send(404, b"{}", cookie=True)

    do_POST = do_GET  # noqa: N815

    def _chart(self, yahoo: Yahoo, symbol: str, query: dict[str, str]) -> None:
        status, content = yahoo.answer(symbol, query)
        body = json.dumps(content).encode()
        fault = yahoo.next_fault(symbol)
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True  # finish() closes it, and SO_LINGER makes this a reset
            return
        if fault == "slow":
            self.server.yahoo._over.wait(30)
        if fault in ("404", "429", "500", "401"):
            bodies = {
                "429": b"Too Many Requests\r\n",
                "500": b"Internal Server Error",
                "404": json.dumps(yahoo.answer("", {})[1]).encode(),
                "401": b'{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}',
            }
            self._send(int(fault), bodies[fault])  # fmt: skip
        elif fault == "html":
            self._send(200, HTML, "text/html")
        elif fault == "null":
            self._send(200, json.dumps(_chart(None)).encode())
        elif fault == "truncated":
            self._send(200, body[: len(body) // 2])
        elif fault == "cut":
            self._send(200, body[: len(body) // 2], length=len(body))
            self.close_connection = True
        else:
            self._send(status, body)

    def _send(
        self, status: int, body: bytes, kind: str = "application/json", length: int | None = None, cookie: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if cookie:
            expires = datetime.now(UTC) + timedelta(days=300)
            self.send_header("Set-Cookie", f"A3=d=1; Domain=.yahoo.com; Path=/; Secure; HttpOnly; "
                                           f"Expires={expires:%a, %d %b %Y %H:%M:%S GMT}")  # fmt: skip
        self.end_headers()
        self.wfile.write(body)


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a self-signed certificate for Yahoo's hosts and the server's TLS context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "yahoo on loopback")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path, private = folder / "yahoo.pem", folder / "yahoo.key"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, private)
    return path, context
