"""Draw the folds and the test set below the curve of the actual values, and the worker timeline."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from search.common.durations import format_duration
from search.common.text import Text
from search.report.charts.base import Chart, build_axis, build_layout, escape, select_evenly
from search.results.event_log import STATUSES, TrialEnd
from search.results.reader import StudyData, seconds_between

__all__ = ["draw_folds", "draw_worker_timeline"]

BLOCKS = {"train": Text("training"), "validation": Text("validation"), "test": Text("test set")}
MAX_WORKERS = 100  # rows of the worker timeline
DAY_MS = 86_400_000  # Plotly measures the length of a bar on a date axis in milliseconds


class _Span(NamedTuple):
    end: TrialEnd
    worker: int
    seconds: float


def draw_folds(study: StudyData) -> Chart | None:
    """Draw folds and test set as bars below the curve of the actual values; return None if the manifest has neither."""
    rows = _list_rows(study.manifest)
    if not rows:
        return None
    opened = bool(study.manifest.get("test_openings"))
    bars = [_draw_bars(kind, rows, opened) for kind in BLOCKS]
    words = study.task.words
    curve, label = _draw_actual(study), Text(words.label)
    data = [bar for bar in bars if bar["x"]] + ([curve] if curve else [])
    low, high = _choose_view(rows)
    share = min(0.5, 0.1 + 0.06 * len(rows))
    names = [label for label, _ in rows]
    everything = [day for _, blocks in rows for _, span in blocks for day in span]
    return Chart(
        id="chart-folds",
        title=(
            Text("Folds and test set by date, below the {name} curve", name=Text(words.curve or words.label))
            if curve
            else Text("Folds and test set by date")
        ),
        text=[
            Text("Folds: {n}.", n=len(rows) - bool(study.manifest["test"])),
            _describe_window(study),
            *_describe_test(study, opened=opened),
            *([Text("The curve shows {quantity} on the scored days.", quantity=Text(words.quantity))] if curve else []),
        ],
        data=data,
        layout=build_layout(
            barmode="overlay", bargap=0.35, hovermode="closest",
            xaxis=build_axis(type="date", range=[low, high], anchor="y2"),
            yaxis2=build_axis(
                tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5], showgrid=False,
                domain=[0, share if curve else 1], fixedrange=True, showline=False,
            ),
            yaxis=build_axis(label, domain=[share + 0.06, 1], tickformat=",~r", visible=curve is not None),
            margin={"l": 60, "r": 16, "t": 40, "b": 34},
        ),
        height=(240 if curve else 70) + 26 * len(rows),
        narrow={"margin.l": 46},
        views={Text("Scored days"): [low, high], Text("All days"): [min(everything), max(everything)]},
        head=(Text("period"), Text("training"), Text("scoring")),
        rows=[
            [
                label, *([""] if len(blocks) == 1 else []),
                *(Text("{start} to {end}", start=start, end=end) for _, (start, end) in blocks),
            ]
            for label, blocks in rows
        ],
    )  # fmt: skip


def draw_worker_timeline(study: StudyData) -> Chart | None:
    """Draw which worker trained which trial at which time; return None if no trial has a training time."""
    start = study.manifest.get("start")
    spans = [_Span(end, end.worker, end.seconds) for end in study.ends if end.seconds and end.worker is not None]
    if not start or not spans:
        return None
    trained: dict[int, float] = defaultdict(float)
    counts = Counter(span.worker for span in spans)
    for span in spans:
        trained[span.worker] += span.seconds
    workers = {worker: place for place, worker in enumerate(sorted(counts))}
    rows = list(workers)[:MAX_WORKERS]
    visible = [span for span in select_evenly(spans) if workers[span.worker] < MAX_WORKERS]
    begin = max(0, min(seconds_between(start, span.end.time) - span.seconds for span in spans))
    bars = []
    for status in STATUSES:
        own = [span for span in visible if span.end.status == status]
        if own:
            color = f"var(--{status})"
            bars.append(
                {
                    "type": "bar", "orientation": "h", "name": f"{len(own)} {status}",
                    "y": [workers[span.worker] for span in own], "x": [span.seconds for span in own],
                    "base": [max(0, seconds_between(start, span.end.time) - span.seconds - begin) for span in own],
                    "hovertext": [
                        Text(
                            "{trial}, {status}<br>{time}, epochs: {n}", trial=escape(span.end.trial_id), status=status,
                            time=format_duration(span.seconds), n=span.end.epochs,
                        )
                        for span in own
                    ],
                    "hoverinfo": "text",
                    "marker": {
                        "color": color, "line": {"color": "var(--paper)", "width": 1},
                        "pattern": _choose_pattern(status),
                    },
                }
            )  # fmt: skip
    wall = max(seconds_between(start, end.time) for end in study.ends)
    if wall <= 0:  # the clock was set back, or the times are wrong
        return None
    whole, busy = len(workers) * wall, sum(trained.values())
    unused = max(0, whole - busy)
    sentences = [
        Text(
            "Workers: {n}. They trained for {busy} of the {whole} worker time of the search ({share:.0f} %).",
            n=len(workers), busy=format_duration(busy), whole=format_duration(whole), share=100 * busy / whole,
        ),
        Text(
            "The other {unused} are startup ({begin} until the first trial), scheduling and waiting.",
            unused=format_duration(unused), begin=format_duration(begin),
        ),
    ]  # fmt: skip
    if len(visible) < len(spans):
        sentences.append(Text("The chart shows {n} of {all} trials.", n=len(visible), all=len(spans)))
    if study.manifest.get("end"):
        rest = format_duration(max(0, study.seconds - wall))
        sentences.append(Text("After the search, finalists, test set and significance tests took {rest}.", rest=rest))
    return Chart(
        id="chart-worker-timeline",
        title=Text("Worker timeline: which worker trained which trial at which time"),
        text=sentences,
        data=bars,
        layout=build_layout(
            barmode="overlay", bargap=0.3, margin={"l": 80, "r": 16, "t": 34, "b": 44},
            xaxis=build_axis(Text("seconds since the start of the first trial"), rangemode="tozero"),
            yaxis=build_axis(
                tickvals=list(range(len(rows))),
                ticktext=[Text("worker {n}", n=number) for number in range(1, len(rows) + 1)],
                range=[len(rows) - 0.5, -0.5], showgrid=False, fixedrange=True,
            ),
        ),
        height=104 + 36 * len(rows), narrow={"margin.l": 66},
        head=(
            Text("worker"), Text("process"), Text("trials"), Text("training time"), Text("share of the search"),
        ),
        rows=[
            [Text("worker {n}", n=number), worker, counts[worker], format_duration(trained[worker]),
             f"{100 * trained[worker] / wall:.0f} %"]
            for number, worker in enumerate(rows, start=1)
        ],
    )  # fmt: skip


def _describe_window(study: StudyData) -> Text:
    """Return the training sessions of a fold in words."""
    settings = study.sections["validation"]
    if settings.get("window") == "sliding" and settings.get("train_size"):
        return Text(
            "Each fold is trained on the {n:,} sessions (a sliding window) before its validation period.",
            n=settings["train_size"],
        )
    return Text("Each fold is trained on all sessions (an expanding window) before its validation period.")


def _describe_test(study: StudyData, *, opened: bool) -> list[Text]:
    if not study.manifest["test"]:
        return []
    if opened:
        return [Text("The test set follows the last fold; it was opened.")]
    return [Text("The test set follows the last fold; it was not opened.")]


def _list_rows(manifest: Mapping[str, Any]) -> list[tuple[Text, list[tuple[str, list[str]]]]]:
    rows = [
        (Text("fold {n}", n=number), [(name, fold[name]) for name in ("train", "validation") if fold.get(name)])
        for number, fold in enumerate(manifest["folds"], start=1)
    ]
    return rows + ([(Text("test set"), [("test", manifest["test"])])] if manifest["test"] else [])


def _draw_bars(kind: str, rows: list[tuple[Text, list[tuple[str, list[str]]]]], opened: bool) -> dict[str, Any]:
    own = [(row, span) for row, (_, blocks) in enumerate(rows) for name, span in blocks if name == kind]
    lengths = [(date.fromisoformat(end) - date.fromisoformat(start)).days + 1 for _, (start, end) in own]
    label = BLOCKS[kind]
    if kind == "test":
        label = Text("test set, opened") if opened else Text("test set, not opened")
    color = {"train": "var(--train)", "validation": "var(--complete)", "test": "var(--test)"}[kind]
    hollow = kind == "test" and not opened
    return {
        "type": "bar", "orientation": "h", "name": label, "yaxis": "y2", "y": [row for row, _ in own],
        "base": [start for _, (start, _) in own], "x": [days * DAY_MS for days in lengths], "hoverinfo": "text",
        "hovertext": [Text("{label}: {start} to {end}", label=label, start=start, end=end) for _, (start, end) in own],
        "width": 0.62,
        "marker": {
            "color": "var(--paper)" if hollow else color, "line": {"color": color, "width": 1.5 if hollow else 0},
        },
    }  # fmt: skip


def _draw_actual(study: StudyData) -> dict[str, Any] | None:
    """Draw the actual values on all scored days; the curve breaks between periods that do not touch.

    Return None without such values, or if a curve of them shows nothing, as of directions.
    """
    if study.task.scale == "probability":
        return None
    days: dict[str, float] = {}
    for known in (study.validation, study.test):
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
        "type": "scatter", "mode": "lines", "name": Text(study.task.words.label), "x": x, "y": y,
        "line": {"color": "var(--ink)", "width": 1.3},
        "hovertemplate": "%{x|%Y-%m-%d}: %{y:,.2f}<extra></extra>",
    }  # fmt: skip


def _choose_view(rows: list[tuple[Text, list[tuple[str, list[str]]]]]) -> tuple[str, str]:
    """Return the first view: the scored days, and a quarter of their length before them."""
    everything = [day for _, blocks in rows for _, span in blocks for day in span]
    starts = [span[0] for _, blocks in rows for name, span in blocks if name != "train"] or everything
    first, last = date.fromisoformat(min(starts)), date.fromisoformat(max(everything))
    begin = max(date.fromisoformat(min(everything)), first - timedelta(days=(last - first).days // 4))
    return str(begin), str(last + timedelta(days=1))


def _choose_pattern(status: str) -> dict[str, str]:
    shapes = {"stopped": "/", "diverged": "x", "failed": ".", "interrupted": "-"}
    return {"shape": shapes.get(status, ""), "bgcolor": "var(--paper)", "fgcolor": f"var(--{status})"}
