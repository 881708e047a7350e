"""What a careful user writes without this project: a sequential Optuna loop over `nn` networks.

Tensors are indexed directly (no DataLoader), one thread, one optimiser per network.
"""

import sys

import optuna
import torch
from torch import nn

from benchmarks.twenty import EPOCHS, points, series


class Forecaster(nn.Module):
    """A recurrent network that forecasts from its last step."""

    def __init__(self, architecture: str, hidden_size: int) -> None:
        super().__init__()
        kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[architecture]
        self.recurrent = kind(5, hidden_size, num_layers=2, batch_first=True)
        self.output = nn.Linear(hidden_size, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.recurrent(x)[0][:, -1]).squeeze(-1)


def epochs_of(point: dict, windows):
    """Train one network; yields the validation loss after each epoch."""
    x, y, validation_x, validation_y = windows(point["sequence_length"])
    torch.manual_seed(0)
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
            yield nn.functional.mse_loss(network(validation_x), validation_y).item()


def main() -> None:
    """Run the twenty trials."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    windows = series()
    study = optuna.create_study()
    for point in points():
        study.enqueue_trial(point)

    def objective(trial: optuna.Trial) -> float:
        point = {
            "architecture": trial.suggest_categorical("architecture", ["rnn", "gru", "lstm"]),
            "hidden_size": trial.suggest_categorical("hidden_size", [8, 16, 32]),
            "sequence_length": trial.suggest_categorical("sequence_length", [5, 10, 20]),
        }
        best = float("inf")
        for epoch, loss in enumerate(epochs_of(point, windows)):
            best = min(best, loss)
            trial.report(loss, epoch)
        return best

    study.optimize(objective, n_trials=20)
    print(f"best {study.best_value:.4f} {study.best_params}", file=sys.stderr)


if __name__ == "__main__":
    main()
