"""Measure training steps for random points of spaces, and fit the rates that `--dry-run` estimates costs with.

    python -m benchmarks.cost [--points 40] [--spaces spaces/all.yaml spaces/gpu.yaml] [--longest 2] [--device cuda]

The program prints the measured and the estimated time of a step for each shape, and then the rates with the best fit:
non-negative least squares of the relative errors. On a GPU it prints the operations per second of each shape.
"""

import argparse
import time
from random import Random

import numpy as np
import torch
from scipy.optimize import nnls

from search.cost.estimate import sample_point
from search.cost.workload import Workload, epoch_workload
from search.space.space import load_space
from stockrnn.dataset.config import WindowConfig
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.ensemble import NetworkEnsemble, choose_mode
from stockrnn.training.config import TrainingConfig
from stockrnn.training.optimizer import Optimizer
from stockrnn.training.trainer import LOSSES


def step_seconds(
    window: WindowConfig, network: NetworkConfig, training: TrainingConfig, members: int, device: str, rounds: int
) -> float:
    """Return the shortest mean time of a training step in seconds: CPU time of this thread, or wall time on a GPU."""
    length, inputs = window.sequence_length, len(window.inputs)
    mode = choose_mode(network, length, training.batch_size, members, device)
    trained = NetworkEnsemble(network, inputs, length, range(members), mode=mode, device=device)
    optimizer = Optimizer(trained.parameters, trained.gradients, training)
    windows = torch.randn(members, training.batch_size, length, inputs, device=device)
    targets = torch.randn(members, training.batch_size, device=device)

    clock = time.thread_time if device == "cpu" else time.perf_counter

    def step() -> float:
        began = clock()
        trained.backward(windows, targets, [training.batch_size] * members, LOSSES["mse"])
        optimizer.step(members)
        if device == "cuda":
            torch.cuda.synchronize()
        return clock() - began

    first = step()
    repeats = max(1, min(20, int(0.1 / first)))
    return min(sum(step() for _ in range(repeats)) / repeats for _ in range(rounds))


def step_work(window: WindowConfig, network: NetworkConfig, training: TrainingConfig, members: int) -> Workload:
    """Return the workload of one training step of the members of one fold."""
    sessions = training.batch_size + window.sequence_length  # as many windows as a batch has
    return epoch_workload(window, network, training, [sessions], 0, members, 1)


def main() -> None:
    """Measure the steps, fit the rates and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=40, help="points of each space")
    parser.add_argument("--spaces", nargs="+", default=["spaces/all.yaml", "spaces/gpu.yaml"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--longest", type=float, default=2.0, help="seconds; slower shapes are left out")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    measured: list[tuple[Workload, float]] = []
    for path in options.spaces:
        space, random = load_space(path), Random(0)
        members = space.validation.folds * space.validation.seeds
        for _ in range(options.points):
            shape = space.configurations(sample_point(space, random))
            expected = step_work(*shape, members)
            if options.device == "cpu" and expected.seconds > options.longest:
                continue
            took = step_seconds(*shape, members, options.device, options.rounds)
            measured.append((expected, took))
            window, network, training = shape
            print(
                f"{network.architecture:4} {network.head:9} hidden {network.hidden_size:3} x {network.num_layers} "
                f"sequence {window.sequence_length:3} batch {training.batch_size:3}: {1000 * took:9.2f} ms, "
                f"{expected.operations / took / 1e9:7.1f} GFLOP/s, {took / expected.seconds:5.2f}x what is said",
                flush=True,
            )
    took = np.array([seconds for _, seconds in measured])
    terms = np.array([(each.steps, each.values, each.products) for each, _ in measured])
    rates, _ = nnls(terms / took[:, None], np.ones(len(took)))
    ratios = np.sort(took / (terms @ rates))
    low, high = np.quantile(ratios, [0.1, 0.9])
    print(f"SECONDS_PER_STEP, SECONDS_PER_VALUE, SECONDS_PER_PRODUCT = {', '.join(f'{rate:.2e}' for rate in rates)}; "
          f"eight of ten shapes take {low:.2f} to {high:.2f} times what they say, "
          f"all together {took.sum() / (terms @ rates).sum():.2f} times")  # fmt: skip


if __name__ == "__main__":
    main()
