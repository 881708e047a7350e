"""Parse the entry of a parameter in a space file into a `Parameter`.

A list is a choice, `{int: [lo, hi]}` and `{float: [lo, hi]}` are ranges (with `log: true` or `step`), a scalar is a
constant. With `when: {other: [values]}`, a parameter exists only for these values of an earlier parameter.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from search.common.messages import explain, format_value, suggest
from search.space.parameters import FIELDS, Parameter, Value, to_fraction
from stockrnn.dataset.config import FEATURE_NAMES, FEATURE_SETS, features_label
from stockrnn.dataset.features import parse_rolling

__all__ = ["DomainError", "check_in_domain", "parse_parameter", "parse_value"]

TYPE_NAMES = {"int": "a whole number", "float": "a number", "bool": "true or false"}
KEYS = ("int", "float", "choice", "log", "step", "when")
MAX_CHOICES = 1000
MAX_CONDITION_VALUES = 50
Condition = Mapping[str, tuple[Value, ...]]


class DomainError(ValueError):
    """A domain that is not valid; `key` is the path of the wrong part below the parameter."""

    def __init__(self, message: str, *key: str | int) -> None:
        super().__init__(message)
        self.key = key


def parse_parameter(name: str, raw: object, earlier: Mapping[str, Parameter | None]) -> Parameter:
    """Return the parameter of an entry in a space file.

    Args:
        name: one of FIELDS.
        raw: the entry as read from YAML.
        earlier: the parameters above it, which `when` may refer to; None for a parameter with an error.

    Raises:
        DomainError: the entry is malformed, or has a value that the parameter does not accept.
    """
    if isinstance(raw, list):
        return _parse_choice(name, raw, {})
    if not isinstance(raw, dict):
        return Parameter(name=name, kind="constant", values=(parse_value(name, raw),))
    for key in raw:
        if key not in KEYS:
            fix = suggest(key, KEYS) or "; remove it"
            raise DomainError(f"unknown key; the keys of a parameter are {', '.join(KEYS)}{fix}", key)
    kinds = [kind for kind in ("int", "float", "choice") if kind in raw]
    if len(kinds) != 1:
        given = f"has both {' and '.join(kinds)}" if kinds else "has no domain"
        raise DomainError(f"{given}; a parameter needs one of int, float and choice; write {{{_example(name)}}}")
    when = _parse_condition(name, raw["when"], earlier) if "when" in raw else {}
    if kinds == ["choice"]:
        for key in ("log", "step"):
            if key in raw:
                raise DomainError("is only for int and float ranges; remove it", key)
        if not isinstance(raw["choice"], list):
            given = format_value(raw["choice"])
            raise DomainError(f"{given} is not a list; write [{given}]", "choice")
        return _parse_choice(name, raw["choice"], when, "choice")
    return _parse_range(name, raw, "int" if kinds == ["int"] else "float", when)


def parse_value(name: str, raw: object, *key: str | int) -> Value:
    """Return one value of a parameter as the sampler uses it; features become their label.

    Raises:
        DomainError: the parameter does not accept the value; the key of the error is `key`.
    """
    if isinstance(raw, dict):
        raise DomainError(f"{format_value(raw)} is a mapping; write a single value", *key)
    try:
        value = _adapter(name).validate_python(raw)
    except ValidationError as error:
        raise DomainError(next(text for _, text in explain(error)), *key) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise DomainError(f"{format_value(raw)} is not allowed; write a finite number", *key)
    return features_label(value) if isinstance(value, tuple) else value


def check_in_domain(parameter: Parameter, value: Value, raw: object, *key: str | int) -> None:
    """Check that a value of a condition is in the domain of its parameter.

    Raises:
        DomainError: the value, which the file writes as `raw`, is not in the domain.
    """
    if not parameter.contains(value):
        raise DomainError(
            f"{format_value(raw)} is not in the domain of space.{parameter.name}, so the condition is never met; "
            "change the domain or remove the value",
            *key,
        )


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    info = FIELDS[name].model_fields[name]
    return TypeAdapter(Annotated[info.annotation, info], config={"strict": True})  # type: ignore[arg-type]


def _parse_choice(name: str, raw: list[Any], when: Condition, *key: str | int) -> Parameter:
    if not raw:
        raise DomainError("the list is empty; a choice needs at least one value; add values", *key)
    if len(raw) > MAX_CHOICES:
        raise DomainError(f"has {len(raw):,} values; a choice has at most {MAX_CHOICES:,}; write a range", *key)
    if name == "features" and all(item in FEATURE_NAMES or parse_rolling(str(item)) for item in raw):
        raise DomainError(
            f"this list is a choice between single features; write [[{', '.join(raw)}]] to use them together, or "
            f"choose between lists and sets ({', '.join(FEATURE_SETS)})",
            *key,
        )
    values = tuple(parse_value(name, item, *key, index) for index, item in enumerate(raw))
    seen: set[Value] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise DomainError(
                f"{format_value(raw[index])} is repeated; list each value only once; remove it", *key, index
            )
        seen.add(value)
    return Parameter(name=name, kind="choice" if len(values) > 1 else "constant", values=values, when=when)


def _parse_range(name: str, raw: Mapping[str, Any], kind: Literal["int", "float"], when: Condition) -> Parameter:
    low, high = _parse_bounds(name, raw[kind], kind)
    log, step = raw.get("log", False), raw.get("step")
    if not isinstance(log, bool):
        raise DomainError(f"{format_value(log)} is not a boolean; write true or false", "log")
    if log and low <= 0:
        raise DomainError(f"starts at {low}; a log range must start above 0; raise the start or remove log", kind)
    if step is not None:
        if log:
            raise DomainError("a log range cannot have a step; remove log or step", "step")
        _check_step(step, low, high, kind)
    return Parameter(name=name, kind=kind, low=low, high=high, log=log, step=step, when=when)


def _parse_bounds(name: str, raw: object, kind: Literal["int", "float"]) -> tuple[float, float]:
    accepted = _accepted_types(name)
    if kind not in accepted:
        values = next((text for plain, text in TYPE_NAMES.items() if plain in accepted), "a word")
        raise DomainError(
            f"{name} cannot be {'an int' if kind == 'int' else 'a float'} range; its values are {values}; "
            f"write {_example(name)}",
            kind,
        )
    malformed = DomainError(f"{format_value(raw)} is not a range; a range has two numbers; write [low, high]", kind)
    if not isinstance(raw, list) or len(raw) != 2:
        raise malformed
    low, high = (parse_value(name, end, kind, index) for index, end in enumerate(raw))
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise malformed
    if low == high:
        raise DomainError(
            f"{format_value(raw)} has only one value; the ends of a range must differ; for a constant, write "
            f"{name}: {format_value(raw[0])}",
            kind,
        )
    if low > high:
        raise DomainError(f"{format_value(raw)} is reversed; the lower end must be first; write [{high}, {low}]", kind)
    return low, high


def _check_step(step: object, low: float, high: float, kind: str) -> None:
    if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < math.inf:
        raise DomainError(f"{format_value(step)} is not a step; write a number above 0", "step")
    if kind == "int" and not isinstance(step, int):
        raise DomainError(
            f"{step} is not a whole number; the step of an int range must be one; write {math.ceil(step)}", "step"
        )
    steps = (to_fraction(high) - to_fraction(low)) / to_fraction(step)
    if steps.denominator == 1:
        return
    if steps < 1:
        raise DomainError(f"{step} is larger than the range {low} to {high}; write a smaller step", "step")
    end = to_fraction(low) + int(steps) * to_fraction(step)
    raise DomainError(
        f"{step} does not divide the range {low} to {high}; the last step must end at {high}; "
        f"end the range at {int(end) if kind == 'int' else float(end)} or change the step",
        "step",
    )


def _parse_condition(name: str, raw: object, earlier: Mapping[str, Parameter | None]) -> Condition:
    if not isinstance(raw, dict) or not raw:
        raise DomainError(
            f"{format_value(raw)} is not a condition; a condition maps parameters to values; "
            "for example {num_layers: [2, 3]}",
            "when",
        )
    if FIELDS[name].model_fields[name].is_required():
        raise DomainError(f"{name} cannot have a condition, because it has no default; remove when", "when")
    conditions: dict[str, tuple[Value, ...]] = {}
    for other, listed in raw.items():
        key = ("when", other)
        if other not in FIELDS:
            raise DomainError(f"unknown parameter{suggest(other, FIELDS) or '; remove it'}", *key)
        if other not in earlier:
            raise DomainError(
                f"{other} is not above {name}; a condition refers to earlier parameters; move {other} above {name}",
                *key,
            )
        values = listed if isinstance(listed, list) else [listed]
        if not values:
            raise DomainError("the list is empty; a condition needs at least one value; add values", *key)
        if len(values) > MAX_CONDITION_VALUES:
            raise DomainError(
                f"has {len(values):,} values; a condition has at most {MAX_CONDITION_VALUES}; remove some", *key
            )
        conditions[other] = tuple(parse_value(other, value, *key) for value in values)
        if domain := earlier[other]:
            for value, given in zip(conditions[other], values, strict=True):
                check_in_domain(domain, value, given, *key)
    return conditions


def _accepted_types(name: str) -> set[str]:
    """Return the names of the Python types in the annotation of a parameter's field."""
    annotation = FIELDS[name].model_fields[name].annotation
    return {option.__name__ for option in get_args(annotation) or (annotation,) if isinstance(option, type)}


def _example(name: str) -> str:
    """Return a valid domain of a parameter."""
    for kind in _accepted_types(name) & {"int", "float"}:
        return f"{kind}: [low, high]"
    words = [option for option in get_args(FIELDS[name].model_fields[name].annotation) if isinstance(option, str)]
    return f"choice: [{', '.join(words or (FEATURE_SETS if name == 'features' else ['true', 'false']))}]"
