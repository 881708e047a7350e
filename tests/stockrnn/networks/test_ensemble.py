"""Test batched and looped mode against plain networks trained one after another."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.ensemble import NetworkEnsemble, _draw_mask
from stockrnn.networks.execution import choose_mode
from stockrnn.networks.heads import HEADS
from stockrnn.networks.network import Network
from stockrnn.training.config import TrainingConfig
from stockrnn.training.optimizer import Optimizer

SEEDS = [11, 12, 13]
FEATURES, SEQUENCE, BATCH = 3, 6, 7


def squared(outputs, targets):
    return F.mse_loss(outputs, targets, reduction="none")


def plain_networks(config, dtype=torch.float64):
    networks = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        networks.append(Network(config, FEATURES, SEQUENCE).to(dtype))
    return networks


def batch(dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    windows = torch.randn(len(SEEDS), BATCH, SEQUENCE, FEATURES, dtype=dtype, generator=generator)
    return windows, torch.randn(len(SEEDS), BATCH, dtype=dtype, generator=generator)


def flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


@pytest.mark.parametrize(("mode", "group"), [("batched", None), ("batched", 2), ("looped", None)])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_outputs_and_gradients_equal_plain_networks(architecture, head, num_layers, bidirectional, mode, group):
    config = NetworkConfig(
        architecture=architecture, head=head, num_layers=num_layers, bidirectional=bidirectional, hidden_size=5,
        output="sigmoid" if head == "mean" else "linear", output_init="uniform",
    )  # fmt: skip
    members = NetworkEnsemble(config, FEATURES, SEQUENCE, SEEDS, mode=mode, group=group, dtype=torch.float64)
    windows, targets = batch()
    counts = [BATCH, BATCH - 2, 1]
    losses = members.backward(windows, targets, counts, squared)
    forecasts = members.forecast(windows)
    for index, network in enumerate(plain_networks(config)):
        outputs = network(windows[index])
        count = counts[index]
        loss = F.mse_loss(outputs[:count], targets[index, :count])
        gradients = flat(torch.autograd.grad(loss, list(network.parameters())))
        torch.testing.assert_close(forecasts[index], outputs.detach(), rtol=0, atol=1e-10)
        torch.testing.assert_close(losses[index], loss.detach(), rtol=0, atol=1e-10)
        torch.testing.assert_close(members.gradients[index], gradients, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mode", ["batched", "looped"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("optimizer", "plain"),
    [
        ("adam", lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=1e-2)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=1e-2)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, lr=1e-2, weight_decay=1e-2)),
        ("sgd", lambda p: torch.optim.SGD(p, lr=1e-2, weight_decay=1e-2)),
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-4)])
def test_ten_steps_equal_a_plain_loop(architecture, mode, optimizer, plain, dtype, tolerance):
    config = NetworkConfig(architecture=architecture, head="attention", num_layers=2, hidden_size=5)
    training = TrainingConfig(optimizer=optimizer, learning_rate=1e-2, weight_decay=1e-2, gradient_clip=0.5)
    members = NetworkEnsemble(config, FEATURES, SEQUENCE, SEEDS, mode=mode, dtype=dtype)
    stepper = Optimizer(members.parameters, members.gradients, training)
    networks = plain_networks(config, dtype)
    optimizers = [plain(list(network.parameters())) for network in networks]
    for step in range(10):
        windows, targets = batch(dtype, seed=step)
        active = 2 if step % 3 == 2 else 3  # the last member pauses: its optimizer state must not change
        members.backward(windows[:active], targets[:active], [BATCH] * active, squared)
        stepper.step(active)
        for index in range(active):
            optimizers[index].zero_grad()
            F.mse_loss(networks[index](windows[index]), targets[index]).backward()
            nn.utils.clip_grad_norm_(networks[index].parameters(), 0.5)
            optimizers[index].step()
    for index, network in enumerate(networks):
        torch.testing.assert_close(
            members.parameters[index], flat(network.parameters()).detach(), rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("architecture", ["rnn", "gru", "lstm"])
def test_a_network_equals_pytorchs(architecture):
    config = NetworkConfig(
        architecture=architecture, num_layers=2, hidden_size=8, head="flatten", output_init="uniform"
    )
    torch.manual_seed(3)
    network = Network(config, FEATURES, SEQUENCE)
    torch.manual_seed(3)
    recurrent = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[architecture](FEATURES, 8, 2, batch_first=True)
    output = nn.Linear(8 * SEQUENCE, 1)
    windows = torch.randn(BATCH, SEQUENCE, FEATURES)
    expected = output(recurrent(windows)[0].flatten(1)).squeeze(-1)
    torch.testing.assert_close(network(windows), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["batched", "looped"])
@pytest.mark.parametrize(("architecture", "dropout"), list(itertools.product(ARCHITECTURES, (0.0, 0.3))))
def test_a_member_is_the_same_alone_and_among_others(architecture, dropout, mode):
    config = NetworkConfig(architecture=architecture, num_layers=2, hidden_size=8, dropout=dropout)
    windows, targets = batch()

    def trained(rows):
        seeds = [SEEDS[row] for row in rows]
        members = NetworkEnsemble(config, FEATURES, SEQUENCE, seeds, mode=mode, dtype=torch.float64)
        stepper = Optimizer(members.parameters, members.gradients, TrainingConfig(learning_rate=1e-2))
        for _ in range(5):
            members.backward(windows[rows], targets[rows], [BATCH] * len(rows), squared)
            stepper.step(len(rows))
        return members.parameters

    together = trained([0, 1, 2])
    for row in range(3):
        torch.testing.assert_close(trained([row])[0], together[row], rtol=0, atol=1e-13)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_reused_buffers_do_not_change_results(architecture, bidirectional):
    """Larger forecasts, smaller batches and fewer members between two equal steps have no effect."""
    config = NetworkConfig(architecture=architecture, num_layers=2, hidden_size=8, bidirectional=bidirectional)
    members = NetworkEnsemble(config, FEATURES, SEQUENCE, SEEDS, mode="batched", dtype=torch.float64)
    windows, targets = batch()
    counts = [BATCH] * len(SEEDS)
    losses = members.backward(windows, targets, counts, squared)
    gradients, forecasts = members.gradients.clone(), members.forecast(windows)
    bad = torch.full((len(SEEDS), 40, SEQUENCE, FEATURES), torch.nan, dtype=torch.float64)
    assert members.forecast(bad).isnan().all()
    members.backward(bad[:2, :3], targets[:2, :3], [3, 2], squared)
    assert torch.equal(members.backward(windows, targets, counts, squared), losses)
    assert torch.equal(members.gradients, gradients)
    assert torch.equal(members.forecast(windows), forecasts)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_large_activations_saturate_as_in_pytorch(architecture):
    """Hyperbolic tangents are computed from sigmoids; check both ends, and inputs whose exponential overflows."""
    config = NetworkConfig(architecture=architecture, num_layers=1, hidden_size=8, output_init="uniform")
    members = NetworkEnsemble(config, FEATURES, SEQUENCE, SEEDS, mode="batched", dtype=torch.float32)
    windows, targets = batch(torch.float32)
    for scale in (1e-4, 1.0, 1e2, 1e5):
        members.backward(windows * scale, targets, [BATCH] * len(SEEDS), squared)
        for index, network in enumerate(plain_networks(config, torch.float32)):
            loss = F.mse_loss(network(windows[index] * scale), targets[index])
            gradients = flat(torch.autograd.grad(loss, list(network.parameters())))
            assert members.gradients[index].isfinite().all()
            torch.testing.assert_close(
                members.gradients[index], gradients, rtol=1e-3, atol=1e-4 * gradients.abs().max().item()
            )


@pytest.mark.parametrize(
    ("architecture", "hidden", "sequence", "batch_size", "members", "mode"),
    [
        ("gru", 64, 5, 128, 6, "batched"),
        ("rnn", 8, 5, 64, 25, "batched"),
        ("rnn", 8, 5, 32, 1, "looped"),
        ("rnn", 8, 20, 32, 1, "batched"),
        ("lstm", 8, 5, 64, 1, "looped"),
        ("lstm", 8, 60, 32, 6, "batched"),
        ("lstm", 32, 60, 32, 6, "looped"),
        ("lstm", 32, 60, 128, 6, "batched"),
    ],
)
def test_the_mode_is_the_faster_one_of_the_measured_table(architecture, hidden, sequence, batch_size, members, mode):
    config = NetworkConfig(architecture=architecture, hidden_size=hidden)
    assert choose_mode(config, sequence, batch_size, members) == mode
    assert choose_mode(config, sequence, batch_size, members, "cuda") == "batched"


def test_dropout_is_the_same_in_both_modes():
    config = NetworkConfig(architecture="gru", num_layers=3, hidden_size=8, dropout=0.4, output_init="uniform")
    windows, targets = batch()
    results = []
    for mode in ("batched", "looped"):
        members = NetworkEnsemble(config, FEATURES, SEQUENCE, SEEDS, mode=mode, dtype=torch.float64)
        losses = members.backward(windows, targets, [BATCH, 3, BATCH], squared)
        results.append((losses, members.gradients))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-10)
    assert not torch.equal(losses, members.backward(windows, targets, [BATCH, 3, BATCH], squared))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 1.0])
def test_dropout_keeps_the_share_and_the_mean(keep):
    mask = _draw_mask((100, 33, 61), keep, torch.Generator().manual_seed(0), torch.zeros((), dtype=torch.float64))
    assert set(mask.unique().tolist()) <= {0.0, 1 / keep}
    assert (mask > 0).double().mean().item() == pytest.approx(keep, abs=0.005)
    assert mask.mean().item() == pytest.approx(1, abs=0.02)
    by_column = (mask > 0).double().mean((0, 1))
    assert by_column.std().item() < 0.02  # no column is favoured
