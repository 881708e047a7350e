"""Test that nothing depends on later prices: overwriting the future must not change the past."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from stockrnn.dataset.alignment import align
from stockrnn.dataset.config import FEATURE_NAMES, FEATURE_SETS, WindowConfig
from stockrnn.dataset.features import warm_up
from stockrnn.dataset.windows import Windows
from stockrnn.evaluation.walk_forward import walk_forward
from stockrnn.networks.config import NetworkConfig
from stockrnn.tasks.price import BASELINES, PRICE
from stockrnn.tasks.registry import TASKS
from stockrnn.tasks.scoring import fold_days, score_baselines
from stockrnn.tasks.task import Series
from stockrnn.training.config import TrainingConfig
from stockrnn.training.trainer import train

COMBINATIONS = list(itertools.product(("minmax", "standard", "relative"), ("close", "log_return"), (1, 3)))
SESSIONS, LENGTH = 120, 5


@pytest.fixture(scope="module")
def prices(synthetic):
    return synthetic(SESSIONS, zero_volumes=(7, 30, 31, 90))


def cut(horizon, train_size=None):
    return walk_forward(
        SESSIONS, folds=3, fold_size=15, test_size=20, horizon=horizon, train_size=train_size,
        longest_sequence=LENGTH,
    )  # fmt: skip


def make(prices, folds, scaling, target, horizon):
    config = WindowConfig(target=target, scaling=scaling, sequence_length=LENGTH)
    return Windows(prices, folds, config, horizon)


def seen(windows, fold, origins):
    """Return inputs, targets and back-transformed prices of a fold's origins."""
    which, columns = torch.tensor([fold]), torch.tensor([list(origins)])
    inputs, targets = windows.inputs(which, columns)[0], windows.targets(which, columns)[0]
    outputs = np.linspace(-1, 1, len(origins))
    return inputs, targets, windows.to_forecasts(fold, origins, outputs)


@pytest.mark.parametrize("train_size", [None, 40], ids=["expanding", "sliding"])
@pytest.mark.parametrize(("scaling", "target", "horizon"), COMBINATIONS)
def test_what_is_known_on_a_day_does_not_depend_on_later_prices(prices, poisoned, scaling, target, horizon, train_size):
    folds = cut(horizon, train_size).folds
    clean = make(prices, folds, scaling, target, horizon)
    for day in (*(fold.train[-1] for fold in folds), folds[0].validation[3], folds[2].validation[-1]):
        dirty = make(poisoned(prices, day), folds, scaling, target, horizon)
        fitted = [number for number, fold in enumerate(folds) if fold.train[-1] <= day]
        assert fitted
        for number in fitted:
            known = range(LENGTH - 1, day + 1)
            before, after = seen(clean, number, known), seen(dirty, number, known)
            assert torch.equal(before[0], after[0])
            assert torch.equal(before[1][:-horizon], after[1][:-horizon])
            assert np.array_equal(before[2], after[2])
            # Control: the later inputs and the targets that depend on them must change.
            assert (before[1][-horizon:] != after[1][-horizon:]).all()
            later = range(day + 1, day + 5)
            before, after = seen(clean, number, later), seen(dirty, number, later)
            assert (before[0] != after[0]).flatten(1).any(1).all()


# without day_of_week, which is two inputs
ALL_FEATURES = (*FEATURE_NAMES[:-1], "volatility_5", "ma_ratio_8", "volatility_10")


@pytest.fixture(scope="module")
def with_others(prices, synthetic):
    """Return the series with a column of another series, which begins earlier and lacks some sessions."""
    other = synthetic(SESSIONS, seed=4).rows(np.arange(SESSIONS) % 9 != 3)
    return align(prices, [("^OTHER", replace(other, dates=other.dates - 1), 1)])


def make_all(prices, folds, scaling, target, horizon):
    config = WindowConfig(
        features=ALL_FEATURES, others=("^OTHER",), target=target, scaling=scaling, sequence_length=LENGTH
    )
    return Windows(prices, folds, config, horizon)


@pytest.mark.parametrize("train_size", [None, 40], ids=["expanding", "sliding"])
@pytest.mark.parametrize(("scaling", "target", "horizon"), COMBINATIONS)
def test_no_feature_depends_on_later_prices(with_others, poisoned, scaling, target, horizon, train_size):
    folds = cut(horizon, train_size).folds
    clean = make_all(with_others, folds, scaling, target, horizon)
    for day in (folds[0].train[-1], folds[1].train[-1], folds[2].validation[-1]):
        dirty = make_all(poisoned(with_others, day), folds, scaling, target, horizon)
        for number in (number for number, fold in enumerate(folds) if fold.train[-1] <= day):
            known, later = range(10 + LENGTH - 1, day + 1), range(day + 1, day + 5)
            before, after = (seen(windows, number, known) for windows in (clean, dirty))
            assert torch.isfinite(before[0]).all()
            assert torch.equal(before[0], after[0])
            assert torch.equal(before[1][:-horizon], after[1][:-horizon])
            assert np.array_equal(before[2], after[2])
            # Control: every later input except the day of the week must change.
            moved = (seen(clean, number, later)[0] != seen(dirty, number, later)[0]).flatten(0, 1).any(0)
            weekdays = [name.startswith("weekday") for name in clean.config.inputs]
            assert moved.tolist() == [not weekday for weekday in weekdays]


@pytest.mark.parametrize(("scaling", "target"), [("minmax", "close"), ("standard", "log_return")])
def test_a_scaler_does_depend_on_its_training_part(prices, poisoned, scaling, target):
    folds = cut(1).folds
    dirty = make(poisoned(prices, folds[1].train[-1] - 1), folds, scaling, target, 1)
    early = range(LENGTH - 1, 20)
    before, after = seen(make(prices, folds, scaling, target, 1), 1, early), seen(dirty, 1, early)
    for one, other in zip(before, after, strict=True):
        assert not np.array_equal(one, other)


def test_relative_windows_do_not_depend_on_the_folds_at_all(prices):
    folds = cut(1).folds
    windows = make(prices, folds, "relative", "log_return", 1)
    every = range(LENGTH - 1, SESSIONS)
    first, last = seen(windows, 0, every), seen(windows, 2, every)
    assert torch.equal(first[0], last[0])


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("name", BASELINES)
def test_baseline_forecasts_do_not_depend_on_later_prices(prices, poisoned, name, horizon):
    folds = cut(horizon).folds
    for fold, day in [*((fold, fold.train[-1]) for fold in folds), (folds[0], folds[0].validation[3])]:
        clean, dirty = (Series(prices=each, horizon=horizon) for each in (prices, poisoned(prices, day)))
        known, later = np.arange(10, day + 1), np.arange(day + 1, SESSIONS)
        forecast = BASELINES[name]
        assert np.array_equal(forecast(clean, fold.train, known), forecast(dirty, fold.train, known))
        assert (forecast(clean, fold.train, later) != forecast(dirty, fold.train, later)).any()  # control


@pytest.mark.parametrize("horizon", [1, 3])
def test_scores_of_past_folds_do_not_depend_on_later_prices(prices, poisoned, horizon):
    splits = cut(horizon)
    for last in range(1, 4):
        past = splits.folds[:last]
        day = past[-1].validation[-1]
        clean, same, moved = (
            score_baselines(PRICE, series, past, fold_days(PRICE, series, past))[0]
            for series in (
                Series(prices=each, horizon=horizon)
                for each in (prices, poisoned(prices, day), poisoned(prices, day - 1))
            )
        )
        for name in BASELINES:
            assert repr(clean[name]) == repr(same[name])
            assert repr(clean[name]) != repr(moved[name])


def forecasts(prices, folds, scaling, target, make=make):
    """Train a small trial for two epochs; return losses and forecasts of every fold."""
    epochs = train(
        make(prices, folds, scaling, target, 1),
        NetworkConfig(architecture="gru", hidden_size=4, output_init="uniform"),
        TrainingConfig(batch_size=16, learning_rate=0.01),
        seeds=2,
        max_epochs=2,
    )
    return [(epoch.losses, epoch.forecasts) for epoch in epochs]


@pytest.mark.parametrize(
    ("scaling", "target"), [("minmax", "close"), ("standard", "log_return"), ("relative", "log_return")]
)
def test_forecasts_of_a_fold_do_not_depend_on_later_prices(prices, poisoned, scaling, target):
    folds = cut(1).folds
    clean = forecasts(prices, folds, scaling, target)
    dirty = forecasts(poisoned(prices, folds[0].validation[-1]), folds, scaling, target)
    for (losses, days), (dirty_losses, dirty_days) in zip(clean, dirty, strict=True):
        assert np.array_equal(days[0], dirty_days[0])
        assert np.array_equal(losses[:2], dirty_losses[:2])  # the second fold trains up to the same day
        assert (losses[2] != dirty_losses[2]).all()
        for later in (1, 2):
            assert (days[later] != dirty_days[later])[:, 1:].all()
        assert np.array_equal(days[1][:, 0], dirty_days[1][:, 0])  # its first forecast was made on that day


@pytest.mark.parametrize("inputs", [make, make_all], ids=["levels", "all features and another series"])
def test_a_trial_does_not_depend_on_the_test_block(with_others, poisoned, inputs):
    splits = cut(1)
    clean = forecasts(with_others, splits.folds, "minmax", "close", inputs)
    dirty = forecasts(poisoned(with_others, splits.test[0] - 1), splits.folds, "minmax", "close", inputs)
    for (losses, days), (dirty_losses, dirty_days) in zip(clean, dirty, strict=True):
        assert np.array_equal(losses, dirty_losses)
        assert all(map(np.array_equal, days, dirty_days))


LONG = 460  # sessions, enough for GARCH


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_nothing_that_a_task_knows_depends_on_later_prices(synthetic, poisoned, task, horizon):
    prices = synthetic(LONG)
    splits = walk_forward(LONG, folds=2, fold_size=40, test_size=40, horizon=horizon, longest_sequence=LENGTH)
    config = WindowConfig(
        features=FEATURE_SETS[task.features], target=next(iter(task.targets)), scaling=task.scalings[0],
        sequence_length=LENGTH,
    )  # fmt: skip
    first = max(map(warm_up, config.inputs)) + LENGTH
    for number, fold in enumerate(splits.folds):
        past, day = splits.folds[: number + 1], fold.train[-1]
        clean, dirty = (Windows(each, past, config, horizon) for each in (prices, poisoned(prices, day)))
        assert clean.scalings == dirty.scalings
        before, after = (seen(windows, number, range(first, day + 1)) for windows in (clean, dirty))
        assert torch.equal(before[0], after[0])
        assert torch.equal(before[1][:-horizon], after[1][:-horizon])
        assert np.array_equal(before[2], after[2])
    day = fold.validation[-1]
    clean, same, moved = (
        Series(prices=each, horizon=horizon) for each in (prices, poisoned(prices, day), poisoned(prices, day - 30))
    )
    known = np.arange(first, day + 1)
    for name, baseline in task.baselines.items():
        forecast = baseline(clean, fold.train, known)
        assert np.isfinite(forecast).all()
        assert np.array_equal(forecast, baseline(same, fold.train, known)), name
    scores = [score_baselines(task, each, past, fold_days(task, each, past)) for each in (clean, same, moved)]
    assert not scores[0][1], "a baseline was not fitted"
    assert repr(scores[0]) == repr(scores[1])
    for name in task.baselines:  # control
        assert repr(scores[0][0][name]) != repr(scores[2][0][name]) or name == task.rival
