"""A trained forecaster in a folder: the weights of its seeds, the scaling they were trained with, and the facts.

`model.safetensors` holds the weights, `forecaster.json` everything else. Neither can carry code, and the
only files named are the study's prices. A folder may come from a stranger: `load` believes nothing it reads before it
has checked it.
"""

import hashlib
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
from stockrnn.dataset.features import missing_columns, warm_up
from stockrnn.dataset.walk_forward import Fold
from stockrnn.dataset.windows import Scaling, Windows
from stockrnn.evaluation.conformal import Interval
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
from stockrnn.io.files import AGAIN, COMPLETE, ForecasterError, line, read_plain, write_atomic
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.network import Network
from stockrnn.networks.parameter_shapes import parameter_shapes
from stockrnn.prices.series import Prices, Provenance

if TYPE_CHECKING:
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
MAX_HEADER_BYTES = 1_000_000  # bytes of a model.safetensors that are not weights
MAX_WEIGHTS_BYTES = 1_000_000_000  # bytes of a model.safetensors, whatever the document says
MAX_BATCH = 256  # origins forecast at once: bounds the memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecaster:
    """Networks of one shape that differ in their seed; the mean of their forecasts is what counts.

    Attributes:
        window, network, horizon: what it was trained as.
        weights: by parameter name as in `Network`, each of shape (seeds, *parameter), on the CPU.
        scaling: of its training part.
        intervals: around its forecasts.
        persistence_intervals: around the last close, of the same levels in the same order.
        facts: where it comes from.
        metrics: what its study measured, by name; None where a number is not defined.

    Raises:
        ForecasterError: the parts do not fit together.
    """

    window: WindowConfig
    network: NetworkConfig
    horizon: int
    weights: Mapping[str, torch.Tensor]
    scaling: Scaling
    intervals: tuple[Interval, ...]
    persistence_intervals: tuple[Interval, ...]
    facts: Facts
    metrics: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        check_parts(self.window, self.scaling, self.intervals, self.persistence_intervals, self.facts)
        first = next(iter(self.weights.values()), torch.empty(0))
        seeds = first.shape[0] if first.ndim else 0
        wanted = parameter_shapes(self.network, len(self.window.inputs), self.window.sequence_length)
        _check_weights(self.weights, wanted, seeds)

    @classmethod
    def trained(
        cls,
        windows: Windows,
        members: "NetworkEnsemble",
        *,
        intervals: Sequence[Interval],
        persistence_intervals: Sequence[Interval],
        rank: int,
        trial_id: str,
        epochs: int,
        span: tuple[str, str],
        provenance: Provenance,
        asked: DataConfig,
        metrics: Mapping[str, float | None] | None = None,
    ) -> "Forecaster":
        """The forecaster that a finished training leaves; it copies the weights.

        Args:
            windows: those trained on, of one fold.
            members: that fold's, one per seed, as they stand now.
            intervals, persistence_intervals: see `conformal_intervals`; of the forecasts and of persistence.
            rank, trial_id, epochs: see `Facts`.
            span: first and last day of the training part, YYYY-MM-DD.
            provenance: of the prices after cleaning.
            asked: the study's section `data`.
            metrics: what the study measured; numbers that are not finite become None.

        Raises:
            ForecasterError: a network diverged: not all of its weights are finite.
            ValueError: there are several folds, or a fact is malformed.
        """
        if len(windows.folds) != 1:
            raise ValueError(f"a forecaster comes from one fold, not from {len(windows.folds)}")
        seeds = [dict(network.named_parameters()) for network in members.networks]
        weights = {name: torch.stack([seed[name].detach() for seed in seeds]).cpu() for name in seeds[0]}
        return cls(
            window=windows.config,
            network=members.config,
            horizon=windows.horizon,
            weights=weights,
            scaling=windows.scalings[0],
            intervals=tuple(intervals),
            persistence_intervals=tuple(persistence_intervals),
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
            metrics=metrics or {},
        )

    @property
    def seeds(self) -> int:
        """How many networks there are."""
        return len(self.weights["output.bias"])

    @torch.no_grad()
    def forecast(self, prices: Prices, origins: Sequence[int] | np.ndarray) -> np.ndarray:
        """Forecast the closes `horizon` sessions after the origins, with the scaling of the training.

        Args:
            prices: a clean series, with a column for each of the other series (see `alignment`); it may go on after
                that of the study.
            origins: positions of sessions, the last session included; each ends a whole window.

        Returns:
            Shape (seeds, origins), price points; not finite where prices lie too far from those trained on.

        Raises:
            ForecasterError: a column is missing, or the series is too short for a window of an origin.
        """
        lacking = [name for names in missing_columns(prices, self.window.features).values() for name in names]
        lacking += [name for name in self.window.others if name not in prices.columns]
        if lacking:
            raise ForecasterError(
                f"{prices.source}: {', '.join(dict.fromkeys(lacking))}: missing; this forecaster reads "
                f"{', '.join(self.window.inputs)}; add the column"
            )
        length = max(map(warm_up, self.window.inputs)) + self.window.sequence_length
        if len(prices) < length:
            raise ForecasterError(
                f"{prices.source}: {len(prices)} sessions are too few; this forecaster looks back over {length}; "
                f"give it a longer series"
            )
        positions = np.asarray(origins, dtype=np.int64)
        if len(positions) and not length - 1 <= positions.min() <= positions.max() < len(prices):
            raise ForecasterError(
                f"{prices.source}: origins {positions.min()} to {positions.max()} lie outside; windows that look back "
                f"over {length} sessions end at {length - 1} to {len(prices) - 1}; choose origins there"
            )
        nowhere = Fold(train=range(0), validation=range(0))  # nothing is fitted, nothing is scored
        dtype = self.weights["output.bias"].dtype
        outputs = torch.empty((self.seeds, len(positions)), dtype=dtype)
        networks = self._networks()
        with np.errstate(over="ignore", invalid="ignore"):
            windows = Windows(prices, [nowhere], self.window, self.horizon, scalings=[self.scaling], dtype=dtype)
            for first in range(0, len(positions), MAX_BATCH):
                batch = torch.from_numpy(positions[None, first : first + MAX_BATCH])
                inputs = windows.inputs(torch.zeros(1, dtype=torch.int64), batch)[0]
                for seed, network in enumerate(networks):
                    outputs[seed, first : first + MAX_BATCH] = network(inputs)
            return windows.to_prices(0, positions, outputs.numpy())

    def _networks(self) -> list[Network]:
        networks = []
        with torch.random.fork_rng(devices=[]):  # what they draw is overwritten
            for seed in range(self.seeds):
                network = Network(self.network, len(self.window.inputs), self.window.sequence_length)
                network.to(self.weights["output.bias"].dtype)
                network.load_state_dict({name: stacked[seed] for name, stacked in self.weights.items()})
                networks.append(network)
        return networks

    def save(self, folder: Path | str) -> None:
        """Write the forecaster into a folder, which is made where there is none.

        Each file appears whole or not at all. A save that ends between the two is found by `load`.

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
            persistence_intervals=self.persistence_intervals,
            facts=self.facts,
            metrics={name: _known(value) for name, value in self.metrics.items()},
        )
        text = json.dumps(document.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
        write_atomic(folder / WEIGHTS, weights)
        write_atomic(folder / DOCUMENT, text.encode())

    @classmethod
    def load(cls, folder: Path | str) -> "Forecaster":
        """Read a forecaster; nothing in the folder is executed.

        Raises:
            ForecasterError: a file is missing, damaged, of another forecaster, or of a newer version.
        """
        path, weights_path = Path(folder) / DOCUMENT, Path(folder) / WEIGHTS
        document = read_document(path)
        try:
            check_parts(
                document.window, document.scaling, document.intervals, document.persistence_intervals, document.facts
            )
        except ForecasterError as error:
            raise ForecasterError(f"{path}: {error}; {AGAIN}") from None
        wanted = parameter_shapes(document.network, len(document.window.inputs), document.window.sequence_length)
        # The sizes are those of the document, so a false one costs no memory: the file must be as large.
        count = document.seeds * sum(math.prod(shape) for shape in wanted.values())
        content = read_plain(weights_path, min(count * 8 + MAX_HEADER_BYTES, MAX_WEIGHTS_BYTES))
        if hashlib.sha256(content).hexdigest() != document.weights_sha256:
            raise ForecasterError(
                f"{weights_path}: is damaged, or not the file that {DOCUMENT} was saved with; {COMPLETE}; {AGAIN}"
            )
        try:
            weights = safetensors.torch.load(content)
        except Exception as error:  # whatever the reader makes of a stranger's bytes
            raise ForecasterError(
                f"{weights_path}: cannot be read as safetensors ({line(error)}); {COMPLETE}; {AGAIN}"
            ) from None
        try:
            _check_weights(weights, wanted, document.seeds)
        except ForecasterError as error:
            raise ForecasterError(f"{weights_path}: {error}; {AGAIN}") from None
        return cls(
            window=document.window,
            network=document.network,
            horizon=document.horizon,
            weights=weights,
            scaling=document.scaling,
            intervals=document.intervals,
            persistence_intervals=document.persistence_intervals,
            facts=document.facts,
            metrics=document.metrics,
        )


def _check_weights(weights: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]], seeds: int) -> None:
    if missing := shapes.keys() - weights.keys():
        raise ForecasterError(f"{min(missing)}: is missing; its network has {len(shapes)} tensors")
    if surplus := weights.keys() - shapes.keys():
        raise ForecasterError(f"{line(min(surplus))}: is no tensor of its network, which has {len(shapes)}")
    dtypes = {stacked.dtype for stacked in weights.values()}
    if len(dtypes) != 1 or not dtypes <= set(DTYPES):
        raise ForecasterError("the tensors are neither all of float32 nor all of float64")
    if not seeds:
        raise ForecasterError("there are no seeds; a forecaster has one or more")
    for name, shape in shapes.items():
        stacked, wanted = weights[name], (seeds, *shape)
        if tuple(stacked.shape) != wanted:
            raise ForecasterError(f"{name}: has the shape {tuple(stacked.shape)}; its networks need {wanted}")
        if not torch.isfinite(stacked).all():
            raise ForecasterError(f"{name}: has numbers that are not finite; networks that diverged forecast nothing")


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
