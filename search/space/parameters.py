"""The parameters a space may vary, the domain that a space gives to each, and the grid of finite ones."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from stockrnn.configuration import Configuration
from stockrnn.dataset.config import FEATURE_SETS, WindowConfig
from stockrnn.networks.config import NetworkConfig
from stockrnn.training.config import TrainingConfig

__all__ = ["FIELDS", "Parameter", "Value", "grid_points", "grid_size"]

Value = str | int | float | bool | None

CONFIGURATIONS: tuple[type[Configuration], ...] = (NetworkConfig, WindowConfig, TrainingConfig)
FIELDS: dict[str, type[Configuration]] = {
    name: owner for owner in CONFIGURATIONS for name in owner.model_fields if name != "others"
}  # every parameter a space may vary, and the configuration it belongs to; data.also decides on others


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter and its domain.

    Attributes:
        kind: constant and choice have `values`, a constant one; int and float have `low`, `high` (both
            included), `log`, `step`.
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

    @property
    def size(self) -> int | None:
        """How many values the domain has; None where there are infinitely many."""
        if self.kind in ("constant", "choice"):
            return len(self.values)
        if self.kind == "float" and self.step is None:
            return None
        return int((to_fraction(self.high) - to_fraction(self.low)) / to_fraction(self.step or 1)) + 1

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
        if self.size is None:
            return None
        low, step = to_fraction(self.low), to_fraction(self.step or 1)
        plain = int if self.kind == "int" else float
        return tuple(plain(low + index * step) for index in range(self.size))

    def as_yaml(self) -> Any:
        """The domain as a space file writes it."""
        domain: dict[str, Any]
        if self.kind in ("constant", "choice"):
            values = [_written(self.name, value) for value in self.values]
            if not self.when:
                return values[0] if self.kind == "constant" and not isinstance(values[0], list) else values
            domain = {"choice": values}
        else:
            domain = {self.kind: [self.low, self.high]}
            if self.log:
                domain["log"] = True
            if self.step is not None:
                domain["step"] = self.step
        if self.when:
            domain["when"] = {name: [_written(name, value) for value in values] for name, values in self.when.items()}
        return domain


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


def grid_size(parameters: tuple[Parameter, ...]) -> int | None:
    """How many points `grid_points` yields, without walking them; None where they are infinitely many."""
    if any(parameter.size is None for parameter in parameters):
        return None
    # A parameter exists where all its conditions hold, so of the values chosen so far only this matters: which later
    # parameters they leave possible. Points are counted by that set of parameters, a bit for each.
    points = {(1 << len(parameters)) - 1: 1}
    for position, parameter in enumerate(parameters):
        later = {
            1 << index: set(other.when[parameter.name])
            for index, other in enumerate(parameters)
            if index > position and parameter.name in other.when
        }
        named = {value for values in later.values() for value in values}
        kept = Counter(sum(bit for bit, values in later.items() if value in values) for value in named)
        kept[0] += (parameter.size or 0) - len(named)
        free = ~sum(later)
        grown: Counter[int] = Counter()
        for possible, count in points.items():
            if not possible >> position & 1:
                grown[possible & free] += count
                continue
            for allowed, values in kept.items():
                if values:
                    grown[possible & (free | allowed)] += count * values
        points = grown
    return sum(points.values())


def to_fraction(number: float) -> Fraction:
    """A number as it is written: 0.1 is one tenth."""
    return Fraction(str(number))


def _written(name: str, value: Value) -> Value | list[str]:
    """A value as a space file writes it: features that are no set are a list."""
    if name == "features" and isinstance(value, str) and value not in FEATURE_SETS:
        return value.split(",")
    return value
