"""Describe how a task's forecasts are shown: their numbers, the notes below them, and the range of the close.

A task lists its numbers as `Quantity`s. The command `stockrnn.forecast` prints them for the network and for the rival,
and `Forecaster.predict` returns them as columns.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from stockrnn.tasks.task import Series

__all__ = [
    "Headline", "Outlook", "Quantity", "Sentence", "Show", "describe_fit", "format_digits", "format_price",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Where forecasts are made.

    Attributes:
        series: the prices and the horizon.
        origins: positions of the sessions at which the forecasts are made, int64, shape (origins,).
        train: sessions to which the rival is fitted; none is later than the first origin.
        trained_alike: whether these are the sessions on which the networks were trained, or those of them up to the
            first origin; False: the series does not contain them, and `train` is all of it up to the first origin.
        sessions_a_year: number of sessions a year, by the rhythm of the series.
    """

    series: "Series"
    origins: np.ndarray
    train: range
    trained_alike: bool
    sessions_a_year: int

    @property
    def last_closes(self) -> np.ndarray:
        """Closes at the origins, shape (origins,), price points."""
        closes: np.ndarray = self.series.closes[self.origins]
        return closes

    @property
    def rival_fitted_on(self) -> dict[str, Any]:
        """First and last day and number of the sessions to which the rival is fitted, as JSON data."""
        dates = self.series.prices.dates[self.train.start : self.train.stop]
        return {
            "start": str(dates[0]), "end": str(dates[-1]), "sessions": len(dates), "as_networks": self.trained_alike,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number of a forecast.

    Attributes:
        label: its name in a text.
        value: function of forecasts, shape (origins,), in the task's unit, and of the outlook; returns (origins,).
        text: function of the number and of the last close; returns the number as a text.
    """

    label: str
    value: Callable[[np.ndarray, Outlook], np.ndarray]
    text: Callable[[float, float], str]


@dataclass(frozen=True)
class Sentence:
    """A text of the report: a template as of `str.format`, which can be translated, and its values."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The newest forecast, as the top of the report shows it.

    Attributes:
        value: the forecast with its unit.
        notes: small lines below it; the prediction interval follows the first.
    """

    value: str
    notes: tuple[Sentence, ...] = ()


def _number(forecast: float, outlook: Outlook) -> Headline:
    return Headline(value=f"{forecast:,.4g}")


@dataclass(frozen=True, kw_only=True)
class Show:
    """How forecasts of a task are shown.

    Attributes:
        quantities: by name in JSON; the first is the forecast itself, in the task's unit.
        columns: names of the quantities that are columns of `Forecaster.predict`, besides the forecast; `rival` is the
            forecast of the rival.
        is_valid: function of forecasts; returns which of them can be used, same shape.
        valid: what such a forecast is, in words: "a finite price above 0".
        rival_label: name of the rival at the head of a column.
        close_range: function of forecasts, shape (origins,), of the outlook and of a level; returns the lower and upper
            bound of the close that they imply, each (origins,), price points. None: they imply no range.
        facts: function of the outlook; returns more JSON data.
        headline: function of a forecast and of its outlook, which has one origin; for the top of a study's report.
        notes: function of the finished report (see `stockrnn.forecaster.report`); returns sentences for the text.
    """

    quantities: Mapping[str, Quantity]
    columns: tuple[str, ...] = ("rival",)
    is_valid: Callable[[np.ndarray], np.ndarray] = np.isfinite
    valid: str = "a finite number"
    rival_label: str
    close_range: Callable[[np.ndarray, Outlook, float], tuple[np.ndarray, np.ndarray]] | None = None
    facts: Callable[[Outlook], dict[str, Any]] = lambda outlook: {}
    headline: Callable[[float, Outlook], Headline] = _number
    notes: Callable[[Mapping[str, Any]], list[str]] = lambda report: []


def format_price(value: float, last_close: float, sign: str = "") -> str:
    """Return a price as a text: with two decimals, or as many as give the last close five significant digits."""
    digits = f".{max(2, 4 - math.floor(math.log10(last_close)))}f" if 1e-6 <= last_close < 1e9 else ".6g"
    return f"{value:{sign}{digits}}"


def format_digits(value: float, digits: int = 3) -> str:
    """Return a number above 0 with so many significant digits, and without an exponent unless it is very small."""
    if not 1e-6 <= value < 1e9:
        return f"{value:.{digits}g}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(value)))}f}"


def describe_fit(report: Mapping[str, Any], rival: str) -> str:
    """Return on which sessions a rival was fitted, as a sentence."""
    fitted = report["rival_fitted_on"]
    sessions = f"{fitted['sessions']:,} sessions, {fitted['start']} to {fitted['end']}"
    reason = "the networks were trained on them" if fitted["as_networks"] else "these prices lack the training sessions"
    return f"{rival} is fitted to {sessions}: {reason}."
