"""The test block as charts: forecasts beside what came, who was ahead of persistence when, and how finalists spread."""

from typing import Any

import numpy as np

from search.report.charts.base import DASHES, HUES, Chart, axis, layout, shown, vertical
from search.results.leaderboard import parse_number
from search.results.ranking import ENSEMBLE
from search.results.reader import Days, StudyData
from stockrnn.evaluation.conformal import conformal_intervals
from stockrnn.evaluation.metrics import theils_u

__all__ = ["advantages", "forecasts", "spread"]

LEVEL = 0.8
RECENT = 60  # days that are shown at first
NARROW = {"margin.l": 48, "margin.r": 10}


def forecasts(findings: StudyData) -> Chart | None:
    """What came, what the best finalist forecast, and persistence; None before the test block was opened."""
    first = next((trial_id for trial_id in findings.finalists if trial_id in findings.test), None)
    if first is None:
        return None
    days = findings.test[first]
    width = _half_width(findings.validation.get(first))
    data: list[dict[str, Any]] = []
    hover = [f"{value:,.2f}" for value in days.forecast]
    inside = ""
    if width is not None:
        low, high = days.forecast * np.exp(-width), days.forecast * np.exp(width)
        edge = {"type": "scatter", "mode": "lines", "x": days.dates, "line": {"width": 0}, "hoverinfo": "skip"}
        data += [
            {**edge, "y": low.tolist(), "showlegend": False, "legendgroup": "band"},
            {**edge, "y": high.tolist(), "fill": "tonexty", "fillcolor": "var(--band)", "name": "80 % interval",
             "legendgroup": "band"},
        ]  # fmt: skip
        hover = [f"{value:,.2f} ({a:,.2f} to {b:,.2f})" for value, a, b in zip(days.forecast, low, high, strict=True)]
        held = np.mean((low <= days.actual) & (days.actual <= high))
        inside = f" The 80 % interval, as wide as the errors on validation were, held {100 * held:.0f} % of the days."
    data += [
        {
            "type": "scatter", "mode": "lines", "name": "persistence", "x": days.dates, "y": days.previous.tolist(),
            "line": {"color": "var(--test)", "width": 1.4, "dash": "dot"},
            "hovertemplate": "%{y:,.2f}",
        },
        {
            "type": "scatter", "mode": "lines", "name": f"forecast of {shown(first)}", "x": days.dates,
            "y": days.forecast.tolist(), "line": {"color": "var(--complete)", "width": 2, "dash": "dash"},
            "customdata": hover, "hovertemplate": "%{customdata}",
        },
        {
            "type": "scatter", "mode": "lines", "name": "what came", "x": days.dates, "y": days.actual.tolist(),
            "line": {"color": "var(--ink)", "width": 1.6}, "hovertemplate": "%{y:,.2f}",
        },
    ]  # fmt: skip
    recent = days.dates[-min(RECENT, len(days.dates)) :]
    views = {f"Last {len(recent)} days": [recent[0], recent[-1]], "Whole block": [days.dates[0], days.dates[-1]]}
    return Chart(
        id="chart-forecasts",
        title="The test block: closes that came, the best finalist's forecast and persistence",
        text=f"{len(days.dates)} days no trial has seen, {days.dates[0]} to {days.dates[-1]}, in price points. The "
        f"forecast of {first} has Theil's U {theils_u(days.forecast, days.actual, days.previous):.4f}: below 1 it errs "
        f"less than persistence, the close of the day before.{inside} That the lines lie close together is no merit: "
        f"persistence's does too.",
        data=data,
        layout=layout(
            hovermode="x unified",
            xaxis=axis(range=[recent[0], recent[-1]], hoverformat="%Y-%m-%d", tickformat="%b %-d<br>%Y"),
            yaxis=axis("close", tickformat=",~r"),
        ),
        height=440, narrow=NARROW,
        views=views if len(recent) < len(days.dates) else {},
    )  # fmt: skip


def advantages(findings: StudyData) -> Chart | None:
    """The squared error that each finalist saved against persistence, summed up to each day."""
    shown_ones = [name for name in (*findings.finalists, ENSEMBLE) if name in findings.test]
    if not shown_ones:
        return None
    data, said = [], []
    for number, name in enumerate(shown_ones):
        days = findings.test[name]
        rival = (days.previous - days.actual) ** 2
        whole = float(rival.sum())
        if not whole:
            return None
        saved = 100 * np.cumsum(rival - (days.forecast - days.actual) ** 2) / whole
        together = name == ENSEMBLE
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": "their average" if together else shown(name),
                "x": days.dates, "y": saved.tolist(), "hovertemplate": "%{y:.2f} %",
                "line": {
                    "color": "var(--ink)" if together else HUES[number % len(HUES)], "width": 1.8,
                    "dash": "dot" if together else DASHES[number % len(DASHES)],
                },
            }
        )  # fmt: skip
        said.append(f"{'their average' if together else name} ends at {saved[-1]:+.2f} %")
    zero = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "layer": "above",
        "line": {"color": "var(--ink)", "width": 1.6},
    }  # fmt: skip
    return Chart(
        id="chart-advantages",
        title="Squared error saved against persistence up to each day of the test block, by finalist",
        text="Above zero a finalist has erred less than persistence so far, in per cent of persistence's squared error "
        f"over the whole block. A lead that comes from one week is worth little. {'; '.join(said)}.",
        data=data,
        layout=layout(
            hovermode="x unified", shapes=[zero],
            xaxis=axis(hoverformat="%Y-%m-%d", tickformat="%b %-d<br>%Y"),
            yaxis=axis("saved so far, %", ticksuffix=" %"),
        ),
        height=340, narrow=NARROW,
    )  # fmt: skip


def spread(findings: StudyData) -> Chart | None:
    """Theil's U of the finalists by fold, over folds and seeds, and on the test block; None without their forecasts."""
    rows = {row["trial_id"]: row for row in findings.csv_board[1]}
    known = [name for name in findings.finalists if name in findings.validation]
    if not known:
        return None
    folds: dict[str, list[Any]] = {"x": [], "y": [], "hovertext": []}
    whole: dict[str, list[Any]] = {"x": [], "y": [], "sd": []}
    test: dict[str, list[Any]] = {"x": [], "y": [], "sd": []}
    table = []
    for place, name in enumerate(known):
        days, row = findings.validation[name], rows.get(name, {})
        singles = {int(fold): _theils_u(days, days.folds == fold) for fold in np.unique(days.folds)}
        folds["x"] += singles.values()
        folds["y"] += [place - 0.16] * len(singles)
        folds["hovertext"] += [f"{shown(name)}, fold {fold}: {single:.4f}" for fold, single in singles.items()]
        numbers = [
            parse_number(row.get(key, "")) for key in ("val_theils_u", "val_theils_u_sd", "test_theils_u", "seeds_sd")
        ]
        pairs: tuple[Any, ...] = ((whole, *numbers[:2], place - 0.16), (test, *numbers[2:], place + 0.16))
        for target, value, sd, y in pairs:
            if value is not None:
                target["x"].append(value)
                target["y"].append(y)
                target["sd"].append(sd or 0)
        table.append([name, *(f"{single:.4f}" for single in singles.values()), *map(_four, numbers)])

    def dots(name: str, symbol: str, color: str, values: dict[str, list[Any]]) -> dict[str, Any]:
        return {
            "type": "scatter", "mode": "markers", "name": name, "x": values["x"], "y": values["y"],
            "marker": {"symbol": symbol, "size": 11, "color": color, "line": {"color": color, "width": 1.6}},
            "error_x": {"type": "data", "array": values.get("sd", []), "color": color, "thickness": 1.5, "width": 5},
            "hovertext": values.get("hovertext", [f"{name}: {value:.4f}" for value in values["x"]]),
            "hoverinfo": "text",
        }  # fmt: skip

    data = [
        dots("each fold", "circle-open", "var(--complete)", folds),
        dots("validation ± sd over networks", "circle", "var(--complete)", whole),
    ]
    if test["x"]:
        data.append(dots("test block ± sd over seeds", "diamond", "var(--test)", test))
    shape, label = vertical(1, "persistence", "var(--ink)", "solid")
    who = "Finalists" if findings.test else "The best trials, which would be finalists"
    count = max(len(days) for days in table) - 5
    return Chart(
        id="chart-spread",
        title="How Theil's U spreads over folds, networks and the test block, by finalist",
        text=f"{who}. Left of 1 is better than persistence. Dots far apart mean that the score depends on the fold or "
        "on the seed: differences smaller than that are none.",
        data=data,
        layout=layout(
            xaxis=axis("Theil's U"),
            yaxis=axis(
                tickvals=list(range(len(known))), ticktext=[shown(name) for name in known],
                range=[len(known) - 0.5, -0.6], showgrid=False,
            ),
            shapes=[{**shape, "layer": "above"}], annotations=[label],
        ),
        height=130 + 56 * len(known), narrow={"margin.l": 40},
        head=(
            "finalist", *(f"U fold {number}" for number in range(1, count + 1)), "U validation", "sd", "U test",
            "seeds sd",
        ),
        rows=table,
    )  # fmt: skip


def _theils_u(days: Days, own: np.ndarray) -> float:
    return theils_u(days.forecast[own], days.actual[own], days.previous[own])


def _half_width(days: Days | None) -> float | None:
    """Of the interval, in natural log units, as the opening of the test block computes it."""
    if days is None or not len(days.dates):
        return None
    (interval,) = conformal_intervals(days.forecast, days.actual, (LEVEL,))
    return interval.half_width


def _four(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
