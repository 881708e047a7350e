"""A chart for the report: a Plotly figure as plain data, with what it says in words.

Colours are roles, as `var(--complete)`: the page's script looks them up in the style, so that a chart follows the
light and the dark scheme and paper. Every text that comes from a study goes through `shown`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup

from search.results.reader import MAX_SHOWN_TRIALS
from search.results.schemas import plain
from stockrnn.io.files import visible

__all__ = [
    "DASHES", "HUES", "SYMBOLS", "Chart", "axis", "between", "evenly_spaced", "layout", "script_json",
    "shown", "vertical",
]  # fmt: skip

Item = TypeVar("Item")
SYMBOLS = {
    "complete": "circle", "stopped": "line-ns-open", "diverged": "x-thin-open", "failed": "diamond",
    "interrupted": "square", "running": "triangle-right",
}  # fmt: skip
HUES = ("var(--complete)", "var(--diverged)", "var(--running)", "var(--failed)", "var(--interrupted)")
DASHES = ("solid", "dash", "dashdot", "longdash", "dot")
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif'


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure and its words.

    Attributes:
        title: its accessible name.
        text: what it shows, for those who do not see it and as its caption.
        narrow: what changes in the layout on a narrow screen, by dotted path.
        views: ranges of x that a button shows, by the button's words.
        head, rows: the figure's numbers as a table.
    """

    id: str
    title: str
    text: str
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    height: int = 380
    narrow: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()

    @property
    def figure(self) -> dict[str, Any]:
        """What the page's script draws."""
        return {
            "id": self.id, "data": list(self.data), "layout": {**self.layout, "height": self.height},
            "narrow": dict(self.narrow), "views": [[words, list(span)] for words, span in self.views.items()],
        }  # fmt: skip


def layout(**changes: Any) -> dict[str, Any]:
    """The look that all charts share."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": "var(--soft)"},
        "margin": {"l": 56, "r": 16, "t": 34, "b": 44},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "var(--raised)", "bordercolor": "var(--line)", "align": "left",
            "font": {"family": FONT, "size": 13, "color": "var(--ink)"},
        },
        "legend": {
            "orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "font": {"color": "var(--ink)"},
            "bgcolor": "rgba(0,0,0,0)",
        },
        "showlegend": True,
        "xaxis": axis(),
        "yaxis": axis(),
    } | changes  # fmt: skip


def axis(title: str = "", **changes: Any) -> dict[str, Any]:
    """An axis; its title is escaped."""
    words = {"title": {"text": shown(title), "standoff": 8}} if title else {}
    return {
        "gridcolor": "var(--line)", "linecolor": "var(--line)", "zeroline": False, "automargin": True, "showline": True,
        "exponentformat": "power",
    } | words | changes  # fmt: skip


def vertical(
    x: Any, words: str, color: str = "var(--soft)", dash: str = "dot"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A line across the whole height, as a shape and its label at the top."""
    line = {
        "type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "layer": "between",
        "line": {"color": color, "width": 1, "dash": dash},
    }  # fmt: skip
    label = {
        "x": x, "y": 1, "yref": "paper", "yanchor": "top", "xanchor": "left", "text": shown(words), "showarrow": False,
        "font": {"color": color, "size": 11}, "xshift": 2,
    }  # fmt: skip
    return line, label


def shown(text: Any) -> str:
    """A text as Plotly shows it letter by letter: it reads a little HTML, and entities."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def between(scores: Sequence[float], bests: Sequence[float]) -> tuple[float, float]:
    """From the lowest score or 1 up to what leaves a third of the height to the better half of the trials."""
    low = min(1.0, *scores, *bests)
    high = min(max(1.0, *scores, *bests), low + 3 * max(median(bests) - low, 1.0 - low, 0.002))
    pad = 0.05 * max(high - low, 0.002)
    return low - pad, high + pad


def evenly_spaced(items: Sequence[Item]) -> Sequence[Item]:
    """Return at most `MAX_SHOWN_TRIALS` of the items, evenly from the first to the last, both included."""
    if len(items) <= MAX_SHOWN_TRIALS:
        return items
    places = np.linspace(0, len(items) - 1, MAX_SHOWN_TRIALS).round().astype(int).tolist()
    return [items[place] for place in places]


def script_json(value: Any) -> Markup:
    """Data as JSON that may stand in a script element: numbers to six digits, unknown ones null, texts visible."""
    text = json.dumps(_shown(plain(value)), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, float) and value and math.isfinite(value):
        return round(value, max(0, 5 - math.floor(math.log10(abs(value)))))
    return value
