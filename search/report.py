"""The report: a results folder as one self-contained HTML file, at any time, also of a study that still runs.

It reads only the folder's files: `python -m search.report results/<study>`. The words and the drawing are in
`report.html.j2`; here are the facts and the geometry.
"""

import argparse
import csv
import io
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from search.parameters import FIELDS
from search.progress import duration
from search.ranking import network
from search.record import STATUSES, read_events
from search.verdict import verdict

__all__ = ["main", "write_report"]

TEMPLATE = Path(__file__).with_name("report.html.j2")
DONE, NO_REPORT = 0, 2
RUNNING = "running"
DECIMALS = ("val_", "test_", "seeds_sd", "seconds")  # columns of these names have 4 decimals
ON_TOP = ("stopped", "interrupted", "failed", "diverged", RUNNING, "complete")  # the last is drawn last
LINE = 4.5  # per cent of the plot: the height of a label
MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)  # between two dates on the timeline


def write_report(folder: Path) -> Path:
    """Write `report.html` from the files of a results folder; a reader sees the old file or the new one.

    Raises:
        ValueError: the folder is no study, or a file of it is damaged.
    """
    manifest = _manifest(folder)
    text = _text(folder / "space.yaml")
    space = yaml.safe_load(text) or {}
    events = read_events(record) if (record := folder / "trials.jsonl").exists() else []
    names, *lines = list(csv.reader(io.StringIO(_text(folder / "leaderboard.csv")))) or [[]]
    rows = [dict(zip(names, line, strict=False)) for line in lines]
    ends = {event["trial_id"]: event for event in events if event["event"] == "end"}
    statuses = {event["trial_id"]: event.get("status", RUNNING) for event in events}
    counts = Counter(statuses.values())
    last = manifest.get("end") or max((event["time"] for event in events), default=manifest.get("start"))
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters["moment"] = lambda time: f"{time[:19].replace('T', ' ')} UTC" if time else "?"
    html = page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        verdict=manifest.get("verdict") or verdict([_values(row) for row in rows], manifest.get("proof")),
        manifest=manifest,
        space={"validation": {}, "search": {}} | space,
        space_text=text,
        counts=[(status, counts[status]) for status in (*STATUSES, RUNNING) if counts[status]],
        ended=len(ends),
        last=last,
        took=duration(manifest.get("seconds") or _seconds(manifest.get("start"), last)),
        board=_board(_with_network(names), [{**row, "network": _network(row)} for row in rows]),
        failures=[(trial_id, end["message"]) for trial_id, end in ends.items() if end.get("message")],
        curves=_curves(events, statuses, manifest.get("baselines", {})),
        timeline=_timeline(manifest),
    )
    report, part = folder / "report.html", folder / f"report.{os.getpid()}.part"
    part.write_text(html, encoding="utf-8", errors="replace")
    os.replace(part, report)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m search.report", description="Write the report.html of a study, at any time."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the study's folder, as in results/smoke")
    try:
        print(write_report(parser.parse_args(arguments).folder))
        return DONE
    except (OSError, ValueError) as error:
        print(f"{error}; no report was written", file=sys.stderr)
        return NO_REPORT


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.exists():
        raise ValueError(f"{folder}: is no study, it has no manifest.json; name a folder as in results/smoke")
    known = {"name": folder.name, "data": {}, "folds": [], "test": [], "versions": {}}
    try:
        return known | json.loads(path.read_text(encoding="utf-8"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: is no study's manifest ({error})") from None


def _seconds(start: str | None, last: str | None) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(start)).total_seconds() if start and last else 0


def _float(text: str) -> float | None:
    """The finite number that a text is, else None."""
    try:
        return value if math.isfinite(value := float(text)) else None
    except ValueError:
        return None


def _values(row: Mapping[str, str]) -> dict[str, Any]:
    """A row with its scores as numbers, as `verdict` reads them."""
    return {name: _float(text) if name.startswith(("val_", "test_")) else text for name, text in row.items()}


def _with_network(names: Sequence[str]) -> list[str]:
    """The columns with the network in a few words behind the status, so that it is seen without scrolling."""
    behind = names.index("status") + 1 if "status" in names else len(names)
    return [*names[:behind], "network", *names[behind:]]


def _network(row: Mapping[str, str]) -> str:
    return network(row) if row.get("architecture") else ""


def _board(names: Sequence[str], rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The leaderboard: the columns that some row fills, those that none does, and rows of readable texts."""
    used = [name for name in names if any(row.get(name) for row in rows)]
    filled = {name: [text for row in rows if (text := row.get(name))] for name in used if name != "trial_id"}
    numbers = {name for name, texts in filled.items() if all(_float(text) is not None for text in texts)}
    return {
        "columns": used,
        "empty": [name for name in names if name not in used],
        "numbers": numbers,
        "fields": {name: owner.model_fields[name].description for name, owner in FIELDS.items()},
        "rows": [
            {name: _number(name, row.get(name, "")) if name in numbers else row.get(name, "") for name in used}
            for row in rows
        ],
    }


def _number(name: str, text: str) -> str:
    """Scores with 4 decimals, other numbers with 4 significant digits, whole ones whole."""
    value = _float(text)
    if value is None:
        return text
    if not name.startswith(DECIMALS):
        return text if text.lstrip("-").isdigit() else f"{value:.4g}"
    if value and not 5e-5 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"


def _curves(
    events: Iterable[Mapping[str, Any]], statuses: Mapping[str, str], baselines: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Theil's U by epoch of every trial, in per cent of the plot from its upper left; None before any score."""
    trials: dict[str, dict[int, float]] = {}
    for event in events:
        if event["event"] == "epoch" and (value := event["scores"].get("val_theils_u")) is not None:
            trials.setdefault(event["trial_id"], {})[event["epoch"]] = value
    if not trials:
        return None
    bests = {trial_id: min(values.values()) for trial_id, values in trials.items()}
    everything = [value for values in trials.values() for value in values.values()]
    best = min(bests, key=lambda trial_id: bests[trial_id])
    low, high = _range(everything, [*bests.values()])
    epochs = max(max(values) for values in trials.values())

    def place(epoch: int, value: float) -> tuple[float, float]:
        y = max(100 * (high - value) / (high - low), -10_000)  # far above the plot is far enough
        return round(2 + 96 * (epoch - 1) / max(1, epochs - 1), 2), round(y, 2)

    curves = []
    for trial_id, values in trials.items():
        pieces: list[list[tuple[float, float]]] = []
        for epoch in sorted(values):
            if epoch - 1 not in values:  # a line does not bridge an epoch without a score
                pieces.append([])
            pieces[-1].append(place(epoch, values[epoch]))
        curves.append(
            {"trial_id": trial_id, "status": statuses[trial_id], "best": bests[trial_id], "epochs": max(values),
             "pieces": pieces, "end": pieces[-1][-1]}
        )  # fmt: skip
    levels = {name: row["val_theils_u"] for name, row in baselines.items() if row.get("val_theils_u")}
    labels, above = [], -math.inf
    for name, value in sorted(({"persistence": 1.0} | levels).items(), key=lambda level: -level[1]):
        if low <= value <= high:
            above = max(place(1, value)[1], above + LINE)
            labels.append({"name": name, "value": value, "y": place(1, value)[1], "label": above})
    step, epoch_step = _step(low, high), max(1, round(_step(1, epochs)))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return {
        "curves": sorted(curves, key=lambda curve: (curve["trial_id"] == best, ON_TOP.index(curve["status"]))),
        "best": best,
        "levels": labels, "high": high, "highest": max(everything), "above": sum(value > high for value in everything),
        "epochs": [(number, place(number, 1)[0]) for number in range(1, epochs + 1) if number % epoch_step == 0],
        "ticks": [
            (f"{number * step:.{digits}f}", place(1, number * step)[1])
            for number in range(math.ceil(low / step), math.floor(high / step) + 1)
        ],
    }  # fmt: skip


def _range(scores: Sequence[float], bests: Sequence[float]) -> tuple[float, float]:
    """From the lowest score or 1 up to what leaves a third of the height to the better half of the trials."""
    low = min(1.0, *scores, *bests)
    high = min(max(1.0, *scores, *bests), low + 3 * max(median(bests) - low, 1.0 - low, 0.002))
    pad = 0.05 * max(high - low, 0.002)
    return low - pad, high + pad


def _step(low: float, high: float) -> float:
    """A round number, of which at most five fit."""
    rough = max(high - low, 1.0e-9) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _timeline(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Folds and test block as bars in per cent of the time they span; None where the manifest has none."""
    rows = [
        (f"fold {number}", [(name, fold[name]) for name in ("train", "validation") if name in fold])
        for number, fold in enumerate(manifest["folds"], start=1)
    ]
    rows += [("test", [("test", manifest["test"])])] if manifest["test"] else []
    days = [date.fromisoformat(day).toordinal() for _, blocks in rows for _, span in blocks for day in span]
    if not days:
        return None
    first, whole = min(days), max(1, max(days) - min(days))

    def place(day: date) -> float:
        return round(100 * (day.toordinal() - first) / whole, 2)

    start, end = date.fromordinal(first), date.fromordinal(max(days))
    months = range(start.year * 12 + start.month, end.year * 12 + end.month)  # of those that begin within
    step = next((step for step in MONTHS if len(months) / step <= 7), MONTHS[-1])
    starts = [date(month // 12, month % 12 + 1, 1) for month in months if month % step == 0]
    return {
        "rows": [
            (label, [(name, *span, *map(place, map(date.fromisoformat, span))) for name, span in blocks])
            for label, blocks in rows
        ],
        "ticks": [(str(day.year) if step >= 12 else f"{day:%Y-%m}", place(day)) for day in starts],
    }


if __name__ == "__main__":
    sys.exit(main())
