"""What mattered, as charts: importance of the parameters, the score against each, and whole points side by side."""

import math
import random
from collections.abc import Sequence
from statistics import median
from typing import Any

from search.report.charts.base import SYMBOLS, Chart, axis, between, evenly_spaced, layout, shown
from search.results.reader import ScoredTrial, StudyData
from search.space.parameters import Parameter, Value

__all__ = ["TOO_FEW", "important", "points", "slices"]

TOO_FEW = 20  # scored trials; of fewer, importance says more of luck than of parameters
ABSENT = -0.12  # where a parameter that a trial does not have is drawn; 0 to 1 is its domain


def important(findings: StudyData) -> Chart | None:
    """Importance of the parameters; None where trials or parameters are too few."""
    if len(findings.scored) < TOO_FEW or len(findings.varying) < 2:
        return None
    from search.report.charts.importance import importances  # Optuna: half a second

    trials = [(end.point, end.score) for end in evenly_spaced(findings.scored)]
    shares = importances(trials, findings.varying, lower_is_better=findings.lower_is_better)
    if not any(shares.values()):
        return None
    names = [*reversed(shares)]
    first = next(iter(shares))
    return Chart(
        id="chart-importance",
        title="Importance of the parameters",
        text=f"How much a parameter decides whether a trial is among the best quarter of {len(trials)} (PED-ANOVA, "
        f"shares of all). {first} matters most, with {100 * shares[first]:.0f} %. Trials that ASHA stopped count with "
        f"what they had reached. The sampler did not try all values equally often: read it as a hint.",
        data=[
            {
                "type": "bar", "orientation": "h", "x": [100 * shares[name] for name in names],
                "y": list(range(len(names))), "marker": {"color": "var(--complete)"}, "hoverinfo": "skip",
                "text": [f"{100 * shares[name]:.1f} %" for name in names], "textposition": "outside",
                "cliponaxis": False, "textfont": {"color": "var(--ink)"},
            }
        ],
        layout=layout(
            showlegend=False, bargap=0.35, margin={"l": 60, "r": 60, "t": 8, "b": 40},
            xaxis=axis("share of the importance", ticksuffix=" %", range=[0, max(100 * max(shares.values()), 1)]),
            yaxis=axis(
                tickvals=list(range(len(names))), ticktext=[shown(name) for name in names], showgrid=False,
                tickfont={"color": "var(--ink)"},
            ),
        ),
        height=70 + 28 * len(names),
    )  # fmt: skip


def slices(findings: StudyData) -> list[Chart]:
    """The score against each parameter that varies, one chart each."""
    scored = evenly_spaced(findings.scored)
    if not scored:
        return []
    scores = [end.score for end in scored]
    low, high = _range(findings, scores)
    return [
        chart
        for number, parameter in enumerate(findings.varying)
        if (chart := _slice(findings, scored, parameter, number, low, high))
    ]


def points(findings: StudyData) -> Chart | None:
    """Every trial's values, one row a parameter, a line a trial; None with fewer than two of either."""
    scored, parameters = evenly_spaced(findings.scored), findings.varying
    if len(scored) < 2 or len(parameters) < 2:
        return None
    best, good = max(1, len(scored) // 10), max(2, len(scored) // 3)
    groups = [
        (f"other {len(scored) - good}", scored[good:], "var(--stopped)", 0.8, 0.35, "solid"),
        (f"next {good - best}", scored[best:good], "var(--interrupted)", 1.4, 0.8, "dash"),
        (f"best {best}", scored[:best], "var(--complete)", 2.6, 1.0, "solid"),
    ]
    return Chart(
        id="chart-points",
        title="The parameters of every trial, one row a parameter, one line a trial",
        text=f"From top to bottom through the values of {len(scored)} trials, small values left, large ones right; "
        f"the best are blue. Where their lines run together, the parameter is settled. The best trial, "
        f"{scored[0].trial_id}: "
        + ", ".join(f"{name} {_words(value)}" for name, value in scored[0].point.items()) + ".",
        data=[_bundle(name, ends, parameters, color, width, opacity, dash)
              for name, ends, color, width, opacity, dash in groups if ends],
        layout=layout(
            xaxis=axis(visible=False, range=[-0.18, 1.06], fixedrange=True),
            yaxis=axis(
                tickvals=list(range(len(parameters))), ticktext=[shown(one.name) for one in parameters], showline=False,
                range=[len(parameters) - 0.35, -0.5], tickfont={"color": "var(--ink)"}, fixedrange=True,
            ),
            annotations=[label for row, one in enumerate(parameters) for label in _labels(one, row)],
        ),
        height=66 + 52 * len(parameters),
    )  # fmt: skip


def _range(findings: StudyData, scores: Sequence[float]) -> tuple[float, float]:
    """The scores that the slices show: those of the better trials, where others lie far off."""
    if findings.metric == "val_theils_u":
        return between(scores, scores)
    low, high, middle = min(scores), max(scores), median(scores)
    if findings.lower_is_better:
        high = min(high, low + 3 * max(middle - low, 1e-9))
    else:
        low = max(low, high - 3 * max(high - middle, 1e-9))
    pad = 0.06 * max(high - low, 1e-6)
    return low - pad, high + pad


def _slice(
    findings: StudyData, scored: Sequence[ScoredTrial], parameter: Parameter, number: int, low: float, high: float
) -> Chart | None:
    own = [end for end in scored if parameter.name in end.point]
    own = [end for end in own if _place(parameter, end.point[parameter.name]) is not None]
    if not own:
        return None
    chance = random.Random(0)  # choices lie beside each other, so that their points can be told apart
    choice = parameter.kind == "choice"
    data = []
    for status in SYMBOLS:
        here = [end for end in own if end.status == status]
        if not here:
            continue
        values = [end.point[parameter.name] for end in here]
        x = [parameter.values.index(value) + chance.uniform(-0.22, 0.22) for value in values] if choice else values
        color = f"var(--{status})"
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": status, "x": x,
                "y": [min(max(end.score, low), high) for end in here],
                "marker": {
                    "symbol": [SYMBOLS[status] if low <= end.score <= high else "triangle-up" for end in here],
                    "size": 7, "color": color, "opacity": 0.85, "line": {"color": color, "width": 1.4},
                },
                "hovertext": [f"{shown(end.trial_id)}, {status}<br>{shown(_words(value))}: {end.score:.4g}"
                              for end, value in zip(here, values, strict=True)],
                "hoverinfo": "text", "cliponaxis": False,
            }
        )  # fmt: skip
    if choice:
        data += _medians(parameter, own, low, high)
    best = own[0]
    x_axis = axis(**_scale(parameter))
    level = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1, "layer": "above",
        "line": {"color": "var(--soft)", "width": 1, "dash": "dot"},
    }  # fmt: skip
    beyond = sum(not low <= end.score <= high for end in own)
    return Chart(
        id=f"chart-slice-{number}",
        title=parameter.name,
        text=f"Best at {_words(best.point[parameter.name])} ({best.score:.4g})."
        + (f" {beyond} of {len(own)} lie beyond the edge." if beyond else ""),
        data=data,
        layout=layout(
            showlegend=False, xaxis=x_axis, yaxis=axis(range=[low, high], nticks=5), height=220,
            margin={"l": 44, "r": 12, "t": 8, "b": 30}, shapes=[level] if findings.metric == "val_theils_u" else [],
        ),
        height=220,
    )  # fmt: skip


def _scale(parameter: Parameter) -> dict[str, Any]:
    """The axis of a parameter: its choices, its few whole numbers, or a range with round numbers."""
    if parameter.kind == "choice":
        return {
            "tickvals": list(range(len(parameter.values))),
            "ticktext": [shown(_words(value)) for value in parameter.values],
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


def _medians(parameter: Parameter, ends: Sequence[ScoredTrial], low: float, high: float) -> list[dict[str, Any]]:
    x: list[float | None] = []
    y: list[float | None] = []
    for place, value in enumerate(parameter.values):
        scores = [end.score for end in ends if end.point[parameter.name] == value]
        if scores:
            middle = min(max(median(scores), low), high)
            x += [place - 0.32, place + 0.32, None]
            y += [middle, middle, None]
    line = {"color": "var(--ink)", "width": 2}
    return [{"type": "scatter", "mode": "lines", "name": "median", "x": x, "y": y, "line": line, "hoverinfo": "skip"}]


def _bundle(
    name: str, ends: Sequence[ScoredTrial], parameters: Sequence[Parameter], color: str, width: float,
    opacity: float, dash: str,
) -> dict[str, Any]:  # fmt: skip
    chance = random.Random(0)
    x: list[float | None] = []
    y: list[int | None] = []
    texts: list[str | None] = []
    for end in ends:
        apart = chance.uniform(-0.012, 0.012)
        for row, parameter in enumerate(parameters):
            point = end.point
            place = _place(parameter, point[parameter.name]) if parameter.name in point else None
            x.append(ABSENT if place is None else place + (apart if parameter.kind != "float" else 0))
            y.append(row)
            value = _words(point[parameter.name]) if parameter.name in point else "not used"
            texts.append(f"{shown(end.trial_id)}: {end.score:.4f}<br>{shown(parameter.name)} {shown(value)}")
        x.append(None)
        y.append(None)
        texts.append(None)
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "hovertext": texts, "hoverinfo": "text",
        "line": {"color": color, "width": width, "dash": dash}, "opacity": opacity,
    }  # fmt: skip


def _labels(parameter: Parameter, row: int) -> list[dict[str, Any]]:
    """The values under a parameter's row: every choice, or both ends and the middle of a range."""
    if parameter.kind == "choice":
        places = [(_place(parameter, value), _words(value)) for value in parameter.values]
    else:
        low, high = float(parameter.low), float(parameter.high)
        middle = math.sqrt(low * high) if parameter.log else (low + high) / 2
        places = [(0.0, _words(parameter.low)), (0.5, f"{middle:.3g}"), (1.0, _words(parameter.high))]
    if parameter.when:
        places.append((ABSENT, "not used"))
    return [
        {
            "x": place, "y": row, "text": shown(words), "showarrow": False, "yshift": -12, "font": {"size": 11},
            "bgcolor": "var(--veil)", "borderpad": 1,
        }
        for place, words in places
    ]  # fmt: skip


def _place(parameter: Parameter, value: Value) -> float | None:
    """Where a value lies in its parameter's domain, from 0 to 1; None outside."""
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


def _words(value: Any) -> str:
    """A value as a space file writes it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
