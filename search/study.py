"""A study: Ray Tune runs the trials that the searcher proposes, and everything lands in the results folder."""

import importlib.metadata
import json
import logging
import os
import platform
import signal
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
from search.progress import Progress
from search.record import Record, TrialEnd, now
from search.scheduler import FiniteASHA
from search.searcher import OptunaSearcher
from search.space import Space
from search.trial import TrialTrainable
from stockrnn.baselines import baseline_scores
from stockrnn.folds import WalkForward
from stockrnn.prices import Prices

__all__ = ["Options", "Outcome", "run_study"]

OBJECT_STORE = 256 * 1024**2  # bytes: the prices and Ray's own needs
LEADERBOARD_EVERY = 1.0  # seconds between two rewrites while trials end
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else every worker warns of it
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files per trial
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no score
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours ends the study through the stopper
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0 the older output is silent, the newer is not
}


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
        SpaceError: the trial's resources do not fit the machine.
        ConnectionError: there is no cluster at `options.address`.
    """
    began = time.monotonic()
    baselines = {
        name: scores.as_dict()
        for name, scores in baseline_scores(prices.column("close"), walk.folds, space.data.horizon).items()
    }
    options.folder.mkdir(parents=True)
    (options.folder / "space.yaml").write_text(space.as_yaml(), encoding="utf-8")
    manifest = _manifest(space, prices, walk, options, baselines)
    _write_json(options.folder / "manifest.json", manifest)
    record = Record(options.folder / "trials.jsonl")
    progress = Progress(space, record, baselines, time_budget=options.time_budget, quiet=options.quiet)
    stop = _Stop(options.time_budget)
    board = _Board(options.folder / "leaderboard.csv", space, record, baselines)
    board.write()
    opened: dict[str, Any] | None = None
    try:
        with progress:
            searcher = OptunaSearcher(space, options.folder / "study.journal")
            try:
                with _ray(options.address), stop.on_signals():  # after Ray's own handlers, which would abort
                    slots = _slots(space, options.max_concurrent)
                    progress.waiting_for = f"{slots} workers to start"
                    progress.look(force=True)
                    _tuner(space, prices, walk, options.folder, searcher, slots, stop, record, board, progress).fit()
                    record.interrupt()
                    if not stop.signalled:  # a time budget ends the search, not the proof
                        opened = _open_test(space, prices, walk, record, board, progress, stop)
            finally:
                record.interrupt()
                searcher.close()
    finally:
        record.close()
        board.write()
        _write_json(
            options.folder / "manifest.json",
            manifest
            | {"end": now(), "seconds": round(time.monotonic() - began, 3), "interrupted": stop.signalled}
            | {"verdict": verdict(board.rows()), "test_opened": opened},
        )
    return Outcome(
        rows=board.rows(), ends=record.ends, interrupted=stop.signalled, seconds=time.monotonic() - began
    )


class _Stop(Stopper):  # type: ignore[misc]
    """Ends the study on a signal or when its time is up (monotonic, so that clock jumps do no harm)."""

    def __init__(self, time_budget: float | None) -> None:
        self.signalled = False
        self._deadline = None if time_budget is None else time.monotonic() + time_budget

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
        return rank(
            self._record.ends, self._baselines, metric=search.metric, mode=self._space.mode, test=self.test
        )

    def write(self) -> None:
        write_csv(self._path, self.rows(), columns(self._space))
        self._written = time.monotonic()

    def refresh(self) -> None:
        if time.monotonic() - self._written >= LEADERBOARD_EVERY:
            self.write()


class _Recorder(tune.Callback):  # type: ignore[misc]
    """Turns Tune's events into the record, the leaderboard and the terminal's view."""

    def __init__(self, record: Record, board: _Board, progress: Progress) -> None:
        self._record, self._board, self._progress = record, board, progress

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune's snapshot is a cache; files and terminal do not travel in it

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._progress.look()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._record.start(trial.config["trial_id"], trial.config["point"])

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
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


def _tuner(
    space: Space, prices: Prices, walk: WalkForward, folder: Path, searcher: OptunaSearcher, slots: int, stop: _Stop,
    record: Record, board: _Board, progress: Progress,
) -> tune.Tuner:  # fmt: skip
    trainable = tune.with_resources(
        tune.with_parameters(TrialTrainable, prices=prices, folds=walk.folds, space=space),
        {"cpu": space.resources.cpu, "gpu": space.resources.gpu},
    )
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=FiniteASHA(space),
            num_samples=space.num_samples,
            max_concurrent_trials=slots,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(folder.resolve()),
            stop=stop,
            callbacks=[_Recorder(record, board, progress)],
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )


def _open_test(
    space: Space, prices: Prices, walk: WalkForward, record: Record, board: _Board, progress: Progress, stop: _Stop
) -> dict[str, Any] | None:
    """Train the finalists side by side and score them, and the baselines, on the test block: once.

    Returns:
        What the manifest says of it; None where there is no finalist or the study was interrupted meanwhile.
    """
    finalists = choose(record.ends, space)
    if not finalists:
        return None
    progress.waiting_for = f"{len(finalists)} finalists, trained afresh, and the test block"
    progress.look(force=True)
    opened = {
        "time": now(), "ranked_by": space.search.metric, "trials": len(record.ends),
        "finalists": [asdict(finalist) for finalist in finalists],
    }  # fmt: skip
    shared = [ray.put(value) for value in (space, prices, walk)]
    task = _refit.options(num_cpus=space.resources.cpu, num_gpus=space.resources.gpu)
    waiting = tasks = [task.remote(finalist, *shared) for finalist in finalists]
    while waiting:
        if stop.signalled:
            return None
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0.5)
        progress.look()
    tested = ray.get(tasks)
    board.test = {
        **{finalist.trial_id: columns for finalist, columns in zip(finalists, tested, strict=True)},
        **score_baselines(prices, walk, space.data.horizon),
    }
    return {**opened, "scores": board.test}


@ray.remote
def _refit(finalist: Finalist, space: Space, prices: Prices, walk: WalkForward) -> dict[str, float]:
    torch.set_num_threads(max(1, int(space.resources.cpu)))
    return refit(finalist, space, prices, walk)


def _name(trial: Any) -> str:
    return str(trial.config["trial_id"])


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    """A Ray of our own on this machine, or the cluster at an address; quiet, and gone afterwards."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    local: dict[str, Any] = {"address": "local", "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            log_to_driver=False, logging_level=logging.CRITICAL, **({"address": address} if address else local)
        )
    try:
        yield
    finally:
        ray.shutdown()


def _slots(space: Space, max_concurrent: int | None) -> int:
    """Trials that run side by side."""
    have, want = ray.cluster_resources(), space.resources
    for key, needed, available in (("cpu", want.cpu, have.get("CPU", 0)), ("gpu", want.gpu, have.get("GPU", 0))):
        if needed > available:
            raise space.error(
                ("resources", key),
                f"{needed:g} a trial, but there are {available:g} here; a trial must fit; lower it or join a cluster",
            )
    fits = int(have.get("CPU", 0) / want.cpu)
    if want.gpu:
        fits = min(fits, int(have["GPU"] / want.gpu))
    return max(1, min(fits, max_concurrent or fits, space.num_samples))


def _manifest(
    space: Space, prices: Prices, walk: WalkForward, options: Options, baselines: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    def dates(block: range) -> list[str]:
        return [str(prices.dates[block.start]), str(prices.dates[block.stop - 1])]

    packages = ("stockrnn-search", "torch", "ray", "optuna", "numpy", "pandas")
    return {
        "name": space.name,
        "command": options.command,
        "host": platform.node(),
        "platform": platform.platform(),
        "start": now(),
        "end": None,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "seed": space.seed,
        "data": asdict(prices.provenance),
        "folds": [{"train": dates(fold.train), "validation": dates(fold.validation)} for fold in walk.folds],
        "test": dates(walk.test),
        "test_opened": None,
        "baselines": baselines,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that was not installed
        return None


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(_plain(data), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and value != value else value
