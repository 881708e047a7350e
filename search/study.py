"""A study: Ray Tune runs the trials that the searcher proposes, and everything lands in the results folder."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.stopper import Stopper

from search.finalists import Finalist, choose, refit, score_baselines
from search.leaderboard import Row, columns, rank, verdict, write_csv
from search.manifest import opening, write_manifest
from search.progress import Progress
from search.record import Record, TrialEnd, now
from search.report import write_report
from search.scheduler import FiniteASHA
from search.searcher import OptunaSearcher
from search.space import Space
from search.trial import TrialTrainable
from search.workers import ray_running, slots
from stockrnn.baselines import baseline_scores
from stockrnn.folds import WalkForward
from stockrnn.prices import Prices

__all__ = ["Options", "Outcome", "run_study"]

LEADERBOARD_EVERY = 1.0  # seconds between two rewrites while trials end


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a study is run, as far as it is not part of the space."""

    folder: Path
    command: str
    max_concurrent: int | None = None
    time_budget: float | None = None
    address: str | None = None
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a study came to: the leaderboard's rows, how every trial ended, and why the study ended."""

    rows: Sequence[Row]
    ends: Sequence[TrialEnd]
    interrupted: bool
    seconds: float


def run_study(space: Space, prices: Prices, walk: WalkForward, options: Options) -> Outcome:
    """Run a study to its end, its time budget or an interrupt; the results folder is complete either way.

    Raises:
        SpaceError: a trial's resources do not fit the machine, or the results folder exists.
        ConnectionError: there is no cluster at `options.address`.
    """
    began, start = time.monotonic(), now()
    baselines = {
        name: scores.as_dict()
        for name, scores in baseline_scores(prices.column("close"), walk.folds, space.data.horizon).items()
    }
    record = Record(options.folder / "trials.jsonl")
    progress = Progress(space, record, baselines, time_budget=options.time_budget, quiet=options.quiet)
    stop = _Stop(options.time_budget, progress.ending)
    # Ray installs signal handlers of its own, which abort: ours come after it.
    with progress, ray_running(options.address), stop.on_signals():
        side_by_side = slots(space, options.max_concurrent, options.address)
        study = _Study(space, prices, walk, options.folder, side_by_side, record, progress, stop)
        manifest = opening(space, prices, walk, options.command, start, baselines)
        study.begin(manifest, baselines)
        opened = None
        try:
            study.search()
            if not stop.signalled:  # a time budget ends the search, not the proof
                opened = study.open_test()
        finally:
            seconds = round(time.monotonic() - began, 3)
            study.end(
                manifest | {"end": now(), "seconds": seconds, "interrupted": stop.signalled} | {"test_opened": opened}
            )
    return Outcome(rows=study.board.rows(), ends=record.ends, interrupted=stop.signalled, seconds=seconds)


class _Study:
    """A study on a running Ray: its folder, its search and its finalists."""

    def __init__(
        self, space: Space, prices: Prices, walk: WalkForward, folder: Path, slots: int, record: Record,
        progress: Progress, stop: "_Stop",
    ) -> None:  # fmt: skip
        self.space, self.prices, self.walk, self.folder, self.slots = space, prices, walk, folder, slots
        self.record, self.progress, self.stop = record, progress, stop

    def begin(self, manifest: Mapping[str, Any], baselines: Mapping[str, Mapping[str, float]]) -> None:
        """Make the results folder, with all that is known before the first trial."""
        try:
            self.folder.mkdir(parents=True)
        except FileExistsError:
            raise self.space.error(("name",), f"{self.folder} was made meanwhile; choose another name") from None
        (self.folder / "space.yaml").write_text(self.space.as_yaml(), encoding="utf-8")
        write_manifest(self.folder, manifest)
        self.board = _Board(self.folder / "leaderboard.csv", self.space, self.record, baselines)
        self.board.write()

    def search(self) -> None:
        """Run the trials; when this returns, every trial has ended."""
        searcher = OptunaSearcher(self.space, self.folder / "study.journal")
        self.progress.waiting_for = f"{self.slots} workers to start"
        self.progress.look(force=True)
        try:
            self._tuner(searcher).fit()
        finally:
            self.record.interrupt()
            searcher.close()

    def open_test(self) -> dict[str, Any] | None:
        """Train the finalists side by side and score them, and the baselines, on the test block: once.

        Returns:
            What the manifest says of it; None where there is no finalist or the study was interrupted meanwhile.
        """
        finalists = choose(self.record.ends, self.space)
        if not finalists:
            return None
        self.progress.waiting_for = f"{len(finalists)} finalists, trained afresh for the test block"
        self.progress.look(force=True)
        opened = {
            "time": now(), "ranked_by": self.space.search.metric, "trials": len(self.record.ends),
            "finalists": [asdict(finalist) for finalist in finalists],
        }  # fmt: skip
        shared = ray.put(self.space), ray.put(self.prices), ray.put(self.walk)
        task = _refit.options(num_cpus=self.space.resources.cpu, num_gpus=self.space.resources.gpu)
        waiting = tasks = [task.remote(finalist, *shared) for finalist in finalists]
        while waiting:
            if self.stop.signalled:
                return None
            _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0.5)
            self.progress.look()
        self.board.test = {
            **{finalist.trial_id: columns for finalist, columns in zip(finalists, ray.get(tasks), strict=True)},
            **score_baselines(self.prices, self.walk, self.space.data.horizon),
        }
        return {**opened, "scores": self.board.test}

    def end(self, manifest: Mapping[str, Any]) -> None:
        """Write what the study came to."""
        self.record.close()
        self.board.write()
        write_manifest(self.folder, {**manifest, "verdict": verdict(self.board.rows())})
        write_report(self.folder)

    def _tuner(self, searcher: OptunaSearcher) -> tune.Tuner:
        resources = self.space.resources
        trainable = tune.with_resources(
            tune.with_parameters(TrialTrainable, prices=self.prices, folds=self.walk.folds, space=self.space),
            {"cpu": resources.cpu, "gpu": resources.gpu},
        )
        return tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=FiniteASHA(self.space),
                num_samples=self.space.num_samples,
                max_concurrent_trials=self.slots,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="ray",
                storage_path=str(self.folder.resolve()),
                stop=self.stop,
                callbacks=[_Recorder(self.record, self.board, self.progress)],
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )


class _Stop(Stopper):
    """Ends the study on a signal or when its time is up (monotonic, so that clock jumps do no harm)."""

    def __init__(self, time_budget: float | None, acknowledge: Callable[[], None]) -> None:
        self.signalled = False
        self._acknowledge = acknowledge
        self._deadline = None if time_budget is None else time.monotonic() + time_budget

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune's snapshot is a cache; signals and the terminal do not travel in it

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.signalled or (self._deadline is not None and time.monotonic() >= self._deadline)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within: the first SIGINT or SIGTERM ends the study cleanly, a second one at once."""
        former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def note(number: int, frame: FrameType | None) -> None:
            self.signalled = True
            for each, handler in former.items():
                signal.signal(each, handler)
            self._acknowledge()

        for number in former:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


class _Board:
    """The leaderboard on disk, rewritten as trials end."""

    def __init__(self, path: Path, space: Space, record: Record, baselines: Mapping[str, Mapping[str, float]]) -> None:
        self._path, self._space, self._record, self._baselines = path, space, record, baselines
        self._written = 0.0
        self.test: Mapping[str, Mapping[str, float]] = {}  # the test columns, once the block was opened

    def rows(self) -> list[Row]:
        search = self._space.search
        return rank(self._record.ends, self._baselines, metric=search.metric, mode=self._space.mode, test=self.test)

    def write(self) -> None:
        write_csv(self._path, self.rows(), columns(self._space))
        self._written = time.monotonic()

    def refresh(self) -> None:
        if time.monotonic() - self._written >= LEADERBOARD_EVERY:
            self.write()


class _Recorder(tune.Callback):
    """Turns Tune's events into the record, the leaderboard and the terminal's view."""

    def __init__(self, record: Record, board: _Board, progress: Progress) -> None:
        self._record, self._board, self._progress = record, board, progress

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune's snapshot is a cache; files and terminal do not travel in it

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._progress.look()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._record.start(trial.config["trial_id"], trial.config["point"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._record.epoch(trial.config["trial_id"], result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        status = trial.last_result["status"]
        self._end(trial, "stopped" if status == "running" else status)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_pickled_error()
        self._end(trial, "failed", " ".join(str(error).split())[:500] if error else "the worker died")

    def _end(self, trial: Any, status: str, message: str | None = None) -> None:
        self._progress.ended(self._record.end(trial.config["trial_id"], status, message))
        self._board.refresh()


@ray.remote
def _refit(finalist: Finalist, space: Space, prices: Prices, walk: WalkForward) -> dict[str, float]:
    torch.set_num_threads(max(1, int(space.resources.cpu)))
    return refit(finalist, space, prices, walk)


def _name(trial: Any) -> str:
    return str(trial.config["trial_id"])
