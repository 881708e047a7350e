"""A trial without Ray: its reports, its end, its finalists, and what they may not know."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from search.finalists import choose, refit, validation_days
from search.record import TrialEnd
from search.trial import TrialTrainable, reports
from stockrnn.metrics import theils_u
from stockrnn.prices import load

POINT = {"architecture": "gru", "hidden_size": 4, "sequence_length": 3, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def prices():
    whole = load("nasdaq")
    return whole.rows(np.arange(600))


def told(space, prices, point=POINT):
    walk = space.folds(prices)
    return [
        {key: value for key, value in report.items() if key not in ("seconds", "worker", "forecast")}
        | {"forecast": None if report["forecast"] is None else report["forecast"].tolist()}
        for report in reports(space, prices, walk.folds, point)
    ]


def test_one_report_an_epoch_and_the_best_epoch_is_kept(small_space, prices):
    space = small_space(scheduler={"max_epochs": 5, "grace_period": 5})
    reported = told(space, prices)
    assert [report["epoch"] for report in reported] == [1, 2, 3, 4, 5]
    assert [report["status"] for report in reported] == ["running"] * 4 + ["complete"]
    scores = [report["scores"]["val_theils_u"] for report in reported]
    for report in reported:
        past = scores[: report["epoch"]]
        assert report["score"] == min(past)
        assert report["best_epoch"] == past.index(min(past)) + 1
        assert report["best"]["val_theils_u"] == report["score"]
        assert set(report["best"]) == {
            "val_theils_u", "val_theils_u_sd", "val_worst_fold", "val_rmse", "val_mae", "val_direction_accuracy",
        }  # fmt: skip


def test_patience_completes_a_trial_that_no_longer_improves(small_space, prices):
    space = small_space(scheduler={"max_epochs": 60, "grace_period": 60, "patience": 2})
    last = told(space, prices)[-1]
    assert (last["status"], last["done"]) == ("complete", True)
    assert last["epoch"] == last["best_epoch"] + 2


def test_a_diverged_trial_says_so_and_stops(small_space, prices):
    space = small_space(
        space={"architecture": "rnn", "optimizer": "sgd", "learning_rate": 10.0, "output_init": "uniform"},
        scheduler={"max_epochs": 300, "grace_period": 300},
    )
    point = {"architecture": "rnn", "optimizer": "sgd", "learning_rate": 10.0, "output_init": "uniform"}
    last = told(space, prices, point)[-1]
    assert (last["status"], last["done"]) == ("diverged", True)


def test_the_same_point_gets_the_same_scores_whatever_its_number(small_space, prices):
    space = small_space()
    first = told(space, prices)
    told(space, prices, {**POINT, "architecture": "lstm"})
    assert told(space, prices) == first
    assert told(small_space(seed=5), prices) != first


@pytest.mark.parametrize("architecture", ["rnn", "gru", "lstm"])
def test_the_form_that_is_asked_for_is_used_and_recorded_and_changes_no_score(small_space, prices, architecture):
    point = {**POINT, "architecture": architecture}
    batched, looped = (told(small_space(training={"lockstep": form}), prices, point) for form in ("batched", "looped"))
    assert {report["form"] for report in batched} == {"batched"}
    assert {report["form"] for report in looped} == {"looped"}
    for one, other in zip(batched, looped, strict=True):
        assert one["scores"]["val_theils_u"] == pytest.approx(other["scores"]["val_theils_u"], abs=1e-4)


def test_an_exception_ends_its_trial_alone_with_its_message():
    def failing():
        yield {"epoch": 1}
        raise RuntimeError("out of luck")

    trial = TrialTrainable.__new__(TrialTrainable)
    trial._reports = failing()
    assert trial.step() == {"epoch": 1}
    report = trial.step()
    assert (report["status"], report["done"], report["message"]) == ("failed", True, "RuntimeError: out of luck")
    assert "failing" in report["traceback"]


def poisoned(prices, first):
    values = prices.values.copy()
    values[first:] *= np.random.default_rng(0).uniform(1, 1000, values[first:].shape)
    return replace(prices, values=values)


def test_the_test_block_tells_the_search_nothing_and_the_finalists_only_their_test_columns(small_space, prices):
    space = small_space()
    walk = space.folds(prices)
    other = poisoned(prices, walk.test.start)
    assert told(space, prices) == told(space, other)
    clean, spoilt = (refitted(space, series) for series in (prices, other))
    assert not np.array_equal(clean.forecasts, spoilt.forecasts)  # the poison is there
    for name, weights in clean.forecaster.weights.items():
        assert torch.equal(weights, spoilt.forecaster.weights[name])
    assert clean.forecaster.intervals == spoilt.forecaster.intervals
    assert clean.forecaster.scaling == spoilt.forecaster.scaling


def test_training_of_a_finalist_never_sees_the_test_block(small_space, prices):
    space = small_space(data={"source": "nasdaq", "test_size": 1})
    other = poisoned(prices, space.folds(prices).test.start)  # one session: only the actual close changes
    np.testing.assert_array_equal(refitted(space, prices).forecasts, refitted(space, other).forecasts)


def refitted(space, prices):
    """The finalist of the point, with what its trial forecast on validation."""
    walk = space.folds(prices)
    told_best = [report["forecast"] for report in reports(space, prices, walk.folds, POINT)]
    validation = [forecast for forecast in told_best if forecast is not None][-1]
    return refit(choose([ended(0, 0.99, 2)], space)[0], space, prices, walk, validation)


def ended(number, score, best_epoch, **point):
    return TrialEnd(
        trial_id=f"{number:05d}", status="complete", point={**POINT, **point}, epochs=5, best_epoch=best_epoch,
        scores={"val_theils_u": score, "val_direction_accuracy": score / 2} if score else {},
    )  # fmt: skip


def test_finalists_are_the_best_distinct_configurations_for_their_best_epochs(small_space):
    ends = [
        ended(0, 0.99, 4), ended(1, 0.97, 2, hidden_size=6), ended(2, 0.97, 3, hidden_size=6),
        ended(3, None, None, hidden_size=5), ended(4, 0.98, 1, hidden_size=8),
    ]  # fmt: skip
    chosen = choose(ends, small_space(search={"finalists": 3}))
    assert [(finalist.rank, finalist.trial_id, finalist.epochs) for finalist in chosen] == [
        (1, "00001", 2), (2, "00004", 1), (3, "00000", 4),
    ]  # fmt: skip
    by_direction = choose(ends, small_space(search={"finalists": 1, "metric": "val_direction_accuracy"}))
    assert by_direction[0].trial_id == "00000"
    assert choose(ends, small_space(search={"finalists": 0})) == []


def test_a_trial_reports_the_forecasts_of_its_best_epoch(small_space, prices):
    space = small_space()
    walk = space.folds(prices)
    actual, previous = validation_days(prices, walk.folds, 1)
    for report in reports(space, prices, walk.folds, POINT):
        assert (report["forecast"] is not None) == (report["best_epoch"] == report["epoch"])
        if report["forecast"] is not None:
            assert theils_u(report["forecast"], actual, previous) == pytest.approx(report["score"], rel=1e-5)


def test_a_finalist_is_trained_for_its_epochs_on_its_seeds_and_leaves_its_forecaster(small_space, prices):
    space = small_space()
    walk = space.folds(prices)
    one = refitted(space, prices)
    facts, block = one.forecaster.facts, walk.test
    assert one.forecasts.shape == (2, 40)
    assert (facts.rank, facts.trial_id, facts.epochs) == (1, "00000", 2)
    assert (facts.trained_from, facts.trained_to) == (
        str(prices.dates[walk.before_test.start]),
        str(prices.dates[block.start - 1]),
    )
    origins = range(block.start - 1, block.stop - 1)
    np.testing.assert_allclose(one.forecaster.forecast(prices, origins), one.forecasts, rtol=1e-6)
    closes = prices.column("close")
    assert 0.5 < theils_u(one.forecasts.mean(axis=0), closes[block.start :], closes[block.start - 1 : -1]) < 2
