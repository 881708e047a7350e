"""Draw the test set: forecasts and actual values, cumulative advantage over the rival, spread of the finalists."""

from dataclasses import replace
from typing import Any

import numpy as np

from search.common.text import Text
from search.report.charts.base import (
    DASHES,
    HUES,
    Chart,
    build_axis,
    build_layout,
    build_vertical_line,
    capitalize,
    escape,
    recent_views,
)
from search.results.leaderboard import parse_number
from search.results.ranking import ENSEMBLE
from search.results.reader import Days, StudyData
from search.results.verdict import baseline_label, name_rival
from stockrnn.evaluation.adaptive_intervals import adaptive_intervals, log_errors
from stockrnn.evaluation.conformal import conformal_intervals
from stockrnn.io.errors import UserError
from stockrnn.prices.snapshot import read_prices
from stockrnn.tasks.interval_scale import interval_scales
from stockrnn.tasks.task import Task

__all__ = ["draw_cumulative_advantage", "draw_forecasts", "draw_spread"]

LEVEL = 0.8  # of the interval
HALF = 0.5  # between the values of a direction, 0 and 1
NARROW = {"margin.l": 48, "margin.r": 10}


def draw_forecasts(study: StudyData) -> Chart | None:
    """Draw actual values, the best finalist's forecast and the rival's; return None without test forecasts."""
    first = next((trial_id for trial_id in study.finalists if trial_id in study.test), None)
    if first is None:
        return None
    days = study.test[first]
    task, words = study.task, study.task.words
    unit, digits = (" %", ".1f") if task.scale == "probability" else ("", ",.2f")
    if task.scale == "probability":
        days = replace(days, forecast=100 * days.forecast, rival=100 * days.rival)
    width, follows = _compute_half_widths(study, first) if task.has_intervals else (None, False)
    data: list[dict[str, Any]] = []
    hover = [f"{value:{digits}}{unit}" for value in days.forecast]
    inside: list[Text] = []
    if width is not None:
        low, high = days.forecast * np.exp(-width), days.forecast * np.exp(width)
        edge = {"type": "scatter", "mode": "lines", "x": days.dates, "line": {"width": 0}, "hoverinfo": "skip"}
        data += [
            {**edge, "y": low.tolist(), "showlegend": False, "legendgroup": "band"},
            {**edge, "y": high.tolist(), "fill": "tonexty", "fillcolor": "var(--band)", "name": Text("80 % interval"),
             "legendgroup": "band"},
        ]  # fmt: skip
        hover = [f"{value:,.2f} ({a:,.2f} to {b:,.2f})" for value, a, b in zip(days.forecast, low, high, strict=True)]
        coverage = np.mean((low <= days.actual) & (days.actual <= high))
        values: dict[str, Any] = {"share": 100 * coverage, "actual": Text(words.actual)}
        inside = [
            Text(
                "The width of the 80 % interval comes from the errors on validation; the interval contains "
                "{share:.0f} % of the {actual}.",
                **values,
            )
        ]
        if follows:
            inside = [
                Text(
                    "The 80 % interval follows the volatility and adapts its level day by day; it contains "
                    "{share:.0f} % of the {actual}.",
                    **values,
                )
            ]
    data += [
        {
            "type": "scatter", "mode": "lines", "name": Text(baseline_label(task.rival)), "x": days.dates,
            "y": days.rival.tolist(), "line": {"color": "var(--test)", "width": 1.4, "dash": "dot"},
            "hovertemplate": f"%{{y:{digits}}}{unit}",
        },
        {
            "type": "scatter", "mode": "lines", "name": Text("forecast of {trial}", trial=escape(first)),
            "x": days.dates, "y": days.forecast.tolist(),
            "line": {"color": "var(--complete)", "width": 2, "dash": "dash"},
            "customdata": hover, "hovertemplate": "%{customdata}",
        },
    ]  # fmt: skip
    data += _draw_outcomes(days) if task.scale == "probability" else [
        {
            "type": "scatter", "mode": "lines", "name": Text("actual"), "x": days.dates, "y": days.actual.tolist(),
            "line": {"color": "var(--ink)", "width": 1.6}, "hovertemplate": "%{y:,.2f}",
        },
    ]  # fmt: skip
    views = recent_views(days.dates)
    return Chart(
        id="chart-forecasts",
        title=Text(
            "Test set: {actual}, forecast of the best finalist, and {rival}", actual=Text(words.actual),
            rival=name_rival(task),
        ),
        text=[
            Text(
                "{n} days that no trial used, {start} to {end}, in {unit}.",
                n=len(days.dates), start=days.dates[0], end=days.dates[-1], unit=Text(words.unit),
            ),
            Text(
                "The forecast of {trial} has {name} {score:.4f}; below 1 its {loss} is smaller than that of {rival}.",
                trial=first, name=Text(words.score), loss=Text(words.loss),
                rival=Text(words.rival_meaning) if words.rival_meaning else name_rival(task),
                score=_compute_relative_loss(task, study.test[first]),
            ),
            *inside,
            *([Text(words.caution)] if words.caution else []),
        ],
        data=data,
        layout=build_layout(
            hovermode="x unified",
            xaxis=build_axis(range=[*next(iter(views.values()))], hoverformat="%Y-%m-%d", tickformat="%b %-d<br>%Y"),
            yaxis=build_axis(Text(words.label), ticksuffix=unit, **_build_scale(task)),
        ),
        height=440, narrow=NARROW,
        views=views if len(views) > 1 else {},
    )  # fmt: skip


def draw_cumulative_advantage(study: StudyData) -> Chart | None:
    """Draw the loss that each finalist has saved over the rival up to each day, in per cent.

    Return None without forecasts of the test set, or if the rival makes no error in it.
    """
    task, words, rival = study.task, study.task.words, name_rival(study.task)
    names = [name for name in (*study.finalists, ENSEMBLE) if name in study.test]
    if not names:
        return None
    data, captions = [], []
    for number, name in enumerate(names):
        days = study.test[name]
        rival_losses = task.loss(days.rival, days.actual)
        total = float(rival_losses.sum())
        if not total:
            return None
        saved = 100 * np.cumsum(rival_losses - task.loss(days.forecast, days.actual)) / total
        is_ensemble = name == ENSEMBLE
        label: str = Text("average of the finalists") if is_ensemble else escape(name)
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": label,
                "x": days.dates, "y": saved.tolist(), "hovertemplate": "%{y:.2f} %",
                "line": {
                    "color": "var(--ink)" if is_ensemble else HUES[number % len(HUES)], "width": 1.8,
                    "dash": "dot" if is_ensemble else DASHES[number % len(DASHES)],
                },
            }
        )  # fmt: skip
        captions.append(
            Text("Average of the finalists: {share:+.2f} %.", share=saved[-1])
            if is_ensemble
            else Text("{trial}: {share:+.2f} %.", trial=name, share=saved[-1])
        )
    loss = Text(words.daily_loss)
    zero = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "layer": "above",
        "line": {"color": "var(--ink)", "width": 1.6},
    }  # fmt: skip
    return Chart(
        id="chart-cumulative-advantage",
        title=Text("Cumulative advantage over {rival} on the test set, by finalist", rival=rival),
        text=[
            Text(
                "{name} saved up to each day, in per cent of the {loss} of {rival} over the whole test set.",
                name=capitalize(loss), loss=loss, rival=rival,
            ),
            Text(
                "Above zero, the finalist has a smaller {loss} than {rival} so far.", loss=Text(words.loss), rival=rival
            ),
            Text("A steady rise is a sign of skill; a single step is one lucky week."),
            Text("Values on the last day:"),
            *captions,
        ],
        data=data,
        layout=build_layout(
            hovermode="x unified", shapes=[zero],
            xaxis=build_axis(hoverformat="%Y-%m-%d", tickformat="%b %-d<br>%Y"),
            yaxis=build_axis(Text("{loss} saved", loss=loss), ticksuffix=" %"),
        ),
        height=340, narrow=NARROW,
    )  # fmt: skip


def draw_spread(study: StudyData) -> Chart | None:
    """Draw the relative loss of the finalists by fold and on the test set; return None without forecasts."""
    rows = {row["trial_id"]: row for row in study.csv_board[1]}
    known = [name for name in study.finalists if name in study.validation]
    if not known:
        return None
    folds: dict[str, list[Any]] = {"x": [], "y": [], "hovertext": []}
    validation: dict[str, list[Any]] = {"x": [], "y": [], "sd": []}
    test: dict[str, list[Any]] = {"x": [], "y": [], "sd": []}
    table = []
    for place, name in enumerate(known):
        days, row = study.validation[name], rows.get(name, {})
        singles = {
            int(fold): _compute_relative_loss(study.task, days, days.folds == fold) for fold in np.unique(days.folds)
        }
        folds["x"] += singles.values()
        folds["y"] += [place - 0.16] * len(singles)
        folds["hovertext"] += [
            Text("{trial}, fold {n}: {score:.4f}", trial=escape(name), n=fold, score=single)
            for fold, single in singles.items()
        ]
        numbers = [
            parse_number(row.get(key, ""))
            for key in ("val_relative_loss", "val_relative_loss_sd", "test_relative_loss", "seeds_sd")
        ]
        pairs: tuple[Any, ...] = ((validation, *numbers[:2], place - 0.16), (test, *numbers[2:], place + 0.16))
        for target, value, sd, y in pairs:
            if value is not None:
                target["x"].append(value)
                target["y"].append(y)
                target["sd"].append(sd or 0)
        table.append([name, *(f"{single:.4f}" for single in singles.values()), *map(_format, numbers)])

    def dots(name: Text, symbol: str, color: str, values: dict[str, list[Any]]) -> dict[str, Any]:
        return {
            "type": "scatter", "mode": "markers", "name": name, "x": values["x"], "y": values["y"],
            "marker": {"symbol": symbol, "size": 11, "color": color, "line": {"color": color, "width": 1.6}},
            "error_x": {"type": "data", "array": values.get("sd", []), "color": color, "thickness": 1.5, "width": 5},
            "hovertext": values.get("hovertext")
            or [Text("{name}: {score:.4f}", name=name, score=value) for value in values["x"]],
            "hoverinfo": "text",
        }  # fmt: skip

    data = [
        dots(Text("single folds"), "circle-open", "var(--complete)", folds),
        dots(Text("validation ± sd over members"), "circle", "var(--complete)", validation),
    ]
    if test["x"]:
        data.append(dots(Text("test set ± sd over seeds"), "diamond", "var(--test)", test))
    shape, label = build_vertical_line(1, Text(baseline_label(study.task.rival)), "var(--ink)", "solid")
    score, short = Text(study.task.words.score), Text(study.task.words.short_score)
    subject = Text("Each row is a finalist.")
    if not study.test:
        subject = Text("Each row is one of the best trials, which can become finalists.")
    count = max(len(days) for days in table) - 5
    return Chart(
        id="chart-spread",
        title=Text("Spread of the finalists: {score} by fold, over members, and on the test set", score=score),
        text=[
            subject,
            Text("Left of 1 is better than {rival}.", rival=name_rival(study.task)),
            Text(
                "Widely spread dots mean that the score depends on the fold or on the seed; differences smaller than "
                "this spread are not meaningful."
            ),
        ],
        data=data,
        layout=build_layout(
            xaxis=build_axis(score),
            yaxis=build_axis(
                tickvals=list(range(len(known))), ticktext=[escape(name) for name in known],
                range=[len(known) - 0.5, -0.6], showgrid=False,
            ),
            shapes=[{**shape, "layer": "above"}], annotations=[label],
        ),
        height=130 + 56 * len(known), narrow={"margin.l": 40},
        head=(
            Text("finalist"),
            *(Text("{score} fold {n}", score=short, n=number) for number in range(1, count + 1)),
            Text("{score} validation", score=short), Text("sd over members"), Text("{score} test set", score=short),
            Text("sd over seeds"),
        ),
        rows=table,
    )  # fmt: skip


def _draw_outcomes(days: Days) -> list[dict[str, Any]]:
    """Return marks of the days with a rise, above the probabilities, and of the others, below them."""
    both = np.concatenate([days.forecast, days.rival])
    low, high = float(both.min()), float(both.max())
    pad = 0.1 * max(high - low, 1.0)
    marks: list[tuple[Text, np.ndarray, float, str, str]] = [
        (Text("rise"), days.actual > HALF, high + pad, "triangle-up", "var(--complete)"),
        (Text("no rise"), days.actual <= HALF, low - pad, "triangle-down", "var(--diverged)"),
    ]
    return [
        {
            "type": "scatter", "mode": "markers", "name": name, "y": [height] * int(chosen.sum()),
            "x": [day for day, own in zip(days.dates, chosen.tolist(), strict=True) if own],
            "marker": {"symbol": symbol, "size": 6, "color": color}, "hovertemplate": "1",
        }
        for name, chosen, height, symbol, color in marks
    ]  # fmt: skip


def _build_scale(task: Task) -> dict[str, Any]:
    """Return the settings of the axis of forecasts."""
    if task.scale == "log":
        return {"type": "log", "dtick": "D1", "tickformat": "~r"}
    return {"tickformat": ",~r"}


def _compute_relative_loss(task: Task, days: Days, own: np.ndarray | slice = slice(None)) -> float:
    return task.metrics["val_relative_loss"].value(days.forecast[own], days.actual[own], days.rival[own])


def _compute_half_widths(study: StudyData, trial_id: str) -> tuple[np.ndarray | None, bool]:
    """Return the half width of each test day's interval as a log return, (days,), and whether it follows volatility.

    It is computed as for the scores of the test set, from the study's own prices. Without them, all days have the width
    that the validation days give. None: the interval is unbounded.
    """
    days, test = study.validation.get(trial_id), study.test[trial_id]
    if days is None or not len(days.dates):
        return None, False
    errors = np.concatenate([log_errors(one.forecast, one.actual) for one in (days, test)])
    scale = _read_scale(study)
    if scale is not None and len(scale) == len(errors) and np.isfinite(errors).all():
        widths, _ = adaptive_intervals(errors, scale, LEVEL, horizon=study.horizon)
        own = widths[-len(test.dates) :]
        if np.isfinite(own).all():
            return own, True
    (interval,) = conformal_intervals(days.forecast, days.actual, (LEVEL,))
    return (None if interval.half_width is None else np.full(len(test.dates), interval.half_width)), False


def _read_scale(study: StudyData) -> np.ndarray | None:
    """Return the scale of the intervals on validation and test days, (days,); None if a file cannot be read."""
    space, copy = study.known_space, study.folder / "prices.parquet"
    if space is None or not copy.exists():
        return None
    try:
        prices, _ = read_prices(copy)
        splits = space.split(prices)
    except UserError:
        return None
    return np.concatenate(interval_scales(space.task, space.series(prices), [*splits.folds, splits.final]))


def _format(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
