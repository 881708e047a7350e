"""Test features against slow loops: values, needed columns, warm-ups, and independence of later prices."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from stockrnn.dataset import features
from stockrnn.dataset.config import FEATURE_SETS
from stockrnn.dataset.features import (
    COLUMNS,
    DERIVED,
    ROLLING,
    columns_needed,
    feature_values,
    log_change,
    missing_columns,
    relative_factor,
    warm_up,
)

ALL_FEATURES = (*COLUMNS, *DERIVED, *(f"{base}_{sessions}" for base in ROLLING for sessions in (2, 7, 20)))
ZERO_VOLUMES = (0, 10, 11, 40)


@pytest.fixture(scope="module")
def prices(synthetic):
    return synthetic(80, zero_volumes=ZERO_VOLUMES)


def ratio_of_volumes(now, before):
    if now == before == 0:
        return 1.0
    return min(max(now / before if before else math.inf, 0.01), 100.0)


def of_weekday_angle(turn):
    return lambda day, before: turn(day.date.weekday() * 2 * math.pi / 7)


def deviation(days):
    returns = [math.log(day.close / before.close) for before, day in itertools.pairwise(days)]
    mean = sum(returns) / len(returns)
    return math.sqrt(sum((each - mean) ** 2 for each in returns) / len(returns))


def log_parkinson(day):
    return math.log(math.log(day.high / day.low) ** 2 / (4 * math.log(2)))


DEFINITIONS = {  # in terms of a session and the session before
    **{name: lambda day, before, name=name: getattr(day, name) for name in COLUMNS},
    "log_return": lambda day, before: math.log(day.close / before.close),
    "range": lambda day, before: math.log(day.high / day.low),
    "log_range": lambda day, before: log_parkinson(day),
    "absolute_return": lambda day, before: abs(math.log(day.close / before.close)),
    "gap": lambda day, before: math.log(day.open / before.close),
    "volume_change": lambda day, before: math.log(ratio_of_volumes(day.volume, before.volume)),
    "weekday_sin": of_weekday_angle(math.sin),
    "weekday_cos": of_weekday_angle(math.cos),
}
OVER_LAST = {  # in terms of the last N + 1 sessions
    "volatility": deviation,
    "log_range": lambda days: sum(map(log_parkinson, days[1:])) / (len(days) - 1),
    "ma_ratio": lambda days: math.log(days[-1].close / (sum(day.close for day in days[1:]) / (len(days) - 1))),
}


def plain(feature, prices, at):
    """Compute the feature of one session from its definition."""

    def session(at):
        numbers = dict(zip(prices.columns, prices.values[max(at, 0)].tolist(), strict=True))
        return SimpleNamespace(date=prices.dates[max(at, 0)].astype(object), **numbers)

    if feature in DEFINITIONS:
        return DEFINITIONS[feature](session(at), session(at - 1))
    base, _, sessions = feature.rpartition("_")
    return OVER_LAST[base]([session(day) for day in range(at - int(sessions), at + 1)])


@pytest.mark.parametrize("feature", ALL_FEATURES)
def test_a_feature_equals_its_definition_after_its_warm_up(prices, feature):
    found, first = feature_values(feature, prices), warm_up(feature)
    assert found.shape == (80,)
    assert found.dtype == np.float64
    assert np.isnan(found[:first]).all()
    expected = [plain(feature, prices, day) for day in range(first, 80)]
    np.testing.assert_allclose(found[first:], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("feature", ALL_FEATURES)
def test_a_feature_does_not_depend_on_later_sessions(prices, poisoned, feature):
    first = warm_up(feature)
    for day in (first, 30, 78):
        clean, dirty = feature_values(feature, prices), feature_values(feature, poisoned(prices, day))
        assert np.array_equal(clean[: day + 1], dirty[: day + 1], equal_nan=True)
        cut = feature_values(feature, prices.rows(np.arange(day + 1)))
        assert np.array_equal(clean[: day + 1], cut, equal_nan=True)
        if not feature.startswith("weekday"):  # control
            assert (clean[day + 1 :] != dirty[day + 1 :]).any()


def test_warm_ups_by_hand():
    expected = {
        "close": 0, "volume": 0, "range": 0, "weekday_sin": 0, "log_return": 1, "gap": 1, "volume_change": 1,
        "volatility_2": 2, "volatility_500": 500, "ma_ratio_2": 1, "ma_ratio_500": 499, "^GSPC": 1, "kospi": 1,
    }  # fmt: skip
    assert {feature: warm_up(feature) for feature in expected} == expected


@pytest.mark.parametrize("feature", ALL_FEATURES)
def test_a_series_shorter_than_the_warm_up_has_no_value(prices, feature):
    for sessions in {1, max(warm_up(feature), 1)}:
        found = feature_values(feature, prices.rows(np.arange(sessions)))
        assert np.isnan(found).sum() == min(sessions, warm_up(feature))


@pytest.mark.parametrize("feature", ALL_FEATURES)
def test_a_feature_needs_only_its_columns(prices, feature):
    needed = columns_needed(feature)
    indices = [prices.columns.index(name) for name in needed]
    bare = replace(prices, columns=needed, values=prices.values[:, indices])
    assert np.array_equal(feature_values(feature, bare), feature_values(feature, prices), equal_nan=True)
    assert missing_columns(bare, [feature]) == {}
    for name in needed:
        less = replace(prices, columns=tuple(column for column in COLUMNS if column != name))
        assert missing_columns(less, [feature, "weekday_sin"]) == {feature: (name,)}


def test_sets_without_volume_are_for_markets_without_it(prices):
    bare = replace(prices, columns=COLUMNS[:4], values=prices.values[:, :4])
    without = {name for name, features in FEATURE_SETS.items() if not missing_columns(bare, features)}
    assert without == {"ohlc", "close_only", "returns", "technical", "volatility", "volatility_close"}


def test_a_volume_of_zero_is_a_hundredfold_change(prices):
    found = feature_values("volume_change", prices)
    hundredfold = math.log(100)
    assert found[1] == pytest.approx(hundredfold)  # from 0
    assert found[10] == pytest.approx(-hundredfold)  # to 0
    assert found[11] == 0  # 0 after 0
    assert found[12] == pytest.approx(hundredfold)
    assert np.abs(found[13:40]).max() < hundredfold


def test_the_week_begins_on_monday(prices):
    assert str(prices.dates[0]) == "2001-01-01"  # a Monday
    sines, cosines = feature_values("weekday_sin", prices), feature_values("weekday_cos", prices)
    assert (sines[0], cosines[0]) == (0, 1)
    angles = np.arctan2(sines[:5], cosines[:5])
    np.testing.assert_allclose(np.diff(angles[:4]), 2 * math.pi / 7)
    np.testing.assert_allclose((sines**2 + cosines**2), 1)
    np.testing.assert_allclose(sines[5:10], sines[:5], atol=1e-15)


def test_features_are_of_order_one_without_fitting(synthetic):
    prices = synthetic(2000)
    for feature in ALL_FEATURES:
        if feature not in COLUMNS:
            spread = np.nanstd(relative_factor(feature) * feature_values(feature, prices))
            assert 0.1 < spread < 10, feature


def test_a_change_is_a_log_return():
    found = log_change(np.array([100.0, 110.0, 99.0]))
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], [math.log(1.1), math.log(0.9)])


def test_returns_are_in_per_cent():
    assert features.relative_factor("KRW=X") == 100  # another series: its log return


def test_a_volume_of_a_fraction_has_its_own_log():
    found = features.finite_log(np.array([0.0, 0.5, 2.0]))
    assert found == pytest.approx([features.LOG_OF_ZERO, math.log(0.5), math.log(2)])
