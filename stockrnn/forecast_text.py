"""A forecast as the terminal shows it: by which network, from which prices, beside persistence, and how sure."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

from stockrnn.files import line

__all__ = ["LONGEST", "text"]

COLUMNS = 80
LONGEST = 100_000  # characters of a text that is shown
UNBOUNDED = "unbounded"


def text(found: Mapping[str, Any]) -> str:
    """What is printed, at most COLUMNS wide where names are not longer."""
    by, last, steps = found["forecaster"], found["last_close"], found["horizon"]
    layers = "1 layer" if by["num_layers"] == 1 else f"{by['num_layers']} layers"
    form = _form(last["close"])
    what = f"{by['architecture']}, head {by['head']}, {layers} of {by['hidden_size']}, window {by['sequence_length']}"
    until = "the next weekday" if steps == 1 else f"{steps} weekdays later"
    days = [
        ("last close", last["date"], f"{last['close']:{form}}"),
        ("forecast for", found["forecast_for"], f"{until}; holidays are not known"),
    ]
    sides = [_cells(found[name], form) for name in ("forecast", "persistence")]
    names = ["close", "change", "change, %", *(_level(one["level"]) for one in found["forecast"]["intervals"])]
    rows = list(zip(["", *names], ["forecast", *sides[0]], ["persistence", *sides[1]], strict=True))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(
        [
            _filled(
                f"{found['study']}, rank {by['rank']} ({by['trial_id']}): {what}; the mean of {by['seeds']} seeds, "
                f"trained on {by['trained_from']} to {by['trained_to']}"
            ),
            _filled(_about_prices(found)),
            "",
            *(f"{name:14}{day}  {note}" for name, day, note in days),
            "",
            *(f"{name:{widths[0]}}  {one:{widths[1]}}  {two}".rstrip() for name, one, two in rows),
            "",
            *(_filled(note) for note in _about_intervals(found)),
            _filled(f"Verdict: {' '.join(found['verdict'])}" if found["verdict"] else "The study has no verdict."),
        ]
    )


def _form(close: float) -> str:
    """How prices of this size are written: two digits behind the point, or as many as make five that count."""
    return f".{max(2, 4 - math.floor(math.log10(close)))}f" if 1e-6 <= close < 1e9 else ".6g"


def _cells(side: Mapping[str, Any], form: str) -> list[str]:
    intervals = [
        UNBOUNDED if one["low"] is None else f"{one['low']:{form}} to {one['high']:{form}}" for one in side["intervals"]
    ]
    return [f"{side['close']:{form}}", f"{side['change']:+{form}}", f"{side['change_percent']:+.3f}", *intervals]


def _level(level: float) -> str:
    return f"{100 * level:g} % interval"


def _about_prices(found: Mapping[str, Any]) -> str:
    here, there = found["prices"], found["study_prices"]
    said = f"Prices: {here['source']}, {here['start']} to {here['end']}"
    if here["as_in_the_study"]:
        return f"{said}, those of the study."
    differ = f"{said}. They differ from the study's ({there['source']}, {there['start']} to {there['end']})"
    if here["newer_sessions"] is None:
        return f"{differ} in more than newer sessions."
    return f"{differ} by {here['newer_sessions']} newer sessions only."


def _about_intervals(found: Mapping[str, Any]) -> list[str]:
    intervals = [*found["forecast"]["intervals"], *found["persistence"]["intervals"]]
    if not intervals:
        return []
    counts = "/".join(map(str, sorted({one["residuals"] for one in intervals})))
    said = f"Intervals: split conformal, from the errors on {counts} validation days; right while days are like these."
    if held := found["held"]:
        shares = ", ".join(f"{100 * share:.0f} % in the {level} % interval" for level, share in held.items())
        said += f" Of the days of the test block: {shares}."
    few = "Unbounded: those days are too few for the level, or had forecasts that are no prices."
    return [said, *([few] if any(one["low"] is None for one in intervals) else []), ""]


def _filled(said: str) -> str:
    return textwrap.fill(line(said, LONGEST), COLUMNS, break_long_words=False, break_on_hyphens=False)
