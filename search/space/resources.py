"""What each trial asks for, by its point: CPU cores and a share of a GPU.

`resources.when` lays values over `cpu` and `gpu` where its conditions hold. A share `auto` is the smallest of a few
that holds what the trial's networks need: few, so that workers are used again by trials that ask for the same.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from search.common.messages import format_value, suggest
from search.space.domains import DomainError, parse_value
from search.space.parameters import FIELDS, Parameter, Value
from search.space.sections import AUTO, ResourcesConfig

__all__ = ["GPU_SHARES", "Demand", "ResourceRules", "double_share", "smallest_share"]

GPU_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of a GPU, those of `auto`
BOUNDS = ("min", "max")
MAX_CONDITION_VALUES = 50  # of a condition
Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a trial asks for.

    Attributes:
        cpu: cores.
        gpu: share of one GPU; 0 for a trial on the CPU.
        cpu_key, gpu_key: the keys of the space that say so.
    """

    cpu: float
    gpu: float | Literal["auto"]
    cpu_key: Path = field(default=("resources", "cpu"), compare=False)
    gpu_key: Path = field(default=("resources", "gpu"), compare=False)

    def count_fitting(self, machine: Mapping[str, float]) -> int:
        """How many such trials a machine holds side by side, by what Ray says it has; a share lies on one GPU."""
        fits = _times_fitting(machine.get("CPU", 0), self.cpu)
        if not self.gpu:
            return fits
        share = GPU_SHARES[0] if self.gpu == AUTO else float(self.gpu)
        return min(fits, int(machine.get("GPU", 0)) * _times_fitting(1, share))


@dataclass(frozen=True, kw_only=True)
class _Condition:
    """A condition of one parameter: some values of it, or all from `low` to `high`."""

    name: str
    values: tuple[Value, ...] = ()
    low: float = -math.inf
    high: float = math.inf

    def holds(self, value: Value) -> bool:
        if self.values:
            return any(
                value == wanted and isinstance(value, bool) == isinstance(wanted, bool) for wanted in self.values
            )
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    @property
    def ends(self) -> tuple[Value, ...]:
        return (*self.values, self.low, self.high)


class ResourceRules:
    """What a space's `resources` say of each of its points.

    Args:
        resources: the section.
        parameters: the space's.

    Raises:
        DomainError: a condition names no parameter of the space, or can never hold; its key is below `when`.
    """

    def __init__(self, resources: ResourcesConfig, parameters: Sequence[Parameter]) -> None:
        self._resources = resources
        known = {parameter.name: parameter for parameter in parameters}
        self._entries = [
            [_parse_condition(name, raw, known, index) for name, raw in entry.if_.items()]
            for index, entry in enumerate(resources.when)
        ]
        matching = _matching_sets(self._entries, parameters)
        self.demands: tuple[Demand, ...] = tuple(dict.fromkeys(self._combine(entries) for entries in matching))
        met = {index for entries in matching for index in entries}
        for index, conditions in enumerate(self._entries):
            if index not in met:
                names = " and ".join(condition.name for condition in conditions)
                raise DomainError(
                    f"no point of the space meets it: {names} are never like that at once; conditions hold together; "
                    "drop one of them",
                    index, "if",
                )  # fmt: skip

    def at(self, point: Mapping[str, Value]) -> Demand:
        """What the trial of a complete point asks for; a condition on a parameter that it lacks does not hold."""
        return self._combine(
            index
            for index, conditions in enumerate(self._entries)
            if all(condition.name in point and condition.holds(point[condition.name]) for condition in conditions)
        )

    def _combine(self, entries: Any) -> Demand:
        """The values of matching entries, by their places, over the section's own."""
        found: dict[str, Any] = {"cpu": self._resources.cpu, "gpu": self._resources.gpu}
        for index in sorted(entries):
            entry = self._resources.when[index]
            for name in ("cpu", "gpu"):
                if (value := getattr(entry, name)) is not None:
                    found |= {name: value, f"{name}_key": ("resources", "when", index, name)}
        return Demand(**found)


def smallest_share(needed: int, memory: int) -> float:
    """The smallest share of a GPU with so many bytes of memory that holds what is needed, at most the whole."""
    return next((share for share in GPU_SHARES if share * memory >= needed), 1.0)


def double_share(share: float) -> float:
    """The share after one that was too small: twice as large, at most the whole GPU."""
    return min(1.0, 2 * share)


def _times_fitting(have: float, want: float) -> int:
    """How often a demand fits, in numbers as they are written: 0.1 fits ten times into 1."""
    return int(Fraction(str(have)) / Fraction(str(want)))


def _parse_condition(name: str, raw: object, known: Mapping[str, Parameter], index: int) -> _Condition:
    key = (index, "if", name)
    if name not in known:
        hint = suggest(name, known) or f"; it has {', '.join(known)}"
        what = "is not in this space" if name in FIELDS else "unknown parameter"
        raise DomainError(f"{what}; a condition names a parameter of the space{hint}", *key)
    parameter = known[name]
    if isinstance(raw, dict):
        return _range(parameter, raw, key)
    given = raw if isinstance(raw, list) else [raw]
    if not 1 <= len(given) <= MAX_CONDITION_VALUES:
        raise DomainError(
            f"has {len(given)} values; a condition has 1 to {MAX_CONDITION_VALUES}; write {{min: ...}}, say", *key
        )
    values = tuple(parse_value(name, value, *key) for value in given)
    for value, written in zip(values, given, strict=True):
        if not parameter.contains(value):
            raise DomainError(
                f"{format_value(written)} is not in the domain of space.{name}; the condition could never hold; "
                "widen the domain or remove the value",
                *key,
            )
    return _Condition(name=name, values=values)


def _range(parameter: Parameter, raw: Mapping[str, object], key: Path) -> _Condition:
    name = parameter.name
    for bound in raw:
        if bound not in BOUNDS:
            hint = suggest(bound, BOUNDS) or "; remove it"
            raise DomainError(f"unknown key; a condition of a range has min and max{hint}", *key, bound)
    if not raw:
        raise DomainError("is empty; a condition has min, max or both; write {min: 128}, say", *key)
    ends: dict[str, float] = {}
    for bound, given in raw.items():
        value = parse_value(name, given, *key, bound)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DomainError(
                f"{format_value(given)} has no order; only numbers have min and max; write a list", *key, bound
            )
        ends[bound] = value
    condition = _Condition(name=name, low=ends.get("min", -math.inf), high=ends.get("max", math.inf))
    if condition.low > condition.high:
        raise DomainError(f"min {condition.low:g} is above max {condition.high:g}; min comes first; swap them", *key)
    if not any(condition.holds(value) for value in _breakpoint_values(parameter, condition.ends)):
        raise DomainError(
            f"{format_value(dict(raw))} holds for no value of space.{name}; the condition could never hold; "
            "widen the domain or move the bounds",
            *key,
        )
    return condition


def _matching_sets(entries: Sequence[Sequence[_Condition]], parameters: Sequence[Parameter]) -> list[frozenset[int]]:
    """Every set of entries that match together at some point, without walking the points.

    Points are told apart by two things alone: which entries may still match, and which later parameters may exist.
    """
    named = {condition.name for conditions in entries for condition in conditions}
    while more := {name for parameter in parameters if parameter.name in named for name in parameter.when} - named:
        named |= more
    telling = [parameter for parameter in parameters if parameter.name in named]
    states = {(frozenset(range(len(entries))), frozenset(named))}
    for parameter in telling:
        name = parameter.name
        conditions = [(index, each) for index, entry in enumerate(entries) for each in entry if each.name == name]
        later = [(other.name, other.when[name]) for other in telling if name in other.when]
        ends = [end for _, condition in conditions for end in condition.ends]
        ends += [value for _, values in later for value in values]
        changes = {
            (
                frozenset(index for index, condition in conditions if not condition.holds(value)),
                frozenset(other for other, values in later if value not in values),
            )
            for value in _breakpoint_values(parameter, ends)
        }
        absent = frozenset(index for index, _ in conditions), frozenset(other for other, _ in later)
        states = {
            (alive - failed, possible - gone)
            for alive, possible in states
            for failed, gone in (changes if name in possible else {absent})
        }
    return sorted({alive for alive, _ in states}, key=sorted)


def _breakpoint_values(parameter: Parameter, ends: Sequence[Value]) -> Iterator[Value]:
    """Values of a domain between which conditions with these ends may change, and all of a choice."""
    if parameter.kind in ("constant", "choice"):
        yield from parameter.values
        return
    numbers = [end for end in ends if isinstance(end, int | float) and math.isfinite(end)]
    plain = int if parameter.kind == "int" else float
    for number in (parameter.low, parameter.high, *numbers):
        near: Sequence[float] = (number, math.nextafter(number, -math.inf), math.nextafter(number, math.inf))
        if step := parameter.step or (1 if parameter.kind == "int" else None):
            steps = math.floor((number - parameter.low) / step + 1e-9)
            near = [parameter.low + (steps + more) * step for more in (-1, 0, 1)]
        for value in near:
            if parameter.contains(value):
                yield plain(value)
