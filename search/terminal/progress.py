"""What the terminal shows while a study runs: one live view, or plain lines where there is no terminal."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TextIO, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from search.common.durations import format_duration
from search.common.messages import one_line
from search.cost.stalls import StallWatch
from search.results.event_log import STATUSES, Record, TrialEnd
from search.space.space import Space
from search.terminal.tty import Lasting

__all__ = ["Progress"]

REFRESH, LONGEST = 0.5, 10.0  # seconds between two looks of the live view
COST = 50  # times as long as a look took, until the next: 2 % of the time
PLAIN_EVERY = 30.0  # seconds between two plain lines while no trial ends


class Progress:
    """Shows a study as it goes.

    Args:
        space: the study's space.
        record: its trials, read at every look.
        baselines: the baselines' scores, by name.
        time_budget: seconds after the first trial's start at which the search ends, or None.
        quiet: show nothing.

    Attributes:
        watch: tells which trials have not reported for a while; None before the search.
    """

    def __init__(
        self,
        space: Space,
        record: Record,
        baselines: Mapping[str, Mapping[str, float]],
        *,
        time_budget: float | None = None,
        quiet: bool = False,
    ) -> None:
        self.space, self.record, self.baselines, self.time_budget = space, record, baselines, time_budget
        self.waiting_for = "Ray to start"
        self.watch: StallWatch | None = None
        self._console = Console(file=cast(TextIO, Lasting(sys.stderr)), highlight=False)
        self._began = self._shown = time.monotonic()
        self._first_trial: float | None = None
        self._before = len(record.ends)  # of a study that is resumed
        self._quiet = quiet
        self._ending = False
        self._live: Live | None = None
        self._every = REFRESH

    def __enter__(self) -> "Progress":
        if not self._quiet and self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self.look(force=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Show nothing live any more."""
        if self._live is not None:
            self._live.stop()

    def ending(self) -> None:
        """The study was told to end; what runs is being stopped."""
        self.waiting_for = "the running trials to stop"
        self._ending = True
        if not self._quiet and self._live is None:
            self._console.print(
                "ending, within seconds; once more (Ctrl-C) ends it at once; what has ended is kept", soft_wrap=True
            )
        self.look(force=self._live is not None)

    def wait_for(self, what: str) -> None:
        """Show what the study waits for from now on."""
        self.waiting_for = what
        self.look(force=True)

    def look(self, *, force: bool = False) -> None:
        """Show how things stand, if it is time to."""
        if self._first_trial is None and self.record.running:
            self._first_trial = time.monotonic()
        every = self._every if self._live else PLAIN_EVERY
        if self._quiet or (not force and time.monotonic() - self._shown < every):
            return
        self._shown = time.monotonic()
        if self._live is not None:
            self._live.update(Text("\n".join(self._lines()), no_wrap=True, overflow="ellipsis"), refresh=True)
            self._every = min(max(REFRESH, COST * (time.monotonic() - self._shown)), LONGEST)
        else:
            waiting = [] if self.record.running else [f"waiting for {self.waiting_for}"]
            self._console.print("; ".join([self._trials(), *waiting, *self._silent(), self._time()]), soft_wrap=True)

    def say(self, text: str) -> None:
        """A line that stays: something went wrong and was dealt with."""
        if not self._quiet:
            self._console.print(one_line(text), soft_wrap=True, markup=False)

    def ended(self, end: TrialEnd) -> None:
        """A trial ended."""
        if self._quiet or self._live is not None:
            return
        score = end.scores.get(self.space.search.metric)
        told = (
            f"{_label(self.space.search.metric)} {score:.4f} at epoch {end.best_epoch} of {end.epochs}"
            if score is not None
            else "no score"
        )
        if end.message:
            told += f" ({one_line(end.message)})"
        done = len(self.record.ends)
        self._shown = time.monotonic()
        self._console.print(
            f"[{done}/{self.space.num_samples}] {end.trial_id} {end.status}: {told}; "
            f"{_point(end.point)}; {format_duration(end.seconds or 0)}",
            soft_wrap=True,
            markup=False,
        )

    def _lines(self) -> Iterable[str]:
        validation, search = self.space.validation, self.space.search
        yield (
            f"{self.space.name}: {one_line(self.space.data.source)}, {validation.folds} folds x "
            f"{validation.seeds} seeds a trial, sampler {search.sampler}"
        )
        yield f"  trials   {self._trials()}"
        yield f"  best     {self._best()}"
        if self.space.scheduler.rungs:
            yield f"  rungs    {self._rungs()}"
        running = sorted(self.record.running.items())
        shown = ", ".join(_position(trial_id, report) for trial_id, report in running[:4])
        more = f" and {len(running) - 4} more" if len(running) > 4 else ""
        yield f"  running  {shown + more if running else 'waiting for ' + self.waiting_for}"
        if silent := self._silent():
            yield f"  silent   {', '.join(silent)}"
        yield f"  time     {self._time()}"
        if self._ending:
            yield "  ending, within seconds; Ctrl-C once more ends it at once"

    def _trials(self) -> str:
        counts = Counter(end.status for end in self.record.ends)
        parts = [f"{len(self.record.ends)} of {self.space.num_samples} ended"]
        parts += [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
        if self.record.running:
            parts.append(f"{len(self.record.running)} running")
        return ", ".join(parts)

    def _silent(self) -> list[str]:
        found = list(self.watch.silent_jobs().items()) if self.watch else []
        more = [f"and {len(found) - 4} more"] if len(found) > 4 else []
        return [f"{trial_id}: no report for {format_duration(seconds)}" for trial_id, seconds in found[:4]] + more

    def _best(self) -> str:
        metric, sign = self.space.search.metric, 1 if self.space.mode == "min" else -1
        scored = [
            (sign * value, end.trial_id) for end in self.record.ends if (value := end.scores.get(metric)) is not None
        ]
        scored += [
            (sign * report["score"], trial_id) for trial_id, report in self.record.running.items() if report.get("best")
        ]
        if not scored:
            return "no score yet"
        value, trial_id = min(scored)
        naive = self.baselines["persistence"].get(metric)
        against = f", persistence {naive:.4f}" if naive is not None and naive == naive else ""
        return f"{_label(metric)} {sign * value:.4f} ({trial_id}){against}"

    def _rungs(self) -> str:
        reached = [end.epochs for end in self.record.ends]
        reached += [report.get("epoch", 0) for report in self.record.running.values()]
        return ", ".join(
            f"{sum(epochs >= rung for epochs in reached)} at epoch {rung}"
            for rung in (*self.space.scheduler.rungs, self.space.scheduler.max_epochs)
        )

    def _time(self) -> str:
        spent = time.monotonic() - self._began
        ended, total = len(self.record.ends), self.space.num_samples
        text = format_duration(spent)
        if self._before < ended < total and self._first_trial is not None:
            searched = time.monotonic() - self._first_trial
            left = searched / (ended - self._before) * (total - ended)
            if self.time_budget is not None:
                left = min(left, max(0.0, self.time_budget - searched))
            text += f", about {format_duration(left)} left"
        if self.time_budget is not None:
            text += f", budget {format_duration(self.time_budget)} from the first trial's start"
        return text


def _label(metric: str) -> str:
    return "Theil's U" if metric == "val_theils_u" else metric


def _position(trial_id: str, report: Mapping[str, Any]) -> str:
    if not report:
        return f"{trial_id} starting"
    return f"{trial_id} epoch {report.get('epoch', 0)} ({report['score']:.4f})"


def _point(point: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in point.items()
    )
