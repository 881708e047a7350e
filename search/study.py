"""A study: Ray Tune runs the trials that the searcher proposes, and everything lands in the results folder."""

import errno
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune

from search.actors import workers_may_die
from search.afresh import train_afresh
from search.disk import DiskError, cause, settle
from search.finalists import Finalist, Refitted, choose
from search.gpus import BusyError, smallest_gpu
from search.lock import locked
from search.manifest import opening, write_manifest, write_space
from search.mirror import Mirror
from search.needs import Needs
from search.opening import Opening, open_block
from search.predictions import Predictions, validation_forecasts
from search.progress import Progress
from search.proof import prove
from search.ranking import Row
from search.reach import check_reach
from search.record import Record, TrialEnd, now
from search.recorder import Board, Recorder
from search.report import write_report
from search.resume import Begun, read_begun
from search.scheduler import FiniteASHA
from search.searcher import OptunaSearcher
from search.settings import AUTO
from search.space import Space
from search.stop import Ended, Stop, hangups_ignored
from search.tracking import Tracking
from search.trial import TrialTrainable
from search.verdict import verdict
from search.workers import Room, ray_running, slots
from stockrnn.baselines import baseline_scores
from stockrnn.checkpoint import forget
from stockrnn.folds import WalkForward
from stockrnn.parquet import write_prices
from stockrnn.series import Prices

__all__ = ["Options", "Outcome", "run_study"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a study is run, as far as it is not part of the space.

    Attributes:
        folder: the study's on this machine, which exists where it is resumed, and only there.
        mirror: where it is kept behind a URL, what brings it there.
        max_concurrent: trials side by side, at most.
        time_budget: seconds after which the search ends.
        insecure: join a cluster that others can reach and that asks for no token.
        reopen_test: open the test block again, for the finalists as they are now.
    """

    folder: Path
    command: str
    mirror: Mirror | None = None
    max_concurrent: int | None = None
    time_budget: float | None = None
    address: str | None = None
    insecure: bool = False
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
        before: trials that had ended before it was resumed.
    """

    rows: Sequence[Row]
    ends: Sequence[TrialEnd]
    verdict: str
    interrupted: bool
    seconds: float
    failure: str | None = None
    before: int = 0


def run_study(space: Space, prices: Prices, walk: WalkForward, options: Options) -> Outcome:
    """Run a study to its end, its time budget or an interrupt; the results folder is complete either way.

    Raises:
        SpaceError: a trial's resources do not fit the machine, or the results folder exists.
        AdmissionError: there is no cluster at `options.address`, or it must not be joined.
        LockedError: another process writes into the folder.
        DiskError: the folder cannot be written, and nothing was begun.
        StorageError: nor can the URL.
        ReachError: a machine of the cluster does not see the folder.
        ValueError: a file of a study to be resumed is damaged.
    """
    began, start = time.monotonic(), now()
    baselines = {
        name: scores.as_dict()
        for name, scores in baseline_scores(prices.column("close"), walk.folds, space.data.horizon).items()
    }
    with ExitStack() as stack:
        nohup = stack.enter_context(hangups_ignored())
        begun = Begun(manifest={}, events=(), notes=())
        if options.resume:
            with _begins(options.folder):
                stack.enter_context(locked(options.folder))
                begun = read_begun(options.folder)
        record = Record(options.folder / "trials.jsonl", begun.events)
        progress = Progress(space, record, baselines, time_budget=options.time_budget, quiet=options.quiet)
        stop = Stop(options.time_budget, progress.ending)
        stack.enter_context(progress)
        for note in begun.notes:
            progress.say(note)
        study = _Study(space, prices, walk, options, record, progress, stop)
        opened = bool(begun.manifest.get("test_openings")) and not options.reopen_test
        left = max(0, space.num_samples - len(begun.ends))
        if left or (not opened and choose(begun.ends, space)):
            stack.enter_context(ray_running(options.address, insecure=options.insecure))
            study.needs = needs = Needs(space, walk, len(prices), study.gpu_memory())
            study.slots = slots(space, needs.kinds, options.max_concurrent, options.address)
            if options.address and options.mirror is None:
                check_reach(options.folder if options.resume else options.folder.parent)
            study.room = Room(needs.kinds, study.slots, options.max_concurrent, options.address)
        # Ray installs signal handlers of its own, which abort: ours come after it.
        stack.enter_context(stop.on_signals(nohup=nohup))
        manifest = begun.resumed(start, options.command, space, prices)
        with _begins(options.folder):
            if not manifest:
                manifest = opening(space, prices, walk, options.command, start, baselines)
                stack.enter_context(study.make_folder(manifest))
            study.begin(manifest, begun, baselines)
        if options.mirror:
            options.mirror.begin(progress.say, stop.because)
        found: dict[str, Any] = {}

        def end() -> str:
            spent = round(time.monotonic() - began + (begun.manifest.get("seconds") or 0), 3)
            ended = {"end": now(), "seconds": spent, "interrupted": stop.signalled, "failure": stop.reason}
            return study.end(manifest | ended | found)

        try:
            with study.writing():
                if left:
                    study.search()
                if not stop.early:  # a time budget ends the search, not the proof
                    openings, proof = manifest["test_openings"], manifest.get("proof")
                    found = study.prove(openings) if not opened else study.prove_again(proof or {}) if left else {}
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
    )  # fmt: skip


class _Study:
    """A study on a running Ray: its folder, its search and its finalists."""

    def __init__(
        self, space: Space, prices: Prices, walk: WalkForward, options: Options, record: Record, progress: Progress,
        stop: Stop,
    ) -> None:  # fmt: skip
        self.space, self.prices, self.walk, self.slots = space, prices, walk, 0
        self.folder, self.place, self.mirror = options.folder, options.place, options.mirror
        self.record, self.progress, self.stop = record, progress, stop
        self.room: Room | None = None
        self.needs: Needs | None = None
        self.checkpoints = self.folder / "checkpoints"
        self.predictions = Predictions(self.folder / "predictions.parquet", prices, space.data.horizon)

    def gpu_memory(self) -> int | None:
        """What `gpu: auto` is measured by: bytes of the smallest GPU, or None; says which, where it matters.

        Raises:
            SpaceError: there are GPUs, and others use them all.
        """
        automatic = [kind for kind in self.space.demands.kinds if kind.gpu == AUTO]
        if not automatic:
            return None
        try:
            memory = smallest_gpu()
        except BusyError as error:
            raise self.space.error(
                automatic[0].gpu_key, f"auto: {error}; a share is measured by a GPU; wait, or write a number"
            ) from None
        found = f"a share of GPUs of {memory / 1e9:.1f} GB" if memory else "the CPU, since PyTorch finds no GPU"
        self.progress.say(f"resources.gpu: auto is {found}")
        return memory

    def make_folder(self, manifest: Mapping[str, Any]) -> ExitStack:
        """Make the results folder, whole or not at all; returns the lock on it.

        Raises:
            SpaceError: it exists.
        """
        part = self.folder.with_name(f".{self.folder.name}.{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)  # of a process of this number that was killed
        part.mkdir(parents=True)
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, part, ignore_errors=True)
            stack.enter_context(locked(part, becomes=self.folder))
            write_prices(part / "prices.parquet", self.prices)
            write_space(part, self.space)
            write_manifest(part, manifest)
            for path in part.iterdir():
                settle(path)
            try:
                part.rename(self.folder)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                raise self.space.error(("name",), f"{self.folder} was made meanwhile; choose another name") from None
            return stack.pop_all()

    def begin(self, manifest: Mapping[str, Any], begun: Begun, baselines: Mapping[str, Mapping[str, float]]) -> None:
        """Write all that is known before the first trial, or before the next one."""
        if begun.manifest:
            write_space(self.folder, self.space)
            write_manifest(self.folder, manifest)
        self.checkpoints.mkdir(exist_ok=True)
        self.board = Board(self.folder / "leaderboard.csv", self.space, self.record, baselines)
        openings = manifest["test_openings"]
        if openings:
            self.board.test, self.board.ensemble = openings[-1].get("scores") or {}, openings[-1].get("ensemble") or {}
        for end in begun.ends:
            if self.mirror is None or end.trial_id in self.mirror.kept:
                self.forget(end.trial_id)
        scored = {end.trial_id for end in begun.ends if end.scores}
        self.predictions.keep(scored, folds=len(self.walk.folds), test=bool(openings))
        self.board.write()
        self.tracking = Tracking(self.space, self.folder)
        self.tracking.begin(manifest)
        self.begun = begun
        self.searcher = OptunaSearcher(
            self.space, self.folder / "study.journal", begun.ends, begun.broken_off, self.room
        )
        for note in self.searcher.notes:
            self.progress.say(note)

    def forget(self, trial_id: str) -> None:
        """Remove the checkpoints of a trial that has ended."""
        if self.mirror:
            self.mirror.forget(trial_id)
        elif said := forget(self.checkpoints / trial_id):
            self.progress.say(said)

    def search(self) -> None:
        """Run the trials; when this returns, every trial has ended, or goes on when the study is resumed."""
        recorder = Recorder(
            self.record, self.board, self.progress, self.predictions, self.walk.folds, self.tracking, self.searcher,
            self.forget, self.stop.because,
        )  # fmt: skip
        self._looking(f"{self.slots} workers to start")
        with suppress(Ended), workers_may_die():
            self._tuner(recorder).fit()
        recorder.interrupt()
        self.searcher.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Within: a disk that fails ends the study, and what is there stays as it is."""
        try:
            yield
        except Exception as error:
            if (why := cause(error)) is None:
                raise
            self.stop.because(
                f"{self.folder}: cannot be written ({why}); what had ended by then is kept; make room, "
                f"and go on with --resume {self.place}"
            )

    def prove_again(self, proof: Mapping[str, Any]) -> dict[str, Any]:
        """Ask again, of more trials, whether the best is only lucky; the test block says what it said."""
        self._looking("the tests of luck")
        again = prove(self._validation(), None, [], self.prices, self.walk, self.space.data.horizon)
        said = {name: why for name, why in (proof.get("reasons") or {}).items() if name == "test_spa_p"}
        reasons = {name: why for name, why in again["reasons"].items() if name != "test_spa_p"} | said
        return {"proof": again | {"test_spa_p": proof.get("test_spa_p"), "reasons": reasons}}

    def prove(self, openings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Open the test block with the finalists, and ask of the whole study whether its best is only lucky.

        Args:
            openings: the earlier ones.

        Returns:
            What the manifest says of both.
        """
        validation = self._validation()
        finalists = choose(self.record.ends, self.space)
        opened = {
            "time": now(), "ranked_by": self.space.search.metric, "trials": len(self.record.ends),
            "finalists": [asdict(finalist) for finalist in finalists],
        }  # fmt: skip
        refitted, failed = self._refitted(finalists, validation)
        opening = self._open_test(refitted, validation) if refitted else None
        if self.stop.signalled and opening is None:
            return {}
        self._looking("the tests of luck")
        proof = prove(
            validation, opening, [one.finalist.trial_id for one in refitted], self.prices, self.walk,
            self.space.data.horizon,
        )  # fmt: skip
        found = {"proof": proof, "failed_finalists": failed}
        if opening is None:
            return found
        said = {"scores": opening.scores, "ensemble": opening.ensemble, "reasons": opening.reasons}
        return found | {"test_openings": [*openings, opened | said]}

    def _looking(self, waiting_for: str) -> None:
        self.progress.waiting_for = waiting_for
        self.progress.look(force=True)

    def _validation(self) -> dict[str, np.ndarray]:
        """What every trial forecast on the validation days of all folds, each (days,), by its id."""
        self.predictions.flush()
        names, forecasts = validation_forecasts(self.folder / "predictions.parquet")
        return dict(zip(names, forecasts, strict=True))

    def _refitted(
        self, finalists: Sequence[Finalist], validation: Mapping[str, np.ndarray]
    ) -> tuple[list[Refitted], dict[str, str]]:
        """The finalists, trained side by side, and why some could not be; neither where interrupted meanwhile."""
        if not finalists:
            return [], {}
        self._looking(f"{len(finalists)} finalists, trained afresh for the test block")
        assert self.needs

        def go_on() -> bool:
            self.progress.look()
            return not self.stop.signalled

        return train_afresh(finalists, self.needs.at, validation, self.space, self.prices, self.walk, go_on=go_on)

    def _open_test(self, refitted: Sequence[Refitted], validation: Mapping[str, np.ndarray]) -> Opening:
        """Score the test block and write what it was forecast by."""
        opening = open_block(refitted, validation, self.prices, self.walk, self.space.data.horizon)
        self.board.test, self.board.ensemble = opening.scores, opening.ensemble
        self.predictions.forget_test()  # of an earlier opening
        for name, forecast in opening.forecasts.items():
            self.predictions.test(name, self.walk.test, forecast)
        self.predictions.flush()
        shutil.rmtree(self.folder / "forecasters", ignore_errors=True)
        for one in refitted:
            one.forecaster.save(self.folder / "forecasters" / str(one.finalist.rank))
        return opening

    def end(self, manifest: Mapping[str, Any]) -> str:
        """Write what the study came to, and return its verdict."""
        said = verdict(self.board.rows(), manifest.get("proof"))
        with self.writing():
            self.record.close()
            self.predictions.flush()
            self.board.write()
            write_manifest(self.folder, {**manifest, "verdict": said})
            write_report(self.folder)
            self.tracking.finish({**manifest, "verdict": said})
        return said

    def _tuner(self, recorder: Recorder) -> tune.Tuner:
        assert self.needs
        trainable = tune.with_resources(
            tune.with_parameters(
                TrialTrainable,
                prices=self.prices,
                folds=self.walk.folds,
                space=self.space,
                checkpoints=self.mirror.checkpoints if self.mirror else str(self.checkpoints.resolve()),
            ),
            partial(_asked, self.needs),
        )
        return tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=self.searcher,
                scheduler=FiniteASHA(self.space, self.begun.events),
                num_samples=self.searcher.left,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="ray",
                storage_path=str(self.folder.resolve()),
                stop=self.stop,
                callbacks=[recorder],
                failure_config=tune.FailureConfig(max_failures=self.space.search.max_failures),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )


def _asked(needs: Needs, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """What Tune gives to a trial."""
    demand = needs.at(config["point"])
    return tune.PlacementGroupFactory([{"CPU": demand.cpu, "GPU": float(demand.gpu)}])


@contextmanager
def _begins(folder: Path) -> Iterator[None]:
    """Within: a disk that fails is said in one line."""
    try:
        yield
    except OSError as error:
        if (why := cause(error)) is None:
            raise
        raise DiskError(
            f"{folder}: cannot be written ({why}); a study writes all it finds there; make room, or choose "
            "another folder"
        ) from None


def _name(trial: Any) -> str:
    return str(trial.config["trial_id"])
