"""Test folds against hand-written positions and dates, and the properties of all splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockrnn.evaluation.walk_forward import FoldError, walk_forward
from stockrnn.prices.loading import load

# sessions, options, (train, validation) of each fold, test, before_test; all as (start, stop)
BY_HAND = {
    "expanding": (
        20, {"folds": 3, "fold_size": 4, "test_size": 3},
        [((0, 5), (5, 9)), ((0, 9), (9, 13)), ((0, 13), (13, 17))], (17, 20), (0, 17),
    ),
    "expanding, five ahead": (
        30, {"folds": 2, "fold_size": 4, "test_size": 5, "horizon": 5},
        [((0, 9), (13, 17)), ((0, 13), (17, 21))], (25, 30), (0, 21),
    ),
    "sliding": (
        21, {"folds": 3, "fold_size": 4, "test_size": 3, "train_size": 6},
        [((0, 6), (6, 10)), ((4, 10), (10, 14)), ((8, 14), (14, 18))], (18, 21), (12, 18),
    ),
    "sliding, three ahead": (
        24, {"folds": 2, "fold_size": 3, "test_size": 4, "horizon": 3, "train_size": 5},
        [((5, 10), (12, 15)), ((8, 13), (15, 18))], (20, 24), (13, 18),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_positions_are_those_written_by_hand(name):
    sessions, options, folds, test, before_test = BY_HAND[name]
    splits = walk_forward(sessions, **options)
    assert [(fold.train, fold.validation) for fold in splits.folds] == [
        (range(*train), range(*validation)) for train, validation in folds
    ]
    assert splits.test == range(*test)
    assert splits.before_test == range(*before_test)


# First and last day of each training part and validation block, read from the file with head and tail.
NASDAQ = {
    "one day ahead": (
        {},
        [
            ("1999-01-04", "2015-01-09", "2015-01-12", "2016-01-07"),
            ("1999-01-04", "2016-01-07", "2016-01-08", "2017-01-04"),
            ("1999-01-04", "2017-01-04", "2017-01-05", "2018-01-02"),
        ],
    ),
    "five days ahead": (
        {"horizon": 5},
        [
            ("1999-01-04", "2014-12-29", "2015-01-06", "2015-12-31"),
            ("1999-01-04", "2015-12-24", "2016-01-04", "2016-12-28"),
            ("1999-01-04", "2016-12-21", "2016-12-29", "2017-12-26"),
        ],
    ),
    "sliding": (
        {"train_size": 1000},
        [
            ("2011-01-20", "2015-01-09", "2015-01-12", "2016-01-07"),
            ("2012-01-18", "2016-01-07", "2016-01-08", "2017-01-04"),
            ("2013-01-16", "2017-01-04", "2017-01-05", "2018-01-02"),
        ],
    ),
}


@pytest.fixture(scope="module")
def nasdaq_dates():
    return load("nasdaq").dates


@pytest.mark.parametrize("name", NASDAQ)
def test_nasdaq_dates_are_those_written_by_hand(name, nasdaq_dates):
    options, expected = NASDAQ[name]
    splits = walk_forward(len(nasdaq_dates), folds=3, fold_size=250, test_size=250, **options)
    edges = [[fold.train[0], fold.train[-1], fold.validation[0], fold.validation[-1]] for fold in splits.folds]
    assert [tuple(nasdaq_dates[edge].astype(str)) for edge in edges] == expected
    assert str(nasdaq_dates[splits.test[0]]) == "2018-01-03"
    assert str(nasdaq_dates[splits.test[-1]]) == "2018-12-31"


# 3 folds of 4 and a test block of 3 are 15 sessions; the rest is training and two gaps.
@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({}, 15 + 2),  # a window of one session and its target
        ({"longest_sequence": 20}, 15 + 21),
        ({"horizon": 5}, 15 + 6 + 2 * 4),
        ({"horizon": 5, "longest_sequence": 20}, 15 + 25 + 2 * 4),
        ({"train_size": 10}, 15 + 10),
        ({"train_size": 10, "horizon": 3}, 15 + 10 + 2 * 2),
    ],
)
def test_the_number_needed_is_enough_and_one_fewer_is_not(options, needed):
    splits = walk_forward(needed, folds=3, fold_size=4, test_size=3, **options)
    assert splits.folds[0].train.start == 0
    with pytest.raises(FoldError, match=rf"^{needed - 1} sessions are too few; .* need {needed}$") as caught:
        walk_forward(needed - 1, folds=3, fold_size=4, test_size=3, **options)
    assert caught.value.needed == needed


def test_a_training_part_holds_at_least_one_window_and_its_target():
    options = {"folds": 3, "fold_size": 4, "test_size": 3, "horizon": 5, "longest_sequence": 20}
    assert len(walk_forward(1000, train_size=25, **options).folds[0].train) == 25
    with pytest.raises(FoldError, match="at least 25 are needed") as caught:
        walk_forward(1000, train_size=24, **options)
    assert caught.value.needed == 25


@settings(deadline=None)
@given(
    spare=st.integers(0, 50),
    folds=st.integers(1, 6),
    fold_size=st.integers(1, 20),
    test_size=st.integers(1, 20),
    horizon=st.integers(1, 8),
    longest_sequence=st.integers(1, 12),
    spare_train=st.none() | st.integers(0, 20),
)
def test_every_cut_is_honest(spare, folds, fold_size, test_size, horizon, longest_sequence, spare_train):
    train_size = None if spare_train is None else longest_sequence + horizon + spare_train
    options = {
        "folds": folds, "fold_size": fold_size, "test_size": test_size, "horizon": horizon,
        "longest_sequence": longest_sequence, "train_size": train_size,
    }  # fmt: skip
    with pytest.raises(FoldError) as caught:
        walk_forward(1, **options)
    sessions = caught.value.needed + spare
    splits = walk_forward(sessions, **options)

    assert splits.test == range(sessions - test_size, sessions)
    assert len(splits.folds) == folds
    for fold in splits.folds:
        assert len(fold.validation) == fold_size
        assert fold.validation.start - fold.train.stop == horizon - 1
        assert fold.train.start >= 0
        assert len(fold.train) >= longest_sequence + horizon
        first_origin = fold.validation.start - horizon
        assert fold.train[-1] <= first_origin
    for one, after in zip(splits.folds, splits.folds[1:], strict=False):
        assert one.validation.stop == after.validation.start
    assert splits.test.start - splits.folds[-1].validation.stop == horizon - 1
    assert splits.before_test.stop == splits.folds[-1].validation.stop
    trains = [*(fold.train for fold in splits.folds), splits.before_test]
    assert {train.start for train in trains} == {0} if train_size is None else True
    assert {len(train) for train in trains} == {train_size} if train_size is not None else True
    assert np.all(np.diff([train.stop for train in trains[:-1]]) == fold_size)
