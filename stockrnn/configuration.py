"""Base class of all configurations, and the parsers of their common fields.

Nothing heavy is imported here, so a space is checked (and its JSON Schema printed) without PyTorch.
"""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

__all__ = [
    "Configuration",
    "Day",
    "parse_day",
]


def parse_day(value: object) -> object:
    """Return the date of a text such as `2019-01-30`, or raise ValueError; other types are returned unchanged."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError("is not a date; a date is YYYY-MM-DD, as in 2019-01-30") from None
    return value


Day = Annotated[date, BeforeValidator(parse_day)]


class Configuration(BaseModel):
    """Base class of all configurations: frozen, without unknown fields, without conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
