"""Learning curves as charts: those of one study's trials, and those of the best trials of several studies."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.common.messages import at_epochs
from search.report.charts.base import (
    DASHES,
    HUES,
    SYMBOLS,
    Chart,
    axis,
    between,
    evenly_spaced,
    layout,
    shown,
    vertical,
)
from search.results.event_log import RUNNING
from search.results.reader import StudyData

__all__ = ["best_curves", "learning_curves"]

ON_TOP = ("stopped", "interrupted", "failed", "diverged", RUNNING, "complete")  # the last is drawn last
DASH = {"diverged": "6px,3px", "failed": "2px,3px", "interrupted": "8px,3px,2px,3px"}
HEIGHT, LABEL = 440, 15  # pixels of the chart, and of a label
SCORE = "Theil's U"
MOST_POINTS = 100_000  # epochs of all curves together
Curves = Mapping[str, Mapping[int, float]]


def learning_curves(findings: StudyData) -> Chart | None:
    """Theil's U by epoch of every trial; None before any score."""
    trials: Curves = findings.curves
    if not trials:
        return None
    bests = {trial_id: min(values.values()) for trial_id, values in trials.items()}
    everything = [value for values in trials.values() for value in values.values()]
    best = min(bests, key=lambda trial_id: bests[trial_id])
    low, high = between(everything, [*bests.values()])
    data = []
    whole, trials = trials, _drawn(trials, bests)
    for status in ON_TOP:
        own = [trial_id for trial_id in trials if findings.log.statuses[trial_id] == status]
        if own:
            data += _lines(status, {trial_id: trials[trial_id] for trial_id in own}, high, many=len(trials) > 40)
    data.append(_line(trials[best], f"best: {best}", best, color="var(--ink)", width=2.5, dash="solid"))
    if above := [trial_id for trial_id, values in trials.items() if values[max(values)] > high]:
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": "ends above", "hoverinfo": "text",
                "x": [max(trials[trial_id]) for trial_id in above], "y": [high - 0.01 * (high - low)] * len(above),
                "hovertext": [f"{shown(trial_id)} ends at {_last(trials[trial_id]):.4g}" for trial_id in above],
                "marker": {"symbol": "triangle-up", "size": 8, "color": "var(--soft)"},
            }
        )  # fmt: skip
    epochs = max(max(values) for values in whole.values())
    shapes, labels = _levels(findings.manifest.get("baselines") or {}, low, high)
    for rung in findings.rungs:
        if rung <= epochs:
            shape, label = vertical(rung, f"rung {rung}")
            shapes.append(shape)
            labels.append(label)
    return Chart(
        id="chart-curves",
        title="Theil's U on validation by epoch, one line for each trial",
        text=_caption(findings, whole, len(trials), best, bests[best], high, everything),
        data=data,
        layout=layout(
            xaxis=axis(
                "epoch", range=[1 - 0.02 * epochs, epochs + 0.03 * max(epochs, 2)], showgrid=False, dtick=_step(epochs)
            ),
            yaxis=axis(SCORE, range=[low, high]),
            shapes=shapes, annotations=labels, margin={"l": 60, "r": 92, "t": 40, "b": 46},
        ),
        height=HEIGHT,
        narrow={"margin.r": 82, "margin.l": 46, "xaxis.dtick": _step(epochs, 5)},
    )  # fmt: skip


def best_curves(studies: Sequence[tuple[str, StudyData]]) -> Chart | None:
    """Theil's U by epoch of the best trial of each study, by the study's name; None where none has a score."""
    data, everything, bests, epochs, said = [], [], [], 1, []
    for number, (name, findings) in enumerate(studies):
        trials = findings.curves
        if not trials:
            continue
        best = min(trials, key=lambda trial_id: min(trials[trial_id].values()))
        values = trials[best]
        line = _line(
            values, f"{name}, {best}", f"{name}, {best}", color=HUES[number % len(HUES)], width=2.2,
            dash=DASHES[number % len(DASHES)],
        )  # fmt: skip
        data.append(line | {"mode": "lines+markers", "marker": {"symbol": number % 40, "size": 6}})
        everything += [*values.values()]
        bests.append(min(values.values()))
        epochs = max(epochs, *values)
        said.append(f"{name}: {best} reaches {min(values.values()):.4f}")
    if not data:
        return None
    low, high = between(everything, bests)
    shapes, labels = _levels({}, low, high)
    return Chart(
        id="chart-best-curves",
        title="Theil's U on validation by epoch, of each study's best trial",
        text="The best trial of each study; below 1.0 it beats persistence on its own study's days. Studies of other "
        f"prices or folds are scored on other days. {'; '.join(said)}.",
        data=data,
        layout=layout(
            xaxis=axis("epoch", showgrid=False, range=[1 - 0.02 * epochs, epochs * 1.03]),
            yaxis=axis(SCORE, range=[low, high]),
            shapes=shapes, annotations=labels, margin={"l": 60, "r": 92, "t": 40, "b": 46},
        ),
        height=HEIGHT,
        narrow={"margin.r": 82, "margin.l": 46},
    )  # fmt: skip


def _drawn(trials: Curves, bests: Mapping[str, float]) -> Curves:
    """The curves that the chart shows: all, or some evenly from the best trial to the worst, of MOST_POINTS epochs."""
    chosen: set[str] = set()
    points = 0
    for trial_id in evenly_spaced(sorted(trials, key=lambda trial_id: bests[trial_id])):
        points += len(trials[trial_id])
        if points <= MOST_POINTS or not chosen:
            chosen.add(trial_id)
    return {trial_id: values for trial_id, values in trials.items() if trial_id in chosen}


def _points(values: Mapping[int, float]) -> tuple[list[int], list[float | None]]:
    """A curve's points; an epoch without a score breaks it."""
    known = sorted(values)
    epochs: list[int] = []
    for epoch, before in zip(known, [known[0], *known], strict=False):
        epochs += [epoch - 1, epoch] if epoch - before > 1 else [epoch]
    return epochs, [values.get(epoch) for epoch in epochs]


def _line(values: Mapping[int, float], name: str, trial: str, **line: Any) -> dict[str, Any]:
    x, y = _points(values)
    return {
        "type": "scatter", "mode": "lines", "name": shown(name), "x": x, "y": y, "line": line,
        "customdata": [shown(trial)] * len(x),
        "hovertemplate": "%{customdata}<br>epoch %{x}: %{y:.4f}<extra></extra>",
    }  # fmt: skip


def _lines(status: str, trials: Curves, high: float, *, many: bool) -> list[dict[str, Any]]:
    """All trials of a status as one trace, broken between them, and the marks of their ends."""
    x: list[int | None] = []
    y: list[float | None] = []
    names: list[str | None] = []
    for trial_id, values in trials.items():
        own_x, own_y = _points(values)
        x += [*own_x, None]
        y += [*own_y, None]
        names += [*[shown(trial_id)] * len(own_x), None]
    color = f"var(--{status})"
    faint = many and status == "stopped"
    ends = {trial_id: max(values) for trial_id, values in trials.items() if values[max(values)] <= high}
    return [
        {
            "type": "scatter", "mode": "lines", "name": f"{len(trials)} {status}", "legendgroup": status,
            "x": x, "y": y, "customdata": names,
            "hovertemplate": "%{customdata}<br>epoch %{x}: %{y:.4f}<extra></extra>",
            "line": {"color": color, "width": 1 if status == "stopped" else 1.5, "dash": DASH.get(status, "solid")},
            "opacity": 0.5 if faint else 0.9, "showlegend": False,
        },
        {
            "type": "scatter", "mode": "lines+markers", "name": f"{len(trials)} {status}", "legendgroup": status,
            "x": [value for epoch in ends.values() for value in (epoch, None)],
            "y": [value for trial_id, epoch in ends.items() for value in (trials[trial_id][epoch], None)],
            "customdata": [value for trial_id in ends for value in (shown(trial_id), None)],
            "hovertemplate": f"%{{customdata}}, {status}<br>epoch %{{x}}: %{{y:.4f}}<extra></extra>",
            "line": {"color": color, "width": 1.5, "dash": DASH.get(status, "solid")},
            "marker": {"symbol": SYMBOLS[status], "size": 8, "color": color, "line": {"color": color, "width": 1.8}},
        },
    ]  # fmt: skip


def _levels(
    baselines: Mapping[str, Mapping[str, float]], low: float, high: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Baselines as lines with their names at the right, which do not lie on each other."""
    levels = {name: row["val_theils_u"] for name, row in baselines.items() if row.get("val_theils_u")}
    shapes, labels, above = [], [], -math.inf
    pixels = (HEIGHT - 86) / (high - low)
    for name, value in sorted(({"persistence": 1.0} | levels).items(), key=lambda level: -level[1]):
        if not low <= value <= high:
            continue
        own = name == "persistence"
        down = (high - value) * pixels
        above = max(down, above + LABEL)
        color = "var(--ink)" if own else "var(--base-ink)"
        shapes.append(
            {
                "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "layer": "above",
                "line": {"color": color, "width": 1.4 if own else 1, "dash": "solid" if own else "2px,4px"},
            }
        )  # fmt: skip
        labels.append(
            {
                "xref": "paper", "x": 1, "xanchor": "left", "xshift": 6, "y": value, "yshift": down - above,
                "text": shown(name), "showarrow": False, "font": {"color": color, "size": 12},
            }
        )  # fmt: skip
    return shapes, labels


def _last(values: Mapping[int, float]) -> float:
    return values[max(values)]


def _step(epochs: int, most: int = 10) -> int:
    return next((step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if epochs / step <= most), 1000)


def _caption(
    findings: StudyData,
    trials: Curves,
    shown_ones: int,
    best: str,
    score: float,
    high: float,
    everything: Sequence[float],
) -> str:
    said = [
        f"{len(trials)} {'trials' if len(trials) > 1 else 'trial'}; the best is {best} with {score:.4f}. Below 1.0 "
        "a trial beats 'tomorrow equals today'."
    ]
    if shown_ones < len(trials):
        said.append(f"{shown_ones} of them are drawn, from the best to the worst.")
    if findings.rungs:
        said.append(f"ASHA stops trials at its rungs, {at_epochs(findings.rungs)}.")
    if above := sum(value > high for value in everything):
        said.append(
            f"{above} {'epochs score' if above > 1 else 'epoch scores'} above {high:.4g}, where the chart ends; the "
            f"highest has {max(everything):.4g}. Double-click shows all."
        )
    return " ".join(said)
