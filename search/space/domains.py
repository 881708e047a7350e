"""A parameter's entry in a space file -> Parameter.

A list is a choice, `{int: [lo, hi]}` and `{float: [lo, hi]}` are ranges (with `log: true` or `step`), a
scalar is a constant; `when: {other: [values]}` makes a parameter exist beside some values of an earlier one.
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

__all__ = ["DomainError", "parse_parameter", "parse_value"]

TAKES = {"int": "whole numbers only", "float": "fractions", "bool": "true and false only"}
KEYS = ("int", "float", "choice", "log", "step", "when")
FORMS = "a domain is a value, a list or {int: [lo, hi]}"
MAX_CHOICES = 1000  # of a choice
MAX_CONDITION_VALUES = 50  # values of a condition
Condition = Mapping[str, tuple[Value, ...]]


class DomainError(ValueError):
    """A domain that makes no sense; `key` leads to the wrong part below the parameter."""

    def __init__(self, message: str, *key: str | int) -> None:
        super().__init__(message)
        self.key = key


def parse_parameter(name: str, raw: object, earlier: Mapping[str, Parameter | None]) -> Parameter:
    """A parameter's entry in a space file -> Parameter.

    Args:
        name: one of FIELDS.
        raw: the entry as read from YAML.
        earlier: the parameters that stand above it, which `when` may name; None for one that is wrong itself.

    Raises:
        DomainError: the entry is malformed, or holds a value that the parameter cannot take.
    """
    if isinstance(raw, list):
        return _choice(name, raw, {})
    if not isinstance(raw, dict):
        return Parameter(name=name, kind="constant", values=(parse_value(name, raw),))
    for key in raw:
        if key not in KEYS:
            hint = suggest(key, KEYS) or "; remove it"
            raise DomainError(f"unknown key; a domain has {', '.join(KEYS)}{hint}", key)
    kinds = [kind for kind in ("int", "float", "choice") if kind in raw]
    if len(kinds) != 1:
        have = " and ".join(kinds) or "none of them"
        raise DomainError(f"has {have}; a domain has one of int, float and choice; write {{{_example(name)}}}")
    when = _when(name, raw["when"], earlier) if "when" in raw else {}
    if kinds == ["choice"]:
        for key in ("log", "step"):
            if key in raw:
                raise DomainError("stands beside a choice; it goes with a range only; remove it", key)
        if not isinstance(raw["choice"], list):
            given = format_value(raw["choice"])
            raise DomainError(f"{given} is no list; a choice is a list; write [{given}]", "choice")
        return _choice(name, raw["choice"], when, "choice")
    return _range(name, raw, "int" if kinds == ["int"] else "float", when)


def parse_value(name: str, raw: object, *key: str | int) -> Value:
    """One value of a parameter as a sampler handles it; features become their label.

    Raises:
        DomainError: the parameter cannot take the value; its key is `key`.
    """
    if isinstance(raw, dict):
        raise DomainError(f"{format_value(raw)} is no value; a value is a word or a number; write one", *key)
    try:
        value = _adapter(name).validate_python(raw)
    except ValidationError as error:
        raise DomainError(next(text for _, text in explain(error)), *key) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise DomainError(f"{format_value(raw)} is not finite; it must be a finite number; write one", *key)
    return features_label(value) if isinstance(value, tuple) else value


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    info = FIELDS[name].model_fields[name]
    return TypeAdapter(Annotated[info.annotation, info], config={"strict": True})  # type: ignore[arg-type]


def _choice(name: str, raw: list[Any], when: Condition, *key: str | int) -> Parameter:
    if not raw:
        raise DomainError("the list is empty; a choice needs at least one value; add values", *key)
    if len(raw) > MAX_CHOICES:
        raise DomainError(f"has {len(raw):,} values; a choice has at most {MAX_CHOICES:,}; write a range", *key)
    if name == "features" and all(item in FEATURE_NAMES or parse_rolling(str(item)) for item in raw):
        raise DomainError(
            f"a list in a space is a choice, here among single features; choose among lists or sets "
            f"({', '.join(FEATURE_SETS)}); write [[{', '.join(raw)}]] for these inputs together",
            *key,
        )
    values = tuple(parse_value(name, item, *key, index) for index, item in enumerate(raw))
    seen: set[Value] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise DomainError(
                f"{format_value(raw[index])} stands twice; each choice stands once; delete one", *key, index
            )
        seen.add(value)
    return Parameter(name=name, kind="choice" if len(values) > 1 else "constant", values=values, when=when)


def _range(name: str, raw: Mapping[str, Any], kind: Literal["int", "float"], when: Condition) -> Parameter:
    low, high = _ends(name, raw[kind], kind)
    log, step = raw.get("log", False), raw.get("step")
    if not isinstance(log, bool):
        raise DomainError(f"{format_value(log)} is neither true nor false; it must be one; write true or false", "log")
    if log and low <= 0:
        raise DomainError(f"starts at {low}; a log range starts above 0; raise the start or drop log", kind)
    if step is not None:
        if log:
            raise DomainError("stands beside log; a log range has no step; drop one of them", "step")
        _check_step(step, low, high, kind)
    return Parameter(name=name, kind=kind, low=low, high=high, log=log, step=step, when=when)


def _ends(name: str, raw: object, kind: Literal["int", "float"]) -> tuple[float, float]:
    allowed = _takes(name)
    if kind not in allowed:
        takes = next((what for plain, what in TAKES.items() if plain in allowed), "words only")
        rule = f"{'an' if kind == 'int' else 'a'} {kind} range does not fit; write {_example(name)}"
        raise DomainError(f"{name} takes {takes}; {rule}", kind)
    if not isinstance(raw, list) or len(raw) != 2:
        raise DomainError(f"{format_value(raw)} is no range; a range is [lowest, highest]; write two numbers", kind)
    low, high = (parse_value(name, end, kind, index) for index, end in enumerate(raw))
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise DomainError(f"{format_value(raw)} is no range; a range is [lowest, highest]; write two numbers", kind)
    if low == high:
        raise DomainError(
            f"{format_value(raw)} is empty; a range's ends differ; write {name}: {format_value(raw[0])} to fix it", kind
        )
    if low > high:
        raise DomainError(f"{format_value(raw)} is reversed; the lowest comes first; write [{high}, {low}]", kind)
    return low, high


def _check_step(step: object, low: float, high: float, kind: str) -> None:
    if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < math.inf:
        raise DomainError(f"{format_value(step)} is no step; a step is a number above 0; write one", "step")
    if kind == "int" and not isinstance(step, int):
        raise DomainError(f"{step} is no whole number; an int range has whole steps; write {math.ceil(step)}", "step")
    steps = (to_fraction(high) - to_fraction(low)) / to_fraction(step)
    if steps.denominator == 1:
        return
    if steps < 1:
        raise DomainError(
            f"{step} is wider than {low} to {high}; a step fits into its range; write a smaller one", "step"
        )
    end = to_fraction(low) + int(steps) * to_fraction(step)
    fix = f"end the range at {int(end) if kind == 'int' else float(end)} or change the step"
    raise DomainError(f"{step} does not divide {low} to {high}; steps end on the highest; {fix}", "step")


def _when(name: str, raw: object, earlier: Mapping[str, Parameter | None]) -> dict[str, tuple[Value, ...]]:
    if not isinstance(raw, dict) or not raw:
        raise DomainError(
            f"{format_value(raw)} is no condition; a condition holds parameters and their values; "
            "write {num_layers: [2, 3]}, say",
            "when",
        )
    if FIELDS[name].model_fields[name].is_required():
        raise DomainError(f"leaves points without {name}; it has no default for them; remove when", "when")
    conditions = {}
    for other, values in raw.items():
        key = ("when", other)
        if other not in FIELDS:
            hint = suggest(other, FIELDS) or "; remove it"
            raise DomainError(f"unknown parameter; a condition names one of the space{hint}", *key)
        if other not in earlier:
            raise DomainError(
                f"does not stand above {name}; a condition names an earlier parameter; put {other} above {name}",
                *key,
            )
        values = values if isinstance(values, list) else [values]
        if not values:
            raise DomainError("the list is empty; a condition needs at least one value; add values", *key)
        if len(values) > MAX_CONDITION_VALUES:
            raise DomainError(
                f"has {len(values):,} values; a condition has at most {MAX_CONDITION_VALUES}; shorten it", *key
            )
        conditions[other] = tuple(parse_value(other, value, *key) for value in values)
        domain = earlier[other]
        for value, given in zip(conditions[other], values, strict=True):
            if domain is not None and not domain.contains(value):
                raise DomainError(
                    f"{format_value(given)} is not in the domain of space.{other}; the condition could never hold; "
                    "widen the domain or remove the value",
                    *key,
                )
    return conditions


def _takes(name: str) -> set[str]:
    """The names of the plain types that a parameter's field is annotated with."""
    annotation = FIELDS[name].model_fields[name].annotation
    return {option.__name__ for option in get_args(annotation) or (annotation,) if isinstance(option, type)}


def _example(name: str) -> str:
    """The form of a domain that fits a parameter."""
    for kind in _takes(name) & {"int", "float"}:
        return f"{kind}: [lo, hi]"
    words = [option for option in get_args(FIELDS[name].model_fields[name].annotation) if isinstance(option, str)]
    return f"choice: [{', '.join(words or (FEATURE_SETS if name == 'features' else ['true', 'false']))}]"
