"""Draw the forecast change and the error on the test set, where a forecast and its rival can be told apart."""

from typing import Any

import numpy as np

from search.common.text import Text
from search.report.charts.base import Chart, build_axis, build_layout, escape, recent_views
from search.results.reader import StudyData
from search.results.verdict import name_rival

__all__ = ["draw_changes"]


def draw_changes(study: StudyData) -> Chart | None:
    """Draw the changes that the best finalist forecast, the actual ones, and by how much its error was larger.

    Return None without test forecasts, or if the rival is not the last known value.
    """
    first = next((trial_id for trial_id in study.finalists if trial_id in study.test), None)
    if first is None or not study.task.rival_is_last_value:
        return None
    days, rival = study.test[first], name_rival(study.task)
    forecast, actual = 100 * (days.forecast / days.rival - 1), 100 * (days.actual / days.rival - 1)
    excess = np.abs(forecast - actual) - np.abs(actual)
    views = recent_views(days.dates)
    closer = float(np.mean(excess < 0))
    bars = [
        (Text("closer than {rival}", rival=rival), excess < 0, "var(--complete)", ""),
        (Text("further off than {rival}", rival=rival), excess >= 0, "var(--diverged)", "/"),
    ]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": Text("actual change"), "x": days.dates, "y": actual.tolist(),
            "line": {"color": "var(--stopped)", "width": 1.2}, "hovertemplate": "%{y:+.2f} %",
        },
        {
            "type": "scatter", "mode": "lines", "x": days.dates,
            "name": Text("forecast change of {trial}", trial=escape(first)), "y": forecast.tolist(),
            "line": {"color": "var(--complete)", "width": 2.2}, "hovertemplate": "%{y:+.3f} %",
        },
        *(
            {
                "type": "bar", "name": name, "x": [day for day, own in zip(days.dates, chosen, strict=True) if own],
                "y": excess[chosen].tolist(), "yaxis": "y2", "hovertemplate": "%{y:+.3f} %",
                "marker": {"color": color, "line": {"width": 0}, "pattern": {"shape": shape, "size": 4}},
            }
            for name, chosen, color, shape in bars
        ),
    ]  # fmt: skip
    zero = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "layer": "above",
        "line": {"color": "var(--ink)", "width": 1.2, "dash": "dot"},
    }  # fmt: skip
    return Chart(
        id="chart-changes",
        title=Text("Test set: forecast change, actual change, and error compared with {rival}", rival=rival),
        text=[
            Text(
                "Above: the change that {trial} forecast, and the change that followed; {rival} is the dotted line at "
                "zero.",
                trial=first, rival=rival,
            ),
            Text(
                "The forecast change has a mean size of {forecast:.2f} %, the actual change {actual:.2f} %.",
                forecast=np.mean(np.abs(forecast)), actual=np.mean(np.abs(actual)),
            ),
            *_describe_correlation(forecast, actual),
            Text("Below: the absolute error minus that of {rival}.", rival=rival),
            Text("The forecast was closer on {share:.0f} % of the {n} days.", share=100 * closer, n=len(days.dates)),
        ],
        data=data,
        layout=build_layout(
            hovermode="x unified", barmode="overlay", bargap=0.1,
            xaxis=build_axis(
                range=[*next(iter(views.values()))], hoverformat="%Y-%m-%d", tickformat="%b %-d<br>%Y", anchor="y2",
            ),
            yaxis=build_axis(Text("change"), ticksuffix=" %", domain=[0.44, 1]),
            yaxis2=build_axis(Text("error difference"), ticksuffix=" %", domain=[0, 0.36], fixedrange=True),
            shapes=[zero, {**zero, "yref": "y2"}],
        ),
        height=480, narrow={"margin.l": 48, "margin.r": 10, "margin.t": 84},
        views=views if len(views) > 1 else {},
    )  # fmt: skip


def _describe_correlation(forecast: np.ndarray, actual: np.ndarray) -> list[Text]:
    """Return the correlation of the changes in a sentence; nothing if one of them does not vary."""
    if not (np.isfinite(forecast).all() and np.ptp(forecast) > 1e-9 and np.ptp(actual) > 1e-9):
        return []
    return [Text("Their correlation is {value:+.2f}.", value=np.corrcoef(forecast, actual)[0, 1])]
