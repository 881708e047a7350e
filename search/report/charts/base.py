"""Build Plotly figures as plain data, with a caption and a table.

A colour is the name of a CSS variable, for example `var(--complete)`. The script of the page replaces it with the
colour of the light, dark or print scheme. `escape` escapes every text that comes from a study.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup

from search.common.text import Text
from search.results.reader import MAX_SHOWN_TRIALS
from search.results.schemas import to_plain
from stockrnn.io.files import escape_invisible

__all__ = [
    "DASHES", "HUES", "SYMBOLS", "Chart", "build_axis", "build_layout", "build_vertical_line", "capitalize",
    "choose_score_range", "escape", "recent_views", "select_evenly", "to_script_json",
]  # fmt: skip

Item = TypeVar("Item")
SYMBOLS = {
    "default": "star", "complete": "circle", "stopped": "line-ns-open", "diverged": "x-thin-open", "failed": "diamond",
    "interrupted": "square", "running": "triangle-right",
}  # fmt: skip
HUES = ("var(--complete)", "var(--diverged)", "var(--running)", "var(--failed)", "var(--interrupted)")
DASHES = ("solid", "dash", "dashdot", "longdash", "dot")
RECENT_DAYS = 60  # in the first view of the test set
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif'


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure with its texts.

    Attributes:
        title: the accessible name.
        text: the sentences of the caption, which is also the accessible description.
        narrow: layout values for a narrow screen, by dotted path.
        views: ranges of the x axis, by the label of the button that selects them.
        head, rows: the numbers of the figure as a table.
    """

    id: str
    title: str
    text: Sequence[Text]
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    height: int = 380
    narrow: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()

    @property
    def figure(self) -> dict[str, Any]:
        """Return the JSON object from which the script of the page draws the figure."""
        return {
            "id": self.id, "data": list(self.data), "layout": {**self.layout, "height": self.height},
            "narrow": dict(self.narrow), "views": [[label, list(span)] for label, span in self.views.items()],
        }  # fmt: skip


def build_layout(**changes: Any) -> dict[str, Any]:
    """Return the layout that all charts share, with the given changes."""
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
        "xaxis": build_axis(),
        "yaxis": build_axis(),
    } | changes  # fmt: skip


def build_axis(title: str = "", **changes: Any) -> dict[str, Any]:
    """Return an axis with a title, which is one of this package."""
    named = {"title": {"text": title, "standoff": 8}} if title else {}
    return {
        "gridcolor": "var(--line)", "linecolor": "var(--line)", "zeroline": False, "automargin": True, "showline": True,
        "exponentformat": "power",
    } | named | changes  # fmt: skip


def build_vertical_line(
    x: Any, text: Text, color: str = "var(--soft)", dash: str = "dot"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a line over the whole height: its shape, and its label at the top."""
    line = {
        "type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "layer": "between",
        "line": {"color": color, "width": 1, "dash": dash},
    }  # fmt: skip
    label = {
        "x": x, "y": 1, "yref": "paper", "yanchor": "top", "xanchor": "left", "text": text, "showarrow": False,
        "font": {"color": color, "size": 11}, "xshift": 2,
    }  # fmt: skip
    return line, label


def escape(text: Any) -> str:
    """Return a text that Plotly, which interprets some HTML and entities, shows unchanged."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def capitalize(text: Text) -> Text:
    """Return a text without values with a capital letter at its start."""
    return Text(text[:1].upper() + text[1:])


def choose_score_range(scores: Sequence[float], bests: Sequence[float]) -> tuple[float, float]:
    """Return the y range: from the lowest score or 1 up, so that the better half of the trials fills a third of it.

    Args:
        scores: all scores.
        bests: the best score of each trial.
    """
    low = min(1.0, *scores, *bests)
    high = min(max(1.0, *scores, *bests), low + 3 * max(median(bests) - low, 1.0 - low, 0.002))
    pad = 0.05 * max(high - low, 0.002)
    return low - pad, high + pad


def recent_views(dates: Sequence[str]) -> dict[str, list[str]]:
    """Return the views of a chart of the test set: the last days, and the whole set; one view if it is short.

    Args:
        dates: in order, not empty.
    """
    whole: dict[str, list[str]] = {Text("Whole test set"): [dates[0], dates[-1]]}
    last: dict[str, list[str]] = {
        Text("Last {n} days", n=RECENT_DAYS): [dates[-min(RECENT_DAYS, len(dates))], dates[-1]]
    }
    return last | whole if len(dates) > RECENT_DAYS else whole


def select_evenly(items: Sequence[Item]) -> Sequence[Item]:
    """Return at most `MAX_SHOWN_TRIALS` of the items, evenly from the first to the last, both included."""
    if len(items) <= MAX_SHOWN_TRIALS:
        return items
    places = np.linspace(0, len(items) - 1, MAX_SHOWN_TRIALS).round().astype(int).tolist()
    return [items[place] for place in places]


def to_script_json(value: Any) -> Markup:
    """Return JSON for a script element: six significant digits, null for unknown numbers, visible texts."""
    text = json.dumps(_simplify(to_plain(value)), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _simplify(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _simplify(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_simplify(item) for item in value]
    if isinstance(value, str):
        return escape_invisible(value)
    if isinstance(value, float) and value and math.isfinite(value):
        return round(value, max(0, 5 - math.floor(math.log10(abs(value)))))
    return value
