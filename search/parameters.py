"""The parameters a space may vary, and the domain a space gives to each.

In a space file a list is a choice, `{int: [lo, hi]}` and `{float: [lo, hi]}` are ranges (with `log: true` or `step`),
a scalar is a constant; `when: {other: [values]}` makes a parameter exist only beside those values of an earlier one.
"""

import difflib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from stockrnn.configuration import (
    FEATURE_SETS,
    Configuration,
    NetworkConfig,
    TrainingConfig,
    WindowConfig,
    features_label,
)

__all__ = ["FIELDS", "DomainError", "Parameter", "Value", "explain", "grid_points", "parse_parameter", "suggestion"]

Value = str | int | float | bool | None

CONFIGURATIONS: tuple[type[Configuration], ...] = (NetworkConfig, WindowConfig, TrainingConfig)
FIELDS: dict[str, type[Configuration]] = {
    name: owner for owner in CONFIGURATIONS for name in owner.model_fields
}  # every parameter a space may vary, and the configuration it belongs to


class DomainError(ValueError):
    """A domain that makes no sense; `key` leads to the wrong part below the parameter."""

    def __init__(self, message: str, *key: str | int) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter and its domain.

    Attributes:
        kind: constant and choice have `values`; int and float have `low`, `high` (both included), `log`, `step`.
        when: earlier parameters and the values of theirs beside which this one exists; elsewhere it keeps the
            default of its configuration.
    """

    name: str
    kind: Literal["constant", "choice", "int", "float"]
    values: tuple[Value, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    @property
    def varies(self) -> bool:
        """Whether a sampler has something to choose."""
        return self.kind != "constant"

    def applies(self, point: Mapping[str, Value]) -> bool:
        """Whether the parameter exists beside the values of the earlier parameters."""
        return all(name in point and point[name] in values for name, values in self.when.items())

    def contains(self, value: Value) -> bool:
        """Whether a value lies in the domain."""
        if self.kind in ("constant", "choice"):
            return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in self.values)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.kind == "int" and value != int(value):
            return False
        steps = (value - self.low) / self.step if self.step else 0
        return math.isclose(steps, round(steps), abs_tol=1e-9)

    def all_values(self) -> tuple[Value, ...] | None:
        """Every value of the domain, or None where there are infinitely many."""
        if self.kind in ("constant", "choice"):
            return self.values
        if self.kind == "int":
            return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        if self.step is None:
            return None
        count = round((self.high - self.low) / self.step)
        return tuple(round(self.low + index * self.step, 12) for index in range(count + 1))

    def as_yaml(self) -> Any:
        """The domain as a space file writes it."""
        domain: dict[str, Any]
        if self.kind == "constant" and not self.when:
            return self.values[0]
        if self.kind in ("constant", "choice"):
            if not self.when:
                return list(self.values)
            domain = {"choice": list(self.values)}
        else:
            domain = {self.kind: [self.low, self.high]}
            if self.log:
                domain["log"] = True
            if self.step is not None:
                domain["step"] = self.step
        if self.when:
            domain["when"] = {name: list(values) for name, values in self.when.items()}
        return domain


def parse_parameter(name: str, raw: object, earlier: Mapping[str, Parameter]) -> Parameter:
    """A parameter's entry in a space file -> Parameter.

    Args:
        name: one of FIELDS.
        raw: the entry as read from YAML.
        earlier: the parameters that stand above it, which `when` may name.

    Raises:
        DomainError: the entry is malformed, or holds a value that the parameter cannot take.
    """
    if not isinstance(raw, dict):
        return _choice(name, raw) if isinstance(raw, list) else Parameter(name=name, kind="constant", values=(_value(name, raw),))
    kinds = [kind for kind in ("int", "float", "choice") if kind in raw]
    unknown = [key for key in raw if key not in ("int", "float", "choice", "log", "step", "when")]
    if unknown:
        known = ("int", "float", "choice", "log", "step", "when")
        raise DomainError(f"unknown key; a domain has {', '.join(known)}{suggestion(unknown[0], known)}", str(unknown[0]))
    if len(kinds) != 1:
        raise DomainError("needs one of int, float or choice; as in {int: [4, 64], log: true} or [4, 8, 16]")
    when = _when(name, raw["when"], earlier) if "when" in raw else {}
    if kinds == ["choice"]:
        for key in ("log", "step"):
            if key in raw:
                raise DomainError("goes with a range; a choice has none; remove it", key)
        if not isinstance(raw["choice"], list):
            raise DomainError(f"{raw['choice']!r} is no list; a choice is a list; write [{raw['choice']}]", "choice")
        return _choice(name, raw["choice"], when, "choice")
    return _range(name, raw, "int" if kinds == ["int"] else "float", when)


def explain(error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each of a validation's complaints as (key below the validated value, what is wrong; the rule; the fix)."""
    for item in error.errors():
        context, given = item.get("ctx", {}), _shown(item["input"])
        key = tuple(item["loc"])
        match item["type"]:
            case "missing":
                yield key, "is missing; it has no default; add it"
            case "extra_forbidden":
                yield key, "unknown key"
            case "literal_error":
                options = context["expected"].replace("'", "").replace(" or ", ", ")
                yield key, f"{given} is none of {options}{suggestion(item['input'], options.split(', '))}"
            case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" as kind:
                bound = next(iter(context.values()))
                words = {"greater_than": "above", "greater_than_equal": "at least", "less_than": "below"}
                size = "small" if kind.startswith("greater") else "large"
                rule = f"{words.get(kind, 'at most')} {bound}"
                yield key, f"{given} is too {size}; it must be {rule}; write a number {rule}"
            case "int_type" | "int_from_float":
                yield key, f"{given} is no whole number; it must be one; write digits without quotes or a point"
            case "float_type":
                yield key, f"{given} is no number; it must be one; write it without quotes, as in 0.001"
            case "finite_number":
                yield key, f"{given} is not finite; it must be a finite number"
            case "bool_type":
                yield key, f"{given} is neither true nor false; it must be one; write true or false"
            case "string_type" | "string_too_short":
                yield key, f"{given} is no text; it must be a word or a path; write it in quotes"
            case "model_type" | "dict_type" | "model_attributes_type":
                yield key, f"{given} is no section; a section holds keys; write them below it, indented"
            case "list_type" | "tuple_type":
                yield key, f"{given} is no list; it must be one; write [...]"
            case _:
                yield key, item["msg"].removeprefix("Value error, ")


def suggestion(given: object, known: Any) -> str:
    """`; did you mean X?` where a known word is near, else the empty string."""
    close = difflib.get_close_matches(str(given), [str(word) for word in known], n=1)
    return f"; did you mean {close[0]}?" if close else ""


def grid_points(parameters: tuple[Parameter, ...]) -> Iterator[dict[str, Value]]:
    """Every point of a finite space, each once: the values of the parameters that vary and exist there."""

    def extended(point: dict[str, Value], rest: tuple[Parameter, ...]) -> Iterator[dict[str, Value]]:
        if not rest:
            yield {name: value for name, value in point.items() if name in varying}
            return
        parameter = rest[0]
        if not parameter.applies(point):
            yield from extended(point, rest[1:])
            return
        for value in parameter.all_values() or ():
            yield from extended({**point, parameter.name: value}, rest[1:])

    varying = {parameter.name for parameter in parameters if parameter.varies}
    yield from extended({}, parameters)


def _adapter(name: str) -> TypeAdapter[Any]:
    info = FIELDS[name].model_fields[name]
    return TypeAdapter(Annotated[info.annotation, info], config={"strict": True})  # type: ignore[misc]


def _takes(name: str) -> set[type]:
    """The plain types a parameter's field is annotated with."""
    annotation = FIELDS[name].model_fields[name].annotation
    return {option for option in (get_args(annotation) or (annotation,)) if isinstance(option, type)}


def _value(name: str, raw: object, *key: str | int) -> Value:
    """One value of a parameter as a sampler may handle it; features become their label."""
    try:
        value = _adapter(name).validate_python(raw)
    except ValidationError as error:
        raise DomainError(next(text for _, text in explain(error)), *key) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise DomainError(f"{_shown(raw)} is not finite; it must be a finite number", *key)
    return features_label(value) if isinstance(value, tuple) else value


def _choice(
    name: str, raw: list[Any], when: Mapping[str, tuple[Value, ...]] | None = None, *key: str | int
) -> Parameter:
    if not raw:
        raise DomainError("the list is empty; a choice needs at least one value; add values", *key)
    if name == "features" and all(isinstance(item, str) and item not in FEATURE_SETS for item in raw):
        raise DomainError(
            f"in a space a list is a choice, here among single columns; choose among sets "
            f"({', '.join(FEATURE_SETS)}) or lists; write [[{', '.join(raw)}]] for one set of inputs",
            *key,
        )
    values = tuple(_value(name, item, *key, index) for index, item in enumerate(raw))
    for index, value in enumerate(values):
        if value in values[:index]:
            raise DomainError(f"{_shown(raw[index])} stands twice; each choice stands once; delete one", *key, index)
    return Parameter(name=name, kind="choice", values=values, when=when or {})


def _range(
    name: str, raw: Mapping[str, Any], kind: Literal["int", "float"], when: Mapping[str, tuple[Value, ...]]
) -> Parameter:
    allowed = _takes(name)
    if not allowed & {int, float}:
        raise DomainError(f"takes no numbers; a range does not fit; list its values, as in [{_example(name)}]", kind)
    if kind == "int" and int not in allowed:
        raise DomainError("takes fractions; write {float: [lo, hi]}", kind)
    if kind == "float" and float not in allowed:
        raise DomainError("takes whole numbers only; write {int: [lo, hi]}", kind)
    ends = raw[kind]
    if not isinstance(ends, list) or len(ends) != 2:
        raise DomainError(f"{_shown(ends)} is no range; a range is [lowest, highest]; write two numbers", kind)
    low, high = (_value(name, end, kind, index) for index, end in enumerate(ends))
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise DomainError(f"{_shown(ends)} is no range; a range is two numbers", kind)
    if low >= high:
        what = "is empty" if low == high else "is reversed"
        raise DomainError(f"[{low}, {high}] {what}; the lowest comes first and is below the highest; swap or widen", kind)
    log, step = raw.get("log", False), raw.get("step")
    if not isinstance(log, bool):
        raise DomainError(f"{_shown(log)} is neither true nor false; write true or false", "log")
    if log and low <= 0:
        raise DomainError(f"[{low}, {high}] starts at {low}; a log range starts above 0; raise it or drop log", kind)
    if step is not None:
        if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < math.inf:
            raise DomainError(f"{_shown(step)} is no step; a step is a number above 0", "step")
        if kind == "int" and not isinstance(step, int):
            raise DomainError(f"{step} is no whole number; an int range has whole steps; write {max(1, round(step))}", "step")
        if log:
            raise DomainError("a log range has no step; drop step or log", "step")
        steps = (high - low) / step
        if not math.isclose(steps, round(steps), abs_tol=1e-9):
            end = round(low + math.floor(steps) * step, 12)
            raise DomainError(f"{step} does not divide {low} to {high}; steps end on the highest; end at {end}", "step")
    return Parameter(name=name, kind=kind, low=low, high=high, log=log, step=step, when=when)


def _when(name: str, raw: object, earlier: Mapping[str, Parameter]) -> dict[str, tuple[Value, ...]]:
    if not isinstance(raw, dict) or not raw:
        raise DomainError(f"{_shown(raw)} is no condition; write when: {{num_layers: [2, 3]}}", "when")
    conditions = {}
    for other, values in raw.items():
        if other not in FIELDS:
            raise DomainError(f"unknown parameter{suggestion(other, FIELDS)}", "when", other)
        if other not in earlier:
            raise DomainError(
                f"{other} does not stand above {name} in the space; a condition names an earlier parameter; "
                f"move {name} below it",
                "when", other,
            )  # fmt: skip
        values = values if isinstance(values, list) else [values]
        if not values:
            raise DomainError("the list is empty; the condition could never hold; add values", "when", other)
        checked = tuple(_value(other, value, "when", other) for value in values)
        for value in checked:
            if not earlier[other].contains(value):
                raise DomainError(f"{_shown(value)} is not in the domain of {other}; the condition could never hold", "when", other)
        conditions[other] = checked
    return conditions


def _example(name: str) -> str:
    options = get_args(FIELDS[name].model_fields[name].annotation)
    return ", ".join(str(option) for option in options if isinstance(option, str)) or "true, false"


def _shown(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def grid_size(parameters: tuple[Parameter, ...], most: int) -> int | None:
    """Points of a space, counted up to `most`; None where a parameter has infinitely many values."""
    if any(parameter.all_values() is None for parameter in parameters):
        return None
    return sum(1 for _ in itertools.islice(grid_points(parameters), most))
