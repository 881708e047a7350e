"""A study: Ray Tune runs the trials that the searcher proposes, and everything lands in the results folder."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from search.cluster.demands import ResourceDemands
from search.cluster.gpus import smallest_gpu_memory
from search.cluster.ray_session import ConcurrencyLimit, connect_ray, count_slots
from search.cluster.ray_watch import watch_ray
from search.cluster.shared_folder import check_shared_folder
from search.common.disk import (
    DiskError,
    SpareHandles,
    check_present,
    disk_error_reason,
    disk_error_remedy,
    lost_lock_reason,
)
from search.cost.stalls import StallLimits, StallWatch
from search.report.writer import write_report
from search.results.event_log import TRIAL_ID, Record, TrialEnd, now
from search.results.lock import locked
from search.results.manifest import (
    Openings,
    interrupted,
    make_folder,
    opening,
    scored_opening,
    write_manifest,
    write_space,
)
from search.results.predictions import Predictions
from search.results.ranking import Row
from search.results.remote_sync import Mirror
from search.results.resume import ResumeState, read_resume_state
from search.results.verdict import verdict
from search.space.resources import NICENESS
from search.space.space import Space
from search.study.final_evaluation import Conclusion
from search.study.finalists import choose, chosen_before
from search.study.restart import Restarter
from search.terminal.progress import Progress
from search.tracking.dispatcher import Tracking
from search.tune.callback import Board, Recorder
from search.tune.optuna_searcher import OptunaSearcher
from search.tune.patches.actors import patch_tune
from search.tune.stopper import Stop, StudyStopped, ignore_hangups
from search.tune.tuner import tuner
from stockrnn.dataset.walk_forward import WalkForward
from stockrnn.evaluation.baselines import baseline_scores
from stockrnn.prices.series import Prices
from stockrnn.training.checkpoint import delete_checkpoints

__all__ = ["Options", "Outcome", "run_study"]

SPARE_HANDLES = 24  # with fewer, Ray's own shutdown fails


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a study is run, as far as it is not part of the space.

    Attributes:
        folder: the study's on this machine, which exists where it is resumed, and only there.
        mirror: where it is kept behind a URL, what brings it there.
        max_concurrent: trials side by side, at most.
        time_budget: seconds after the first trial's start at which the search ends.
        insecure: join a cluster that others can reach and that asks for no token.
        niceness: of the workers of a Ray of our own.
        restarter: what happens when Ray dies; None where this process runs more than the study.
        reopen_test: open the test block again, for the finalists as they are now.
    """

    folder: Path
    command: str
    mirror: Mirror | None = None
    max_concurrent: int | None = None
    time_budget: float | None = None
    address: str | None = None
    insecure: bool = False
    niceness: int = NICENESS
    restarter: Restarter | None = None
    quiet: bool = False
    resume: bool = False
    reopen_test: bool = False

    @property
    def place(self) -> str:
        """What the user calls the study's folder."""
        return self.mirror.url if self.mirror else str(self.folder)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a study came to: the leaderboard's rows, how every trial ended, what it proves, and why it ended.

    Attributes:
        failure: why the study could not go on; None where it could.
        startup: seconds to the first trial's start; None where no trial started.
        before: trials that had ended before it was resumed.
    """

    rows: Sequence[Row]
    ends: Sequence[TrialEnd]
    verdict: str
    interrupted: bool
    seconds: float
    failure: str | None = None
    startup: float | None = None
    before: int = 0


def run_study(space: Space, prices: Prices, splits: WalkForward, options: Options) -> Outcome:
    """Run a study to its end, its time budget or an interrupt; the results folder is complete either way.

    Raises:
        SpaceError: a trial's resources do not fit the machine, or the results folder exists.
        ClusterError: there is no cluster at `options.address`, or it must not be joined.
        LockedError: another process writes into the folder.
        DiskError: the folder cannot be written, and nothing was begun.
        StorageError: nor can the URL.
        SharedFolderError: a machine of the cluster does not see the folder.
        ValueError: a file of a study to be resumed is damaged.
    """
    began, start = time.monotonic(), now()
    baselines = {
        name: scores.as_dict()
        for name, scores in baseline_scores(prices.column("close"), splits.folds, space.data.horizon).items()
    }
    with ExitStack() as stack:
        spare = SpareHandles(SPARE_HANDLES)
        stack.callback(spare.release)
        nohup = stack.enter_context(ignore_hangups())
        begun = ResumeState()
        if options.resume:
            with _begins(options.folder):
                stack.enter_context(locked(options.folder))
                begun = read_resume_state(options.folder)
        record = Record(options.folder / "trials.jsonl", begun.log)
        progress = Progress(space, record, baselines, time_budget=options.time_budget, quiet=options.quiet)
        stop = Stop(options.time_budget, progress.ending)
        stack.enter_context(progress)
        for note in begun.notes:
            progress.say(note)
        study = _Study(space, prices, splits, options, record, progress, stop, spare)
        openings = begun.manifest.get("test_openings") or []
        goes_on = interrupted(openings) and not options.reopen_test
        opened = bool(openings) and not goes_on and not options.reopen_test
        if goes_on:
            chosen_before(openings[-1], begun.ends)  # refused here, before anything is written
        left = max(0, space.num_samples - len(begun.ends))
        watch = ExitStack()
        if left or (not opened and (goes_on or choose(begun.ends, space))):
            stack.enter_context(connect_ray(options.address, insecure=options.insecure, niceness=options.niceness))
            stack.enter_context(watch)  # left before Ray is shut down, which is no death
            watch.enter_context(_watched(options.restarter, progress, stop))
            study.needs = needs = ResourceDemands(space, splits, len(prices), smallest_gpu_memory(space, progress.say))
            study.slots = count_slots(space, needs.kinds, options.max_concurrent, options.address)
            if options.address and options.mirror is None:
                check_shared_folder(options.folder if options.resume else options.folder.parent)
            study.concurrency_limit = ConcurrencyLimit(
                needs.kinds, study.slots, options.max_concurrent, options.address
            )
        # Ray installs signal handlers of its own, which abort: ours come after it.
        stack.enter_context(stop.handle_signals(nohup=nohup))
        manifest = begun.resumed(start, options.command, space, prices)
        with _begins(options.folder):
            if not manifest:
                manifest = opening(space, prices, splits, options.command, start, baselines)
                stack.enter_context(make_folder(options.folder, space, prices, manifest))
            study.begin(manifest, begun, baselines)
        if options.mirror:
            options.mirror.begin(progress.say, stop.request_stop)
        found: dict[str, Any] = {}

        def announce(openings: Openings) -> bool:
            manifest["test_openings"] = openings
            write_manifest(options.folder, manifest)
            why = options.mirror.publish() if options.mirror else None
            if why:
                stop.request_stop(f"the opening of the test block cannot be kept, so the block stays shut: {why}")
            return why is None

        def end() -> str:
            watch.close()  # Ray is not needed any more
            spent = round(time.monotonic() - began + (begun.manifest.get("seconds") or 0), 3)
            ended = {"end": now(), "seconds": spent, "interrupted": stop.signalled, "failure": stop.reason}
            return study.end(manifest | ended | found)

        try:
            with study.writing():
                if left:
                    study.search()
                if not stop.requested:  # a time budget ends the search, not the proof
                    last = study.conclusion()
                    if not opened:
                        found = last.prove(openings, announce, reopen=options.reopen_test)
                    elif left:
                        found = last.prove_again(manifest.get("proof") or {})
        except Exception:
            end()
            if options.mirror:
                options.mirror.end()
            raise
        said = end()
        lost = options.mirror.end() if options.mirror else None
    return Outcome(
        rows=study.board.rows(), ends=record.ends, verdict=said, interrupted=stop.signalled,
        seconds=round(time.monotonic() - began, 3), failure=stop.reason or lost, before=len(begun.ends),
        startup=stop.startup,
    )  # fmt: skip


class _Study:
    """A study on a running Ray: its folder, its search and its finalists."""

    def __init__(
        self, space: Space, prices: Prices, splits: WalkForward, options: Options, record: Record, progress: Progress,
        stop: Stop, spare: SpareHandles,
    ) -> None:  # fmt: skip
        self.space, self.prices, self.splits, self.slots = space, prices, splits, 0
        self.folder, self.place, self.mirror = options.folder, options.place, options.mirror
        self.record, self.progress, self.stop, self.spare = record, progress, stop, spare
        self.concurrency_limit: ConcurrencyLimit | None = None
        self.needs: ResourceDemands | None = None
        self.checkpoints = self.folder / "checkpoints"
        self.predictions = Predictions(self.folder / "predictions.parquet", prices, space.data.horizon)

    def begin(
        self, manifest: Mapping[str, Any], begun: ResumeState, baselines: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Write all that is known before the first trial, or before the next one."""
        if begun.manifest:
            write_space(self.folder, self.space)
            write_manifest(self.folder, manifest)
        self.checkpoints.mkdir(exist_ok=True)
        self.board = Board(self.folder / "leaderboard.csv", self.space, self.record, baselines)
        opened = scored_opening(manifest)
        self.board.test, self.board.ensemble = opened.get("scores") or {}, opened.get("ensemble") or {}
        for end in begun.ends:
            if self.mirror is None or end.trial_id in self.mirror.kept:
                self.forget(end.trial_id)
        scored = {end.trial_id for end in begun.ends if end.scores}
        self.predictions.keep(scored, folds=len(self.splits.folds), test=bool(opened))
        self.board.write()
        self.tracking = Tracking(self.space, self.folder)
        self.tracking.begin(manifest)
        self.begun = begun
        self.searcher = OptunaSearcher(
            self.space, self.folder / "study.journal", begun.ends, begun.unfinished, self.concurrency_limit
        )
        for note in self.searcher.notes:
            self.progress.say(note)

    def forget(self, trial_id: str) -> None:
        """Remove the checkpoints of a trial that has ended."""
        assert TRIAL_ID.fullmatch(trial_id), trial_id  # the name of a folder that is removed
        if self.mirror:
            self.mirror.forget(trial_id)
        elif said := delete_checkpoints(self.checkpoints / trial_id):
            self.progress.say(said)

    def search(self) -> None:
        """Run the trials; when this returns, every trial has ended, or goes on when the study is resumed."""
        recorder = Recorder(
            self.record, self.board, self.progress, self.predictions, self.splits.folds, self.tracking, self.searcher,
            self.forget, self.stop,
        )  # fmt: skip
        self.progress.wait_for(f"{self.slots} workers to start")
        assert self.needs
        run = tuner(
            self.space, self.prices, self.splits, self.folder,
            self.mirror.checkpoints if self.mirror else str(self.checkpoints.resolve()),
            self.mirror.lease if self.mirror else None, self.needs, self.searcher, self.begun, self.stop, recorder,
        )  # fmt: skip
        watch, limits = StallWatch(), StallLimits(self.space, self.splits)
        with self.progress.show_stalls(watch), suppress(StudyStopped), patch_tune(limits, watch):
            run.fit()
        recorder.interrupt()
        self.searcher.close()

    def conclusion(self) -> Conclusion:
        """What follows the search."""
        return Conclusion(
            space=self.space, prices=self.prices, splits=self.splits, folder=self.folder, record=self.record,
            predictions=self.predictions, board=self.board, progress=self.progress, stop=self.stop, needs=self.needs,
        )  # fmt: skip

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Within: a disk that fails ends the study, and what is there stays as it is."""
        try:
            yield
        except Exception as error:
            self.spare.release()
            why = self.lost()
            if why is None and (message := lost_lock_reason(error)):
                self.stop.request_stop(message)
                return
            if (why := why or disk_error_reason(error, self.folder)) is None:
                raise
            self.stop.request_stop(
                f"{self.folder}: cannot be written ({why}); a study keeps all it finds there; "
                f"{disk_error_remedy(why)}, and go on with --resume {self.place}"
            )

    def lost(self) -> str | None:
        """Return why the study's folder is no longer where it was, in the system's words; None: it is."""
        try:
            check_present(self.folder)
        except OSError as error:
            return error.strerror
        return None

    def end(self, manifest: Mapping[str, Any]) -> str:
        """Write what the study came to, and return its verdict."""
        said = verdict(self.board.rows(), manifest.get("proof"))
        with self.writing():
            self.record.check()
            self.record.close()
            check_present(self.folder)  # else half a study would stand in its place
            self.predictions.flush()
            self.board.write()
            write_manifest(self.folder, {**manifest, "verdict": said})
            write_report(self.folder)
            self.tracking.finish({**manifest, "verdict": said})
        return said


@contextmanager
def _watched(restarter: Restarter | None, progress: Progress, stop: Stop) -> Iterator[None]:
    """Within: where Ray dies, the study goes on in another program."""
    if restarter is None:
        yield
        return

    def died(why: str, folder: Path) -> NoReturn:
        progress.close()
        restarter.go_on(why, stop.seconds_left, folder)

    with watch_ray(died, lambda: stop.requested):
        yield


@contextmanager
def _begins(folder: Path) -> Iterator[None]:
    """Within: a disk that fails is said in one line. The folder may still have to be made."""
    try:
        yield
    except OSError as error:
        if (why := disk_error_reason(error, folder if folder.exists() else folder.parent)) is None:
            raise
        raise DiskError(
            f"{folder}: cannot be written ({why}); a study writes all it finds there; make room, or choose "
            "another folder"
        ) from None
