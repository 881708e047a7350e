"""Members in lockstep against the same members trained one after another with `nn`; and the two forms by shape.

    python -m benchmarks.lockstep [--rounds 5] [--epochs 2] [--forms]

Both sides run in this process, one thread, in turn. The plain side is what a careful user writes: `nn` layers, tensors
indexed directly, `torch.optim.Adam(fused=True)`, the validation block forecast after every epoch. `--forms` prints how
long a step takes batched and looped, the table that the rule in `stockrnn/lockstep.py` is read off.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from stockrnn.configuration import NetworkConfig, TrainingConfig, WindowConfig
from stockrnn.folds import walk_forward
from stockrnn.lockstep import Members, form_for
from stockrnn.optimizer import Optimizer
from stockrnn.prices import load
from stockrnn.quality import clean
from stockrnn.training import LOSSES, train
from stockrnn.windows import Windows

FOLDS, SEEDS, BATCH = 5, 5, 64


def windows_of(sequence_length: int) -> Windows:
    """Five folds of the Nasdaq series."""
    prices = clean(load("nasdaq"))
    walk = walk_forward(len(prices), folds=FOLDS, fold_size=150, test_size=250, longest_sequence=sequence_length)
    return Windows(prices, walk.folds, WindowConfig(scaling="standard", sequence_length=sequence_length), 1)


class Plain(nn.Module):
    """The network as PyTorch's documentation would write it."""

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
    """The same by this project, with its own choice of form."""
    network = NetworkConfig.model_validate({"architecture": architecture, "hidden_size": hidden, "num_layers": layers})
    for _ in train(windows, network, TrainingConfig(batch_size=BATCH), seeds=SEEDS, max_epochs=epochs):
        pass


def seconds(work: Callable[[], None]) -> float:
    """Wall time."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def trials(rounds: int, epochs: int) -> None:
    """Whole training with evaluation, both ways."""
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


def forms(rounds: int) -> None:
    """One step of six members, batched and looped."""
    print("one step of 6 members, 2 layers: batched ms, looped ms, batched is faster by; * where the rule says batched")
    for architecture in ("rnn", "gru", "lstm"):
        for hidden in (4, 8, 16, 32, 64):
            for length in (5, 20, 60):
                for batch in (32, 128):
                    config = NetworkConfig.model_validate(
                        {"architecture": architecture, "hidden_size": hidden, "num_layers": 2}
                    )
                    times = _step_times(config, length, batch, rounds)
                    star = "*" if form_for(config, length, batch, 6) == "batched" else " "
                    print(
                        f"{star} {architecture:4} hidden {hidden:2} sequence {length:2} batch {batch:3}: "
                        f"{times['batched']:8.2f} {times['looped']:8.2f} {times['looped'] / times['batched']:6.2f}x",
                        flush=True,
                    )


def _step_times(config: NetworkConfig, length: int, batch: int, rounds: int) -> dict[str, float]:
    inputs, targets = torch.randn(6, batch, length, 5), torch.randn(6, batch)
    steps = {}
    for form in ("batched", "looped"):
        members = Members(config, 5, length, range(6), form=form)  # type: ignore[arg-type]
        optimizer = Optimizer(members.parameters, members.gradients, TrainingConfig())

        def step(members: Members = members, optimizer: Optimizer = optimizer) -> None:
            members.backward(inputs, targets, [batch] * 6, LOSSES["mse"])
            optimizer.step(6)

        step()
        steps[form] = step
    times: dict[str, list[float]] = {form: [] for form in steps}
    for _ in range(rounds):
        for form, step in steps.items():
            count = max(1, int(0.05 / seconds(step)))
            times[form].append(1000 * seconds(lambda: [step() for _ in range(count)] and None) / count)  # noqa: B023
    return {form: statistics.median(values) for form, values in times.items()}


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--forms", action="store_true", help="print the table of the two forms instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.forms:
        forms(options.rounds)
    else:
        trials(options.rounds, options.epochs)


if __name__ == "__main__":
    main()
