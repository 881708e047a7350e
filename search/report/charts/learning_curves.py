"""Draw learning curves: of all trials of a study, or of the best trial of each of several studies."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.common.text import Text
from search.report.charts.base import (
    DASHES,
    HUES,
    SYMBOLS,
    Chart,
    build_axis,
    build_layout,
    build_vertical_line,
    capitalize,
    choose_score_range,
    escape,
    select_evenly,
)
from search.results.event_log import DEFAULT, RUNNING
from search.results.reader import StudyData
from search.results.verdict import describe_rival, name_rival
from stockrnn.tasks.task import Task

__all__ = ["draw_best_curves", "draw_learning_curves", "name_score"]

DRAWING_ORDER = ("stopped", "interrupted", "failed", "diverged", RUNNING, "complete", DEFAULT)  # the last lies on top
DASH = {"diverged": "6px,3px", "failed": "2px,3px", "interrupted": "8px,3px,2px,3px"}
HEIGHT, LABEL_HEIGHT = 440, 15  # pixels
HOVER = "%{customdata}<br>%{x}: %{y:.4f}<extra></extra>"
MAX_POINTS = 100_000  # epochs of all curves together
Curves = Mapping[str, Mapping[int, float]]


def draw_learning_curves(study: StudyData) -> Chart | None:
    """Draw the relative loss by epoch of every trial; return None if no epoch has a score."""
    trials: Curves = study.curves
    if not trials:
        return None
    bests = {trial_id: min(values.values()) for trial_id, values in trials.items()}
    everything = [value for values in trials.values() for value in values.values()]
    best = min(bests, key=lambda trial_id: bests[trial_id])
    low, high = choose_score_range(everything, [*bests.values()])
    data = []
    whole, trials = trials, _select(trials, bests)
    for status in DRAWING_ORDER:
        own = [trial_id for trial_id in trials if study.log.statuses[trial_id] == status]
        if own:
            data += _draw_lines(status, {trial_id: trials[trial_id] for trial_id in own}, high, many=len(trials) > 40)
    data.append(
        _draw_line(
            trials[best], Text("best: {trial}", trial=escape(best)), best, color="var(--ink)", width=2.5, dash="solid"
        )
    )
    if above := [trial_id for trial_id, values in trials.items() if values[max(values)] > high]:
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": Text("last epoch above the axis"), "hoverinfo": "text",
                "x": [max(trials[trial_id]) for trial_id in above], "y": [high - 0.01 * (high - low)] * len(above),
                "hovertext": [
                    Text("{trial}, last epoch: {score:.4g}", trial=escape(name), score=_last_score(trials[name]))
                    for name in above
                ],
                "marker": {"symbol": "triangle-up", "size": 8, "color": "var(--soft)"},
            }
        )  # fmt: skip
    epochs = max(max(values) for values in whole.values())
    shapes, labels = _draw_levels(study.task.rival, study.manifest.get("baselines") or {}, low, high)
    for rung in study.rungs:
        if rung <= epochs:
            shape, label = build_vertical_line(rung, Text("rung {n}", n=rung))
            shapes.append(shape)
            labels.append(label)
    score = Text(study.task.words.score)
    return Chart(
        id="chart-learning-curves",
        title=Text("{score} on validation by epoch, one line per trial", score=capitalize(score)),
        text=_write_caption(study, whole, len(trials), best, bests[best], high, everything),
        data=data,
        layout=build_layout(
            xaxis=build_axis(
                Text("epoch"), range=[1 - 0.02 * epochs, epochs + 0.03 * max(epochs, 2)], showgrid=False,
                dtick=_choose_step(epochs),
            ),
            yaxis=build_axis(score, range=[low, high]),
            shapes=shapes, annotations=labels, margin={"l": 60, "r": 92, "t": 40, "b": 46},
        ),
        height=HEIGHT,
        narrow={
            "margin.r": 82 + 8 * max(0, len(study.task.rival) - len("persistence")), "margin.l": 46,
            "xaxis.dtick": _choose_step(epochs, 5),
        },
    )  # fmt: skip


def draw_best_curves(studies: Sequence[tuple[str, StudyData]]) -> Chart | None:
    """Draw the relative loss by epoch of the best trial of each study; return None if no study has a score.

    Args:
        studies: name and files of each study.
    """
    data, everything, bests, epochs, captions = [], [], [], 1, []
    for number, (name, study) in enumerate(studies):
        trials = study.curves
        if not trials:
            continue
        best = min(trials, key=lambda trial_id: min(trials[trial_id].values()))
        values = trials[best]
        line = _draw_line(
            values, escape(f"{name}, {best}"), f"{name}, {best}", color=HUES[number % len(HUES)], width=2.2,
            dash=DASHES[number % len(DASHES)],
        )  # fmt: skip
        data.append(line | {"mode": "lines+markers", "marker": {"symbol": number % 40, "size": 6}})
        everything += [*values.values()]
        bests.append(min(values.values()))
        epochs = max(epochs, *values)
        captions.append(
            Text("Best trial of {study}: {trial} with {score:.4f}.", study=name, trial=best, score=bests[-1])
        )
    if not data:
        return None
    low, high = choose_score_range(everything, bests)
    tasks = {study.task for _, study in studies}
    task = tasks.pop() if len(tasks) == 1 else None
    shapes, labels = _draw_levels(task.rival if task else "rival", {}, low, high)
    score = name_score(task)
    return Chart(
        id="chart-best-curves",
        title=Text("{score} on validation by epoch, best trial of each study", score=capitalize(score)),
        text=[
            Text("One line per study: its best trial."),
            Text(
                "Below 1.0 the trial is better than {rival} on the same days.",
                rival=name_rival(task) if task else Text("its rival"),
            ),
            Text("Scores on different prices or folds are not comparable."),
            *captions,
        ],
        data=data,
        layout=build_layout(
            xaxis=build_axis(Text("epoch"), showgrid=False, range=[1 - 0.02 * epochs, epochs * 1.03]),
            yaxis=build_axis(score, range=[low, high]),
            shapes=shapes, annotations=labels, margin={"l": 60, "r": 92, "t": 40, "b": 46},
        ),
        height=HEIGHT,
        narrow={"margin.r": 82, "margin.l": 46},
    )  # fmt: skip


def name_score(task: Task | None) -> Text:
    """Return the name of the relative loss; None: of studies with different tasks."""
    return Text(task.words.score) if task else Text("relative loss")


def _select(trials: Curves, bests: Mapping[str, float]) -> Curves:
    """Return the curves to draw: all, or an even selection from best to worst with at most MAX_POINTS epochs."""
    chosen: set[str] = set()
    points = 0
    for trial_id in select_evenly(sorted(trials, key=lambda trial_id: bests[trial_id])):
        points += len(trials[trial_id])
        if points <= MAX_POINTS or not chosen:
            chosen.add(trial_id)
    return {trial_id: values for trial_id, values in trials.items() if trial_id in chosen}


def _list_points(values: Mapping[int, float]) -> tuple[list[int], list[float | None]]:
    """Return epochs and scores of a curve, with a gap where an epoch has no score."""
    known = sorted(values)
    epochs: list[int] = []
    for epoch, before in zip(known, [known[0], *known], strict=False):
        epochs += [epoch - 1, epoch] if epoch - before > 1 else [epoch]
    return epochs, [values.get(epoch) for epoch in epochs]


def _draw_line(values: Mapping[int, float], name: str, trial: str, **line: Any) -> dict[str, Any]:
    x, y = _list_points(values)
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": line,
        "customdata": [escape(trial)] * len(x),
        "hovertemplate": HOVER,
    }  # fmt: skip


def _draw_lines(status: str, trials: Curves, high: float, *, many: bool) -> list[dict[str, Any]]:
    """Return one trace with the curves of all trials of a status, and one with the marks of their last epochs."""
    x: list[int | None] = []
    y: list[float | None] = []
    names: list[str | None] = []
    for trial_id, values in trials.items():
        own_x, own_y = _list_points(values)
        x += [*own_x, None]
        y += [*own_y, None]
        names += [*[escape(trial_id)] * len(own_x), None]
    color = f"var(--{status})"
    faint = many and status == "stopped"
    ends = {trial_id: max(values) for trial_id, values in trials.items() if values[max(values)] <= high}
    return [
        {
            "type": "scatter", "mode": "lines", "name": f"{len(trials)} {status}", "legendgroup": status,
            "x": x, "y": y, "customdata": names,
            "hovertemplate": HOVER,
            "line": {"color": color, "width": 1 if status == "stopped" else 1.5, "dash": DASH.get(status, "solid")},
            "opacity": 0.5 if faint else 0.9, "showlegend": False,
        },
        {
            "type": "scatter", "mode": "lines+markers", "name": f"{len(trials)} {status}", "legendgroup": status,
            "x": [value for epoch in ends.values() for value in (epoch, None)],
            "y": [value for trial_id, epoch in ends.items() for value in (trials[trial_id][epoch], None)],
            "customdata": [value for trial_id in ends for value in (escape(trial_id), None)],
            "hovertemplate": HOVER.replace("<br>", f", {status}<br>", 1),
            "line": {"color": color, "width": 1.5, "dash": DASH.get(status, "solid")},
            "marker": {"symbol": SYMBOLS[status], "size": 8, "color": color, "line": {"color": color, "width": 1.8}},
        },
    ]  # fmt: skip


def _draw_levels(
    rival: str, baselines: Mapping[str, Mapping[str, float]], low: float, high: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return horizontal lines for the baselines, and their names at the right, moved apart where they would overlap."""
    levels = {name: row["val_relative_loss"] for name, row in baselines.items() if row.get("val_relative_loss")}
    shapes, labels, above = [], [], -math.inf
    pixels = (HEIGHT - 86) / (high - low)
    for name, value in sorted(({rival: 1.0} | levels).items(), key=lambda level: -level[1]):
        if not low <= value <= high:
            continue
        own = name == rival
        down = (high - value) * pixels
        above = max(down, above + LABEL_HEIGHT)
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
                "text": escape(name), "showarrow": False, "font": {"color": color, "size": 12},
            }
        )  # fmt: skip
    return shapes, labels


def _last_score(values: Mapping[int, float]) -> float:
    return values[max(values)]


def _choose_step(epochs: int, max_ticks: int = 10) -> int:
    return next((step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if epochs / step <= max_ticks), 1000)


def _describe_level(study: StudyData) -> Text:
    name, forecast = name_rival(study.task), describe_rival(study.task, study.horizon)
    if study.task.words.rival_name != study.task.words.rival:  # the forecast says more than the name
        return Text("Below 1.0 a trial is better than {rival} ({forecast}).", rival=name, forecast=forecast)
    return Text("Below 1.0 a trial is better than {rival}.", rival=forecast)


def _write_caption(
    study: StudyData,
    trials: Curves,
    drawn_count: int,
    best: str,
    score: float,
    high: float,
    everything: Sequence[float],
) -> list[Text]:
    sentences = [
        Text("Trials: {n}; the best is {trial} with {score:.4f}.", n=len(trials), trial=best, score=score),
        _describe_level(study),
    ]
    if drawn_count < len(trials):
        sentences.append(Text("The chart shows {n} of them, from the best to the worst.", n=drawn_count))
    if study.rungs:
        rungs = ", ".join(map(str, study.rungs))
        sentences.append(Text("ASHA stops weak trials at its rungs (epochs {rungs}).", rungs=rungs))
    if above := sum(value > high for value in everything):
        values = {"n": above, "high": high, "highest": max(everything)}
        limit = Text(
            "Epochs with a score above {high:.4g}, the upper limit of the axis: {n}; the highest score is "
            "{highest:.4g}.",
            **values,
        )
        sentences += [limit, Text("Double-click the chart to see all.")]
    return sentences
