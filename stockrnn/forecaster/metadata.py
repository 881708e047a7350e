"""Define and check `forecaster.json`, which has everything about a forecaster except its weights."""

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
from stockrnn.forecaster.files import COPY_AGAIN, DOCUMENT, FOLDER_RULE, ForecasterError, read_json_object
from stockrnn.forecaster.validation import ValidationDays
from stockrnn.io.files import line
from stockrnn.networks.config import NetworkConfig
from stockrnn.tasks.registry import find_task

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

FORMAT = 1
PROJECT = "stockrnn-search"
MAX_DOCUMENT_BYTES = 1_000_000  # of forecaster.json
MAX_COUNT = 10**9  # of ranks, epochs and sessions


def _day(text: str) -> str:
    if date.fromisoformat(text).isoformat() != text:
        raise ValueError("must be written YYYY-MM-DD")
    return text


Day = Annotated[str, AfterValidator(_day)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Data(Configuration):
    """The clean prices of a study: source, first and last day, number of sessions, and hash."""

    source: str
    start: Day
    end: Day
    sessions: int = Field(ge=1, le=MAX_COUNT)
    sha256: Hash


class Facts(Configuration):
    """Origin of a forecaster.

    Attributes:
        rank: rank among the study's finalists, starting at 1.
        trial_id: the trial whose configuration was trained.
        epochs: number of epochs of the training.
        trained_from, trained_to: first and last day of the training part.
        data: the study's prices, including the test block.
        asked: section `data` of the study's space, which is also used to load newer prices.
        versions: versions of torch and of this project; None if this project is not installed.
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
    """Content of `forecaster.json`."""

    model_config = ConfigDict(allow_inf_nan=False)  # in addition to the settings of Configuration

    format: int = Field(ge=FORMAT, le=FORMAT)
    weights_sha256: Hash
    seeds: int = Field(ge=1, le=1000)
    horizon: int = Field(ge=1, le=250)
    window: WindowConfig
    network: NetworkConfig
    scaling: Scaling
    intervals: tuple[Interval, ...] = Field(max_length=20)
    rival_intervals: tuple[Interval, ...] = Field(max_length=20)
    facts: Facts
    validation: ValidationDays
    metrics: dict[str, float | None]


def read_document(path: Path) -> Document:
    """Return the content of a `forecaster.json`; raise ForecasterError if it is invalid."""
    found = read_json_object(path, MAX_DOCUMENT_BYTES)
    number = found.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise ForecasterError(
            f"{path}: format: is newer than {FORMAT}; this version of {PROJECT} reads formats up to {FORMAT}; "
            f"update {PROJECT}"
        )
    try:
        return Document.model_validate_json(json.dumps(found))
    except RecursionError:
        raise ForecasterError(f"{path}: is nested too deeply; {FOLDER_RULE}; {COPY_AGAIN}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"{key}." for key in first["loc"]).removesuffix(".") or "all"
        problem = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise ForecasterError(f"{path}: {line(where)}: {line(problem)}; {COPY_AGAIN}") from None


def check_parts(
    window: WindowConfig, scaling: Scaling, intervals: Sequence[Interval], rival: Sequence[Interval], facts: Facts
) -> None:
    """Raise ForecasterError if two parts contradict each other."""
    if [other.name for other in facts.asked.also] != [*window.others]:
        raise ForecasterError("facts.asked.also: differs from window.others; both must name the same series in order")
    if window.target not in find_task(facts.asked.task).targets:
        raise ForecasterError(f"window.target: {window.target} is not a target of facts.asked.task, {facts.asked.task}")
    if window.estimator != facts.asked.estimator:
        raise ForecasterError("window.estimator: differs from facts.asked.estimator; both must be the same")
    try:
        scaling.check(window)
    except ValueError as error:
        raise ForecasterError(f"scaling: {error}") from None
    if [interval.level for interval in intervals] != [interval.level for interval in rival]:
        raise ForecasterError("rival_intervals: have other levels than intervals; both need the same levels")


def installed_version() -> str | None:
    """Return the version of this project; None if it is not installed."""
    try:
        return importlib.metadata.version(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        return None
