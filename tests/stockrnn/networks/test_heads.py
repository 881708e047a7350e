"""Test each head against its equation in NumPy, for windows of several lengths."""

import numpy as np
import pytest
import torch

from stockrnn.networks.heads import HEADS

WIDTH, LENGTHS = 3, (1, 2, 6)
PLAIN = {  # equations of one window's states, (sequence, width), and the head's weights
    "last": lambda states, weights: states[-1],
    "flatten": lambda states, weights: np.concatenate(list(states)),
    "mean": lambda states, weights: sum(states) / len(states),
    "attention": lambda states, weights: np.average(
        states, axis=0, weights=[np.exp(state @ weights["query"]) for state in states]
    ),
}


def random_states(length, batch=4):
    """Return states (batch, length, WIDTH)."""
    return torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(length), dtype=torch.float64)


def weights_of(head, length):
    generator = torch.Generator().manual_seed(7)
    shapes = head.weights(WIDTH, length).items()
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes}


def test_every_head_has_an_equation_in_plain_words():
    assert PLAIN.keys() == HEADS.keys(), "add the head's equation in NumPy to PLAIN"


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", HEADS)
def test_a_head_equals_its_equation_in_plain_words(name, length):
    head, states = HEADS[name], random_states(length)
    weights = weights_of(head, length)
    vectors = head.pool(states, weights)
    assert vectors.shape == (4, head.size(WIDTH, length)), f"{name}: pool and size give different lengths"
    own = {key: weight.numpy() for key, weight in weights.items()}
    for vector, window in zip(vectors.numpy(), states.numpy(), strict=True):
        np.testing.assert_allclose(vector, PLAIN[name](window, own), rtol=1e-12)
