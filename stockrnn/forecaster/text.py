"""Format a forecast for the terminal: network, prices, forecast and persistence with intervals, and verdict."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

from stockrnn.io.files import line

__all__ = ["MAX_TEXT_LENGTH", "format_forecast"]

LINE_WIDTH = 80
MAX_TEXT_LENGTH = 100_000  # characters
UNBOUNDED = "unbounded"


def format_forecast(report: Mapping[str, Any]) -> str:
    """Return the text of a forecast report, with lines of at most LINE_WIDTH characters unless a name is longer."""
    facts, last, steps = report["forecaster"], report["last_close"], report["horizon"]
    layers = "1 layer" if facts["num_layers"] == 1 else f"{facts['num_layers']} layers"
    network = f"{facts['architecture']}, head {facts['head']}, {layers} of {facts['hidden_size']} units"
    digits = _price_format(last["close"])
    target = "the next session" if steps == 1 else f"{steps} sessions later"
    days = [
        ("last close", last["date"], f"{last['close']:{digits}}"),
        ("forecast for", report["forecast_for"], f"{target} ({report['forecast_for_basis']})"),
    ]
    version = f", version {facts['version']} of {len(facts['versions'])}" if len(facts["versions"]) > 1 else ""
    columns = [_column(report[name], digits) for name in ("forecast", "persistence")]
    names = ["close", "change", "change, %", *(_level(one["level"]) for one in report["forecast"]["intervals"])]
    rows = list(zip(["", *names], ["forecast", *columns[0]], ["persistence", *columns[1]], strict=True))
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
            *(_wrap(note) for note in _describe_intervals(report)),
            _wrap(f"Verdict: {' '.join(report['verdict'])}" if report["verdict"] else "The study has no verdict."),
        ]
    )


def _price_format(close: float) -> str:
    """Return the format of prices of this size: two decimals, or as many as give five significant digits."""
    return f".{max(2, 4 - math.floor(math.log10(close)))}f" if 1e-6 <= close < 1e9 else ".6g"


def _column(side: Mapping[str, Any], digits: str) -> list[str]:
    intervals = [
        UNBOUNDED if one["low"] is None else f"{one['low']:{digits}} to {one['high']:{digits}}"
        for one in side["intervals"]
    ]
    return [f"{side['close']:{digits}}", f"{side['change']:+{digits}}", f"{side['change_percent']:+.3f}", *intervals]


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
    intervals = [*report["forecast"]["intervals"], *report["persistence"]["intervals"]]
    if not intervals:
        return []
    counts = "/".join(map(str, sorted({one["residuals"] for one in intervals})))
    note = (
        f"Intervals: split conformal prediction from the errors on {counts} validation days; valid if new days are "
        f"similar to these days."
    )
    if coverage := report["held"]:
        shares = ", ".join(f"{100 * share:.0f} % in the {level} % interval" for level, share in coverage.items())
        note += f" Share of test days: {shares}."
    unbounded = "Unbounded: too few validation days for the level, or validation forecasts that are not valid prices."
    return [note, *([unbounded] if any(one["low"] is None for one in intervals) else []), ""]


def _wrap(paragraph: str) -> str:
    return textwrap.fill(line(paragraph, MAX_TEXT_LENGTH), LINE_WIDTH, break_long_words=False, break_on_hyphens=False)
