"""Time as charts: the folds and the test block on the price curve, and how the workers spent the search."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from search.common.durations import duration
from search.report.charts.base import Chart, axis, evenly_spaced, layout, shown
from search.results.event_log import TrialEnd
from search.results.reader import StudyData, seconds_between

__all__ = ["dates", "spent"]

BLOCKS = {"train": "trained on", "validation": "validated on", "test": "test block"}
MOST_WORKERS = 100  # rows of a chart
DAY = 86_400_000  # milliseconds, which is how Plotly measures a bar of dates


class _Span(NamedTuple):
    end: TrialEnd
    worker: int
    seconds: float


def dates(findings: StudyData) -> Chart | None:
    """Folds and test block as bars under the price curve; None where the manifest has none."""
    rows = _rows(findings.manifest)
    if not rows:
        return None
    opened = bool(findings.manifest.get("test_openings"))
    state = "opened" if opened else "not opened"
    bars = [_bars(kind, rows, opened) for kind in BLOCKS]
    curve = _prices(findings)
    data = [bar for bar in bars if bar["x"]] + ([curve] if curve else [])
    low, high = _scored(rows)
    share = min(0.5, 0.1 + 0.06 * len(rows))
    names = [label for label, _ in rows]
    everything = [day for _, blocks in rows for _, span in blocks for day in span]
    return Chart(
        id="chart-dates",
        title="The folds and the test block in time, under the price curve",
        text=f"{len(rows) - bool(findings.manifest['test'])} folds, each trained on what lies before it"
        f"{f'; behind all of them lies the test block, {state}' if findings.manifest['test'] else ''}."
        + (" The curve shows the close on the days that were scored." if curve else ""),
        data=data,
        layout=layout(
            barmode="overlay", bargap=0.35, hovermode="closest",
            xaxis=axis(type="date", range=[low, high], anchor="y2"),
            yaxis2=axis(
                tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5], showgrid=False,
                domain=[0, share if curve else 1], fixedrange=True, showline=False,
            ),
            yaxis=axis("close", domain=[share + 0.06, 1], tickformat=",~r", visible=curve is not None),
            margin={"l": 60, "r": 16, "t": 40, "b": 34},
        ),
        height=(240 if curve else 70) + 26 * len(rows),
        narrow={"margin.l": 46},
        views={"Scored days": [low, high], "All dates": [min(everything), max(everything)]},
        head=("block", "trained on", "scored on"),
        rows=[
            [label, *([""] if len(blocks) == 1 else []), *(f"{start} to {end}" for _, (start, end) in blocks)]
            for label, blocks in rows
        ],
    )  # fmt: skip


def spent(findings: StudyData) -> Chart | None:
    """Which worker trained which trial when; None where no trial says."""
    start = findings.manifest.get("start")
    spans = [_Span(end, end.worker, end.seconds) for end in findings.ends if end.seconds and end.worker is not None]
    if not start or not spans:
        return None
    trained: dict[int, float] = defaultdict(float)
    counts = Counter(span.worker for span in spans)
    for span in spans:
        trained[span.worker] += span.seconds
    workers = {worker: place for place, worker in enumerate(sorted(counts))}
    rows = list(workers)[:MOST_WORKERS]
    shown_ones = [span for span in evenly_spaced(spans) if workers[span.worker] < MOST_WORKERS]
    bars = []
    for status in ("complete", "stopped", "diverged", "failed", "interrupted"):
        own = [span for span in shown_ones if span.end.status == status]
        if own:
            color = f"var(--{status})"
            bars.append(
                {
                    "type": "bar", "orientation": "h", "name": f"{len(own)} {status}",
                    "y": [workers[span.worker] for span in own], "x": [span.seconds for span in own],
                    "base": [max(0, seconds_between(start, span.end.time) - span.seconds) for span in own],
                    "hovertext": [
                        f"{shown(span.end.trial_id)}, {status}<br>{duration(span.seconds)}, {span.end.epochs} epochs"
                        for span in own
                    ],
                    "hoverinfo": "text",
                    "marker": {
                        "color": color, "line": {"color": "var(--paper)", "width": 1}, "pattern": _pattern(status),
                    },
                }
            )  # fmt: skip
    wall = max(seconds_between(start, end.time) for end in findings.ends)
    if wall <= 0:  # a clock was set back, or the times are invented
        return None
    whole, busy = len(workers) * wall, sum(trained.values())
    begin = min(seconds_between(start, span.end.time) - span.seconds for span in spans)
    said = [
        f"{len(workers)} {'workers' if len(workers) > 1 else 'worker'} trained {duration(busy)} of {duration(whole)} "
        f"that they had while the search ran ({100 * busy / whole:.0f} %); the other {duration(max(0, whole - busy))} "
        f"went into the start ({duration(max(0, begin))} until the first trial), scheduling and waiting."
    ]
    if len(shown_ones) < len(spans):
        said.append(f"{len(shown_ones)} of {len(spans)} trials are drawn.")
    if findings.manifest.get("end"):
        rest = max(0, findings.seconds - wall)
        said.append(f"The finalists, the test block and its tests took {duration(rest)} after it.")
    return Chart(
        id="chart-time",
        title="Which worker trained which trial when",
        text=" ".join(said),
        data=bars,
        layout=layout(
            barmode="overlay", bargap=0.3, margin={"l": 80, "r": 16, "t": 34, "b": 44},
            xaxis=axis("seconds since the study began", rangemode="tozero"),
            yaxis=axis(
                tickvals=list(range(len(rows))),
                ticktext=[f"worker {number}" for number in range(1, len(rows) + 1)],
                range=[len(rows) - 0.5, -0.5], showgrid=False, fixedrange=True,
            ),
        ),
        height=104 + 36 * len(rows), narrow={"margin.l": 66},
        head=("worker", "process", "trials", "training", "share of the search"),
        rows=[
            [f"worker {number}", worker, counts[worker], duration(trained[worker]),
             f"{100 * trained[worker] / wall:.0f} %"]
            for number, worker in enumerate(rows, start=1)
        ],
    )  # fmt: skip


def _rows(manifest: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    rows = [
        (f"fold {number}", [(name, fold[name]) for name in ("train", "validation") if fold.get(name)])
        for number, fold in enumerate(manifest["folds"], start=1)
    ]
    return rows + ([("test", [("test", manifest["test"])])] if manifest["test"] else [])


def _bars(kind: str, rows: list[tuple[str, list[tuple[str, list[str]]]]], opened: bool) -> dict[str, Any]:
    own = [(row, span) for row, (_, blocks) in enumerate(rows) for name, span in blocks if name == kind]
    lengths = [(date.fromisoformat(end) - date.fromisoformat(start)).days + 1 for _, (start, end) in own]
    said = f"{BLOCKS[kind]}{'' if kind != 'test' else ', opened' if opened else ', not opened'}"
    color = {"train": "var(--train)", "validation": "var(--complete)", "test": "var(--test)"}[kind]
    hollow = kind == "test" and not opened
    return {
        "type": "bar", "orientation": "h", "name": said, "yaxis": "y2", "y": [row for row, _ in own],
        "base": [start for _, (start, _) in own], "x": [days * DAY for days in lengths], "hoverinfo": "text",
        "hovertext": [f"{said}: {start} to {end}" for _, (start, end) in own], "width": 0.62,
        "marker": {
            "color": "var(--paper)" if hollow else color, "line": {"color": color, "width": 1.5 if hollow else 0},
        },
    }  # fmt: skip


def _prices(findings: StudyData) -> dict[str, Any] | None:
    """The close on all days that were scored; a block apart from the one before begins a new line."""
    days: dict[str, float] = {}
    for known in (findings.validation, findings.test):
        for one in list(known.values())[:1]:
            days |= dict(zip(one.dates, one.actual.tolist(), strict=True))
    if not days:
        return None
    x: list[str] = []
    y: list[float | None] = []
    for day in sorted(days):
        if x and date.fromisoformat(day) - date.fromisoformat(x[-1]) > timedelta(days=14):
            x.append(str(date.fromisoformat(x[-1]) + timedelta(days=1)))
            y.append(None)
        x.append(day)
        y.append(days[day])
    return {
        "type": "scatter", "mode": "lines", "name": "close", "x": x, "y": y,
        "line": {"color": "var(--ink)", "width": 1.3},
        "hovertemplate": "%{x|%Y-%m-%d}: %{y:,.2f}<extra></extra>",
    }  # fmt: skip


def _scored(rows: list[tuple[str, list[tuple[str, list[str]]]]]) -> tuple[str, str]:
    """From a quarter of its length before the first block that is scored to the last day."""
    everything = [day for _, blocks in rows for _, span in blocks for day in span]
    starts = [span[0] for _, blocks in rows for name, span in blocks if name != "train"] or everything
    first, last = date.fromisoformat(min(starts)), date.fromisoformat(max(everything))
    begin = max(date.fromisoformat(min(everything)), first - timedelta(days=(last - first).days // 4))
    return str(begin), str(last + timedelta(days=1))


def _pattern(status: str) -> dict[str, str]:
    shapes = {"stopped": "/", "diverged": "x", "failed": ".", "interrupted": "-"}
    return {"shape": shapes.get(status, ""), "bgcolor": "var(--paper)", "fgcolor": f"var(--{status})"}
