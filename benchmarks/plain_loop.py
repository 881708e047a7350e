"""Train the twenty networks without this project, in a sequential Optuna loop over `nn` networks.

python -m benchmarks.plain_loop [--folds 1] [--seeds 1]

Tensors are indexed directly (no DataLoader), with one thread and one optimizer per network. The program prints the
forecasts of the test set.
"""

import json
from collections.abc import Iterator
from itertools import islice

import optuna
import torch
from torch import nn

from benchmarks.task import BLOCK, EPOCHS, Size, points, size_from_command_line, split, table


class Forecaster(nn.Module):
    """A recurrent network that forecasts from its last step."""

    def __init__(self, architecture: str, hidden_size: int) -> None:
        super().__init__()
        kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[architecture]
        self.recurrent = kind(5, hidden_size, num_layers=2, batch_first=True)
        self.output = nn.Linear(hidden_size, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.recurrent(x)[0][:, -1]).squeeze(-1)


def epochs_of(point: dict, first: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Train a network before session `first`; yield forecasts and targets of the block after it, at each epoch."""
    x, y, ahead_x, ahead_y = split(point["sequence_length"], first, first + BLOCK)
    torch.manual_seed(seed)
    network = Forecaster(point["architecture"], point["hidden_size"])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        network.train()
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(x[batch]), y[batch]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            forecast = network(ahead_x)
        yield forecast, ahead_y  # the caller trains the other networks between epochs


def losses_of(point: dict, size: Size) -> Iterator[float]:
    """Train a network for every fold and seed, epoch by epoch, and yield their mean validation loss."""
    test = len(table()) - BLOCK
    firsts = [test - BLOCK * (1 + fold) for fold in range(size.folds)]
    members = [epochs_of(point, first, seed) for first in firsts for seed in range(size.seeds)]
    for forecasts in zip(*members, strict=True):
        losses = [nn.functional.mse_loss(forecast, truth).item() for forecast, truth in forecasts]
        yield sum(losses) / len(losses)


def unseen_forecasts(point: dict, epochs: int, size: Size) -> list[float]:
    """Train the best point on all sessions before the test set; return the mean forecasts of the seeds in percent."""
    test = len(table()) - BLOCK
    ends = [list(islice(epochs_of(point, test, seed), epochs))[-1] for seed in range(size.seeds)]
    return torch.stack([forecast for forecast, _ in ends]).mean(0).tolist()


def main() -> None:
    """Run the twenty trials and forecast the test set."""
    size = size_from_command_line(__doc__)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for point in points():
        study.enqueue_trial(point)

    def objective(trial: optuna.Trial) -> float:
        point = {
            "architecture": trial.suggest_categorical("architecture", ["rnn", "gru", "lstm"]),
            "hidden_size": trial.suggest_categorical("hidden_size", [8, 16, 32]),
            "sequence_length": trial.suggest_categorical("sequence_length", [5, 10, 20]),
        }
        losses = list(losses_of(point, size))
        trial.set_user_attr("epochs", 1 + losses.index(min(losses)))
        return min(losses)

    study.optimize(objective, n_trials=20)
    print(json.dumps(unseen_forecasts(study.best_params, study.best_trial.user_attrs["epochs"], size)))


if __name__ == "__main__":
    main()
