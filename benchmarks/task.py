"""Define the task of the comparison: twenty networks, ten epochs each, and a forecast of the test set by the best."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load

SPACE = Path(__file__).with_name("twenty.yaml")
EPOCHS = 10
BLOCK = 250  # sessions of a validation set and of the test set


@dataclass(frozen=True)
class Size:
    """Number of folds and seeds; a point is scored with one network for each fold and seed."""

    folds: int = 1
    seeds: int = 1

    def words(self) -> list[str]:
        return ["--folds", str(self.folds), "--seeds", str(self.seeds)]


def size_from_command_line(text: str) -> Size:
    """Parse --folds and --seeds; `text` is the docstring of the program."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    return Size(**vars(parser.parse_args()))


def points() -> list[dict]:
    """Return the twenty points in the order of the study."""
    return yaml.safe_load(SPACE.read_text())["search"]["initial"]


def table() -> pd.DataFrame:
    """Return the Nasdaq series: date, prices, volume, and `ahead`, the log return of the next session in percent."""
    prices = clean(load("nasdaq"))
    frame = pd.DataFrame({"date": prices.dates, **{name: prices.column(name) for name in prices.columns}})
    return frame.assign(ahead=100 * np.log(frame["close"].shift(-1) / frame["close"]))


def split(length: int, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return training windows and forecast windows for the sessions `first` to `last` (exclusive).

    Returns:
        Inputs (windows, length, 5), scaled with the sessions before `first`, and targets (windows,), in percent:
        training inputs, training targets, inputs and targets of the forecast sessions.
    """
    frame = table()
    values = frame[["open", "high", "low", "close", "volume"]].to_numpy()
    scaled = (values - values[:first].mean(0)) / values[:first].std(0)
    rows = np.lib.stride_tricks.sliding_window_view(scaled, length, axis=0).transpose(0, 2, 1)
    x = torch.tensor(rows[:-1], dtype=torch.float32)
    y = torch.tensor(frame["ahead"].to_numpy()[length - 1 : -1], dtype=torch.float32)
    cut, end = first - length, last - length
    return x[:cut], y[:cut], x[cut:end], y[cut:end]
