"""Test windows against slow loops, scalings against NumPy, and the conversion of targets to prices."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from stockrnn.dataset.config import WindowConfig
from stockrnn.dataset.features import feature_values
from stockrnn.dataset.windows import Scaling, Windows
from stockrnn.evaluation.walk_forward import Fold, walk_forward

COMBINATIONS = list(itertools.product(("minmax", "standard", "relative"), ("close", "log_return"), (1, 3)))
LENGTH = 4
FEATURES = ("close", "volume", "open", "high")
ZERO_VOLUMES = (10, 11, 12, 13, 14, 20, 40)  # five in a row: a whole window without volume


@pytest.fixture(scope="module")
def prices(synthetic):
    return synthetic(60, zero_volumes=ZERO_VOLUMES)


def cut(horizon, train_size=None):
    return walk_forward(
        60, folds=3, fold_size=5, test_size=6, horizon=horizon, train_size=train_size, longest_sequence=LENGTH
    ).folds


def make(prices, folds, scaling, target, horizon, dtype=torch.float64):
    config = WindowConfig(features=FEATURES, target=target, scaling=scaling, sequence_length=LENGTH)
    return Windows(prices, folds, config, horizon, dtype=dtype)


def slow_scaler(known, scaling):
    if scaling == "minmax":
        return np.min(known), np.max(known) - np.min(known)
    return np.mean(known), np.std(known)


def slow_window(prices, fold, scaling, origin):
    rows = []
    for session in range(origin - LENGTH + 1, origin + 1):
        row = []
        for name in FEATURES:
            column = prices.column(name)
            if scaling != "relative":
                offset, scale = slow_scaler(column[fold.train.start : fold.train.stop], scaling)
                row.append((column[session] - offset) / scale)
            elif name != "volume":
                row.append(100 * np.log(column[session] / prices.column("close")[origin]))
            else:
                mean = np.mean(column[origin - LENGTH + 1 : origin + 1])
                share = 1.0 if mean == 0 else max(column[session] / mean, 0.01)
                row.append(np.log(share))
        rows.append(row)
    return rows


def slow_target(prices, fold, scaling, target, horizon, origin):
    close = prices.column("close")

    def value(session):
        return np.log(close[session + horizon] / close[session])

    if scaling == "relative":
        return 100 * value(origin)
    if target == "close":
        offset, scale = slow_scaler([close[session] for session in fold.train], scaling)
        return (close[origin + horizon] - offset) / scale
    known = [value(session) for session in fold.train if session + horizon in fold.train]
    offset, scale = slow_scaler(known, scaling)
    return (value(origin) - offset) / scale


def every_origin(windows, fold):
    origins = torch.tensor([*windows.train_origins(fold), *windows.validation_origins(fold)])
    return torch.tensor([fold]), origins[None]


@pytest.mark.parametrize("train_size", [None, 20], ids=["expanding", "sliding"])
@pytest.mark.parametrize(("scaling", "target", "horizon"), COMBINATIONS)
def test_windows_equal_a_plain_loop(prices, scaling, target, horizon, train_size):
    folds = cut(horizon, train_size)
    windows = make(prices, folds, scaling, target, horizon)
    for number, fold in enumerate(folds):
        which, origins = every_origin(windows, number)
        inputs = [slow_window(prices, fold, scaling, origin) for origin in origins[0].tolist()]
        targets = [slow_target(prices, fold, scaling, target, horizon, origin) for origin in origins[0].tolist()]
        np.testing.assert_allclose(windows.inputs(which, origins)[0], inputs, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(windows.targets(which, origins)[0], targets, rtol=1e-9, atol=1e-9)


def test_one_batch_can_have_members_of_different_folds(prices):
    windows = make(prices, cut(1), "minmax", "close", 1)
    origins = torch.tensor([[10, 11], [10, 30], [12, 40]])
    folds = torch.tensor([2, 0, 1])
    together = windows.inputs(folds, origins)
    assert together.shape == (3, 2, LENGTH, len(FEATURES))
    for member in range(3):
        alone = windows.inputs(folds[member : member + 1], origins[member : member + 1])
        assert torch.equal(together[member], alone[0])
        assert torch.equal(
            windows.targets(folds, origins)[member],
            windows.targets(folds[member : member + 1], origins[member : member + 1])[0],
        )


@pytest.mark.parametrize(("scaling", "target", "horizon"), COMBINATIONS)
def test_scaled_targets_come_back_as_prices(prices, scaling, target, horizon):
    folds = cut(horizon)
    windows = make(prices, folds, scaling, target, horizon)
    for number in range(len(folds)):
        origins = windows.validation_origins(number)
        scaled = windows.targets(torch.tensor([number]), torch.tensor([list(origins)]))
        back = windows.to_forecasts(number, origins, scaled.numpy())
        assert back.shape == (1, len(origins))
        assert back.dtype == np.float64
        block = folds[number].validation
        np.testing.assert_allclose(back[0], prices.column("close")[block.start : block.stop], rtol=1e-12)


@pytest.mark.parametrize("scaling", ["minmax", "standard"])
def test_scalings_use_the_training_part_only(prices, scaling):
    folds = cut(1, train_size=20)
    windows = make(prices, folds, scaling, "close", 1)
    for number, fold in enumerate(folds):
        origins = torch.arange(fold.train.start + LENGTH - 1, fold.train.stop)
        # The last steps of these windows and the first steps of the first one are the training part.
        inputs = windows.inputs(torch.tensor([number]), origins[None])[0].numpy()
        part = np.concatenate([inputs[0, :-1], inputs[:, -1]])
        assert len(part) == len(fold.train)
        if scaling == "minmax":
            np.testing.assert_allclose(part.min(0), 0, atol=1e-12)
            np.testing.assert_allclose(part.max(0), 1, rtol=1e-12)
        else:
            np.testing.assert_allclose(part.mean(0), 0, atol=1e-12)
            np.testing.assert_allclose(part.std(0), 1, rtol=1e-12)


@pytest.mark.parametrize("scaling", ["minmax", "standard"])
def test_a_column_that_never_moves_in_training_is_zero_there_and_moderate_after(synthetic, scaling):
    prices = synthetic(60)
    prices.values[:30, 4] = 0.1  # the rounded mean of many 0.1 is not 0.1
    windows = make(prices, [Fold(train=range(30), validation=range(30, 40))], scaling, "close", 1)
    volumes = windows.inputs(torch.tensor([0]), torch.arange(3, 59)[None])[0, :, :, 1]
    assert volumes[:27].abs().max() == 0
    assert volumes.abs().max() <= prices.column("volume").max()


def test_relative_windows_end_at_zero(prices):
    windows = make(prices, cut(1), "relative", "log_return", 1, torch.float32)
    _, origins = every_origin(windows, 2)
    closes = windows.inputs(torch.tensor([2]), origins)[0, :, :, 0]
    assert torch.equal(closes[:, -1], torch.zeros(len(closes)))


def test_days_without_volume_are_the_floor_and_windows_without_volume_are_zero(prices):
    windows = make(prices, cut(1), "relative", "log_return", 1, torch.float32)
    volumes = windows.inputs(torch.tensor([0]), torch.tensor([[13, 14, 16, 20, 22]]))[0, :, :, 1]
    assert torch.isfinite(volumes).all()
    assert torch.equal(volumes[:2], torch.zeros(2, LENGTH))
    floor = np.float32(np.log(0.01))
    assert volumes[2, 0] == volumes[2, 1] == floor  # sessions 13 and 14
    assert volumes[3, 3] == volumes[4, 1] == floor  # session 20


def test_relative_inputs_do_not_depend_on_the_scale_of_prices(prices):
    larger = prices.rows(np.arange(len(prices)))
    larger.values[:] *= 10
    origins = torch.arange(LENGTH - 1, 59)[None]
    one, ten = (make(series, cut(1), "relative", "log_return", 1, torch.float32) for series in (prices, larger))
    first = torch.tensor([0])
    np.testing.assert_allclose(one.inputs(first, origins), ten.inputs(first, origins), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(one.targets(first, origins), ten.targets(first, origins), rtol=1e-5)


def test_relative_inputs_keep_their_precision_in_single(prices):
    origins = torch.arange(LENGTH - 1, 59)[None]
    single, double = (
        make(prices, cut(1), "relative", "log_return", 1, dtype).inputs(torch.tensor([0]), origins)
        for dtype in (torch.float32, torch.float64)
    )
    assert (single - double).abs().max() < 1e-4  # per cent, or log ratio of volumes


def test_origins_by_hand(synthetic):
    prices = synthetic(14)
    folds = walk_forward(14, folds=2, fold_size=2, test_size=2, horizon=2, longest_sequence=3).folds
    assert folds[0] == Fold(train=range(6), validation=range(7, 9))
    config = WindowConfig(sequence_length=3)
    windows = Windows(prices, folds, config, 2)
    # Session 2 ends the first window; session 5 is the last training target, forecast at session 3.
    assert windows.train_origins(0) == range(2, 4)
    assert windows.train_origins(1) == range(2, 6)
    # Sessions 7 and 8 are forecast at 5 and 6.
    assert windows.validation_origins(0) == range(5, 7)
    assert windows.validation_origins(1) == range(7, 9)
    sliding = walk_forward(14, folds=2, fold_size=2, test_size=2, horizon=2, longest_sequence=3, train_size=5).folds
    assert sliding[1].train == range(3, 8)
    assert Windows(prices, sliding, config, 2).train_origins(1) == range(5, 6)


DERIVED = ("log_return", "close", "volatility_3", "weekday_sin", "volume", "ma_ratio_6", "volume_change")  # 5 sessions


def derived(prices, folds, scaling, target="log_return", features=DERIVED, others=()):
    config = WindowConfig(features=features, others=others, target=target, scaling=scaling, sequence_length=LENGTH)
    return Windows(prices, folds, config, 1, dtype=torch.float64)


@pytest.mark.parametrize("train_size", [None, 20], ids=["expanding", "sliding"])
@pytest.mark.parametrize("scaling", ["minmax", "standard", "relative"])
def test_windows_of_derived_features_equal_a_plain_loop(prices, scaling, train_size):
    folds = cut(1, train_size)
    windows = derived(prices, folds, scaling)
    levels = make(prices, folds, scaling, "log_return", 1)
    for number, fold in enumerate(folds):
        which, origins = every_origin(windows, number)
        inputs = windows.inputs(which, origins)[0].numpy()
        assert np.isfinite(inputs).all()
        assert torch.isfinite(windows.targets(which, origins)).all()
        expected = np.empty_like(inputs)
        for index, name in enumerate(DERIVED):
            if name in FEATURES:
                continue
            column = feature_values(name, prices)
            if scaling == "relative":
                offset, scale = 0, 1 if name in ("weekday_sin", "volume_change") else 0.01
            else:
                known = [column[day] for day in fold.train if not np.isnan(column[day])]
                offset, scale = slow_scaler(known, scaling)
            for row, origin in enumerate(origins[0].tolist()):
                expected[row, :, index] = (column[origin - LENGTH + 1 : origin + 1] - offset) / scale
        expected[:, :, [1, 4]] = levels.inputs(which, origins)[
            0, :, :, :2
        ]  # close and volume are the same as without the others
        np.testing.assert_allclose(inputs, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scaling", ["minmax", "standard", "relative"])
def test_other_series_are_inputs_by_their_changes(prices, scaling):
    other = np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.02, 60)))
    both = replace(prices, columns=(*prices.columns, "^X"), values=np.column_stack([prices.values, other]))
    (fold,) = cut(1)[:1]
    windows = derived(both, [fold], scaling, features="close_volume", others=("^X",))
    assert windows.config.inputs == ("close", "volume", "^X")
    changes = np.diff(np.log(other))
    known = changes[: fold.train.stop - 1]
    offset, scale = (0, 0.01) if scaling == "relative" else slow_scaler(known, scaling)
    which, origins = every_origin(windows, 0)
    assert origins[0, 0] == LENGTH
    for window, origin in zip(windows.inputs(which, origins)[0].numpy(), origins[0].tolist(), strict=True):
        np.testing.assert_allclose(window[:, 2], (changes[origin - LENGTH : origin] - offset) / scale, rtol=1e-9)


def test_origins_of_training_begin_after_the_warm_up_by_hand(synthetic):
    prices = synthetic(60)
    train, later = range(30), range(12, 30)
    folds = [Fold(train=each, validation=range(30, 35)) for each in (train, range(3, 30), later)]
    windows = derived(prices, folds, "relative", features="ma_ratio_6,volatility_10")
    assert windows.warm_up == 10
    # Session 10 is the first that has all features; the window of 4 sessions from there ends at 13.
    assert windows.train_origins(0) == windows.train_origins(1) == range(13, 29)
    # Of a part that begins later the first window begins there: its features look back to sessions before it.
    assert windows.train_origins(2) == range(15, 29)
    assert windows.validation_origins(0) == range(29, 34)
    assert derived(prices, folds, "relative", features="ohlc").train_origins(0) == range(3, 29)


def test_features_other_than_prices_do_not_depend_on_the_window(prices):
    windows = derived(prices, cut(1), "relative", features="returns")
    one, next_one = windows.inputs(torch.tensor([0]), torch.tensor([[20, 21]]))[0]
    assert torch.equal(one[1:], next_one[:-1])


def test_targets_beyond_the_series_are_not_numbers(prices):
    windows = make(prices, cut(3), "standard", "close", 3)
    last = windows.targets(torch.tensor([0]), torch.tensor([[56, 57, 58, 59]]))[0]
    assert torch.isnan(last).tolist() == [False, True, True, True]


@pytest.mark.parametrize("scaling", ["minmax", "relative"])
def test_the_view_of_all_windows_copies_nothing(prices, scaling):
    windows = make(prices, cut(1), scaling, "close", 1)
    copies = 3 if scaling == "minmax" else 1  # relative scaling fits nothing, so all folds share one series
    view = windows._starts
    assert view.shape == (copies * 60 - LENGTH + 1, LENGTH * len(FEATURES))
    assert view.untyped_storage().nbytes() == copies * 60 * len(FEATURES) * view.element_size()
    assert view[1].data_ptr() - view[0].data_ptr() == len(FEATURES) * view.element_size()


@pytest.mark.parametrize(("scaling", "target", "horizon"), COMBINATIONS)
def test_the_last_session_is_an_origin_without_a_target(prices, scaling, target, horizon):
    folds = cut(horizon)
    windows = make(prices, folds, scaling, target, horizon)
    for number, fold in enumerate(folds):
        which, origins = torch.tensor([number]), torch.tensor([[59]])
        expected = slow_window(prices, fold, scaling, 59)
        np.testing.assert_allclose(windows.inputs(which, origins)[0, 0], expected, rtol=1e-9, atol=1e-9)
        assert torch.isnan(windows.targets(which, origins)).all()


@pytest.mark.parametrize("target", ["close", "log_return"])
@pytest.mark.parametrize("scaling", ["minmax", "standard"])
def test_fitted_scalings_can_be_read(prices, scaling, target):
    folds = cut(3, train_size=20)
    windows = make(prices, folds, scaling, target, 3)
    assert len(windows.scalings) == len(folds)
    for fold, fitted in zip(folds, windows.scalings, strict=True):
        known = [slow_scaler(prices.column(name)[fold.train.start : fold.train.stop], scaling) for name in FEATURES]
        np.testing.assert_allclose(np.transpose([fitted.offsets, fitted.scales]), known, rtol=1e-12)
        closes = prices.column("close")[fold.train.start : fold.train.stop]
        values = closes if target == "close" else np.log(closes[3:] / closes[:-3])
        np.testing.assert_allclose((fitted.target_offset, fitted.target_scale), slow_scaler(values, scaling))


def test_relative_fits_nothing(prices):
    assert make(prices, cut(1), "relative", "close", 1).scalings == (Scaling(target_scale=0.01),) * 3


@pytest.mark.parametrize(("scaling", "target", "horizon"), COMBINATIONS)
def test_scalings_given_are_used_as_they_are(prices, poisoned, scaling, target, horizon):
    """A forecaster fits no scaling on new prices, even if they are a thousand times larger."""
    folds = cut(horizon)
    fitted = make(prices, folds, scaling, target, horizon)
    later = poisoned(prices, 49)
    nowhere = [Fold(train=range(0), validation=range(0))]
    for number in range(len(folds)):
        given = Windows(later, nowhere, fitted.config, horizon, scalings=[fitted.scalings[number]], dtype=torch.float64)
        old = torch.arange(LENGTH - 1, 50 - horizon)[None]
        first, which = torch.tensor([0]), torch.tensor([number])
        assert torch.equal(given.inputs(first, old), fitted.inputs(which, old))
        assert torch.equal(given.targets(first, old), fitted.targets(which, old))
        outputs = np.linspace(-1, 1, old.shape[1])
        expected = fitted.to_forecasts(number, range(LENGTH - 1, 50 - horizon), outputs)
        np.testing.assert_array_equal(given.to_forecasts(0, old[0].numpy(), outputs), expected)
        if scaling != "relative":
            offsets, scales = (np.array(getattr(fitted.scalings[number], name)) for name in ("offsets", "scales"))
            rows = np.column_stack([later.column(name) for name in FEATURES])[-LENGTH:]
            newest = given.inputs(first, torch.tensor([[59]]))[0, 0]
            np.testing.assert_allclose(newest, (rows - offsets) / scales, rtol=1e-12)


@pytest.mark.parametrize(
    ("scaling", "given", "words"),
    [
        ("relative", Scaling(offsets=(0.0,), scales=(1.0,)), "fits nothing"),
        ("relative", Scaling(target_scale=1.0), "fits nothing"),
        ("standard", Scaling(), "4 inputs need 4 offsets and scales, not 0 and 0"),
        ("minmax", Scaling(offsets=(0.0,) * 4, scales=(1.0,) * 3), "not 4 and 3"),
        ("minmax", Scaling(offsets=(0.0,) * 4, scales=(1.0, 1.0, 0.0, 1.0)), "above 0"),
        ("minmax", Scaling(offsets=(0.0,) * 4, scales=(1.0,) * 4, target_scale=-1.0), "above 0"),
        ("minmax", Scaling(offsets=(0.0, np.nan, 0.0, 0.0), scales=(1.0,) * 4), "finite"),
        ("minmax", Scaling(offsets=(0.0,) * 4, scales=(1.0, np.inf, 1.0, 1.0)), "finite"),
    ],
)
def test_scalings_that_do_not_fit_are_refused(prices, scaling, given, words):
    config = WindowConfig(features=FEATURES, scaling=scaling, sequence_length=LENGTH)
    with pytest.raises(ValueError, match=words):
        Windows(prices, cut(1), config, 1, scalings=[given] * 3)


def test_each_fold_needs_a_scaling(prices):
    with pytest.raises(ValueError, match="each of 3 folds needs a scaling; there are 1"):
        Windows(prices, cut(1), WindowConfig(sequence_length=LENGTH), 1, scalings=[Scaling(target_scale=0.01)])
