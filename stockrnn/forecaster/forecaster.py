"""Save a trained forecaster in a folder, load it, and forecast with it.

`model.safetensors` has the weights of all seeds; `forecaster.json` has everything else: configuration, scaling,
intervals, validation forecasts and origin. Neither file format can contain code. `load` checks every value, because a
folder may come from an untrusted source.
"""

import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch

from stockrnn.dataset.config import DataConfig, WindowConfig
from stockrnn.dataset.features import COLUMNS, missing_columns, warm_up
from stockrnn.dataset.windows import Scaling, Windows
from stockrnn.evaluation.conformal import Interval
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.forecaster.files import COPY_AGAIN, FOLDER_RULE, ForecasterError, read_forecaster_file
from stockrnn.forecaster.metadata import (
    DOCUMENT,
    FORMAT,
    PROJECT,
    Data,
    Document,
    Facts,
    check_parts,
    installed_version,
    read_document,
)
from stockrnn.forecaster.validation import ValidationDays
from stockrnn.io.files import line, write_atomic
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.network import Network
from stockrnn.networks.parameter_shapes import parameter_shapes
from stockrnn.prices.cleaning import missing_column_reason
from stockrnn.prices.series import Prices, Provenance
from stockrnn.tasks.registry import find_task
from stockrnn.tasks.task import Task
from stockrnn.volatility.estimators import available

if TYPE_CHECKING:
    import pandas as pd

    from stockrnn.networks.ensemble import NetworkEnsemble

__all__ = [
    "DOCUMENT",
    "WEIGHTS",
    "Data",
    "Facts",
    "Forecaster",
    "ForecasterError",
]

WEIGHTS = "model.safetensors"
DTYPES = (torch.float32, torch.float64)
MAX_HEADER_BYTES = 1_000_000  # of model.safetensors, before the weights
MAX_WEIGHTS_BYTES = 1_000_000_000  # of model.safetensors, for any size in forecaster.json
MAX_BATCH = 256  # origins forecast at the same time; limits the memory


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Forecaster:
    """Networks of one shape with different seeds; a forecast is the mean over the seeds.

    Attributes:
        window, network, horizon: configuration of the training.
        weights: by parameter name as in `Network`, each with shape (seeds, *parameter), on the CPU.
        scaling: scaling of inputs and target, fitted on the training part.
        intervals: prediction intervals of the forecasts.
        rival_intervals: prediction intervals of the rival, with the same levels in the same order.
        facts: study, trial and prices of the training.
        validation: forecasts of the trial on the validation days.
        metrics: scores from the study, by name; None for an undefined score.

    Raises:
        ForecasterError: two of these values contradict each other.
    """

    window: WindowConfig
    network: NetworkConfig
    horizon: int
    weights: Mapping[str, torch.Tensor]
    scaling: Scaling
    intervals: tuple[Interval, ...]
    rival_intervals: tuple[Interval, ...]
    facts: Facts
    validation: ValidationDays = field(default_factory=ValidationDays)
    metrics: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the values fit together."""
        check_parts(self.window, self.scaling, self.intervals, self.rival_intervals, self.facts)
        first = next(iter(self.weights.values()), torch.empty(0))
        seeds = first.shape[0] if first.ndim else 0
        wanted = parameter_shapes(self.network, len(self.window.inputs), self.window.sequence_length)
        _check_weights(self.weights, wanted, seeds)

    @classmethod
    def from_training(
        cls,
        windows: Windows,
        members: "NetworkEnsemble",
        *,
        correction: float = 0.0,
        intervals: Sequence[Interval],
        rival_intervals: Sequence[Interval],
        rank: int,
        trial_id: str,
        epochs: int,
        span: tuple[str, str],
        provenance: Provenance,
        asked: DataConfig,
        validation: ValidationDays | None = None,
        metrics: Mapping[str, float | None] | None = None,
    ) -> "Forecaster":
        """Return the forecaster of a finished training, with a copy of the weights.

        Args:
            windows: the training windows, of one fold.
            members: the trained networks of this fold, one per seed.
            correction: of the forecasts, see `Epoch.corrections`.
            intervals, rival_intervals: results of `conformal_intervals` for the forecasts and for the rival.
            rank, trial_id, epochs: see `Facts`.
            span: first and last day of the training part, YYYY-MM-DD.
            provenance: provenance of the clean prices.
            asked: section `data` of the study's space.
            validation: forecasts of the trial on the validation days; None: they are not known.
            metrics: scores from the study; values that are not finite become None.

        Raises:
            ForecasterError: a weight is not finite, because a network diverged.
            ValueError: there are several folds, or a value is malformed.
        """
        if len(windows.folds) != 1:
            raise ValueError(f"windows: {len(windows.folds)} folds; a forecaster is trained on exactly one fold")
        seeds = [dict(network.named_parameters()) for network in members.networks]
        scaling = windows.scalings[0]
        weights = {name: torch.stack([seed[name].detach() for seed in seeds]).cpu() for name in seeds[0]}
        return cls(
            window=windows.config,
            network=members.config,
            horizon=windows.horizon,
            weights=weights,
            scaling=scaling.model_copy(update={"target_offset": scaling.target_offset + correction}),
            intervals=tuple(intervals),
            rival_intervals=tuple(rival_intervals),
            facts=Facts(
                rank=rank,
                trial_id=trial_id,
                epochs=epochs,
                trained_from=span[0],
                trained_to=span[1],
                data=Data(**{name: getattr(provenance, name) for name in Data.model_fields}),
                asked=asked,
                versions={"torch": str(torch.__version__), PROJECT: installed_version()},
            ),
            validation=validation or ValidationDays(),
            metrics=metrics or {},
        )

    @property
    def task(self) -> Task:
        """What is forecast."""
        return find_task(self.facts.asked.task)

    @property
    def seeds(self) -> int:
        """Number of networks."""
        return len(self.weights["output.bias"])

    @torch.no_grad()
    def forecast(self, prices: Prices, origins: Sequence[int] | np.ndarray) -> np.ndarray:
        """Forecast `horizon` sessions ahead from the origins, with the scaling of the training.

        Args:
            prices: a clean series, with a column for each other series (see `alignment`). It may continue after the end
                of the study's prices.
            origins: positions of sessions, which may include the last session; each needs a complete window.

        Returns:
            Shape (seeds, origins), in the task's unit (price points, volatility in per cent a day, probability); not
            finite if the prices differ too much from the training prices.

        Raises:
            ForecasterError: a column is missing, or an origin has no complete window.
        """
        self._check_columns(prices)
        length = max(map(warm_up, self.window.inputs)) + self.window.sequence_length
        if len(prices) < length:
            raise ForecasterError(
                f"{prices.source}: {len(prices)} sessions are too few; this forecaster needs {length}; "
                f"use a longer series"
            )
        positions = np.asarray(origins, dtype=np.int64)
        if len(positions) and not length - 1 <= positions.min() <= positions.max() < len(prices):
            raise ForecasterError(
                f"{prices.source}: origins {positions.min()} to {positions.max()} have no complete window; an origin "
                f"needs {length} sessions; choose origins from {length - 1} to {len(prices) - 1}"
            )
        no_fold = Fold(train=range(0), validation=range(0))  # a forecast needs no training and validation part
        dtype = self.weights["output.bias"].dtype
        outputs = torch.empty((self.seeds, len(positions)), dtype=dtype)
        networks = self._networks()
        with np.errstate(over="ignore", invalid="ignore"):
            windows = Windows(prices, [no_fold], self.window, self.horizon, scalings=[self.scaling], dtype=dtype)
            for first in range(0, len(positions), MAX_BATCH):
                batch = torch.from_numpy(positions[None, first : first + MAX_BATCH])
                inputs = windows.inputs(torch.zeros(1, dtype=torch.int64), batch)[0]
                for seed, network in enumerate(networks):
                    outputs[seed, first : first + MAX_BATCH] = network(inputs)
            return windows.to_forecasts(0, positions, outputs.numpy())

    def predict(
        self, frame: "pd.DataFrame", *, sessions: int = 1, offline: bool = False, also: "Forecaster | None" = None
    ) -> "pd.DataFrame":
        """Forecast from the last sessions of a series.

        Args:
            frame: daily prices: dates in the index or a column, and the columns Open, High, Low, Close and Volume
                (optional), in any order. They are checked and repaired like those of a study. Other series of the study
                (`data.also`) are loaded from their sources.
            sessions: number of sessions at the end of the series to forecast from; each needs a complete window.
            offline: load other series from the cache only.
            also: a forecaster of the volatility of the same prices, whose forecasts scale the intervals of prices.

        Returns:
            One row per session: `origin`, the day of the forecast, and `date`, the day that is forecast (datetime64;
            beyond the series it follows the calendar of the study's exchange, or the rhythm of the series);
            `last_close` in price points; `forecast`, and for each level the bounds of the prediction interval, such as
            `low_80` and `high_80` (NaN if unbounded), in the task's unit: price points, volatility in per cent a day,
            or a probability; `in_training`, whether the networks were trained on that day. Where it is not the last
            close, `rival` is the rival's forecast; it is fitted to the sessions on which the networks were trained,
            but to none after the first origin. For volatility also `annualised`, and the range of the close that the
            forecast implies, `close_low_80`, `close_high_80` and so on.

        Raises:
            UserError: the prices cannot be used, or differ too much from the training prices.
        """
        from stockrnn.forecaster.prediction import predict

        return predict(self, frame, sessions=sessions, offline=offline, also=also)

    def __repr__(self) -> str:
        return f"<Forecaster {self._description}>"

    def _repr_html_(self) -> str:
        """Return the description for notebooks."""
        return f"<p>Forecaster: {html.escape(self._description)}</p>"

    @property
    def _description(self) -> str:
        network, facts = self.network, self.facts
        return line(
            f"rank {facts.rank} (trial {facts.trial_id}): {network.architecture}, head {network.head}, "
            f"{network.num_layers} x {network.hidden_size} units, window of {self.window.sequence_length} sessions, "
            f"horizon {self.horizon}, {self.seeds} seeds, trained on {facts.data.source}, {facts.trained_from} to "
            f"{facts.trained_to}"
        )

    def _check_columns(self, prices: Prices) -> None:
        """Raise ForecasterError if the series lacks a column of the inputs or of the task."""
        estimator = self.window.estimator
        needed = [name for names in missing_columns(prices, self.window.features).values() for name in names]
        needed += [name for name in (*self.window.others, *self.task.columns(estimator)) if name not in prices.columns]
        missing = list(dict.fromkeys(needed))
        if not missing:
            return
        reason = f" ({missing_column_reason(prices, missing[0])})" if missing[0] in COLUMNS else ""
        fix = "add the column"
        if self.task.columns(estimator) != self.task.columns("squared_return") and set(missing) <= set(COLUMNS):
            left = [name for name in available(prices.columns) if name != estimator]
            fix += f", or run a study on these prices with estimator: {' or '.join(left)}" if left else ""
        raise ForecasterError(
            f"{prices.source}: {', '.join(missing)}: missing{reason}; the inputs of this forecaster "
            f"are {', '.join(self.window.inputs)}; {fix}"
        )

    def _networks(self) -> list[Network]:
        networks = []
        with torch.random.fork_rng(devices=[]):  # the initial weights are random, and are then overwritten
            for seed in range(self.seeds):
                network = Network(self.network, len(self.window.inputs), self.window.sequence_length)
                network.to(self.weights["output.bias"].dtype)
                network.load_state_dict({name: stacked[seed] for name, stacked in self.weights.items()})
                networks.append(network)
        return networks

    def save(self, folder: Path | str) -> None:
        """Write the forecaster into a folder, which is created if it does not exist.

        Each of the two files is written atomically. If only one of them is written, `load` raises an error.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = safetensors.torch.save({name: stacked.contiguous() for name, stacked in self.weights.items()})
        document = Document(
            format=FORMAT,
            weights_sha256=hashlib.sha256(weights).hexdigest(),
            seeds=self.seeds,
            horizon=self.horizon,
            window=self.window,
            network=self.network,
            scaling=self.scaling,
            intervals=self.intervals,
            rival_intervals=self.rival_intervals,
            facts=self.facts,
            validation=self.validation,
            metrics={name: _finite_or_none(value) for name, value in self.metrics.items()},
        )
        text = json.dumps(document.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
        write_atomic(folder / WEIGHTS, weights)
        write_atomic(folder / DOCUMENT, text.encode())

    @classmethod
    def load(cls, folder: Path | str) -> "Forecaster":
        """Return the forecaster saved in a folder.

        Raises:
            ForecasterError: a file is missing, is damaged, belongs to another forecaster, or has a newer format.
        """
        path, weights_path = Path(folder) / DOCUMENT, Path(folder) / WEIGHTS
        document = read_document(path)
        try:
            check_parts(document.window, document.scaling, document.intervals, document.rival_intervals, document.facts)
        except ForecasterError as error:
            raise ForecasterError(f"{path}: {error}; {COPY_AGAIN}") from None
        wanted = parameter_shapes(document.network, len(document.window.inputs), document.window.sequence_length)
        # These sizes come from forecaster.json. A wrong size costs no memory, because no more than the file is read.
        count = document.seeds * sum(math.prod(shape) for shape in wanted.values())
        content = read_forecaster_file(weights_path, min(count * 8 + MAX_HEADER_BYTES, MAX_WEIGHTS_BYTES))
        if hashlib.sha256(content).hexdigest() != document.weights_sha256:
            raise ForecasterError(
                f"{weights_path}: is damaged, or was not saved together with {DOCUMENT}; {FOLDER_RULE}; {COPY_AGAIN}"
            )
        try:
            weights = safetensors.torch.load(content)
        except Exception as error:  # safetensors does not document which errors damaged files raise
            raise ForecasterError(
                f"{weights_path}: cannot be read as safetensors ({line(error)}); {FOLDER_RULE}; {COPY_AGAIN}"
            ) from None
        try:
            _check_weights(weights, wanted, document.seeds)
        except ForecasterError as error:
            raise ForecasterError(f"{weights_path}: {error}; {COPY_AGAIN}") from None
        return cls(
            window=document.window,
            network=document.network,
            horizon=document.horizon,
            weights=weights,
            scaling=document.scaling,
            intervals=document.intervals,
            rival_intervals=document.rival_intervals,
            facts=document.facts,
            validation=document.validation,
            metrics=document.metrics,
        )


def _check_weights(weights: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]], seeds: int) -> None:
    if missing := shapes.keys() - weights.keys():
        raise ForecasterError(f"{min(missing)}: is missing; the network has {len(shapes)} tensors")
    if surplus := weights.keys() - shapes.keys():
        raise ForecasterError(f"{line(min(surplus))}: is not one of the network's {len(shapes)} tensors")
    dtypes = {stacked.dtype for stacked in weights.values()}
    if len(dtypes) != 1 or not dtypes <= set(DTYPES):
        raise ForecasterError("the tensors must all be float32, or all be float64")
    if not seeds:
        raise ForecasterError("there are no seeds; a forecaster has at least one")
    for name, shape in shapes.items():
        stacked, wanted = weights[name], (seeds, *shape)
        if tuple(stacked.shape) != wanted:
            raise ForecasterError(f"{name}: has the shape {tuple(stacked.shape)}; the networks need {wanted}")
        if not torch.isfinite(stacked).all():
            raise ForecasterError(f"{name}: has values that are not finite; a diverged network cannot forecast")


def _finite_or_none(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
