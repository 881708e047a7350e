"""Addresses that may hold a user and a password: checked, and shown without them."""

import re
from urllib.parse import urlsplit

from search.common.messages import format_value, suggest

__all__ = ["check_mlflow_address", "strip_credentials"]

SCHEMES = ("http", "https", "file", "sqlite", "postgresql", "mysql", "mssql")
USER = re.compile(r"(?<=://)[^/?#\s'\"]*@")
SECRET = re.compile(r"([?&](?:password|passwd|pwd|token|secret|api_?key)=)[^&\s'\"]*", re.IGNORECASE)


def strip_credentials(text: str) -> str:
    """A text without the `user:password@` of the addresses in it, and without passwords in their queries."""
    return SECRET.sub(r"\1...", USER.sub("", text))


def check_mlflow_address(address: str) -> str:
    """An address of MLflow, as it is.

    Raises:
        ValueError: it is none; in one line, without credentials.
    """
    safe = strip_credentials(address)
    scheme, colon, rest = address.partition(":")
    known = colon and scheme.partition("+")[0] in SCHEMES
    if known and (not scheme.startswith("http") or _host(address)) and rest.strip("/"):
        return address
    rule = "it starts with http://, https://, file: or sqlite:///"
    fix = suggest(scheme, SCHEMES) if colon and not known else ""
    if not fix:
        host = re.fullmatch(r"[\w.-]+:\d+(/.*)?", safe)
        fix = f"; write {f'http://{safe}' if host else 'sqlite:///mlflow.db'}, say"
    raise ValueError(f"{format_value(safe)} is no address of MLflow; {rule}{fix}")


def _host(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises where it is no number
        return parts.hostname
    except ValueError:
        return None
