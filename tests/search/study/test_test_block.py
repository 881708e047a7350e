"""Score finalists on the test set and compute the statistical tests; unknown values are empty, with a reason."""

import math
from pathlib import Path

import numpy as np
import pytest

from search.results.event_log import TrialEnd
from search.space.space import load_space
from search.study.finalists import Finalist, RefittedFinalist
from search.study.multiple_testing import remove_repeats, selection_tests
from search.study.test_block import score_test_block
from stockrnn.evaluation import metrics
from stockrnn.evaluation.walk_forward import walk_forward
from stockrnn.io.errors import UserError
from stockrnn.prices.series import Prices
from stockrnn.tasks.price import BASELINES

SPACE = load_space(str(Path(__file__).parents[3] / "spaces/smoke.yaml"))  # prices, one session ahead
FOLDS, FOLD_SIZE = 2, 100


def series(closes):
    values = np.column_stack([closes] * 4 + [np.full(len(closes), 1e6)])
    return Prices(
        source="synthetic", dates=np.datetime64("2020-01-01") + np.arange(len(closes)),
        columns=("open", "high", "low", "close", "volume"), values=values, lines=np.array([], dtype=int),
    )  # fmt: skip


def market(test_size=120, closes=None, seed=0):
    if closes is None:
        closes = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(seed).normal(size=500 + test_size)))
    prices = series(closes)
    return prices, walk_forward(len(prices), folds=FOLDS, fold_size=FOLD_SIZE, test_size=test_size)


def knowing(prices, block, share, seed=0, horizon=1):
    """Forecasts of a block that know a share of each change; and a little noise."""
    closes = prices.column("close")
    targets = np.arange(block.start, block.stop)
    noise = 1e-3 * np.random.default_rng(seed).normal(size=len(targets))
    return closes[targets - horizon] * np.exp(share * np.log(closes[targets] / closes[targets - horizon]) + noise)


def validation_of(prices, splits, share, seed=0):
    return np.concatenate([knowing(prices, fold.validation, share, seed + 10) for fold in splits.folds])


def refitted(number, forecasts):
    finalist = Finalist(rank=number + 1, trial_id=f"{number:05d}", point={}, epochs=3, seeds=1)
    return RefittedFinalist(finalist=finalist, forecasts=np.asarray(forecasts), forecaster=None)


def opened(shares=(0.2, -0.1), **how):
    prices, splits = market(**how)
    finalists = [
        refitted(number, [knowing(prices, splits.test, share, seed) for seed in range(3)])
        for number, share in enumerate(shares)
    ]
    validation = {f"{number:05d}": validation_of(prices, splits, share) for number, share in enumerate(shares)}
    return prices, splits, finalists, validation, score_test_block(finalists, validation, SPACE, prices, splits)


def test_a_baseline_that_fails_on_the_test_set_has_no_row_and_its_reason(monkeypatch):
    def mine(series, train, origins):
        if train.stop == 500:  # the training part before the test set
            raise UserError("mine: too many sessions")
        return series.closes[origins]

    monkeypatch.setitem(BASELINES, "mine", mine)
    _, splits, *_, opening = opened()
    assert splits.final.train.stop == 500 > max(fold.train.stop for fold in splits.folds)
    assert "mine" not in opening.scores
    assert opening.unfitted == {"mine": "mine: too many sessions"}


def test_finalists_their_average_and_the_baselines_are_scored_on_the_same_days():
    prices, splits, finalists, _, opening = opened()
    assert list(opening.scores) == ["00000", "00001", "ensemble", *BASELINES]
    closes, block = prices.column("close"), splits.test
    actual, previous = closes[block.start : block.stop], closes[block.start - 1 : block.stop - 1]
    average = np.mean([one.forecasts.mean(axis=0) for one in finalists], axis=0)
    np.testing.assert_allclose(opening.forecasts["ensemble"], average)
    for name, forecast in opening.forecasts.items():
        assert opening.scores[name]["test_relative_loss"] == metrics.theils_u(forecast, actual, previous)
    assert opening.scores["persistence"]["test_relative_loss"] == 1
    assert opening.scores["00000"]["test_dm_p"] < 0.01 < opening.scores["00001"]["test_dm_p"]
    assert opening.scores["00000"]["in_mcs"] is True
    assert opening.scores["persistence"]["in_mcs"] is False
    assert opening.scores["00000"]["seeds_sd"] > 0
    assert "seeds_sd" not in opening.scores["ensemble"]


def test_the_average_is_scored_on_validation_as_a_trial_is():
    prices, splits, _, validation, opening = opened(shares=(0.2, 0.2))
    closes = prices.column("close")
    targets = np.concatenate([np.arange(fold.validation.start, fold.validation.stop) for fold in splits.folds])
    average = (validation["00000"] + validation["00001"]) / 2
    assert opening.ensemble["val_relative_loss"] == pytest.approx(
        metrics.theils_u(average, closes[targets], closes[targets - 1])
    )


def test_one_finalist_has_no_average():
    *_, opening = opened(shares=(0.2,))
    assert "ensemble" not in opening.scores
    assert opening.ensemble == {}


def test_intervals_hold_about_the_share_of_unseen_days_that_they_promise():
    covered = [
        opened(seed=seed, test_size=250)[-1].scores["00000"][f"test_coverage_{level}"]
        for level in (80, 95)
        for seed in range(8)
    ]
    assert np.mean(covered[:8]) == pytest.approx(0.80, abs=0.05)
    assert np.mean(covered[8:]) == pytest.approx(0.95, abs=0.03)


def unknown(columns):
    return {name for name, value in columns.items() if not math.isfinite(value)}


def test_every_column_that_is_not_known_says_why():
    *_, opening = opened(test_size=6)
    for name, columns in opening.scores.items():
        reasons = opening.reasons.get(name, {})
        assert unknown(columns) | {"in_mcs"} == set(reasons)
        assert "in_mcs" not in columns
        assert all(reasons.values())
    assert "6 days" in opening.reasons["00000"]["test_dm_p"]
    assert opening.reasons["persistence"]["test_dm_p"] == "the forecast is persistence itself"


def test_prices_that_never_move_give_no_made_up_number():
    moving = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(0).normal(size=500)))
    closes = np.concatenate([moving, np.full(121, moving[-1])])[: 500 + 120]
    prices, splits = market(closes=closes)
    finalists = [refitted(0, [closes[splits.test.start : splits.test.stop] * 1.001] * 2)]
    validation = {"00000": validation_of(prices, splits, 0.1)}
    opening = score_test_block(finalists, validation, SPACE, prices, splits)
    assert "test_relative_loss" in unknown(opening.scores["00000"])
    assert opening.reasons["00000"]["test_relative_loss"]


def test_a_constant_forecast_change_is_named():
    prices, splits = market()
    closes = prices.column("close")
    finalists = [refitted(0, [closes[splits.test.start - 1 : splits.test.stop - 1] + 1.0] * 2)]
    opening = score_test_block(finalists, {"00000": validation_of(prices, splits, 0.1)}, SPACE, prices, splits)
    assert opening.reasons["00000"]["test_lag_correlation"] == "the forecast change is the same every day"


def test_a_search_of_knowing_trials_is_proven_and_one_of_noise_is_not():
    prices, splits = market()
    finalists = ["00000", "00001"]
    *_, opening = opened(shares=(0.3, 0.2))
    noise = {f"{n:05d}": validation_of(prices, splits, 0.0, seed=100 + n) for n in range(20)}
    lucky = selection_tests(noise, opening, finalists, SPACE, prices, splits)
    assert lucky["trials"] == 20
    assert lucky["spa_p"] > 0.1
    assert 0.1 < lucky["pbo"] <= 1
    assert lucky["test_spa_p"] < 0.05
    assert lucky["reasons"] == {}
    knowing_one = selection_tests(
        {**noise, "00000": validation_of(prices, splits, 0.3)}, opening, finalists, SPACE, prices, splits
    )
    assert knowing_one["spa_p"] < 0.05
    assert knowing_one["pbo"] < 0.1


def test_repeated_points_do_not_count_in_the_tests():
    """Trial 2 repeats trial 0 and trial 4 trial 3, in a parameter without effect; trial 1 was another point."""
    prices, splits = market()
    points = [
        {"architecture": "rnn"}, {"architecture": "gru"}, {"architecture": "rnn", "dropout": 0.3},
        {"architecture": "lstm", "target": "close"}, {"architecture": "lstm", "target": "log_return"},
    ]  # fmt: skip
    ends = [
        TrialEnd(trial_id=f"{number:05d}", status="complete", point=point)
        for number, point in reversed(list(enumerate(points)))
    ]
    forecasts = {f"{number:05d}": validation_of(prices, splits, 0.1, number) for number in range(5)}
    distinct = remove_repeats(forecasts, ends)
    assert list(distinct) == ["00000", "00001", "00003"]
    proof = selection_tests(distinct, None, [], SPACE, prices, splits)
    assert proof["trials"] == 3
    assert list(remove_repeats({"00002": forecasts["00002"]}, ends)) == ["00002"]  # the first one has no forecasts


def test_what_cannot_be_tested_is_unknown_and_says_why():
    prices, splits = market()
    nothing = selection_tests({}, None, [], SPACE, prices, splits)
    assert (nothing["spa_p"], nothing["pbo"], nothing["test_spa_p"]) == (None, None, None)
    assert set(nothing["reasons"]) == {"spa_p", "pbo", "test_spa_p"}
    one = selection_tests({"00000": validation_of(prices, splits, 0.1)}, None, [], SPACE, prices, splits)
    assert one["spa_p"] is not None
    assert one["pbo"] is None
    assert "one trial" in one["reasons"]["pbo"]
    assert one["reasons"]["test_spa_p"] == "the test block was not opened"
