"""Show the progress of a study: a live view in a terminal or a notebook, plain lines elsewhere."""

import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from search.common.durations import format_duration
from search.common.messages import one_line
from search.cost.stalls import StallWatch
from search.results.event_log import STATUSES, Record, TrialEnd
from search.space.space import Space
from search.terminal.notebook import NotebookView, in_notebook
from search.terminal.tty import FailSafeStream

__all__ = ["Progress"]

MIN_REFRESH, MAX_REFRESH = 0.5, 10.0  # seconds between two updates of the live view
REFRESH_FACTOR = 50  # the next update follows after so many times the duration of the last: 2 % of the driver's time
PLAIN_INTERVAL, FIRST_INTERVAL = 30.0, 5.0  # seconds between two plain lines while no trial ends; before the first end
MAX_LISTED_TRIALS = 4
STOPPING = "stopping within seconds; press Ctrl-C again to stop immediately"


class Progress:
    """The live view, or the plain lines, of one study.

    Args:
        space: the space of the study.
        record: the trials, which are read at every update.
        baselines: the scores of the baselines, by name.
        time_budget: seconds from the start of the first trial to the end of the search, or None.
        quiet: show nothing.
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
        self._space, self._record, self._baselines, self._time_budget = space, record, baselines, time_budget
        self._waiting_for = "the first trial"
        self._stalls: StallWatch | None = None
        self._console = Console(file=cast(TextIO, FailSafeStream(sys.stderr)), highlight=False)
        self._start = self._last_update = time.monotonic()
        self._first_trial: float | None = None
        self._ended_before = len(record.ends)  # before a resumed study continues
        self._quiet = quiet
        self._stopping = False
        self._live: Live | NotebookView | None = None
        self._interval = MIN_REFRESH

    def __enter__(self) -> "Progress":
        if not self._quiet and in_notebook():
            self._live = NotebookView(self._space.num_samples)
        elif not self._quiet and self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
        if self._live is not None:
            self._live.start()
            self.refresh(force=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the live view."""
        if isinstance(self._live, NotebookView):  # what is shown last stays there
            self._live.count(len(self._record.ends))
            self._live.update(Text(f"{self._space.name}: {self._trials()}, {self._time()}"))
        if self._live is not None:
            self._live.stop()

    def show_stopping(self) -> None:
        """Show that the study is stopping."""
        self._waiting_for = "the running trials to stop"
        self._stopping = True
        if not self._quiet and self._live is None:
            self._console.print(f"{STOPPING}; finished trials are saved", soft_wrap=True)
        self.refresh(force=self._live is not None)

    @contextmanager
    def show_stalls(self, watch: StallWatch) -> Iterator[None]:
        """Show the trials that have not reported for a while, within the block."""
        self._stalls = watch
        try:
            yield
        finally:
            self._stalls = None

    def show_waiting(self, what: str) -> None:
        """Show what the study waits for now."""
        self._waiting_for = what
        self.refresh(force=True)

    def refresh(self, *, force: bool = False) -> None:
        """Update the view if enough time has passed, or at once with `force`."""
        if self._first_trial is None and self._record.running:
            self._first_trial = time.monotonic()
        plain_interval = PLAIN_INTERVAL if self._record.ends or not self._record.running else FIRST_INTERVAL
        interval = self._interval if self._live else plain_interval
        if self._quiet or (not force and time.monotonic() - self._last_update < interval):
            return
        self._last_update = time.monotonic()
        if self._live is not None:
            if isinstance(self._live, NotebookView):
                self._live.count(len(self._record.ends))
            self._live.update(Text("\n".join(self._lines()), no_wrap=True, overflow="ellipsis"), refresh=True)
            cost = time.monotonic() - self._last_update
            self._interval = min(max(MIN_REFRESH, REFRESH_FACTOR * cost), MAX_REFRESH)
        else:
            parts = [] if self._record.running else [f"waiting for {self._waiting_for}"]
            if self._record.ends or not self._record.running:
                parts.insert(0, self._trials())
            else:  # the number of ended trials is no news before the first end
                parts += self._positions()
            self._console.print("; ".join([*parts, *self._silent(), self._time()]), soft_wrap=True)

    def print_note(self, text: str) -> None:
        """Print a line that stays, for example about a fault that the study survived."""
        if not self._quiet:
            self._console.print(one_line(text), soft_wrap=True, markup=False)

    def print_result(self, end: TrialEnd) -> None:
        """Print the result of a trial, unless there is a live view."""
        if self._quiet or self._live is not None:
            return
        score = end.scores.get(self._space.search.metric)
        result = (
            f"{_label(self._space, self._space.search.metric)} {score:.4f} at epoch {end.best_epoch} of {end.epochs}"
            if score is not None
            else "no score"
        )
        if end.message:
            result += f" ({one_line(end.message)})"
        count = len(self._record.ends)
        self._last_update = time.monotonic()
        self._console.print(
            f"[{count}/{self._space.num_samples}] {end.trial_id} {end.status}: {result}; "
            f"{_format_point(end.point)}; {format_duration(end.seconds or 0)}",
            soft_wrap=True,
            markup=False,
        )

    def _lines(self) -> Iterable[str]:
        validation, search = self._space.validation, self._space.search
        yield (
            f"{self._space.name}: {one_line(self._space.data.source)}, {validation.folds} folds x "
            f"{validation.seeds} seeds per trial, sampler {search.sampler}"
        )
        yield f"  trials   {self._trials()}"
        yield f"  best     {self._best()}"
        if self._space.scheduler.rungs:
            yield f"  rungs    {self._rungs()}"
        yield f"  running  {'; '.join(self._positions()) or 'waiting for ' + self._waiting_for}"
        if silent := self._silent():
            yield f"  silent   {', '.join(silent)}"
        yield f"  time     {self._time()}"
        if self._stopping:
            yield f"  {STOPPING}"

    def _positions(self) -> list[str]:
        """Return what the running trials have reached."""
        running = sorted(self._record.running.items())
        listed = [self._describe_position(trial_id, report) for trial_id, report in running[:MAX_LISTED_TRIALS]]
        return listed + ([f"and {len(running) - MAX_LISTED_TRIALS} more"] if len(running) > MAX_LISTED_TRIALS else [])

    def _describe_position(self, trial_id: str, report: Mapping[str, Any]) -> str:
        if not report:
            return f"{trial_id}: starting"
        score = report["score"]
        metric = self._space.search.metric
        label = (
            self._space.task.words.short_score if metric == "val_relative_loss" else metric
        )  # two trials fit into 80 columns
        scored = f"{label} {score:.4f}" if math.isfinite(score) else "no score yet"
        return f"{trial_id}: epoch {report.get('epoch', 0)} of {self._space.scheduler.max_epochs}, {scored}"

    def _trials(self) -> str:
        counts = Counter(end.status for end in self._record.ends)
        ended, total = len(self._record.ends), self._space.num_samples
        parts = [f"{ended} of {total} ended" if ended else f"{total} trials"]
        parts += [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
        if self._record.running:
            parts.append(f"{len(self._record.running)} running")
        return ", ".join(parts)

    def _silent(self) -> list[str]:
        silent = list(self._stalls.silent_jobs().items()) if self._stalls else []
        listed = [
            f"{trial_id}: no report for {format_duration(seconds)}" for trial_id, seconds in silent[:MAX_LISTED_TRIALS]
        ]
        return listed + ([f"and {len(silent) - MAX_LISTED_TRIALS} more"] if len(silent) > MAX_LISTED_TRIALS else [])

    def _best(self) -> str:
        metric, sign = self._space.search.metric, 1 if self._space.mode == "min" else -1
        scored = [
            (sign * value, end.trial_id) for end in self._record.ends if (value := end.scores.get(metric)) is not None
        ]
        scored += [
            (sign * report["score"], trial_id)
            for trial_id, report in self._record.running.items()
            if report.get("best")
        ]
        if not scored:
            return "no score yet"
        value, trial_id = min(scored)
        baseline = self._baselines[self._space.task.rival].get(metric)
        comparison = (
            f", {self._space.task.rival} {baseline:.4f}" if baseline is not None and baseline == baseline else ""
        )
        return f"{_label(self._space, metric)} {sign * value:.4f} ({trial_id}){comparison}"

    def _rungs(self) -> str:
        reached = [end.epochs for end in self._record.ends]
        reached += [report.get("epoch", 0) for report in self._record.running.values()]
        return ", ".join(
            f"{sum(epochs >= rung for epochs in reached)} at epoch {rung}"
            for rung in (*self._space.scheduler.rungs, self._space.scheduler.max_epochs)
        )

    def _time(self) -> str:
        ended, total = len(self._record.ends), self._space.num_samples
        text = format_duration(time.monotonic() - self._start)
        if self._ended_before < ended < total and self._first_trial is not None:
            searched = time.monotonic() - self._first_trial
            left = searched / (ended - self._ended_before) * (total - ended)
            if self._time_budget is not None:
                left = min(left, max(0.0, self._time_budget - searched))
            text += f", about {format_duration(left)} left"
        if self._time_budget is not None:
            text += f", time budget {format_duration(self._time_budget)} from the start of the first trial"
        return text


def _label(space: Space, metric: str) -> str:
    return space.task.words.score if metric == "val_relative_loss" else metric


def _format_point(point: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in point.items()
    )
