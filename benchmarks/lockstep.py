"""Compare lockstep training with training the members one after another, and batched with looped mode by shape.

    python -m benchmarks.lockstep [--rounds 5] [--epochs 2] [--modes [--members 6]] [--drawn 60]

Both programs run alternately in this process, with one thread. The plain program is typical user code: `nn` layers,
directly indexed tensors, `torch.optim.Adam(fused=True)`, a forecast of the validation set after every epoch. `--modes`
prints the time of a step in batched and looped mode; the rule in `stockrnn/networks/ensemble.py` comes from this table.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import nn

from search.space.parameters import Parameter, Value
from search.space.space import load_space
from stockrnn.dataset.config import WindowConfig
from stockrnn.dataset.windows import Windows
from stockrnn.evaluation.walk_forward import walk_forward
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.ensemble import NetworkEnsemble
from stockrnn.networks.execution import choose_mode
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load
from stockrnn.training.config import TrainingConfig
from stockrnn.training.optimizer import Optimizer
from stockrnn.training.trainer import LOSSES, train

FOLDS, SEEDS, BATCH = 5, 5, 64


def windows_of(sequence_length: int) -> Windows:
    """Return the windows of five folds of the Nasdaq series."""
    prices = clean(load("nasdaq"))
    splits = walk_forward(len(prices), folds=FOLDS, fold_size=150, test_size=250, longest_sequence=sequence_length)
    return Windows(prices, splits.folds, WindowConfig(scaling="standard", sequence_length=sequence_length), 1)


class Plain(nn.Module):
    """A network in the style of PyTorch's documentation."""

    def __init__(self, architecture: str, hidden: int, layers: int) -> None:
        super().__init__()
        kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[architecture]
        self.recurrent, self.output = kind(5, hidden, layers, batch_first=True), nn.Linear(hidden, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.recurrent(x)[0][:, -1]).squeeze(-1)


def one_after_another(windows: Windows, architecture: str, hidden: int, layers: int, epochs: int) -> None:
    """Train and evaluate folds x seeds plain networks."""
    for fold in range(FOLDS):
        member = torch.tensor([fold])

        def tensors(origins: range, member: torch.Tensor = member) -> tuple[torch.Tensor, torch.Tensor]:
            positions = torch.tensor([list(origins)])
            return windows.inputs(member, positions)[0], windows.targets(member, positions)[0]

        x, y = tensors(windows.train_origins(fold))
        validation, _ = tensors(windows.validation_origins(fold))
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            network = Plain(architecture, hidden, layers)
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
            for _ in range(epochs):
                for rows in torch.randperm(len(x)).split(BATCH):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(network(x[rows]), y[rows]).backward()
                    optimizer.step()
                with torch.no_grad():
                    network(validation)


def in_lockstep(windows: Windows, architecture: str, hidden: int, layers: int, epochs: int) -> None:
    """Train and evaluate the same networks with this project, which chooses the mode."""
    network = NetworkConfig.model_validate({"architecture": architecture, "hidden_size": hidden, "num_layers": layers})
    for _ in train(windows, network, TrainingConfig(batch_size=BATCH), seeds=SEEDS, max_epochs=epochs):
        pass


def seconds(work: Callable[[], None]) -> float:
    """Return the wall time of a call in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def trials(rounds: int, epochs: int) -> None:
    """Print the time ratio of whole trainings with evaluation, for each architecture and shape."""
    print(f"{FOLDS * SEEDS} members, 2 layers, batch {BATCH}, {epochs} epochs with evaluation, {rounds} rounds")
    for hidden, length in ((8, 5), (32, 20)):
        windows = windows_of(length)
        for architecture in ("rnn", "gru", "lstm"):
            ratios, ours = [], []
            for _ in range(rounds):
                ours.append(seconds(lambda: in_lockstep(windows, architecture, hidden, 2, epochs)))  # noqa: B023
                ratios.append(seconds(lambda: one_after_another(windows, architecture, hidden, 2, epochs)) / ours[-1])  # noqa: B023
            print(
                f"hidden {hidden:2} sequence {length:2} {architecture:4}: {statistics.median(ours):6.1f} s, "
                f"{statistics.median(ratios):5.1f}x faster ({min(ratios):.1f} to {max(ratios):.1f})",
                flush=True,
            )


def modes(rounds: int, members: int) -> None:
    """Print the time of a training step in both modes, for a grid of shapes."""
    print(f"one step of {members} members, 2 layers: batched ms, looped ms, ratio; * where the rule says batched")
    shapes = itertools.product(("rnn", "gru", "lstm"), (4, 8, 16, 32, 64), (5, 20, 60), (32, 128))
    _compare(
        rounds,
        members,
        [
            ({"architecture": architecture, "hidden_size": hidden, "num_layers": 2}, length, batch)
            for architecture, hidden, length, batch in shapes
        ],
    )


def drawn(rounds: int, count: int) -> None:
    """Print the same for random shapes of `spaces/all.yaml`, with the number of members of this space."""
    space, random = load_space("spaces/all.yaml"), Random(0)
    shapes = []
    for _ in range(count):
        point: dict[str, Value] = {}
        for parameter in space.parameters:
            if parameter.applies(point):
                point[parameter.name] = _any(parameter, random)
        window, network, training = space.configurations(point)
        shapes.append((network.model_dump(), window.sequence_length, training.batch_size))
    print(f"{count} shapes of spaces/all.yaml: batched ms, looped ms, ratio; * where the rule says batched")
    _compare(rounds, space.validation.folds * space.validation.seeds, shapes)


def _any(parameter: Parameter, random: Random) -> Value:
    if parameter.kind == "choice":
        return random.choice(parameter.values)
    if parameter.kind == "float":
        return random.uniform(parameter.low, parameter.high)
    return round(parameter.low * (parameter.high / parameter.low) ** random.random())


def _compare(rounds: int, members: int, shapes: list[tuple[dict[str, Any], int, int]]) -> None:
    worst = 1.0
    for network, length, batch in shapes:
        config = NetworkConfig.model_validate(network)
        times = _step_times(config, length, batch, members, rounds)
        chosen = choose_mode(config, length, batch, members)
        worst = min(worst, min(times.values()) / times[chosen])
        print(
            f"{'*' if chosen == 'batched' else ' '} {config.architecture:4} {config.head:9} layers {config.num_layers} "
            f"hidden {config.hidden_size:2} sequence {length:2} batch {batch:3}: "
            f"{times['batched']:8.2f} {times['looped']:8.2f} {times['looped'] / times['batched']:6.2f}x",
            flush=True,
        )
    print(f"the rule's choice is at least {worst:.2f}x as fast as the better mode")


def _step_times(config: NetworkConfig, length: int, batch: int, count: int, rounds: int) -> dict[str, float]:
    inputs, targets = torch.randn(count, batch, length, 5), torch.randn(count, batch)
    steps = {}
    for mode in ("batched", "looped"):
        members = NetworkEnsemble(config, 5, length, range(count), mode=mode)  # type: ignore[arg-type]
        optimizer = Optimizer(members.parameters, members.gradients, TrainingConfig())

        def step(members: NetworkEnsemble = members, optimizer: Optimizer = optimizer) -> None:
            members.backward(inputs, targets, [batch] * count, LOSSES["mse"])
            optimizer.step(count)

        step()
        steps[mode] = step
    times: dict[str, list[float]] = {mode: [] for mode in steps}
    for _ in range(rounds):
        for mode, step in steps.items():
            repeats = max(1, int(0.05 / seconds(step)))
            times[mode].append(1000 * seconds(lambda: [step() for _ in range(repeats)] and None) / repeats)  # noqa: B023
    return {mode: statistics.median(values) for mode, values in times.items()}


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--modes", action="store_true", help="print the table of the two modes instead")
    parser.add_argument("--members", type=int, default=6, help="members in the table of the two modes")
    parser.add_argument("--drawn", type=int, default=0, help="compare the modes for N random shapes of spaces/all.yaml")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.modes:
        modes(options.rounds, options.members)
    elif options.drawn:
        drawn(options.rounds, options.drawn)
    else:
        trials(options.rounds, options.epochs)


if __name__ == "__main__":
    main()
