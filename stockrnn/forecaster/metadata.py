"""What a forecaster's folder says of it: `forecaster.json`, of which nothing is believed before it is checked."""

import importlib.metadata
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from stockrnn.configuration import Configuration
from stockrnn.dataset.config import DataConfig, WindowConfig
from stockrnn.dataset.windows import Scaling
from stockrnn.evaluation.conformal import Interval
from stockrnn.io.files import AGAIN, COMPLETE, ForecasterError, line, read_object
from stockrnn.networks.config import NetworkConfig

__all__ = [
    "DOCUMENT",
    "FORMAT",
    "PROJECT",
    "Data",
    "Document",
    "Facts",
    "check_parts",
    "installed_version",
    "read_document",
]

DOCUMENT = "forecaster.json"
FORMAT = 1
PROJECT = "stockrnn-search"
MAX_DOCUMENT_BYTES = 1_000_000  # bytes of a forecaster.json
MAX_COUNT = 10**9  # of anything that is counted


def _day(text: str) -> str:
    if date.fromisoformat(text).isoformat() != text:
        raise ValueError("must be written YYYY-MM-DD")
    return text


Day = Annotated[str, AfterValidator(_day)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Data(Configuration):
    """The prices a study worked on, after cleaning: source, first and last day, sessions and hash."""

    source: str
    start: Day
    end: Day
    sessions: int = Field(ge=1, le=MAX_COUNT)
    sha256: Hash


class Facts(Configuration):
    """Where a forecaster comes from.

    Attributes:
        rank: among the finalists of its study, from 1.
        trial_id: of the trial whose configuration it has.
        epochs: that it was trained.
        trained_from, trained_to: first and last day of its training part.
        data: the prices of the study, its test block included.
        asked: what the study asked for as prices, other series included; what newer prices are asked for by.
        versions: of torch and of this project; None for a checkout that was not installed.
    """

    rank: int = Field(ge=1, le=MAX_COUNT)
    trial_id: str
    epochs: int = Field(ge=1, le=MAX_COUNT)
    trained_from: Day
    trained_to: Day
    data: Data
    asked: DataConfig
    versions: dict[str, str | None]


class Document(Configuration):
    """`forecaster.json`."""

    model_config = ConfigDict(allow_inf_nan=False)  # and what Configuration sets

    format: int = Field(ge=FORMAT, le=FORMAT)
    weights_sha256: Hash
    seeds: int = Field(ge=1, le=1000)
    horizon: int = Field(ge=1, le=250)
    window: WindowConfig
    network: NetworkConfig
    scaling: Scaling
    intervals: tuple[Interval, ...] = Field(max_length=20)
    persistence_intervals: tuple[Interval, ...] = Field(max_length=20)
    facts: Facts
    metrics: dict[str, float | None]


def read_document(path: Path) -> Document:
    """Read and check a `forecaster.json`; ForecasterError for one that cannot be used."""
    found = read_object(path, MAX_DOCUMENT_BYTES)
    number = found.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise ForecasterError(
            f"{path}: format: is newer than {FORMAT}, the newest this version of {PROJECT} reads; update {PROJECT}"
        )
    try:
        return Document.model_validate_json(json.dumps(found))
    except RecursionError:
        raise ForecasterError(f"{path}: is nested too deeply; {COMPLETE}; {AGAIN}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"{key}." for key in first["loc"]).removesuffix(".") or "all"
        what = "is no known name" if first["type"] == "extra_forbidden" else first["msg"]
        raise ForecasterError(f"{path}: {line(where)}: {line(what)}; {AGAIN}") from None


def check_parts(
    window: WindowConfig, scaling: Scaling, intervals: Sequence[Interval], persistence: Sequence[Interval], facts: Facts
) -> None:
    """Refuse parts that do not fit together: ForecasterError."""
    if [other.name for other in facts.asked.also] != [*window.others]:
        raise ForecasterError("facts.asked.also: names other series than window.others; they are the same, in order")
    try:
        scaling.check(window)
    except ValueError as error:
        raise ForecasterError(f"scaling: {error}") from None
    if [interval.level for interval in intervals] != [interval.level for interval in persistence]:
        raise ForecasterError("persistence_intervals: have other levels than intervals; they stand side by side")


def installed_version() -> str | None:
    """This project's; None for a checkout that was not installed."""
    try:
        return importlib.metadata.version(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        return None
