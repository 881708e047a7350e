"""Draw parameter importance, parallel coordinates of all trials, and the score against each parameter."""

import math
import random
from collections.abc import Sequence
from statistics import median
from typing import Any

from search.common.text import Text
from search.report.charts.base import (
    SYMBOLS,
    Chart,
    build_axis,
    build_layout,
    choose_score_range,
    escape,
    select_evenly,
)
from search.results.reader import ScoredTrial, StudyData
from search.space.parameters import Parameter, Value

__all__ = ["MIN_DRAWN_TRIALS", "MIN_SCORED_TRIALS", "draw_importance", "draw_parallel_coordinates", "draw_slices"]

MIN_SCORED_TRIALS = 20  # for importance; with fewer trials it is mostly noise
MIN_DRAWN_TRIALS = 10  # for a chart of the trials by parameter; fewer show chance
ABSENT = -0.12  # x of a parameter that a trial does not have; 0 to 1 is the domain of the parameter


def draw_importance(study: StudyData) -> Chart | None:
    """Draw the importance of the parameters; return None if there are too few trials or parameters."""
    if len(study.scored) < MIN_SCORED_TRIALS or len(study.varying) < 2:
        return None
    from search.report.charts.importance import compute_importance  # imports Optuna, which takes half a second

    trials = [(end.point, end.score) for end in select_evenly(study.scored)]
    shares = compute_importance(trials, study.varying, lower_is_better=study.lower_is_better)
    if not any(shares.values()):
        return None
    names = [*reversed(shares)]
    first = next(iter(shares))
    return Chart(
        id="chart-importance",
        title=Text("Parameter importance"),
        text=[
            Text(
                "How much each parameter decides whether a trial is among the best quarter of {n} trials (PED-ANOVA, "
                "in per cent of the total).",
                n=len(trials),
            ),
            Text("The most important parameter is {name}, with {share:.0f} %.", name=first, share=100 * shares[first]),
            Text("Trials that ASHA stopped count with their best score."),
            Text("The sampler tries some values more often than others, so importance is only a hint."),
        ],
        data=[
            {
                "type": "bar", "orientation": "h", "x": [100 * shares[name] for name in names],
                "y": list(range(len(names))), "marker": {"color": "var(--complete)"}, "hoverinfo": "skip",
                "text": [f"{100 * shares[name]:.1f} %" for name in names], "textposition": "outside",
                "cliponaxis": False, "textfont": {"color": "var(--ink)"},
            }
        ],
        layout=build_layout(
            showlegend=False, bargap=0.35, margin={"l": 60, "r": 60, "t": 8, "b": 40},
            xaxis=build_axis(Text("importance"), ticksuffix=" %", range=[0, max(100 * max(shares.values()), 1)]),
            yaxis=build_axis(
                tickvals=list(range(len(names))), ticktext=[escape(name) for name in names], showgrid=False,
                tickfont={"color": "var(--ink)"},
            ),
        ),
        height=70 + 28 * len(names),
    )  # fmt: skip


def draw_slices(study: StudyData) -> list[Chart]:
    """Draw the score against each varying parameter, one chart per parameter; none if there are too few trials."""
    scored = select_evenly(study.scored)
    if len(scored) < MIN_DRAWN_TRIALS:
        return []
    scores = [end.score for end in scored]
    low, high = _choose_range(study, scores)
    return [
        chart
        for number, parameter in enumerate(study.varying)
        if (chart := _draw_slice(study, scored, parameter, number, low, high))
    ]


def draw_parallel_coordinates(study: StudyData) -> Chart | None:
    """Draw one row per parameter and one line per trial; return None with too few trials or parameters."""
    scored, parameters = select_evenly(study.scored), study.varying
    if len(scored) < MIN_DRAWN_TRIALS or len(parameters) < 2:
        return None
    best, good = max(1, len(scored) // 10), max(2, len(scored) // 3)
    groups = [
        (Text("other {n}", n=len(scored) - good), scored[good:], "var(--stopped)", 0.8, 0.35, "solid"),
        (Text("next {n}", n=good - best), scored[best:good], "var(--interrupted)", 1.4, 0.8, "dash"),
        (Text("best {n}", n=best), scored[:best], "var(--complete)", 2.6, 1.0, "solid"),
    ]
    return Chart(
        id="chart-parallel-coordinates",
        title=Text("Parallel coordinates: one row per parameter, one line per trial"),
        text=[
            Text(
                "Each of {n} trials is a line through its parameter values; large values are on the right.",
                n=len(scored),
            ),
            Text("The best trials are blue. Where the blue lines meet, the best trials agree on the value."),
            Text(
                "Best trial, {trial}: {point}.", trial=scored[0].trial_id,
                point=", ".join(f"{name} {_format_value(value)}" for name, value in scored[0].point.items()),
            ),
        ],
        data=[_draw_lines(name, ends, parameters, color, width, opacity, dash)
              for name, ends, color, width, opacity, dash in groups if ends],
        layout=build_layout(
            xaxis=build_axis(visible=False, range=[-0.18, 1.06], fixedrange=True),
            yaxis=build_axis(
                tickvals=list(range(len(parameters))), ticktext=[escape(one.name) for one in parameters],
                showline=False, range=[len(parameters) - 0.35, -0.5], tickfont={"color": "var(--ink)"}, fixedrange=True,
            ),
            annotations=[label for row, one in enumerate(parameters) for label in _build_value_labels(one, row)],
        ),
        height=66 + 52 * len(parameters),
    )  # fmt: skip


def _choose_range(study: StudyData, scores: Sequence[float]) -> tuple[float, float]:
    """Return the y range of the slices, which cuts off scores far from those of the better trials."""
    if study.metric == "val_relative_loss":
        return choose_score_range(scores, scores)
    low, high, middle = min(scores), max(scores), median(scores)
    if study.lower_is_better:
        high = min(high, low + 3 * max(middle - low, 1e-9))
    else:
        low = max(low, high - 3 * max(high - middle, 1e-9))
    pad = 0.06 * max(high - low, 1e-6)
    return low - pad, high + pad


def _draw_slice(
    study: StudyData, scored: Sequence[ScoredTrial], parameter: Parameter, number: int, low: float, high: float
) -> Chart | None:
    own = [end for end in scored if parameter.name in end.point]
    own = [end for end in own if _locate(parameter, end.point[parameter.name]) is not None]
    if not own:
        return None
    rng = random.Random(0)  # horizontal jitter, so that the marks of a choice do not overlap
    choice = parameter.kind == "choice"
    data = []
    for status in SYMBOLS:
        here = [end for end in own if end.status == status]
        if not here:
            continue
        values = [end.point[parameter.name] for end in here]
        x = [parameter.values.index(value) + rng.uniform(-0.22, 0.22) for value in values] if choice else values
        color = f"var(--{status})"
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": status, "x": x,
                "y": [min(max(end.score, low), high) for end in here],
                "marker": {
                    "symbol": [SYMBOLS[status] if low <= end.score <= high else "triangle-up" for end in here],
                    "size": 7, "color": color, "opacity": 0.85, "line": {"color": color, "width": 1.4},
                },
                "hovertext": [
                    f"{escape(end.trial_id)}, {status}<br>{escape(_format_value(value))}: {end.score:.4g}"
                    for end, value in zip(here, values, strict=True)
                ],
                "hoverinfo": "text", "cliponaxis": False,
            }
        )  # fmt: skip
    if choice:
        data += _draw_medians(parameter, own, low, high)
    best = own[0]
    x_axis = build_axis(**_build_axis_settings(parameter))
    level = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1, "layer": "above",
        "line": {"color": "var(--soft)", "width": 1, "dash": "dot"},
    }  # fmt: skip
    outside = sum(not low <= end.score <= high for end in own)
    return Chart(
        id=f"chart-slice-{number}",
        title=parameter.name,
        text=[
            Text(
                "Best trial: {value} (score {score:.4g}).", value=_format_value(best.point[parameter.name]),
                score=best.score,
            ),
            *([Text("Outside the axis range: {n} of {all} trials.", n=outside, all=len(own))] if outside else []),
        ],
        data=data,
        layout=build_layout(
            showlegend=False, xaxis=x_axis, yaxis=build_axis(range=[low, high], nticks=5), height=220,
            margin={"l": 44, "r": 12, "t": 8, "b": 30}, shapes=[level] if study.metric == "val_relative_loss" else [],
        ),
        height=220,
    )  # fmt: skip


def _build_axis_settings(parameter: Parameter) -> dict[str, Any]:
    """Return the axis settings of a parameter: its choices, integers, or round numbers in its range."""
    if parameter.kind == "choice":
        return {
            "tickvals": list(range(len(parameter.values))),
            "ticktext": [escape(_format_value(value)) for value in parameter.values],
            "range": [-0.6, len(parameter.values) - 0.4], "showgrid": False,
        }  # fmt: skip
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        ratio = high / low
        steps = (1, 2, 5) if ratio <= 50 else (1,)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power * 1.0001 and
                 step * 10.0**power <= high * 1.0001]  # fmt: skip
        pad = 0.05 * math.log10(ratio)
        span = [math.log10(low) - pad, math.log10(high) + pad]
        return {
            "type": "log",
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
            "range": span,
            "tickangle": 0,
        }
    pad = 0.06 * (high - low)
    whole = {"dtick": 1} if parameter.kind == "int" and high - low <= 8 else {}
    return {"range": [low - pad, high + pad], **whole}


def _draw_medians(parameter: Parameter, ends: Sequence[ScoredTrial], low: float, high: float) -> list[dict[str, Any]]:
    x: list[float | None] = []
    y: list[float | None] = []
    for place, value in enumerate(parameter.values):
        scores = [end.score for end in ends if end.point[parameter.name] == value]
        if scores:
            middle = min(max(median(scores), low), high)
            x += [place - 0.32, place + 0.32, None]
            y += [middle, middle, None]
    line = {"color": "var(--ink)", "width": 2}
    return [
        {"type": "scatter", "mode": "lines", "name": Text("median"), "x": x, "y": y, "line": line, "hoverinfo": "skip"}
    ]


def _draw_lines(
    name: str, ends: Sequence[ScoredTrial], parameters: Sequence[Parameter], color: str, width: float,
    opacity: float, dash: str,
) -> dict[str, Any]:  # fmt: skip
    rng = random.Random(0)
    x: list[float | None] = []
    y: list[int | None] = []
    texts: list[str | None] = []
    for end in ends:
        jitter = rng.uniform(-0.012, 0.012)
        for row, parameter in enumerate(parameters):
            point = end.point
            place = _locate(parameter, point[parameter.name]) if parameter.name in point else None
            x.append(ABSENT if place is None else place + (jitter if parameter.kind != "float" else 0))
            y.append(row)
            value = _format_value(point[parameter.name]) if parameter.name in point else Text("not used")
            texts.append(f"{escape(end.trial_id)}: {end.score:.4f}<br>{escape(parameter.name)} {escape(value)}")
        x.append(None)
        y.append(None)
        texts.append(None)
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "hovertext": texts, "hoverinfo": "text",
        "line": {"color": color, "width": width, "dash": dash}, "opacity": opacity,
    }  # fmt: skip


def _build_value_labels(parameter: Parameter, row: int) -> list[dict[str, Any]]:
    """Return the value labels below the row of a parameter: all choices, or both ends and the middle of a range."""
    if parameter.kind == "choice":
        places = [(_locate(parameter, value), _format_value(value)) for value in parameter.values]
    else:
        low, high = float(parameter.low), float(parameter.high)
        middle = math.sqrt(low * high) if parameter.log else (low + high) / 2
        places = [(0.0, _format_value(parameter.low)), (0.5, f"{middle:.3g}"), (1.0, _format_value(parameter.high))]
    if parameter.when:
        places.append((ABSENT, Text("not used")))
    return [
        {
            "x": place, "y": row, "text": label if isinstance(label, Text) else escape(label), "showarrow": False,
            "yshift": -12, "font": {"size": 11}, "bgcolor": "var(--veil)", "borderpad": 1,
        }
        for place, label in places
    ]  # fmt: skip


def _locate(parameter: Parameter, value: Value) -> float | None:
    """Return the position of a value in the domain of its parameter, from 0 to 1; None outside."""
    if not parameter.contains(value):
        return None
    if parameter.kind == "choice":
        return parameter.values.index(value) / max(1, len(parameter.values) - 1)
    low, high, number = float(parameter.low), float(parameter.high), float(value)  # type: ignore[arg-type]
    if high == low:
        return 0.5
    if parameter.log:
        return math.log(number / low) / math.log(high / low)
    return (number - low) / (high - low)


def _format_value(value: Any) -> str:
    """Return a value as a space file contains it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
