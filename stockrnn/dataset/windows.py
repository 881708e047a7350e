"""Cut a series into windows with scaled inputs and targets, and convert network outputs to forecasts.

The origin of a window is the position of its last session. The window of origin t has the inputs of sessions
t - sequence_length + 1 .. t; its target is that of session t + horizon. Windows are views of one scaled series
per fold. Scalings are fitted on a fold's training part only, which is past at the fold's first validation forecast.
A saved forecaster uses the scalings of its training on any prices.
"""

from collections.abc import Sequence

import numpy as np
import torch

from stockrnn.configuration import Configuration
from stockrnn.dataset.config import WindowConfig
from stockrnn.dataset.features import (
    PERCENT,
    feature_values,
    finite_log,
    log_change,
    over_last,
    relative_factor,
    warm_up,
)
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.prices.series import PRICE_COLUMNS, Prices
from stockrnn.tasks.registry import find_target
from stockrnn.tasks.task import Series

__all__ = ["Scaling", "Windows"]

VOLUME_FLOOR = float(np.log(0.01))  # smaller volumes, relative to the window's mean, are raised to this


class Scaling(Configuration):
    """Offsets and scales of one fold's inputs and target: scaled = (value - offset) / scale.

    With `scaling: relative`, nothing is fitted, and the target has a fixed scale.

    Attributes:
        offsets, scales: one per input, in the order of the configuration's inputs.
        target_offset, target_scale: for the target.
    """

    offsets: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    target_offset: float = 0.0
    target_scale: float = 1.0

    def check(self, config: WindowConfig) -> None:
        """Raise ValueError if the scaling does not fit a window configuration."""
        if config.scaling == "relative":
            if self != Scaling(target_scale=find_target(config.target).relative_scale):
                raise ValueError("scaling: relative fits nothing, but there are offsets and scales")
            return
        inputs, offsets, scales = len(config.inputs), len(self.offsets), len(self.scales)
        if not offsets == scales == inputs:
            raise ValueError(f"{inputs} inputs need {inputs} offsets and scales, not {offsets} and {scales}")
        numbers = (*self.offsets, *self.scales, self.target_offset, self.target_scale)
        if not np.isfinite(numbers).all() or min(*self.scales, self.target_scale) <= 0:
            raise ValueError("offsets must be finite numbers, and scales finite numbers above 0")


class Windows:
    """All windows of all folds of one series for one window configuration.

    Args:
        prices: the series.
        folds: training and validation positions of each fold.
        config: features, other series, target, scaling and sequence length; the series must have the columns.
        horizon: sessions between origin and target.
        scalings: one per fold; None fits them on the folds' training parts.
        dtype, device: of the returned tensors.

    Attributes:
        scalings: one per fold.
        warm_up: number of initial sessions with undefined inputs; no window contains them.
    """

    def __init__(
        self,
        prices: Prices,
        folds: Sequence[Fold],
        config: WindowConfig,
        horizon: int,
        *,
        scalings: Sequence[Scaling] | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.folds = tuple(folds)
        self.config = config
        self.horizon = horizon
        self.series = Series(prices=prices, horizon=horizon, estimator=config.estimator)
        self.closes = self.series.closes
        self._target_kind, self._relative = find_target(config.target), config.scaling == "relative"
        columns = [feature_values(name, prices) for name in config.features]
        columns += [log_change(prices.column(name)) for name in config.others]
        self.warm_up = max(map(warm_up, config.inputs))
        value = self._target_kind.values(self.series, self._relative)
        self.scalings = self._fit_scalings(columns, value) if scalings is None else self._check_scalings(scalings)
        self._anchor: torch.Tensor | None = None  # subtracted from the window of each origin
        self._floor: torch.Tensor | None = None  # lower bound of each input
        if config.scaling == "relative":
            series, anchor = self._scale_relative(columns)
            if {*PRICE_COLUMNS, "volume"} & {*config.features}:
                self._anchor = torch.from_numpy(anchor).to(device=device, dtype=dtype)
            if "volume" in config.features:
                floor = [VOLUME_FLOOR if name == "volume" else -np.inf for name in config.inputs]
                self._floor = torch.tensor(floor, dtype=dtype, device=device)
        else:
            series = self._scale(columns)
        self._sessions = len(prices)
        # Row t of this view is the window that begins at session t. Rows overlap; nothing is copied.
        length, features = config.sequence_length, len(columns)
        flat = torch.from_numpy(series).to(device=device, dtype=dtype).contiguous()
        self._starts = flat.as_strided((flat.shape[0] * self._sessions - length + 1, length * features), (features, 1))
        self._shared = flat.shape[0] == 1
        target = np.array([(value - scaling.target_offset) / scaling.target_scale for scaling in self.scalings])
        self._target = torch.from_numpy(target).to(device=device, dtype=dtype)

    @property
    def device(self) -> torch.device:
        """Device of the windows."""
        return self._starts.device

    def train_origins(self, fold: int) -> range:
        """Return the origins whose windows and targets lie in the fold's training part, after the warm-up.

        The sessions that a feature looks back on may lie before the training part; they are past at each origin.
        """
        train = self.folds[fold].train
        first = max(train.start, self.warm_up)
        return range(first + self.config.sequence_length - 1, train.stop - self.horizon)

    def validation_origins(self, fold: int) -> range:
        """Return the origins whose targets form the fold's validation block; windows may reach into training."""
        block = self.folds[fold].validation
        return range(block.start - self.horizon, block.stop - self.horizon)

    def inputs(self, folds: torch.Tensor, origins: torch.Tensor) -> torch.Tensor:
        """Return scaled windows by origin.

        Args:
            folds: int64, shape (members,): the fold of each row of `origins`.
            origins: int64, shape (members, batch); may include the last session of the series.

        Returns:
            Shape (members, batch, sequence, inputs).
        """
        length, features = self.config.sequence_length, len(self.config.inputs)
        starts = origins - (length - 1)
        if not self._shared:
            starts = starts + folds[:, None] * self._sessions
        windows = self._starts.index_select(0, starts.reshape(-1)).view(*origins.shape, length, features)
        if self._anchor is not None:
            windows -= self._anchor[origins][:, :, None]
        if self._floor is not None:
            windows = torch.maximum(windows, self._floor)
        return windows

    def targets(self, folds: torch.Tensor, origins: torch.Tensor) -> torch.Tensor:
        """Return the scaled targets of origins, shape (members, batch); NaN if the target is after the series."""
        positions = origins + folds[:, None] * self._sessions
        return self._target.view(-1).index_select(0, positions.view(-1)).view(origins.shape)

    def to_forecasts(self, fold: int, origins: Sequence[int] | np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Convert a fold's network outputs, shape (..., origins), to forecasts in the task's unit, same shape."""
        scaling = self.scalings[fold]
        values = outputs.astype(float) * scaling.target_scale + scaling.target_offset
        return self._target_kind.forecasts(self.series, np.asarray(origins, dtype=np.int64), values, self._relative)

    def _scale_relative(self, columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return relative inputs, shape (1, sessions, inputs), and the anchors of origins, shape (sessions, inputs).

        An origin's anchor is subtracted from its window: the log of the close or mean volume, 0 for other inputs.
        """
        log_close = np.log(self.closes)
        base = log_close[0]  # cancels out; keeps float32 differences exact to 1e-5 per cent
        series, anchors = [], []
        for name, column in zip(self.config.inputs, columns, strict=True):
            if name in PRICE_COLUMNS:
                series.append(PERCENT * (np.log(column) - base))
                anchors.append(PERCENT * (log_close - base))
            elif name == "volume":
                series.append(finite_log(column))
                anchors.append(finite_log(over_last(column, self.config.sequence_length, np.mean)))
            else:
                series.append(relative_factor(name) * column)
                anchors.append(np.zeros(len(column)))
        return np.column_stack(series)[None], np.column_stack(anchors)

    def _scale(self, columns: list[np.ndarray]) -> np.ndarray:
        """Return the inputs scaled for each fold, shape (folds, sessions, inputs)."""
        scaled = np.empty((len(self.folds), len(self.closes), len(columns)))
        for number, scaling in enumerate(self.scalings):
            for index, column in enumerate(columns):
                scaled[number, :, index] = (column - scaling.offsets[index]) / scaling.scales[index]
        return scaled

    def _check_scalings(self, scalings: Sequence[Scaling]) -> tuple[Scaling, ...]:
        if len(scalings) != len(self.folds):
            raise ValueError(f"each of {len(self.folds)} folds needs a scaling; there are {len(scalings)}")
        for scaling in scalings:
            scaling.check(self.config)
        return tuple(scalings)

    def _fit_scalings(self, columns: list[np.ndarray], value: np.ndarray) -> tuple[Scaling, ...]:
        """Fit the scaling of each fold on its training part; columns and target values have shape (sessions,)."""
        target = self._target_kind
        if self._relative:
            return (Scaling(target_scale=target.relative_scale),) * len(self.folds)
        scalings = []
        for fold in self.folds:
            train = slice(fold.train.start, fold.train.stop)
            targets = value[train.start : train.stop - self.horizon]
            known = targets if target.known is None else target.known(self.series)[train]
            offsets, scales = zip(*(self._fit(column[train]) for column in columns), strict=True)
            offset, scale = self._fit(known) if target.fit != "nothing" else (0.0, 1.0)
            if target.fit == "offset":
                offset, scale = float(np.nanmean(known)), 1.0
            scalings.append(Scaling(offsets=offsets, scales=scales, target_offset=offset, target_scale=scale))
        return tuple(scalings)

    def _fit(self, known: np.ndarray) -> tuple[float, float]:
        """Return the offset and scale that map values to 0..1 (minmax), or to mean 0 and deviation 1 (standard)."""
        known = known[~np.isnan(known)]  # features are NaN in their warm-up
        spread = float(np.ptp(known))
        if spread == 0:  # because of rounding, the deviation of constant values may differ from zero
            return float(known[0]), 1.0
        if self.config.scaling == "minmax":
            return float(known.min()), spread
        return float(known.mean()), float(known.std())
