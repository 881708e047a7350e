"""Declare the types and limits of `trials.jsonl` and `manifest.json`, for writing and for reading.

A results folder may come from a stranger, so every known value is checked. Unknown keys, which later versions may add,
are allowed. `parse_event` and `read_manifest` accept whatever `to_json` returns.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from search.common.errors import DamagedError
from search.common.messages import explain, one_line, shorten
from search.space.plugins import ENTRIES
from stockrnn.io.files import parse_json, read_bytes, suggest_folder
from stockrnn.plugins import check_plugins

__all__ = [
    "EVENTS",
    "MANIFEST",
    "MAX_LINE_BYTES",
    "MAX_LOG_BYTES",
    "MAX_MANIFEST_BYTES",
    "MAX_TRACEBACK",
    "MAX_TRIALS",
    "NEEDED",
    "is_storable",
    "parse_event",
    "read_manifest",
    "to_json",
    "to_plain",
]  # fmt: skip

MAX_MANIFEST_BYTES = 4_000_000
MAX_LOG_BYTES = 400_000_000  # of trials.jsonl: a million epochs
MAX_LINE_BYTES = 1_000_000  # of a line of trials.jsonl
MAX_TRACEBACK = 20_000  # characters; JSON needs up to twelve bytes for one
MAX_TRIALS = 100_000  # of a study
MAX_COUNT = 10**12  # for every counter, and for seconds
MAX_NUMBER = 1e150  # its square is finite as well
AGAIN = "copy the study's folder again"


def _check_day(text: str) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or str(day) != text or not 1700 <= day.year < 2200:
        raise ValueError("must be written YYYY-MM-DD, 1700 to 2199")
    return text


def _check_time(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or not 1700 <= time.year < 2200:  # seconds between two are a number
        raise ValueError("must be written as ISO 8601 with its time zone")
    return text


def _none_or_both(days: list[str]) -> list[str]:
    if len(days) not in (0, 2):
        raise ValueError("must be the first and the last day, or empty")
    return days


def _no_column(name: str) -> str:
    if name in ("rank", "trial_id", "status", "network") or name.startswith(("val_", "test_", "seeds_", "in_")):
        raise ValueError(f"{name} is a column of the leaderboard; a parameter has another name")
    return name


Day = Annotated[str, AfterValidator(_check_day), Field(max_length=10)]
Moment = Annotated[str, AfterValidator(_check_time), Field(max_length=40)]
Word = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=10_000)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Epoch = Annotated[int, Field(ge=0, le=100_000)]
Seconds = Annotated[float, Field(ge=0, le=MAX_COUNT)]
Number = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Column = Annotated[str, Field(pattern=r"^(val|test|seeds|in)_[a-z0-9_]{1,60}$")]
Scores = dict[Column, Number | bool | None]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,60}$")]
Parameter = Annotated[Name, AfterValidator(_no_column)]
Value = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)] | Number | bool | Text | None
Point = Annotated[dict[Parameter, Value], Field(max_length=100)]
shape = with_config(ConfigDict(strict=True, extra="allow", allow_inf_nan=False))


@shape
class _Event(TypedDict):
    trial_id: Word
    time: Moment


@shape
class _Start(_Event):
    event: Literal["start"]
    point: Point


@shape
class _Epoch(_Event):
    event: Literal["epoch"]
    epoch: Epoch
    score: NotRequired[Number | None]
    best_epoch: NotRequired[Epoch | None]
    scores: Scores
    loss: NotRequired[Number | None]
    seconds: NotRequired[Seconds | None]
    worker: NotRequired[Count | None]
    last: NotRequired[Literal[True]]


@shape
class _Retry(_Event):
    event: Literal["retry"]
    message: NotRequired[Text | None]


@shape
class _End(_Event):
    event: Literal["end", "interrupted"]
    status: Literal["default", "complete", "stopped", "diverged", "failed", "interrupted"]
    point: Point
    scores: NotRequired[Scores]
    epochs: NotRequired[Epoch]
    best_epoch: NotRequired[Epoch | None]
    parameters: NotRequired[Count | None]
    seconds: NotRequired[Seconds | None]
    worker: NotRequired[Count | None]
    form: NotRequired[Word | None]
    message: NotRequired[Text | None]
    traceback: NotRequired[Annotated[str, Field(max_length=MAX_TRACEBACK)] | None]


@shape
class _Finding(TypedDict, total=False):
    check: Text | None
    severity: Text | None
    text: Text | None
    rows: Count | None


@shape
class _Data(TypedDict, total=False):
    source: str
    start: Day | None
    end: Day | None
    sessions: Count | None
    sha256: Word | None
    fetched: Text | None
    findings: list[_Finding] | None


@shape
class _Fold(TypedDict, total=False):
    train: tuple[Day, Day] | None
    validation: tuple[Day, Day] | None


@shape
class _Finalist(TypedDict, total=False):
    trial_id: Word | None
    rank: Count | None
    point: Point
    epochs: Count | None
    seeds: Count | None


@shape
class _Opening(TypedDict, total=False):
    time: Moment | None
    ranked_by: Word | None
    trials: Count | None
    finalists: Annotated[list[_Finalist], Field(max_length=1000)] | None
    finalist_seeds: Annotated[int, Field(ge=1, le=100)] | None
    scores: Annotated[dict[Word, Scores], Field(max_length=1000)] | None
    ensemble: Scores | None
    reasons: dict[Word, dict[Word, Text]] | None


@shape
class _Proof(TypedDict, total=False):
    trials: Count | None
    earlier_trials: Count | None
    validation_days: Count | None
    test_days: Count | None
    spa_p: Number | None
    pbo: Number | None
    test_spa_p: Number | None
    reasons: dict[Word, Text] | None


@shape
class _Plugin(TypedDict, total=False):
    group: Word | None
    name: Word | None
    package: Word | None
    version: Word | None


@shape
class _Resume(TypedDict, total=False):
    time: Moment | None
    command: Text | None
    trials: Count | None
    changes: list[Text] | None


@shape
class _WarmStart(TypedDict, total=False):
    study: Text | None
    name: Word | None
    found: bool | None
    trials: Annotated[list[Word], Field(max_length=MAX_TRIALS)] | None
    counted: Count | None
    days: Count | None
    tried: Annotated[list[Word], Field(max_length=1000)] | None
    left_out: dict[Word, Text] | None


@shape
class _Manifest(TypedDict, total=False):
    name: Word | None
    command: Text | None
    host: Text | None
    platform: Text | None
    processor: Text | None
    start: Moment | None
    end: Moment | None
    versions: dict[Word, Text | None] | None
    plugins: Annotated[list[_Plugin], Field(max_length=1000)] | None
    seed: int | None
    space: dict[Word, Any] | None
    defaults: dict[Name, Value] | None
    data: _Data | None
    folds: Annotated[list[_Fold], Field(max_length=1000)] | None
    test: Annotated[list[Day], AfterValidator(_none_or_both)] | None
    test_openings: Annotated[list[_Opening], Field(max_length=1000)] | None
    resumes: Annotated[list[_Resume], Field(max_length=1000)] | None
    baselines: Annotated[dict[Word, Scores], Field(max_length=1000)] | None
    warm_start: _WarmStart | None
    seconds: Seconds | None
    interrupted: bool | None
    failure: Text | None
    failed_finalists: dict[Word, Text] | None
    proof: _Proof | None
    trials_sha256: Word | None
    replay: bool | None
    verdict: Text | None


EVENTS: dict[str, TypeAdapter[Any]] = {
    "start": TypeAdapter(_Start),
    "epoch": TypeAdapter(_Epoch),
    "retry": TypeAdapter(_Retry),
    "end": TypeAdapter(_End),
    "interrupted": TypeAdapter(_End),
}
EVENT: TypeAdapter[Any] = TypeAdapter(Annotated[_Start | _Epoch | _Retry | _End, Field(discriminator="event")])
MANIFEST: TypeAdapter[Any] = TypeAdapter(_Manifest)
NEEDED = ("name", "command", "start", "versions", "seed", "space", "data", "folds", "test", "baselines")  # to go on


def parse_event(line: bytes) -> dict[str, Any]:
    """Return the event on a line of `trials.jsonl`.

    Raises:
        ValueError: the line is not an event; the message says why.
    """
    try:
        found: dict[str, Any] = EVENT.validate_json(line)
    except ValidationError as error:
        key, text = next(explain(error))
        raise ValueError(_at(key[1:], text)) from None  # the first is the event's kind
    return found


def read_manifest(path: Path, needed: Iterable[str] = ()) -> dict[str, Any]:
    """Return the content of `manifest.json`.

    Args:
        path: the file.
        needed: keys that it must have.

    Raises:
        DamagedError: there is no such file, it is damaged, or a needed key is missing.
        PluginError: the study uses a plug-in that is not installed.
    """
    try:
        content = read_bytes(path, MAX_MANIFEST_BYTES)
        found = parse_json(content)
        if not isinstance(found, dict):
            raise ValueError("is no JSON object")
        try:
            MANIFEST.validate_json(content)
        except ValidationError as error:
            raise ValueError(_at(*next(explain(error)))) from None
        if lacking := [name for name in needed if found.get(name) is None]:
            raise ValueError(f"{lacking[0]} is missing")
    except FileNotFoundError:
        folder = path.parent
        near = suggest_folder(str(folder), path.name).replace("check the path", "name a folder as in results/smoke")
        raise DamagedError(f"{folder}: is no study, it has no {path.name}; {near}") from None
    except ValueError as error:
        raise DamagedError(
            f"{one_line(str(path))}: is no study's manifest: {error}; it is as search.run wrote it; {AGAIN}"
        ) from None
    assert ENTRIES  # its module has loaded all plug-ins
    check_plugins(str(path.parent), found.get("plugins") or [])
    return found


def is_storable(value: float) -> bool:
    """Return whether a number may be written to a file: it is finite and not too large."""
    return -MAX_NUMBER <= value <= MAX_NUMBER


def to_plain(value: Any) -> Any:
    """Return nested data for JSON: a number that is not storable becomes None, a tuple a list, a lone surrogate `?`."""
    if isinstance(value, Mapping):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return None if isinstance(value, float) and not is_storable(value) else value


def to_json(shape: TypeAdapter[Any], data: Mapping[str, Any], indent: int | None = None) -> bytes:
    """Return data as JSON of a declared type: values out of range become null, and long texts and lists are cut.

    Raises:
        ValueError: a required key is missing, which is a bug.
    """
    fitting = to_plain(data)
    while True:
        content = json.dumps(fitting, allow_nan=False, indent=indent).encode()
        try:
            shape.validate_json(content)
        except ValidationError as error:
            problems = {}
            for item in error.errors(include_url=False):
                place = _place(fitting, item["loc"])
                if place not in problems or item["type"].endswith("too_long"):
                    problems[place] = item
            if not all([_mended(fitting, place, item) for place, item in problems.items()]):
                raise
        else:
            return content


def _place(data: Any, key: Sequence[str | int]) -> tuple[str | int, ...]:
    """Return the place of a validation error in the data, without the branch names of a union."""
    for depth, part in enumerate(key):
        if not (part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)):
            return tuple(key[:depth])
        data = data[part]
    return tuple(key)


def _mended(data: Any, place: Sequence[str | int], item: Mapping[str, Any]) -> bool:
    """Shorten, replace or remove the value at a place; return False if the place is the whole document."""
    if not place:
        return False
    for part in place[:-1]:
        data = data[part]
    name, most = place[-1], item.get("ctx", {}).get("max_length")
    if item["loc"][-1] == "[key]" or data[name] is None:
        del data[name]
    elif isinstance(data[name], str) and most:
        data[name] = shorten(data[name], most)
    elif isinstance(data[name], list) and most:
        data[name] = data[name][-most:]
    else:
        data[name] = None
    return True


def _at(key: Sequence[str | int], text: str) -> str:
    where = ".".join(shorten(str(part)) for part in key)
    return one_line(f"{where}: {text}" if where else text)
