"""Is the best of many only lucky? What the whole study says of that, for the manifest and the verdict."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from search.study.test_block import Opening
from stockrnn.dataset.walk_forward import WalkForward
from stockrnn.evaluation.multiple_testing import UndefinedTestError, backtest_overfitting, spa
from stockrnn.prices.series import Prices

__all__ = ["prove"]


def prove(
    validation: Mapping[str, np.ndarray],
    opening: Opening | None,
    finalists: list[str],
    prices: Prices,
    splits: WalkForward,
    horizon: int,
) -> dict[str, Any]:
    """Tests over all trials on validation, and over the finalists on the test block.

    Args:
        validation: the forecasts of every finished trial on the validation days of all folds, each (days,).
        opening: the test block, where it was opened.
        finalists: their trial ids.

    Returns:
        `spa_p`: superior predictive ability of any trial over persistence on validation; `pbo`: probability of
        backtest overfitting; `test_spa_p`: superior predictive ability of any finalist on the test block; the days
        of each; None where undefined, and then `reasons` says why.
    """
    closes = prices.column("close")
    targets = np.concatenate([np.arange(fold.validation.start, fold.validation.stop) for fold in splits.folds])
    losses, rival = _losses(validation, closes[targets], closes[targets - horizon])
    proof: dict[str, Any] = {"trials": len(validation), "validation_days": len(targets), "test_days": len(splits.test)}
    reasons: dict[str, str] = {}

    def add(name: str, test: Any) -> None:
        try:
            proof[name] = test()
        except UndefinedTestError as reason:
            proof[name], reasons[name] = None, str(reason)

    add("spa_p", lambda: spa(losses, rival, horizon=horizon))
    add("pbo", lambda: backtest_overfitting(losses))
    if opening is None:
        proof["test_spa_p"], reasons["test_spa_p"] = None, "the test block was not opened"
    else:
        block = splits.test
        forecasts = {name: opening.forecasts[name] for name in finalists}
        test_losses, test_rival = _losses(
            forecasts, closes[block.start : block.stop], closes[block.start - horizon : block.stop - horizon]
        )
        add("test_spa_p", lambda: spa(test_losses, test_rival, horizon=horizon))
    return proof | {"reasons": reasons}


def _losses(
    forecasts: Mapping[str, np.ndarray], actual: np.ndarray, previous: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors of the forecasts, (forecasts, days), and of persistence, (days,)."""
    if not forecasts:
        return np.empty((0, len(actual))), (previous - actual) ** 2
    return (np.stack([*forecasts.values()]) - actual) ** 2, (previous - actual) ** 2
