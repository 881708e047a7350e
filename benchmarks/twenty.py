"""The work that the comparisons share: twenty fixed networks, ten epochs each, one fold, one seed."""

from pathlib import Path

import yaml

SPACE = Path(__file__).with_name("twenty.yaml")
EPOCHS = 10


def points() -> list[dict]:
    """The twenty points, as the study tries them."""
    return yaml.safe_load(SPACE.read_text())["search"]["initial"]


def series() -> tuple:
    """Window inputs and targets of the study's one fold: (train x, train y, validation x, validation y) by length.

    Returns:
        A function of the sequence length that gives float32 tensors (windows, sequence, 5) and (windows,).
    """
    import numpy as np
    import torch

    from stockrnn.prices import load
    from stockrnn.quality import clean

    prices = clean(load("nasdaq"))
    closes = prices.column("close")
    returns = np.append(100 * np.log(closes[1:] / closes[:-1]), np.nan)
    first, last = len(prices) - 500, len(prices) - 250  # validation targets; the test block is left alone
    known = prices.values[:first]
    scaled = (prices.values - known.mean(0)) / known.std(0)

    def windows(length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = np.lib.stride_tricks.sliding_window_view(scaled, length, axis=0).transpose(0, 2, 1)
        x = torch.tensor(rows[: len(prices) - length], dtype=torch.float32)
        y = torch.tensor(returns[length - 1 : -1], dtype=torch.float32)
        cut, end = first - length, last - length
        return x[:cut], y[:cut], x[cut:end], y[cut:end]

    return windows
