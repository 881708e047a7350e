"""The shapes that the lines of `trials.jsonl` and `manifest.json` must have before anything is made of them.

A results folder may come from a stranger. What later versions add is let through; what is there has its type, its
bounds and names that are not those of other columns.
"""

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from search.wording import explain, one_line, shortened
from stockrnn.files import json_data, plain_bytes

__all__ = ["MOST_RECORD", "event", "manifest"]

MOST_MANIFEST = 4_000_000  # bytes
MOST_RECORD = 1_000_000_000  # bytes of a trials.jsonl
MOST_LINE = 1_000_000  # bytes of its lines
MOST = 10**12  # of anything that is counted, seconds too
AGAIN = "copy the study's folder again"


def _parsed(read: Callable[[str], Any], form: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            read(text)
        except ValueError:
            raise ValueError(f"must be written {form}") from None
        return text

    return AfterValidator(check)


def _day(text: str) -> None:
    day = date.fromisoformat(text)
    if str(day) != text or not 1700 <= day.year < 2200:
        raise ValueError


def _none_or_both(days: list[str]) -> list[str]:
    if len(days) not in (0, 2):
        raise ValueError("must be the first and the last day, or empty")
    return days


def _moment(text: str) -> None:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError


Day = Annotated[str, _parsed(_day, "YYYY-MM-DD, 1700 to 2199"), Field(max_length=10)]
Moment = Annotated[str, _parsed(_moment, "as ISO 8601 with its time zone"), Field(max_length=40)]
Word = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Seconds = Annotated[float, Field(ge=0, le=MOST)]
Number = Annotated[float, Field(ge=-1e150, le=1e150)]  # its square is a number too
Column = Annotated[str, Field(pattern=r"^(val|test|seeds|in)_[a-z0-9_]{1,60}$")]
Scores = dict[Column, bool | Number | None]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,60}$")]


def _no_column(name: str) -> str:
    if name in ("rank", "trial_id", "status", "network") or name.startswith(("val_", "test_", "seeds_", "in_")):
        raise ValueError(f"{name} is a column of the leaderboard; a parameter has another name")
    return name


Parameter = Annotated[Name, AfterValidator(_no_column)]
Value = bool | Annotated[int, Field(ge=-MOST, le=MOST)] | Number | Annotated[str, Field(max_length=1000)] | None
Point = Annotated[dict[Parameter, Value], Field(max_length=100)]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Event(_Shape):
    event: Word
    trial_id: Word
    time: Moment


class _Start(_Event):
    point: Point


class _Epoch(_Event):
    epoch: Count
    score: Number | None = None
    best_epoch: Count | None = None
    scores: Scores
    loss: float | None = None
    seconds: Seconds | None = None
    worker: Count | None = None


class _End(_Event):
    status: Literal["complete", "stopped", "diverged", "failed", "interrupted"]
    point: Point
    scores: Scores = {}
    epochs: Count = 0
    best_epoch: Count | None = None
    parameters: Count | None = None
    seconds: Seconds | None = None
    worker: Count | None = None
    form: Word | None = None
    message: str | None = None


class _Data(_Shape):
    source: str = ""
    start: Day | None = None
    end: Day | None = None
    sessions: Count | None = None
    sha256: str | None = None


class _Fold(_Shape):
    train: tuple[Day, Day] | None = None
    validation: tuple[Day, Day] | None = None


class _Finalist(_Shape):
    trial_id: Word | None = None
    rank: Count | None = None
    point: Point = {}
    epochs: Count | None = None


class _Opening(_Shape):
    time: Moment | None = None
    trials: Count | None = None
    finalists: Annotated[list[_Finalist], Field(max_length=1000)] | None = None
    finalist_seeds: Annotated[int, Field(ge=1, le=100)] | None = None
    scores: dict[Word, Scores] | None = None
    ensemble: Scores | None = None


class _Proof(_Shape):
    trials: Count | None = None
    validation_days: Count | None = None
    test_days: Count | None = None
    spa_p: Number | None = None
    pbo: Number | None = None
    test_spa_p: Number | None = None
    reasons: dict[str, str] | None = None


class _Manifest(_Shape):
    name: str | None = None
    command: str | None = None
    host: str | None = None
    platform: str | None = None
    start: Moment | None = None
    end: Moment | None = None
    versions: dict[str, str | None] | None = None
    defaults: dict[str, Any] | None = None
    data: _Data | None = None
    folds: Annotated[list[_Fold], Field(max_length=1000)] | None = None
    test: Annotated[list[Day], AfterValidator(_none_or_both)] | None = None
    test_openings: list[_Opening] | None = None
    baselines: dict[Word, Scores] | None = None
    seconds: Seconds | None = None
    interrupted: bool | None = None
    proof: _Proof | None = None
    verdict: str | None = None


EVENTS: dict[str, TypeAdapter[Any]] = {
    "start": TypeAdapter(_Start),
    "epoch": TypeAdapter(_Epoch),
    "end": TypeAdapter(_End),
    "interrupted": TypeAdapter(_End),
}
OTHER: TypeAdapter[Any] = TypeAdapter(_Event)
MANIFEST: TypeAdapter[Any] = TypeAdapter(_Manifest)


def event(line: bytes) -> dict[str, Any]:
    """A line of `trials.jsonl`.

    Raises:
        ValueError: it is no event of a trial: what is wrong with it.
    """
    if len(line) > MOST_LINE:
        raise ValueError(f"is longer than the {MOST_LINE} bytes it may have")
    found = json_data(line)
    if not isinstance(found, dict):
        raise ValueError("is no event of a trial")
    kind = found.get("event")
    _check(EVENTS.get(kind, OTHER) if isinstance(kind, str) else OTHER, line)
    return found


def manifest(path: Path) -> dict[str, Any]:
    """A study's `manifest.json`.

    Raises:
        ValueError: it is none, in one line.
    """
    try:
        content = plain_bytes(path, MOST_MANIFEST)
        found = json_data(content)
        if not isinstance(found, dict):
            raise ValueError("is no JSON object")
        _check(MANIFEST, content)
    except FileNotFoundError:
        folder = path.parent
        raise ValueError(f"{folder}: is no study, it has no {path.name}; name a folder as in results/smoke") from None
    except ValueError as error:
        raise ValueError(
            f"{one_line(str(path))}: is no study's manifest: {error}; it is as search.run wrote it; {AGAIN}"
        ) from None
    return found


def _check(shape: TypeAdapter[Any], content: bytes) -> None:
    try:
        shape.validate_json(content)
    except ValidationError as error:
        key, text = next(explain(error))
        where = ".".join(shortened(str(part)) for part in key)
        raise ValueError(one_line(f"{where}: {text}" if where else text)) from None
