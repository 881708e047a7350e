"""Choose the finalists, the best configurations, and retrain them on everything before the test block.

Nothing here runs before the ranking is fixed, and no result of the test block changes it. Only `refit` imports PyTorch,
on a worker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from search.common.errors import DamagedError
from search.common.messages import format_value
from search.results.event_log import TrialEnd
from search.space.parameters import effective_point
from search.space.space import Space
from stockrnn.evaluation.conformal import conformal_intervals
from stockrnn.evaluation.walk_forward import Fold, WalkForward
from stockrnn.prices.series import Prices
from stockrnn.tasks.scoring import fold_days
from stockrnn.training.memory import claim_gpu

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Forecaster

__all__ = [
    "Finalist", "RefittedFinalist", "choose_finalists", "recorded_finalists", "refit", "remove_diverged",
    "validation_days",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A configuration that is evaluated on the test block.

    Attributes:
        rank: 1 for the best.
        trial_id: the trial whose configuration it is.
        point: the parameters of that trial.
        epochs: number of training epochs, the best epoch of that trial.
        seeds: number of networks, each with another seed.
    """

    rank: int
    trial_id: str
    point: Mapping[str, Any]
    epochs: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class RefittedFinalist:
    """A finalist after training.

    Attributes:
        forecasts: of the test block, shape (seeds, days), in the task's unit.
        forecaster: forecasts later sessions.
    """

    finalist: Finalist
    forecasts: np.ndarray
    forecaster: "Forecaster"


def choose_finalists(ends: Sequence[TrialEnd], space: Space) -> list[Finalist]:
    """Return the best distinct configurations by the study's metric; each trains until the best epoch of its trial."""
    metric, sign = space.search.metric, 1 if space.mode == "min" else -1
    scored = [(sign * value, end.trial_id, end) for end in ends if (value := end.scores.get(metric)) is not None]
    chosen: list[Finalist] = []
    for *_, end in sorted(scored, key=lambda item: item[:2]):
        if len(chosen) == space.search.finalists:
            break
        if end.best_epoch and effective_point(end.point) not in {effective_point(one.point) for one in chosen}:
            chosen.append(_finalist(len(chosen) + 1, end, space.search.finalist_seeds))
    return chosen


def recorded_finalists(opening: Mapping[str, Any], ends: Sequence[TrialEnd]) -> list[Finalist]:
    """Return the finalists of an earlier opening of the test block.

    Args:
        opening: an entry of the manifest's `test_openings`.
        ends: the ended trials.

    Raises:
        DamagedError: one of the finalists is not among the ended trials.
    """
    by_id = {end.trial_id: end for end in ends if end.best_epoch}
    named = [str(one.get("trial_id")) for one in opening.get("finalists") or []]
    if missing := [name for name in named if name not in by_id]:
        raise DamagedError(
            f"manifest.json: test_openings: trial {format_value(missing[0])} has no score in trials.jsonl; both files "
            "must come from one study; copy the study's folder again, or add --reopen-test"
        )
    seeds = opening.get("finalist_seeds")
    if named and seeds is None:
        raise DamagedError(
            "manifest.json: test_openings: finalist_seeds is missing; it is the number of networks of each finalist; "
            "copy the study's folder again, or add --reopen-test"
        )
    return [_finalist(rank, by_id[name], int(seeds or 0)) for rank, name in enumerate(named, start=1)]


def _finalist(rank: int, end: TrialEnd, seeds: int) -> Finalist:
    assert end.best_epoch
    return Finalist(rank=rank, trial_id=end.trial_id, point=end.point, epochs=end.best_epoch, seeds=seeds)


def validation_days(space: Space, prices: Prices, folds: Sequence[Fold]) -> tuple[np.ndarray, np.ndarray]:
    """Return the actual values of all validation days, and the forecasts of the rival, each (days,)."""
    days = fold_days(space.task, space.series(prices), folds)
    return np.concatenate([fold.actual for fold in days]), np.concatenate([fold.rival for fold in days])


def refit(
    finalist: Finalist, space: Space, prices: Prices, splits: WalkForward, validation: np.ndarray, *,
    threads: int | None = None, share: float = 0,
) -> RefittedFinalist:  # fmt: skip
    """Train a finalist on everything before the test block and forecast that block.

    Args:
        finalist: the configuration.
        space: the study's space.
        prices: the study's prices.
        splits: the study's folds and test block.
        validation: the forecasts of its trial on the validation days of all folds, (days,); the forecaster keeps them,
            and their errors give its intervals.
        threads: of PyTorch on the CPU; None: as they are.
        share: of a GPU on which it trains; 0: on the CPU.

    Raises:
        GpuMemoryError: the share was too small, and there are larger ones.
    """
    from search.tune.trial import GpuMemoryError, is_out_of_gpu_memory
    from stockrnn.dataset.windows import Windows
    from stockrnn.forecaster.forecaster import Forecaster
    from stockrnn.forecaster.validation import ValidationDays
    from stockrnn.training.trainer import train

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    window, network, training = space.configurations(finalist.point)
    horizon = space.data.horizon
    try:
        windows = Windows(prices, [splits.final], window, horizon, device=claim_gpu(share))
        *_, last = train(
            windows, network, training, seeds=finalist.seeds, max_epochs=finalist.epochs,
            study_seed=space.seed, forecast_from=finalist.epochs, mode=space.execution_mode,
        )  # fmt: skip
    except RuntimeError as error:
        if share < 1 and is_out_of_gpu_memory(error):
            raise GpuMemoryError(f"{error}") from None
        raise
    actual, rival = validation_days(space, prices, splits.folds)
    days = np.concatenate([prices.dates[fold.validation.start : fold.validation.stop] for fold in splits.folds])
    forecaster = Forecaster.from_training(
        windows, last.members, correction=float(last.corrections[0]),
        intervals=conformal_intervals(validation, actual) if space.task.has_intervals else (),
        rival_intervals=conformal_intervals(rival, actual) if space.task.has_intervals else (),
        rank=finalist.rank, trial_id=finalist.trial_id, epochs=finalist.epochs,
        span=(str(prices.dates[splits.before_test.start]), str(prices.dates[splits.before_test.stop - 1])),
        provenance=prices.provenance, asked=space.data,
        validation=ValidationDays.of(days, validation, actual, rival),
    )  # fmt: skip
    return RefittedFinalist(finalist=finalist, forecasts=last.forecasts[0], forecaster=forecaster)


def remove_diverged(
    refitted: Sequence[RefittedFinalist], failed: Mapping[str, str]
) -> tuple[list[RefittedFinalist], dict[str, str]]:
    """Return the finalists with finite forecasts, best first, and the reasons why others failed by trial ID."""
    finite = [one for one in refitted if np.isfinite(one.forecasts).all()]
    diverged = {one.finalist.trial_id for one in refitted} - {one.finalist.trial_id for one in finite}
    reasons = dict.fromkeys(sorted(diverged), "diverged on the longer training part")
    return sorted(finite, key=lambda one: one.finalist.rank), {**failed, **reasons}
