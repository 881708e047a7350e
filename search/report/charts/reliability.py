"""Draw the reliability of probabilities: how often what was forecast with a probability happened."""

import math
from typing import Any

from search.common.text import Text
from search.report.charts.base import Chart, build_axis, build_layout
from search.results.reader import StudyData
from stockrnn.tasks.direction import reliability

__all__ = ["draw_reliability"]

TWO_SIDED_95 = 1.96  # standard errors
MIN_DAYS_A_GROUP = 20
MAX_GROUPS = 10


def draw_reliability(study: StudyData) -> Chart | None:
    """Draw the share of rises against the probability, by group of days with similar forecasts of the best finalist.

    Return None without test forecasts, or if the forecasts are no probabilities.
    """
    first = next((trial_id for trial_id in study.finalists if trial_id in study.test), None)
    if first is None or study.task.scale != "probability":
        return None
    days = study.test[first]
    groups = max(1, min(MAX_GROUPS, len(days.dates) // MIN_DAYS_A_GROUP))
    table = reliability(days.forecast, days.actual, groups)
    means, shares = [100 * mean for mean, _, _ in table], [100 * share for _, share, _ in table]
    errors = [100 * TWO_SIDED_95 * math.sqrt(mean * (1 - mean) / count) for mean, _, count in table]
    bounds = [means[0], means[-1]]
    points: dict[str, Any] = {
        "type": "scatter", "mode": "markers", "name": Text("group of days"), "x": means, "y": shares,
        "marker": {"size": 9, "color": "var(--complete)"},
        "hovertemplate": "%{x:.1f} %: %{y:.1f} %<extra></extra>",
    }  # fmt: skip
    chance: dict[str, Any] = {
        "type": "scatter", "mode": "markers", "name": Text("95 % by chance"), "x": means, "y": means,
        "marker": {"symbol": "line-ns-open", "size": 10, "color": "var(--soft)"}, "hoverinfo": "skip",
        "error_y": {"type": "data", "array": errors, "color": "var(--soft)", "thickness": 1.4, "width": 5},
    }  # fmt: skip
    diagonal: dict[str, Any] = {
        "type": "scatter", "mode": "lines", "name": Text("perfect calibration"), "x": bounds, "y": bounds,
        "line": {"color": "var(--ink)", "width": 1.2, "dash": "dot"}, "hoverinfo": "skip",
    }  # fmt: skip
    return Chart(
        id="chart-reliability",
        title=Text("Reliability: share of rises by forecast probability on the test set"),
        text=[
            Text(
                "The days of the test set in {n} groups of similar size, by the probability that {trial} forecast.",
                n=len(table), trial=first,
            ),
            Text("On the dotted line, the share of rises is equal to the probability."),
            Text("If the probability is right, 95 % of the shares are inside the bars."),
        ],
        data=[diagonal, chance, points],
        layout=build_layout(
            xaxis=build_axis(Text("mean probability"), ticksuffix=" %"),
            yaxis=build_axis(Text("share of rises"), ticksuffix=" %"),
        ),
        height=340, narrow={"margin.l": 48, "margin.r": 10},
        head=(Text("mean probability"), Text("share of rises"), Text("days")),
        rows=[[f"{100 * mean:.1f} %", f"{100 * share:.1f} %", count] for mean, share, count in table],
    )  # fmt: skip
