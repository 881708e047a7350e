"""Test CUDA graphs of training steps: equal to plain steps on a GPU, and a fallback without a GPU."""

import pytest
import torch

from stockrnn.dataset.config import WindowConfig
from stockrnn.dataset.windows import Windows
from stockrnn.evaluation.walk_forward import walk_forward
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load
from stockrnn.training.config import TrainingConfig
from stockrnn.training.cuda_graphs import CudaGraphs
from stockrnn.training.trainer import train

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: the captured CUDA graph itself")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU: the fallback")
def test_every_call_runs_the_work_if_capture_fails(caplog):
    graphs, done = CudaGraphs(), []
    for value in (1.0, 2.0, 3.0):
        graphs.run("step", lambda given: done.append(given.item()), torch.tensor(value))
    assert done == [1.0, 2.0, 3.0]
    assert len([record for record in caplog.records if "CUDA graph" in record.message]) == 1


@needs_cuda
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_captured_steps_train_as_plain_ones(architecture, optimizer, dropout, monkeypatch):
    """Compare losses and forecasts of three epochs with and without graphs."""
    prices = clean(load("nasdaq"))
    splits = walk_forward(len(prices), folds=2, fold_size=100, test_size=100)
    network = NetworkConfig(architecture=architecture, hidden_size=8, num_layers=2, dropout=dropout)
    training = TrainingConfig(optimizer=optimizer, gradient_clip=1.0)
    replays = []
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", _counted(torch.cuda.CUDAGraph.replay, replays))

    def run():
        windows = Windows(prices, splits.folds, WindowConfig(sequence_length=5), 1, device="cuda")
        return list(train(windows, network, training, seeds=3, max_epochs=3, mode="batched"))

    captured = run()
    assert len(replays) > 100
    monkeypatch.setattr(CudaGraphs, "_capture", lambda *_: False)
    plain = run()
    if dropout:  # the masks are drawn in another order
        assert captured[-1].finite
        assert abs(captured[-1].losses / plain[-1].losses - 1).max() < 0.1
        return
    for one, other in zip(captured, plain, strict=True):
        torch.testing.assert_close(torch.tensor(one.losses), torch.tensor(other.losses), rtol=1e-4, atol=1e-5)
        for fold, expected in zip(one.forecasts, other.forecasts, strict=True):
            torch.testing.assert_close(torch.tensor(fold), torch.tensor(expected), rtol=1e-4, atol=0)


@needs_cuda
def test_the_gpu_trains_as_the_cpu_does():
    prices = clean(load("nasdaq"))
    splits = walk_forward(len(prices), folds=2, fold_size=100, test_size=100)
    network = NetworkConfig(architecture="gru", hidden_size=8, num_layers=2)
    results = []
    for device in ("cpu", "cuda"):
        windows = Windows(prices, splits.folds, WindowConfig(sequence_length=5), 1, device=device)
        results.append(list(train(windows, network, TrainingConfig(), seeds=2, max_epochs=2))[-1].losses)
    torch.testing.assert_close(torch.tensor(results[0]), torch.tensor(results[1]), rtol=1e-3, atol=1e-4)


def _counted(replay, calls):
    def counted(graph):
        calls.append(graph)
        return replay(graph)

    return counted
