"""The work that all ways of the comparison do: twenty networks, ten epochs each, and the best one's test block."""

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
BLOCK = 250  # sessions of a validation block, and of the test block


@dataclass(frozen=True)
class Size:
    """How many networks score a point: one for every fold and seed."""

    folds: int = 1
    seeds: int = 1

    def words(self) -> list[str]:
        return ["--folds", str(self.folds), "--seeds", str(self.seeds)]


def size_from_command_line(text: str) -> Size:
    """Read --folds and --seeds; `text` is the program's docstring."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    return Size(**vars(parser.parse_args()))


def points() -> list[dict]:
    """The twenty points, as the study tries them."""
    return yaml.safe_load(SPACE.read_text())["search"]["initial"]


def table() -> pd.DataFrame:
    """The Nasdaq: date, open, high, low, close, volume, and `ahead`, the next session's log return in percent."""
    prices = clean(load("nasdaq"))
    frame = pd.DataFrame({"date": prices.dates, **{name: prices.column(name) for name in prices.columns}})
    return frame.assign(ahead=100 * np.log(frame["close"].shift(-1) / frame["close"]))


def split(length: int, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Windows that train for, and windows that forecast, the sessions `first` to `last` (exclusive).

    Returns:
        Inputs (windows, length, 5), scaled by what is known before `first`, and targets (windows,), in percent:
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
