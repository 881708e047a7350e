"""Run a study: an executor trains the trials that the searcher proposes, and the results folder records everything."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from search.common.disk import (
    DiskError,
    SpareHandles,
    check_present,
    disk_error_reason,
    disk_error_remedy,
    lost_lock_reason,
)
from search.common.text import Text
from search.cost.workload import training_sizes, trial_workload
from search.report.writer import write_final_report
from search.results.event_log import INTERRUPTED, TRIAL_ID, Record, TrialEnd, digest, now
from search.results.folder.lock import locked
from search.results.folder.remote_sync import Mirror
from search.results.manifest import (
    Openings,
    find_scored_opening,
    is_interrupted,
    make_folder,
    start_manifest,
    write_manifest,
    write_space,
)
from search.results.predictions import Predictions
from search.results.ranking import Row
from search.results.resume import ResumeState, read_resume_state
from search.results.verdict import conclude
from search.results.warm_start import WarmStart
from search.space.space import Space
from search.study.context import StudyContext
from search.study.executor import ExecutorFactory, TrialExecutor
from search.study.final_evaluation import FinalEvaluation
from search.study.finalists import Finalist, choose_finalists, recorded_finalists
from search.study.ray_executor import ray_executor
from search.study.trial_recorder import LeaderboardFile, TrialRecorder
from search.terminal.progress import Progress
from search.tracking.dispatcher import Tracking
from search.tune.asha import FiniteASHA
from search.tune.optuna_searcher import OptunaSearcher
from search.tune.stopper import Stop, ignore_hangups
from search.tune.virtual_order import VirtualOrder
from stockrnn.evaluation.walk_forward import WalkForward
from stockrnn.prices.series import Prices
from stockrnn.tasks.scoring import fold_days, score_baselines
from stockrnn.training.checkpoint import delete_checkpoints

__all__ = ["Options", "Outcome", "run_study"]

SPARE_HANDLES = 24  # with fewer, Ray's own shutdown fails


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run a study, as far as the space does not determine it.

    Attributes:
        folder: the results folder on this machine; it exists if, and only if, the study is resumed.
        command: the command line, for the manifest.
        executor: starts what runs the trials.
        mirror: copies the folder to a URL, or None.
        time_budget: seconds from the first trial's start to the end of the search, or None.
        quiet: show no progress.
        resume: continue the study in the folder.
        reopen_test: evaluate the test block again, with the current finalists.
        language: of the report.
        embedded: the study runs in a process that is not its own, such as a notebook; see `Stop`.
        warm_start: what a new study takes from an earlier one.
    """

    folder: Path
    command: str
    executor: ExecutorFactory = ray_executor
    mirror: Mirror | None = None
    time_budget: float | None = None
    quiet: bool = False
    resume: bool = False
    reopen_test: bool = False
    language: str = "en"
    embedded: bool = False
    warm_start: WarmStart | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a study.

    Attributes:
        rows: the leaderboard.
        ends: how every trial ended.
        verdict: in words.
        sentences: those of the verdict, which can be translated.
        interrupted: whether a signal ended it.
        seconds: from start to end.
        failure: why the study could not continue, or None.
        startup: seconds to the first trial's start; None if no trial started.
        before: number of trials that had ended before the study was resumed.
        test_kept: whether the results of the test block are those of an earlier run.
    """

    rows: list[Row]
    ends: list[TrialEnd]
    verdict: str
    interrupted: bool
    seconds: float
    failure: str | None = None
    startup: float | None = None
    before: int = 0
    sentences: Sequence[Text] = ()
    test_kept: bool = False


def run_study(space: Space, prices: Prices, splits: WalkForward, options: Options) -> Outcome:
    """Run a study to its end, its time budget or an interrupt; the results folder is complete in every case.

    Raises:
        UserError: the folder or URL cannot be written, another process writes to it, a file of a study to be resumed is
            damaged, or the executor cannot start; nothing was started then.
    """
    start, start_time = time.monotonic(), now()
    series = space.series(prices)
    baselines, unfitted = score_baselines(space.task, series, splits.folds, fold_days(space.task, series, splits.folds))
    mirror = options.mirror
    with ExitStack() as stack:
        spare = SpareHandles(SPARE_HANDLES)
        stack.callback(spare.release)
        nohup = stack.enter_context(ignore_hangups())
        before = ResumeState()
        if options.resume:
            with _disk_errors(options.folder):
                stack.enter_context(locked(options.folder))
                before = read_resume_state(options.folder)
        record = Record(options.folder / "trials.jsonl", before.log)
        progress = Progress(space, record, baselines, time_budget=options.time_budget, quiet=options.quiet)
        stop = Stop(options.time_budget, progress.show_stopping, embedded=options.embedded)
        stack.enter_context(progress)
        context = StudyContext(
            space=space, prices=prices, splits=splits, folder=options.folder, mirror=mirror, record=record,
            progress=progress, stop=stop,
        )  # fmt: skip
        for note in before.notes:
            progress.print_note(note)
        for name, reason in unfitted.items():
            progress.print_note(f"baseline {name}: {reason}; its row has no scores")
        work = _Work(space=space, before=before, reopen_test=options.reopen_test)
        executor = stack.enter_context(options.executor(context)) if work.needs_executor else None
        # Ray installs signal handlers that abort the process: ours must replace them.
        stack.enter_context(stop.handle_signals(nohup=nohup))
        if executor and executor.repeats:
            space = space.with_workers(executor.workers)
            context = replace(context, space=space)
        with _disk_errors(options.folder):
            manifest = before.resumed(start_time, options.command, space, prices)
            if not manifest:
                warm_start = options.warm_start
                entry, earlier = (warm_start.entry, warm_start.forecasts) if warm_start else (None, {})
                manifest = start_manifest(space, prices, splits, options.command, start_time, baselines, entry)
                stack.enter_context(make_folder(options.folder, space, prices, manifest, earlier))
            study = _Study(context, work, manifest, baselines, executor, spare, options.language)
        if mirror:
            mirror.begin(progress.print_note, stop.request_stop)

        def end() -> list[Text]:
            seconds = time.monotonic() - start + (before.manifest.get("seconds") or 0)
            return study.end({"end": now(), "seconds": round(seconds, 3)})

        try:
            with study.writing():
                study.run()
        except Exception:
            end()
            if mirror:
                mirror.end()
            raise
        said = end()
        lost = mirror.end() if mirror else None
    return Outcome(
        rows=study.leaderboard.rows(), ends=record.ends, verdict=" ".join(said), interrupted=stop.signalled,
        seconds=round(time.monotonic() - start, 3), failure=stop.reason or lost, before=len(before.ends),
        startup=stop.startup, sentences=said,
        test_kept=bool(work.openings) and not work.evaluates_test_block,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is left to do in a study, new or resumed."""

    space: Space
    before: ResumeState
    reopen_test: bool

    @property
    def openings(self) -> Openings:
        """The earlier openings of the test block."""
        return self.before.manifest.get("test_openings") or []

    @cached_property
    def trials(self) -> int:
        """Number of trials."""
        wanted, begun = self.space.requested_samples - len(self.before.ends), len(self.before.unfinished)
        return max(0, min(wanted, begun + self.space.count_new_points(self.before.log.points.values(), wanted - begun)))

    @property
    def evaluates_test_block(self) -> bool:
        """Whether the test block is evaluated: for the first time, again by request, or after an interruption."""
        return self.reopen_test or not self.openings or is_interrupted(self.openings)

    @property
    def needs_executor(self) -> bool:
        """Whether networks are trained.

        Raises:
            DamagedError: the finalists of an interrupted evaluation are not among the trials.
        """
        finalists: list[Finalist] = []
        if self.evaluates_test_block:
            ends = self.before.ends
            again = is_interrupted(self.openings) and not self.reopen_test
            finalists = recorded_finalists(self.openings[-1], ends) if again else choose_finalists(ends, self.space)
        return bool(self.trials or finalists)


class _Study:
    """A study whose folder exists: its search, its final evaluation and its end.

    Args:
        manifest: as it is when the study starts or continues.
        baselines: validation scores by baseline.
        executor: None if no networks are trained.
        spare: file handles for the end of a study that has no others left.
        language: of the report.
    """

    def __init__(
        self, context: StudyContext, work: _Work, manifest: Mapping[str, Any],
        baselines: Mapping[str, Mapping[str, float]], executor: TrialExecutor | None, spare: SpareHandles,
        language: str,
    ) -> None:  # fmt: skip
        self._context, self._work, self._executor, self._spare = context, work, executor, spare
        self._manifest, self._language = dict(manifest), language
        self._sizes = training_sizes(context.space, context.splits)
        folder, space, before = context.folder, context.space, work.before
        if before.manifest:
            write_space(folder, space)
            write_manifest(folder, manifest)
        self._checkpoints = folder / "checkpoints"
        self._checkpoints.mkdir(exist_ok=True)
        scored = find_scored_opening(manifest)
        self.leaderboard = LeaderboardFile(
            folder / "leaderboard.csv", space, context.record, baselines, scored.get("scores"), scored.get("ensemble")
        )
        for end in before.ends:
            if context.mirror is None or end.trial_id in context.mirror.kept:
                self._delete_checkpoints(end.trial_id)
        self._predictions = Predictions(folder / "predictions.parquet", space.task, space.series(context.prices))
        with_scores = {end.trial_id for end in before.ends if end.scores}
        self._predictions.keep(with_scores, folds=len(context.splits.folds), test=bool(scored))
        self.leaderboard.write()
        self._tracking = Tracking(space, folder)
        self._tracking.begin(manifest)
        self._searcher = OptunaSearcher(
            space, folder / "study.journal", before.ends, before.unfinished,
            executor.concurrency_limit if executor else None, self._epoch_seconds,
        )  # fmt: skip
        for note in self._searcher.notes:
            context.progress.print_note(note)

    def run(self) -> None:
        """Run the trials and the final evaluation, as far as they are left."""
        context, work = self._context, self._work
        if work.trials:
            self._search()
        if context.stop.requested:  # a time budget ends the search only
            return
        evaluation = FinalEvaluation(
            context=context, predictions=self._predictions, leaderboard=self.leaderboard, executor=self._executor
        )
        if work.evaluates_test_block:
            self._manifest |= evaluation.evaluate_test_block(
                work.openings, self._write_openings, reopen=work.reopen_test
            )
        elif work.trials:
            self._manifest |= evaluation.rerun_selection_tests(self._manifest.get("proof") or {})

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Stop the study if the disk fails within the block; the files that exist stay as they are."""
        context = self._context
        try:
            yield
        except Exception as error:
            self._spare.release()
            why = self._missing()
            if why is None and (message := lost_lock_reason(error)):
                context.stop.request_stop(message)
                return
            if (why := why or disk_error_reason(error, context.folder)) is None:
                raise
            context.stop.request_stop(
                f"{context.folder}: cannot be written ({why}); all results are stored there; {disk_error_remedy(why)}, "
                f"and continue with --resume {context.place}"
            )

    def end(self, final: Mapping[str, Any]) -> list[Text]:
        """Write the end of the study and return the sentences of its verdict.

        Args:
            final: more entries of the manifest.
        """
        context = self._context
        if self._executor:
            self._executor.stop_watching()
        sentences = conclude(
            self.leaderboard.rows(), self._manifest.get("proof"), task=context.space.task,
            horizon=context.space.data.horizon, max_epochs=context.space.scheduler.max_epochs,
        )  # fmt: skip
        manifest = {
            **self._manifest, **final, "interrupted": context.stop.signalled, "failure": context.stop.reason,
            "trials_sha256": digest(end for end in context.record.ends if end.status != INTERRUPTED),
            "verdict": " ".join(sentences),
        }  # fmt: skip
        with self.writing():
            context.record.check()
            context.record.close()
            check_present(context.folder)  # else half a study would be written in its place
            self._predictions.flush()
            self.leaderboard.write()
            write_manifest(context.folder, manifest)
            write_final_report(context.folder, self._language)
            self._tracking.finish(manifest)
        return sentences

    def _search(self) -> None:
        """Run the trials; afterwards every trial has ended or is logged as interrupted."""
        context, executor = self._context, self._executor
        assert executor
        recorder = TrialRecorder(
            context, self.leaderboard, self._predictions, self._tracking, self._searcher, self._delete_checkpoints
        )
        order = self._order()
        executor.run_trials(self._searcher, FiniteASHA(context.space, self._work.before.log), recorder, order)
        if order.abandoned or not executor.repeats:
            self._manifest["replay"] = False
        recorder.interrupt()
        self._searcher.close()

    def _order(self) -> VirtualOrder:
        """Return the virtual clock of the trials."""
        rungs, log = self._context.space.scheduler.rungs, self._work.before.log
        assert self._executor
        total = len(self._work.before.ends) + self._searcher.remaining_trials
        return VirtualOrder(self._executor.workers, rungs, self._epoch_seconds, total, log)

    def _epoch_seconds(self, point: Mapping[str, Any]) -> float:
        """Predict the seconds of an epoch of a trial."""
        return trial_workload(self._context.space, self._sizes, point).seconds

    def _write_openings(self, openings: Openings) -> bool:
        """Write the openings of the test block durably; return whether that succeeded."""
        context = self._context
        self._manifest["test_openings"] = openings
        write_manifest(context.folder, self._manifest)
        why = context.mirror.publish() if context.mirror else None
        if why:
            context.stop.request_stop(f"the test set is not evaluated, because this cannot be recorded: {why}")
        return why is None

    def _delete_checkpoints(self, trial_id: str) -> None:
        """Delete the checkpoints of a trial that has ended."""
        assert TRIAL_ID.fullmatch(trial_id), trial_id  # the name of a folder that is removed
        if self._context.mirror:
            self._context.mirror.delete_checkpoints(trial_id)
        elif error := delete_checkpoints(self._checkpoints / trial_id):
            self._context.progress.print_note(error)

    def _missing(self) -> str | None:
        """Return in the system's words why the study's folder is no longer where it was; None if it is."""
        try:
            check_present(self._context.folder)
        except OSError as error:
            return error.strerror
        return None


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the disk within the block into one line. The folder need not exist yet."""
    try:
        yield
    except OSError as error:
        if (why := disk_error_reason(error, folder if folder.exists() else folder.parent)) is None:
            raise
        raise DiskError(
            f"{folder}: cannot be written ({why}); all results are stored there; make room, or choose another folder"
        ) from None
