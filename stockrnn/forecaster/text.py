"""Format a forecast for the terminal: network, prices, forecast and rival with intervals, and verdict."""

import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from stockrnn.io.files import line

if TYPE_CHECKING:
    from stockrnn.tasks.outlook import Show

__all__ = ["MAX_TEXT_LENGTH", "format_forecast"]

LINE_WIDTH = 80
MAX_TEXT_LENGTH = 100_000  # characters
UNBOUNDED = "unbounded"


def format_forecast(report: Mapping[str, Any]) -> str:
    """Return the text of a forecast report, with lines of at most LINE_WIDTH characters unless a name is longer."""
    from stockrnn.tasks.outlook import format_price  # a second, after the options were checked
    from stockrnn.tasks.registry import find_task

    show = find_task(report["task"]).show
    facts, last, steps = report["forecaster"], report["last_close"], report["horizon"]
    layers = "1 layer" if facts["num_layers"] == 1 else f"{facts['num_layers']} layers"
    network = f"{facts['architecture']}, head {facts['head']}, {layers} of {facts['hidden_size']} units"
    target = "the next session" if steps == 1 else f"{steps} sessions later"
    days = [
        ("last close", last["date"], format_price(last["close"], last["close"])),
        ("forecast for", report["forecast_for"], f"{target} ({report['forecast_for_basis']})"),
    ]
    version = f", version {facts['version']} of {len(facts['versions'])}" if len(facts["versions"]) > 1 else ""
    sides = [_column(report[name], show, last["close"]) for name in ("forecast", "rival")]
    rows = [("", "forecast", show.rival_label)]
    rows += [(name, one, other) for (name, one), (_, other) in zip(*sides, strict=True)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(
        [
            _wrap(
                f"{report['study']}, rank {facts['rank']} ({facts['trial_id']}){version}: {network}, window of "
                f"{facts['sequence_length']} sessions; mean of {facts['seeds']} seeds, trained on "
                f"{facts['trained_from']} to {facts['trained_to']}"
            ),
            _wrap(_describe_prices(report)),
            *map(_wrap, _describe_training(report)),
            "",
            *(f"{name:14}{day}  {note}" for name, day, note in days),
            "",
            *(f"{name:{widths[0]}}  {one:{widths[1]}}  {two}".rstrip() for name, one, two in rows),
            "",
            *(_wrap(note) for note in show.notes(report)),
            *(_wrap(note) for note in _describe_intervals(report)),
            *([""] if show.notes(report) and not report["forecast"]["intervals"] else []),
            _wrap(f"Verdict: {' '.join(report['verdict'])}" if report["verdict"] else "The study has no verdict."),
        ]
    )


def _column(side: Mapping[str, Any], show: "Show", last_close: float) -> list[tuple[str, str]]:
    """Return the labels and texts of the numbers of a forecast, its intervals, and its ranges of the close."""
    from stockrnn.tasks.outlook import format_price

    numbers = [(one.label, one.text(side[name], last_close)) for name, one in show.quantities.items()]
    text = next(iter(show.quantities.values())).text
    numbers += [
        (_level(one["level"]), _bounds(one, lambda value: text(value, last_close))) for one in side["intervals"]
    ]
    numbers += [
        (f"close, {100 * one['level']:g} %", _bounds(one, lambda value: format_price(value, last_close)))
        for one in side.get("close_ranges", ())
    ]
    return numbers


def _bounds(one: Mapping[str, Any], text: Callable[[float], str]) -> str:
    return UNBOUNDED if one["low"] is None else f"{text(one['low'])} to {text(one['high'])}"


def _level(level: float) -> str:
    return f"{100 * level:g} % interval"


def _describe_prices(report: Mapping[str, Any]) -> str:
    used, study = report["prices"], report["study_prices"]
    prices = f"Prices: {used['source']}, {used['start']} to {used['end']}"
    whose = "the study" if report["forecaster"]["version"] == 1 else "this version"
    if used["as_in_the_study"]:
        return f"{prices}, the same as in {whose}." if whose == "the study" else f"{prices}, those of {whose}."
    newer = used["newer_sessions"]
    difference = "The series differ." if newer is None else f"The only difference: {newer} newer sessions."
    return f"{prices}. {whose.capitalize()} used {study['source']}, {study['start']} to {study['end']}. {difference}"


def _describe_training(report: Mapping[str, Any]) -> list[str]:
    """Return what the networks have not been trained on, and which version was saved."""
    facts, unseen = report["forecaster"], report["prices"]["unseen_sessions"]
    found = []
    if facts["saved"]:
        found.append(f"Trained now on all sessions to {facts['trained_to']}, and saved as version {facts['version']}.")
    elif unseen:
        sessions = "session" if unseen == 1 else f"{unseen:,} sessions"
        found.append(f"The networks have never seen the last {sessions}, after {facts['trained_to']}: see --refit.")
    if facts["version"] > 1:
        found.append("The verdict and the shares of test days are those of version 1, which the study tested.")
    return found


def _describe_intervals(report: Mapping[str, Any]) -> list[str]:
    intervals = [*report["forecast"]["intervals"], *report["rival"]["intervals"]]
    if not intervals:
        return []
    counts = "/".join(map(str, sorted({one["residuals"] for one in intervals})))
    scale = report.get("scale")
    divided = weak = ""
    if scale:
        divided = (
            f", each divided by the volatility that {scale['study']} forecast for its day ({scale['trial_id']}, "
            f"{scale['mean_volatility']:.2f} % a day on average), times its forecast now, {scale['volatility']:.2f} % "
            "a day"
        )
        if (scale["relative_loss"] or 0) > 1:
            weak = (
                f" The forecasts of {scale['study']} are worse than those of its rival on these days (relative loss "
                f"{scale['relative_loss']:.2f}), so do not rely on the width."
            )
    note = (
        f"Intervals: split conformal prediction from the errors on {counts} validation days{divided}; valid if new "
        f"days are similar to these days.{weak}"
    )
    if report["adapted_intervals"]:
        scaled = ", scaled by the volatility that HAR forecasts" if report["task"] == "price" else ""
        note = (
            f"Intervals: adaptive conformal prediction from the errors on the last {counts} days on which the networks "
            f"were not trained{scaled}. The level is adapted day by day."
        )
    if coverage := report["held"]:
        shares = ", ".join(f"{100 * share:.0f} % in the {level} % interval" for level, share in coverage.items())
        note += f" Share of test days: {shares}."
    unbounded = "Unbounded: too few validation days for the level, or validation forecasts that are not valid prices."
    return [note, *([unbounded] if any(one["low"] is None for one in intervals) else []), ""]


def _wrap(paragraph: str) -> str:
    return textwrap.fill(line(paragraph, MAX_TEXT_LENGTH), LINE_WIDTH, break_long_words=False, break_on_hyphens=False)
