"""Choose the finalists, the best configurations, and retrain them on everything before the test block.

Nothing here runs before the ranking is fixed, and nothing of the test block flows back into it. PyTorch is imported by
`refit` alone, on a worker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from search.common.errors import DamagedError
from search.common.messages import format_value
from search.results.event_log import TrialEnd
from search.space.space import Space
from stockrnn.dataset.walk_forward import Fold, WalkForward
from stockrnn.evaluation.conformal import conformal_intervals
from stockrnn.prices.series import Prices

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Forecaster

__all__ = ["Finalist", "Refitted", "choose", "chosen_before", "refit"]


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A configuration that goes to the test block.

    Attributes:
        trial_id: the trial that it comes from.
        epochs: it trains, the best epoch of that trial.
        seeds: networks it trains, each from another seed.
    """

    rank: int
    trial_id: str
    point: Mapping[str, Any]
    epochs: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Refitted:
    """A finalist after training.

    Attributes:
        forecasts: of the test block, shape (seeds, days), price points.
        forecaster: what forecasts later days.
    """

    finalist: Finalist
    forecasts: np.ndarray
    forecaster: "Forecaster"


def choose(ends: Sequence[TrialEnd], space: Space) -> list[Finalist]:
    """The best distinct configurations by the study's metric; each trains as long as its best epoch."""
    metric, sign = space.search.metric, 1 if space.mode == "min" else -1
    scored = [(sign * value, end.trial_id, end) for end in ends if (value := end.scores.get(metric)) is not None]
    chosen: list[Finalist] = []
    for *_, end in sorted(scored, key=lambda item: item[:2]):
        if len(chosen) == space.search.finalists:
            break
        if end.best_epoch and all(end.point != finalist.point for finalist in chosen):
            chosen.append(_finalist(len(chosen) + 1, end, space.search.finalist_seeds))
    return chosen


def chosen_before(opening: Mapping[str, Any], ends: Sequence[TrialEnd]) -> list[Finalist]:
    """Return the finalists that an earlier opening of the test block named, as the record of trials has them.

    Raises:
        DamagedError: the record does not have them.
    """
    by_id = {end.trial_id: end for end in ends if end.best_epoch}
    named = [str(one.get("trial_id")) for one in opening.get("finalists") or []]
    if missing := [name for name in named if name not in by_id]:
        raise DamagedError(
            f"manifest.json: the test block was opened for trial {format_value(missing[0])}, which trials.jsonl does "
            "not have with a score; the two files belong together; copy the study's folder again, or add --reopen-test"
        )
    seeds = opening.get("finalist_seeds")
    if named and seeds is None:
        raise DamagedError(
            "manifest.json: test_openings: finalist_seeds is missing; an opening of the test block says how many "
            "networks a finalist averages; copy the study's folder again, or add --reopen-test"
        )
    return [_finalist(rank, by_id[name], int(seeds or 0)) for rank, name in enumerate(named, start=1)]


def _finalist(rank: int, end: TrialEnd, seeds: int) -> Finalist:
    assert end.best_epoch
    return Finalist(rank=rank, trial_id=end.trial_id, point=end.point, epochs=end.best_epoch, seeds=seeds)


def validation_days(prices: Prices, folds: Sequence[Fold], horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Actual closes and the closes on the days of the forecasts, of all validation blocks in turn, each (days,)."""
    closes = prices.column("close")
    targets = np.concatenate([np.arange(fold.validation.start, fold.validation.stop) for fold in folds])
    return closes[targets], closes[targets - horizon]


def refit(
    finalist: Finalist, space: Space, prices: Prices, splits: WalkForward, validation: np.ndarray, *,
    device: str = "cpu",
) -> Refitted:  # fmt: skip
    """Train a finalist on everything before the test block and forecast that block.

    Args:
        validation: what its trial forecast on the validation days of all folds, shape (days,); the intervals of the
            forecaster come from its errors.
        device: to train on, `cpu` or `cuda`.
    """
    from stockrnn.dataset.windows import Windows
    from stockrnn.forecaster.forecaster import Forecaster
    from stockrnn.training.trainer import train

    window, network, training = space.configurations(finalist.point)
    horizon = space.data.horizon
    windows = Windows(prices, [splits.final], window, horizon, device=device)
    *_, last = train(
        windows, network, training, seeds=finalist.seeds, max_epochs=finalist.epochs,
        study_seed=space.seed, forecast_from=finalist.epochs, mode=space.execution_mode,
    )  # fmt: skip
    actual, previous = validation_days(prices, splits.folds, horizon)
    forecaster = Forecaster.from_training(
        windows, last.members,
        intervals=conformal_intervals(validation, actual), persistence_intervals=conformal_intervals(previous, actual),
        rank=finalist.rank, trial_id=finalist.trial_id, epochs=finalist.epochs,
        span=(str(prices.dates[splits.before_test.start]), str(prices.dates[splits.before_test.stop - 1])),
        provenance=prices.provenance, asked=space.data,
    )  # fmt: skip
    return Refitted(finalist=finalist, forecasts=last.forecasts[0], forecaster=forecaster)
