"""Split sessions into walk-forward folds and a test block, as positions of sessions.

::

    |---------------- train ----------------|-- val 1 --|-- val 2 --|-- val 3 --|------ test ------|
     fold 1: train up to here ..............^
     fold 2: train up to here ..........................^
     fold 3: train up to here ......................................^

A position is the position of a session whose close is a *target*. Its forecast is made `horizon` sessions earlier.
So a gap of `horizon - 1` sessions separates the last training target from the first validation target, and the last
validation target from the first test target. Thus everything that is fitted or selected on one block is known when
the next block's first forecast is made. With horizon 1 there is no gap.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from stockrnn.io.errors import UserError

__all__ = ["Fold", "FoldError", "FoldSizes", "WalkForward", "fit_sizes", "walk_forward"]

MIN_FOLD_SIZE = 20  # sessions; `fit_sizes` proposes fewer folds before it proposes smaller ones
MIN_BLOCKS = (40, 10, 1)  # sessions of all folds, and of the test block; 40 are enough for most tests


class FoldError(UserError):
    """There are too few sessions for the folds; `needed` is the required number."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


@dataclass(frozen=True, kw_only=True)
class FoldSizes:
    """Sizes of folds, test block and longest window, in sessions; see `walk_forward`."""

    folds: int
    fold_size: int
    test_size: int
    train_size: int | None
    longest_sequence: int


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Positions of the training sessions and of the sessions whose forecasts are scored."""

    train: range
    validation: range


@dataclass(frozen=True, kw_only=True)
class WalkForward:
    """The folds, oldest first, the test block, and the training sessions before the test block."""

    folds: tuple[Fold, ...]
    test: range
    before_test: range

    @property
    def final(self) -> Fold:
        """Fold that trains on everything before the test block and forecasts the test block."""
        return Fold(train=self.before_test, validation=self.test)


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
    """Return the folds and the test block of a series.

    Args:
        sessions: length of the series.
        folds: number of validation blocks, each directly after the one before.
        fold_size: sessions in a validation block.
        test_size: sessions in the test block at the end.
        horizon: sessions between a forecast and its target; the gap is `horizon - 1`.
        train_size: training sessions of a fold (sliding window); None for all sessions before (expanding window).
        longest_sequence: length of the longest window; the first training part must hold it and its target.
        warm_up: number of initial sessions that windows must not contain.

    Raises:
        FoldError: the series or the training part is too short.
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
    result = []
    for number in range(folds):
        start = first_validation + number * fold_size
        stop = start - gap
        train = range(0 if train_size is None else stop - train_size, stop)
        result.append(Fold(train=train, validation=range(start, start + fold_size)))
    before = range(0 if train_size is None else test_start - gap - train_size, test_start - gap)
    return WalkForward(folds=tuple(result), test=range(test_start, sessions), before_test=before)


def fit_sizes(sessions: int, wanted: FoldSizes, *, horizon: int = 1, warm_up: int = 0) -> Iterator[FoldSizes]:
    """Yield sizes that fit a series which is too short for the wanted ones, the best first.

    At least half of the series is for training if possible, and folds and test block keep their ratio. The window
    becomes shorter only if there is no room for it. A sliding training part that is too small for the window grows.

    Args:
        sessions: length of the series.
        wanted: the sizes.
        horizon, warm_up: see `walk_forward`.
    """
    usable = sessions - 2 * (horizon - 1)
    blocks = wanted.folds * wanted.fold_size

    def fit_training(sizes: FoldSizes) -> FoldSizes:
        """Change a sliding training part as little as possible."""
        if sizes.train_size is None:
            return sizes
        room = usable - sizes.folds * sizes.fold_size - sizes.test_size
        return replace(sizes, train_size=min(max(sizes.train_size, sizes.longest_sequence + horizon), room))

    left = usable - blocks - wanted.test_size
    longest = min(wanted.longest_sequence, left - warm_up - horizon - MIN_FOLD_SIZE)
    if longest == wanted.longest_sequence and left >= usable // 4:
        yield fit_training(wanted)
    elif longest >= 1 and left >= usable // 2:
        yield fit_training(replace(wanted, longest_sequence=longest))
    for fewest in MIN_BLOCKS:
        least_test, least_validation = min(wanted.test_size, fewest), min(blocks, max(fewest, 2))
        spare = warm_up + horizon + fewest // 2  # of the training part, beside the first window
        longest = usable - least_test - least_validation - spare
        for sequence in dict.fromkeys((wanted.longest_sequence, min(wanted.longest_sequence, longest))):
            if not 1 <= sequence <= longest:
                continue
            room = min(max(usable // 2, usable - blocks - wanted.test_size), usable - least_test - least_validation)
            left = usable - max(sequence + spare, room)
            share = left * wanted.test_size // (blocks + wanted.test_size)
            test_size = min(wanted.test_size, max(least_test, min(share, left - least_validation)))
            validation = min(blocks, left - test_size)
            folds = wanted.folds
            if validation // folds < min(wanted.fold_size, MIN_FOLD_SIZE):
                folds = max(1, validation // min(wanted.fold_size, MIN_FOLD_SIZE))
            sizes = FoldSizes(
                folds=folds, fold_size=min(wanted.fold_size, validation // folds), test_size=test_size,
                train_size=wanted.train_size, longest_sequence=sequence,
            )  # fmt: skip
            yield fit_training(sizes)
