"""Test the step equations of architectures and the `pool` of heads against their faster implementations."""

import pytest
import torch

from stockrnn.networks.batched_cells import CELLS, Workspace
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.heads import HEADS, Head
from stockrnn.networks.network import TORCH_LAYERS
from stockrnn.networks.unrolled import UnrolledLayer, unroll_cell

SEQUENCE, MEMBERS, FEATURES, HIDDEN, BATCH = 6, 3, 4, 5, 7


def drawn(*shape):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def assert_equal_with_gradients(found, expected, inputs):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    weights = torch.randn_like(expected)
    gradients = [torch.autograd.grad((each * weights).sum(), inputs, retain_graph=True) for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", TORCH_LAYERS)
def test_an_unrolled_layer_equals_pytorchs(name, bidirectional):
    torch.manual_seed(0)
    own = TORCH_LAYERS[name](FEATURES, HIDDEN, batch_first=True, bidirectional=bidirectional)
    torch.manual_seed(0)
    layer = UnrolledLayer(ARCHITECTURES[name], FEATURES, HIDDEN, bidirectional)
    for (key, weight), (own_key, own_weight) in zip(layer.named_parameters(), own.named_parameters(), strict=True):
        assert key == own_key
        assert torch.equal(weight, own_weight)
    windows = drawn(BATCH, SEQUENCE, FEATURES)
    assert_equal_with_gradients(layer.double()(windows)[0], own.double()(windows)[0], [windows])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_an_unrolled_cell_equals_the_hand_written_one(name, last):
    rows = ARCHITECTURES[name].gates * HIDDEN
    inputs = [
        drawn(SEQUENCE, MEMBERS, FEATURES, BATCH), drawn(MEMBERS, rows, FEATURES), drawn(MEMBERS, rows, HIDDEN),
        drawn(MEMBERS, rows), drawn(MEMBERS, rows),
    ]  # fmt: skip
    found, expected = (cell(*inputs, last, Workspace()) for cell in (unroll_cell(ARCHITECTURES[name]), CELLS[name]))
    weights = torch.randn_like(expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad((each * weights).sum(), inputs) for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", HEADS)
def test_the_batched_output_of_a_head_equals_pool_for_each_member(name):
    head = HEADS[name]
    states = drawn(SEQUENCE, MEMBERS, HIDDEN, BATCH)
    output = drawn(MEMBERS, 1, head.size(HIDDEN, SEQUENCE))
    own = {key: drawn(MEMBERS, *shape) for key, shape in head.weights(HIDDEN, SEQUENCE).items()}
    inputs = [states, output, *own.values()]
    expected = torch.stack(
        [
            output[member] @ head.pool(states[:, member].permute(2, 0, 1), {key: own[key][member] for key in own}).T
            for member in range(MEMBERS)
        ]
    )
    assert_equal_with_gradients(head.batched_output(output, states, own), expected, inputs)
    assert_equal_with_gradients(Head.batched_output(head, output, states, own), expected, inputs)


@pytest.mark.parametrize("name", HEADS)
def test_reads_last_is_true_if_only_the_last_step_has_a_gradient(name):
    states = drawn(BATCH, SEQUENCE, HIDDEN)
    own = {key: drawn(*shape) for key, shape in HEADS[name].weights(HIDDEN, SEQUENCE).items()}
    (gradient,) = torch.autograd.grad(HEADS[name].pool(states, own).square().sum(), [states])
    assert HEADS[name].reads_last == (not gradient[:, :-1].any().item())
