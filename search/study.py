"""A study: Ray Tune runs the trials that the searcher proposes, and everything lands in the results folder."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune.stopper import Stopper

from search.finalists import Finalist, Refitted, choose, refit
from search.manifest import opening, write_manifest
from search.opening import Opening, open_block
from search.predictions import Predictions, validation_forecasts
from search.progress import Progress
from search.proof import prove
from search.ranking import Row
from search.record import Record, TrialEnd, now
from search.recorder import Board, Recorder
from search.report import write_report
from search.scheduler import FiniteASHA
from search.searcher import OptunaSearcher
from search.space import Space
from search.tracking import Tracking
from search.trial import TrialTrainable
from search.verdict import verdict
from search.workers import ray_running, slots
from stockrnn.baselines import baseline_scores
from stockrnn.folds import WalkForward
from stockrnn.series import Prices

__all__ = ["Options", "Outcome", "run_study"]


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
    """What a study came to: the leaderboard's rows, how every trial ended, what it proves, and why it ended."""

    rows: Sequence[Row]
    ends: Sequence[TrialEnd]
    verdict: str
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
        found: dict[str, Any] = {}
        try:
            study.search()
            if not stop.signalled:  # a time budget ends the search, not the proof
                found = study.prove()
        finally:
            seconds = round(time.monotonic() - began, 3)
            said = study.end(manifest | {"end": now(), "seconds": seconds, "interrupted": stop.signalled} | found)
    return Outcome(rows=study.board.rows(), ends=record.ends, verdict=said, interrupted=stop.signalled, seconds=seconds)


class _Study:
    """A study on a running Ray: its folder, its search and its finalists."""

    def __init__(
        self, space: Space, prices: Prices, walk: WalkForward, folder: Path, slots: int, record: Record,
        progress: Progress, stop: "_Stop",
    ) -> None:  # fmt: skip
        self.space, self.prices, self.walk, self.folder, self.slots = space, prices, walk, folder, slots
        self.record, self.progress, self.stop = record, progress, stop
        self.predictions = Predictions(folder / "predictions.parquet", prices, space.data.horizon)

    def begin(self, manifest: Mapping[str, Any], baselines: Mapping[str, Mapping[str, float]]) -> None:
        """Make the results folder, with all that is known before the first trial."""
        try:
            self.folder.mkdir(parents=True)
        except FileExistsError:
            raise self.space.error(("name",), f"{self.folder} was made meanwhile; choose another name") from None
        (self.folder / "space.yaml").write_text(self.space.as_yaml(), encoding="utf-8")
        write_manifest(self.folder, manifest)
        self.board = Board(self.folder / "leaderboard.csv", self.space, self.record, baselines)
        self.board.write()
        self.tracking = Tracking(self.space, self.folder)
        self.tracking.begin(manifest)
        self.recorder = Recorder(
            self.record, self.board, self.progress, self.predictions, self.walk.folds, self.tracking
        )  # fmt: skip

    def search(self) -> None:
        """Run the trials; when this returns, every trial has ended."""
        searcher = OptunaSearcher(self.space, self.folder / "study.journal")
        self.progress.waiting_for = f"{self.slots} workers to start"
        self.progress.look(force=True)
        try:
            self._tuner(searcher).fit()
        finally:
            self.recorder.interrupt()
            searcher.close()

    def prove(self) -> dict[str, Any]:
        """Open the test block with the finalists, and ask of the whole study whether its best is only lucky.

        Returns:
            What the manifest says of both.
        """
        self.predictions.flush()
        names, forecasts = validation_forecasts(self.folder / "predictions.parquet")
        validation = dict(zip(names, forecasts, strict=True))
        finalists = choose(self.record.ends, self.space)
        opened = {
            "time": now(), "ranked_by": self.space.search.metric, "trials": len(self.record.ends),
            "finalists": [asdict(finalist) for finalist in finalists],
        }  # fmt: skip
        refitted, failed = self._refitted(finalists, validation)
        opening = self._open_test(refitted, validation) if refitted else None
        if self.stop.signalled and opening is None:
            return {}
        self.progress.waiting_for = "the tests of luck"
        self.progress.look(force=True)
        proof = prove(
            validation, opening, [one.finalist.trial_id for one in refitted], self.prices, self.walk,
            self.space.data.horizon,
        )  # fmt: skip
        found = {"proof": proof, "failed_finalists": failed}
        if opening is None:
            return found
        said = {"scores": opening.scores, "ensemble": opening.ensemble, "reasons": opening.reasons}
        return found | {"test_openings": [opened | said]}

    def _refitted(
        self, finalists: Sequence[Finalist], validation: Mapping[str, np.ndarray]
    ) -> tuple[list[Refitted], dict[str, str]]:
        """The finalists, trained side by side, and why some could not be; neither where interrupted meanwhile."""
        if not finalists:
            return [], {}
        self.progress.waiting_for = f"{len(finalists)} finalists, trained afresh for the test block"
        self.progress.look(force=True)
        shared = ray.put(self.space), ray.put(self.prices), ray.put(self.walk)
        task = _refit.options(num_cpus=self.space.resources.cpu, num_gpus=self.space.resources.gpu)
        waiting = tasks = [task.remote(finalist, *shared, validation[finalist.trial_id]) for finalist in finalists]
        while waiting:
            if self.stop.signalled:
                return [], {}
            _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0.5)
            self.progress.look()
        refitted, failed = [], {}
        for finalist, done in zip(finalists, tasks, strict=True):
            try:
                one = ray.get(done)
            except ray.exceptions.RayError as error:  # its own: the others go on
                cause = getattr(error, "cause", None) or error
                failed[finalist.trial_id] = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
                continue
            if np.isfinite(one.forecasts).all():
                refitted.append(one)
            else:
                failed[finalist.trial_id] = "diverged on the longer training part"
        return refitted, failed

    def _open_test(self, refitted: Sequence[Refitted], validation: Mapping[str, np.ndarray]) -> Opening:
        """Score the test block and write what it was forecast by."""
        opening = open_block(refitted, validation, self.prices, self.walk, self.space.data.horizon)
        self.board.test, self.board.ensemble = opening.scores, opening.ensemble
        for name, forecast in opening.forecasts.items():
            self.predictions.test(name, self.walk.test, forecast)
        self.predictions.flush()
        for one in refitted:
            one.forecaster.save(self.folder / "forecasters" / str(one.finalist.rank))
        return opening

    def end(self, manifest: Mapping[str, Any]) -> str:
        """Write what the study came to, and return its verdict."""
        self.record.close()
        self.predictions.flush()
        self.board.write()
        said = verdict(self.board.rows(), manifest.get("proof"))
        write_manifest(self.folder, {**manifest, "verdict": said})
        write_report(self.folder)
        self.tracking.finish({**manifest, "verdict": said})
        return said

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
                callbacks=[self.recorder],
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


@ray.remote
def _refit(finalist: Finalist, space: Space, prices: Prices, walk: WalkForward, validation: np.ndarray) -> Refitted:
    import torch

    torch.set_num_threads(max(1, int(space.resources.cpu)))
    return refit(finalist, space, prices, walk, validation)


def _name(trial: Any) -> str:
    return str(trial.config["trial_id"])
