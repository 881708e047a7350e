"""Determine the CPU cores and the GPU share of each trial from its point.

An entry of `resources.when` replaces `cpu` and `gpu` at the points that meet its condition. The share `auto` becomes
the smallest of a few fixed shares that holds the trial's networks. With few different shares, workers can be reused.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from search.common.messages import format_value, suggest
from search.space.domains import MAX_CONDITION_VALUES, DomainError, check_in_domain, parse_value
from search.space.parameters import FIELDS, Parameter, Value
from search.space.sections import AUTO, ResourcesConfig
from search.space.yaml_reader import Key

__all__ = ["GPU_SHARES", "Demand", "ResourceRules", "double_share", "smallest_share"]

GPU_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # for `auto`
BOUNDS = ("min", "max")


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Resources of a trial.

    Attributes:
        cpu: CPU cores.
        gpu: share of one GPU; 0 for a trial on the CPU.
        cpu_key, gpu_key: keys of the space that set them.
    """

    cpu: float
    gpu: float | Literal["auto"]
    cpu_key: Key = field(default=("resources", "cpu"), compare=False)
    gpu_key: Key = field(default=("resources", "gpu"), compare=False)

    def count_fitting(self, machine: Mapping[str, float]) -> int:
        """Return how many such trials fit on a machine with these Ray resources; a share cannot span two GPUs."""
        fits = _times_fitting(machine.get("CPU", 0), self.cpu)
        if not self.gpu:
            return fits
        share = GPU_SHARES[0] if self.gpu == AUTO else float(self.gpu)
        return min(fits, int(machine.get("GPU", 0)) * _times_fitting(1, share))


@dataclass(frozen=True, kw_only=True)
class _Condition:
    """Condition of one parameter: a list of values, or a range from `low` to `high`."""

    name: str
    values: tuple[Value, ...] = ()
    low: float = -math.inf
    high: float = math.inf

    def holds(self, value: Value) -> bool:
        if self.values:
            return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in self.values)
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    @property
    def breakpoints(self) -> tuple[Value, ...]:
        return (*self.values, self.low, self.high)


class ResourceRules:
    """Resources of the points of a space.

    Args:
        resources: section `resources`.
        parameters: parameters of the space.

    Attributes:
        demands: the different demands of all points.

    Raises:
        DomainError: a condition names an unknown parameter, or no point meets it. The key of the error is below `when`.
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
                    f"no point of the space meets the conditions on {names} together; remove one of them", index, "if"
                )

    def at(self, point: Mapping[str, Value]) -> Demand:
        """Return the demand of a complete point. The condition on a parameter that the point lacks is not met."""
        return self._combine(
            index
            for index, conditions in enumerate(self._entries)
            if all(condition.name in point and condition.holds(point[condition.name]) for condition in conditions)
        )

    def _combine(self, entries: Iterable[int]) -> Demand:
        """Return the demand of the section, with the values of these entries in place of its own."""
        values: dict[str, Any] = {"cpu": self._resources.cpu, "gpu": self._resources.gpu}
        for index in sorted(entries):
            entry = self._resources.when[index]
            for name in ("cpu", "gpu"):
                if (value := getattr(entry, name)) is not None:
                    values |= {name: value, f"{name}_key": ("resources", "when", index, name)}
        return Demand(**values)


def smallest_share(needed: int, memory: int) -> float:
    """Return the smallest share of a GPU that holds `needed` bytes; 1 if no share does.

    Args:
        memory: bytes of the GPU.
    """
    return next((share for share in GPU_SHARES if share * memory >= needed), 1.0)


def double_share(share: float) -> float:
    """Return twice the share of a GPU, at most 1."""
    return min(1.0, 2 * share)


def _times_fitting(available: float, demand: float) -> int:
    """Return how many times a demand fits, exactly for decimal numbers: 0.1 fits ten times into 1."""
    return int(Fraction(str(available)) / Fraction(str(demand)))


def _parse_condition(name: str, raw: object, known: Mapping[str, Parameter], index: int) -> _Condition:
    key = (index, "if", name)
    if name not in known:
        problem = "is not in this space" if name in FIELDS else "unknown parameter"
        raise DomainError(problem + (suggest(name, known) or f"; the space has {', '.join(known)}"), *key)
    parameter = known[name]
    if isinstance(raw, dict):
        return _parse_range(parameter, raw, key)
    listed = raw if isinstance(raw, list) else [raw]
    if not 1 <= len(listed) <= MAX_CONDITION_VALUES:
        raise DomainError(
            f"has {len(listed)} values; a condition has 1 to {MAX_CONDITION_VALUES}; for a range, write {{min: ...}}",
            *key,
        )
    values = tuple(parse_value(name, value, *key) for value in listed)
    for value, given in zip(values, listed, strict=True):
        check_in_domain(parameter, value, given, *key)
    return _Condition(name=name, values=values)


def _parse_range(parameter: Parameter, raw: Mapping[str, object], key: Key) -> _Condition:
    name = parameter.name
    for bound in raw:
        if bound not in BOUNDS:
            fix = suggest(bound, BOUNDS) or "; remove it"
            raise DomainError(f"unknown key; the keys of a range are min and max{fix}", *key, bound)
    if not raw:
        raise DomainError("is empty; a condition needs min, max or both; for example {min: 128}", *key)
    bounds: dict[str, float] = {}
    for bound, given in raw.items():
        value = parse_value(name, given, *key, bound)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DomainError(
                f"{format_value(given)} is not a number; min and max need numbers; write a list of values", *key, bound
            )
        bounds[bound] = value
    condition = _Condition(name=name, low=bounds.get("min", -math.inf), high=bounds.get("max", math.inf))
    if condition.low > condition.high:
        raise DomainError(f"min {condition.low:g} is above max {condition.high:g}; swap them", *key)
    if not any(condition.holds(value) for value in _breakpoint_values(parameter, condition.breakpoints)):
        raise DomainError(
            f"{format_value(dict(raw))} contains no value of space.{name}, so the condition is never met; "
            "change the domain or the bounds",
            *key,
        )
    return condition


def _matching_sets(entries: Sequence[Sequence[_Condition]], parameters: Sequence[Parameter]) -> list[frozenset[int]]:
    """Return every set of entries that some point meets together, without a loop over all points.

    After each parameter, only two things matter: the entries that can still match, and the later parameters that can
    still exist. So a state is a pair of these two sets.
    """
    names = {condition.name for conditions in entries for condition in conditions}
    while more := {name for parameter in parameters if parameter.name in names for name in parameter.when} - names:
        names |= more
    relevant = [parameter for parameter in parameters if parameter.name in names]
    states = {(frozenset(range(len(entries))), frozenset(names))}
    for parameter in relevant:
        name = parameter.name
        conditions = [(index, each) for index, entry in enumerate(entries) for each in entry if each.name == name]
        later = [(other.name, other.when[name]) for other in relevant if name in other.when]
        breakpoints = [value for _, condition in conditions for value in condition.breakpoints]
        breakpoints += [value for _, values in later for value in values]
        changes = {
            (
                frozenset(index for index, condition in conditions if not condition.holds(value)),
                frozenset(other for other, values in later if value not in values),
            )
            for value in _breakpoint_values(parameter, breakpoints)
        }
        absent = frozenset(index for index, _ in conditions), frozenset(other for other, _ in later)
        states = {
            (matching - failed, possible - impossible)
            for matching, possible in states
            for failed, impossible in (changes if name in possible else {absent})
        }
    return sorted({matching for matching, _ in states}, key=sorted)


def _breakpoint_values(parameter: Parameter, breakpoints: Sequence[Value]) -> Iterator[Value]:
    """Yield all values of a choice; of a range, its ends and the values at and next to each breakpoint.

    Between two neighbouring breakpoints, no condition with these breakpoints changes its result.
    """
    if parameter.kind in ("constant", "choice"):
        yield from parameter.values
        return
    numbers = [value for value in breakpoints if isinstance(value, int | float) and math.isfinite(value)]
    plain = int if parameter.kind == "int" else float
    for number in (parameter.low, parameter.high, *numbers):
        near: Sequence[float] = (number, math.nextafter(number, -math.inf), math.nextafter(number, math.inf))
        if step := parameter.step or (1 if parameter.kind == "int" else None):
            steps = math.floor((number - parameter.low) / step + 1e-9)
            near = [parameter.low + (steps + more) * step for more in (-1, 0, 1)]
        for value in near:
            if parameter.contains(value):
                yield plain(value)
