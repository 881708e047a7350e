"""Test training: all kinds of configurations, the lockstep loop against a plain one, and restored states."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stockrnn.dataset.config import WindowConfig
from stockrnn.dataset.walk_forward import walk_forward
from stockrnn.dataset.windows import Windows
from stockrnn.evaluation.scores import score
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.heads import HEADS
from stockrnn.networks.network import Network
from stockrnn.prices.series import Prices
from stockrnn.training.config import TrainingConfig
from stockrnn.training.trainer import Trainer, member_seed, train

SESSIONS = 160


def trending(sessions=SESSIONS, seed=0):
    """Return a series whose next return is predictable from the last one."""
    generator = np.random.default_rng(seed)
    returns = np.empty(sessions)
    returns[0] = 0.01
    for day in range(1, sessions):
        returns[day] = -0.9 * returns[day - 1] + 0.002 * generator.standard_normal()
    close = 100 * np.exp(np.cumsum(returns))
    opened = close * np.exp(-returns / 2)
    values = np.column_stack(
        [opened, np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999, close,
         generator.uniform(1e6, 2e6, sessions)]
    )  # fmt: skip
    return Prices(
        source="synthetic", dates=np.datetime64("2020-01-01") + np.arange(sessions),
        columns=("open", "high", "low", "close", "volume"), values=values,
        lines=np.array([], dtype=int),
    )  # fmt: skip


def windows_of(prices, folds=2, dtype=torch.float64, horizon=1, **config):
    splits = walk_forward(len(prices), folds=folds, fold_size=20, test_size=20, horizon=horizon)
    return Windows(prices, splits.folds, WindowConfig(**config), horizon, dtype=dtype)


@pytest.mark.parametrize("target", ["close", "log_return"])
@pytest.mark.parametrize("scaling", ["minmax", "standard", "relative"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kind_of_trial_learns_and_is_scored(architecture, head, scaling, target):
    windows = windows_of(trending(), scaling=scaling, target=target, sequence_length=4)
    network = NetworkConfig(architecture=architecture, head=head, hidden_size=6)
    epochs = list(
        train(windows, network, TrainingConfig(learning_rate=1e-2, batch_size=32), seeds=2, max_epochs=6,
              dtype=torch.float64)
    )  # fmt: skip
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].losses.shape == (2, 2)
    assert (epochs[-1].losses < epochs[0].losses).all()
    for epoch in epochs:
        assert epoch.finite
        assert [forecast.shape for forecast in epoch.forecasts] == [(2, 20), (2, 20)]
        scores = score(epoch.forecasts, windows.closes, windows.folds, 1)
        assert 0 < scores["val_relative_loss"] < 50
        assert scores["val_worst_fold"] >= scores["val_relative_loss"] - 1e-9


def test_a_predictable_series_is_predicted():
    windows = windows_of(trending(400), sequence_length=5)
    *_, last = train(
        windows, NetworkConfig(architecture="gru", hidden_size=8), TrainingConfig(learning_rate=1e-2, batch_size=32),
        seeds=2, max_epochs=30, dtype=torch.float64,
    )  # fmt: skip
    scores = score(last.forecasts, windows.closes, windows.folds, 1)
    assert scores["val_relative_loss"] < 0.55  # the noise allows 0.44
    assert scores["val_direction_accuracy"] > 0.75


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("scaling", "target", "loss"), [("relative", "log_return", "mse"), ("minmax", "close", "huber")]
)
def test_lockstep_equals_members_trained_one_after_another(architecture, scaling, target, loss):
    windows = windows_of(trending(), scaling=scaling, target=target, sequence_length=3)
    network = NetworkConfig(architecture=architecture, num_layers=2, hidden_size=5, head="flatten")
    training = TrainingConfig(learning_rate=5e-3, batch_size=16, loss=loss)
    *_, last = train(windows, network, training, seeds=2, max_epochs=3, study_seed=7, dtype=torch.float64)
    for fold in range(2):
        for index in range(2):
            expected, losses = plain_member(windows, network, training, fold, member_seed(7, fold, index), epochs=3)
            np.testing.assert_allclose(last.forecasts[fold][index], expected, rtol=1e-9)
            np.testing.assert_allclose(last.losses[fold, index], losses[-1], rtol=1e-7)


def plain_member(windows, network_config, training, fold, seed, epochs):
    """Train one network with `nn` and `torch.optim` only; return its forecast closes and its mean loss by epoch."""
    torch.manual_seed(seed)
    network = Network(network_config, len(windows.config.features), windows.config.sequence_length).double()
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    shuffle = torch.Generator().manual_seed(seed)
    origins = windows.train_origins(fold)
    member = torch.tensor([fold])
    loss_of = F.mse_loss if training.loss == "mse" else F.huber_loss
    losses = []
    for _ in range(epochs):
        order = torch.randperm(len(origins), generator=shuffle) + origins.start
        total = 0.0
        for batch in order.split(training.batch_size):
            inputs = windows.inputs(member, batch[None])[0]
            targets = windows.targets(member, batch[None])[0]
            optimizer.zero_grad()
            loss = loss_of(network(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(order))
    block = windows.validation_origins(fold)
    with torch.no_grad():
        outputs = network(windows.inputs(member, torch.tensor([list(block)]))[0]).numpy()
    return windows.to_prices(fold, block, outputs), losses


def test_a_members_result_does_not_depend_on_the_other_folds():
    prices = trending()
    network, training = NetworkConfig(architecture="gru", hidden_size=5), TrainingConfig(batch_size=16)
    windows = windows_of(prices, sequence_length=3)
    *_, together = train(windows, network, training, seeds=3, max_epochs=3, dtype=torch.float64)
    alone = Windows(prices, windows.folds[:1], windows.config, 1, dtype=torch.float64)
    *_, single = train(alone, network, training, seeds=1, max_epochs=3, dtype=torch.float64)
    np.testing.assert_allclose(single.forecasts[0][0], together.forecasts[0][0], rtol=1e-12)


def test_the_same_seed_gives_the_same_forecasts_and_another_seed_others():
    def forecasts(seed):
        windows = windows_of(trending(), dtype=torch.float32, sequence_length=3)
        *_, last = train(
            windows, NetworkConfig(architecture="lstm", num_layers=2, dropout=0.3), TrainingConfig(batch_size=16),
            seeds=2, max_epochs=2, study_seed=seed,
        )  # fmt: skip
        return np.stack(last.forecasts)

    np.testing.assert_array_equal(forecasts(1), forecasts(1))
    assert not np.array_equal(forecasts(1), forecasts(2))


def test_members_of_a_trial_all_have_their_own_seed():
    seeds = {member_seed(study, fold, index) for study in range(3) for fold in range(5) for index in range(5)}
    assert len(seeds) == 75


def test_a_diverging_trial_is_reported_as_not_finite():
    windows = windows_of(trending(), dtype=torch.float32, sequence_length=3)
    epochs = train(
        windows, NetworkConfig(architecture="rnn", output_init="uniform"),
        TrainingConfig(optimizer="sgd", learning_rate=10.0, batch_size=16, loss="mse"), seeds=1, max_epochs=200,
    )  # fmt: skip
    assert any(not epoch.finite for epoch in epochs)


RESUMED = {"num_layers": 2, "hidden_size": 5, "head": "attention"}


def copied(training):
    return {name: array.copy() for name, array in training.state().items()}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [pytest.param(torch.float64, marks=pytest.mark.nightly), torch.float32])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("mode", ["batched", "looped"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_restored_training_goes_on_as_if_it_had_never_stopped(architecture, optimizer, mode, dropout, dtype):
    """Three folds of different lengths, restored after every epoch; results must be equal to the last bit."""
    windows = windows_of(trending(), folds=3, dtype=dtype, sequence_length=3)
    network = NetworkConfig(architecture=architecture, dropout=dropout, **RESUMED)
    config = TrainingConfig(learning_rate=5e-3, batch_size=48, optimizer=optimizer, gradient_clip=0.5)

    def new_trainer():
        return Trainer(windows, network, config, seeds=2, study_seed=3, mode=mode, dtype=dtype)

    straight, epochs, states = new_trainer(), [], []
    for _ in range(4):
        states.append(copied(straight))
        epochs.append(straight.train_epoch())
    assert not np.array_equal(epochs[0].forecasts, epochs[-1].forecasts)
    for stop, state in enumerate(states):
        training = new_trainer()
        training.restore(stop, state)
        for expected in epochs[stop:]:
            found = training.train_epoch()
            assert found.number == expected.number
            np.testing.assert_array_equal(found.losses, expected.losses)
            np.testing.assert_array_equal(found.forecasts, expected.forecasts)
        for name, array in straight.state().items():
            np.testing.assert_array_equal(training.state()[name], array)


def spoilt(part, value):
    def spoil(state):
        state["shuffles"][1, part] = value

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [spoilt(slice(None), 0), spoilt(slice(8, 12), 255), spoilt(slice(16, 17), 200), spoilt(slice(8, 9), 7)],
)
def test_an_invalid_random_state_is_refused_and_changes_nothing(spoil):
    windows = windows_of(trending(), sequence_length=3)
    network, config = NetworkConfig(architecture="gru", dropout=0.3, **RESUMED), TrainingConfig(batch_size=32)
    training = Trainer(windows, network, config, seeds=2, dtype=torch.float64)
    other = Trainer(windows, network, config, seeds=2, study_seed=9, dtype=torch.float64)
    other.train_epoch()
    before, state = copied(training), copied(other)
    spoil(state)
    with pytest.raises(ValueError, match="invalid random state"):
        training.restore(1, state)
    assert training.epoch == 0
    for name, array in training.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: its generators and captured graphs")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_restored_training_goes_on_on_a_gpu(architecture):
    splits = walk_forward(SESSIONS, folds=3, fold_size=20, test_size=20, horizon=1)
    windows = Windows(trending(), splits.folds, WindowConfig(sequence_length=3), 1, device="cuda")
    network = NetworkConfig(architecture=architecture, dropout=0.3, **RESUMED)
    config = TrainingConfig(learning_rate=5e-3, batch_size=16)
    straight = Trainer(windows, network, config, seeds=2)
    straight.train_epoch()
    state = copied(straight)
    restored = Trainer(windows, network, config, seeds=2)
    restored.restore(1, state)
    for _ in range(3):
        expected, found = straight.train_epoch(), restored.train_epoch()
        np.testing.assert_allclose(found.forecasts, expected.forecasts, rtol=1e-5)
