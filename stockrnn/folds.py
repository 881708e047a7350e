"""Walk-forward folds and the locked test block, as positions of sessions only.

::

    |---------------- train ----------------|-- val 1 --|-- val 2 --|-- val 3 --|------ test ------|
     fold 1: train up to here ..............^
     fold 2: train up to here ..........................^
     fold 3: train up to here ......................................^

A position is that of a session whose close is a *target*. The forecast of session t is made `horizon`
sessions earlier. So `horizon - 1` sessions (the gap) lie between the last training target and the first
validation target, and between the last validation target and the first test target: what is fitted or chosen
on one block is known on the day of the next block's first forecast. At horizon 1 there is no gap.
"""

from dataclasses import dataclass

from stockrnn.errors import UserError

__all__ = ["Fold", "FoldError", "WalkForward", "walk_forward"]


class FoldError(UserError):
    """Too few sessions for the folds asked for; names the number needed."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Positions of the sessions trained on, and of the sessions whose forecasts are scored."""

    train: range
    validation: range


@dataclass(frozen=True, kw_only=True)
class WalkForward:
    """The folds, oldest first, and the final split: everything before the test block, and the test block."""

    folds: tuple[Fold, ...]
    test: range
    before_test: range


def walk_forward(
    sessions: int,
    *,
    folds: int,
    fold_size: int,
    test_size: int,
    horizon: int = 1,
    train_size: int | None = None,
    longest_sequence: int = 1,
    warm_up: int = 0,
) -> WalkForward:
    """Cut `sessions` positions into folds and a test block.

    Args:
        sessions: length of the series.
        folds: validation blocks, each `fold_size` sessions, one directly after the other.
        fold_size: sessions in a validation block.
        test_size: sessions at the end that no fold touches.
        horizon: sessions ahead that are forecast; the gap is `horizon - 1`.
        train_size: sessions trained on (a sliding window); None trains on everything before (expanding).
        longest_sequence: the longest window that must fit into the first training part with its target.
        warm_up: sessions at the start of the series that no window may hold.

    Raises:
        FoldError: the series or the training part is too short; `needed` is the number of sessions needed.
    """
    gap = horizon - 1
    shortest_train = longest_sequence + horizon
    if train_size is not None and train_size < shortest_train:
        raise FoldError(
            f"a window of {longest_sequence} sessions and its target {horizon} ahead do not fit into a "
            f"training part of {train_size} sessions; at least {shortest_train} are needed",
            shortest_train,
        )
    before_folds = max(train_size or 0, warm_up + shortest_train)
    needed = before_folds + gap + folds * fold_size + gap + test_size
    if sessions < needed:
        raise FoldError(
            f"{sessions} sessions are too few; {folds} folds of {fold_size}, a test block of {test_size}, "
            f"gaps of {gap} before the folds and before the test block, and a training part of at least "
            f"{before_folds} need {needed}",
            needed,
        )
    test_start = sessions - test_size
    first_validation = test_start - gap - folds * fold_size
    cut = []
    for number in range(folds):
        start = first_validation + number * fold_size
        stop = start - gap
        train = range(0 if train_size is None else stop - train_size, stop)
        cut.append(Fold(train=train, validation=range(start, start + fold_size)))
    before = range(0 if train_size is None else test_start - gap - train_size, test_start - gap)
    return WalkForward(folds=tuple(cut), test=range(test_start, sessions), before_test=before)
