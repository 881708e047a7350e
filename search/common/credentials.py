"""Check the address of MLflow, and remove credentials from texts before they are shown or stored."""

import re
from urllib.parse import urlsplit

from search.common.messages import format_value, suggest

__all__ = ["check_mlflow_address", "strip_credentials"]

SCHEMES = ("http", "https", "file", "sqlite", "postgresql", "mysql", "mssql")
USER = re.compile(r"(?<=://)[^/?#\s'\"]*@")
SECRET = re.compile(r"([?&](?:password|passwd|pwd|token|secret|api_?key)=)[^&\s'\"]*", re.IGNORECASE)


def strip_credentials(text: str) -> str:
    """Return a text without `user:password@` in its addresses and without the passwords in their queries."""
    return SECRET.sub(r"\1...", USER.sub("", text))


def check_mlflow_address(address: str) -> str:
    """Return an MLflow address unchanged.

    Raises:
        ValueError: the address is not valid. The message is one line without credentials.
    """
    safe = strip_credentials(address)
    scheme, colon, rest = address.partition(":")
    known = colon and scheme.partition("+")[0] in SCHEMES
    if known and (not scheme.startswith("http") or _host(address)) and rest.strip("/"):
        return address
    fix = suggest(scheme, SCHEMES) if colon and not known else ""
    if not fix:
        has_port = re.fullmatch(r"[\w.-]+:\d+(/.*)?", safe)
        fix = f"; for example {f'http://{safe}' if has_port else 'sqlite:///mlflow.db'}"
    raise ValueError(
        f"{format_value(safe)} is not an MLflow address; it must start with http://, https://, file: or sqlite:///{fix}"
    )


def _host(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises ValueError if the port is not a number
        return parts.hostname
    except ValueError:
        return None
