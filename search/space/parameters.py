"""Parameters of a space, their domains, and the grid of a finite space."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from stockrnn.configuration import Configuration
from stockrnn.dataset.config import FEATURE_SETS, DataConfig, WindowConfig, features_label
from stockrnn.networks.config import NetworkConfig
from stockrnn.tasks.registry import find_task
from stockrnn.training.config import TrainingConfig

__all__ = [
    "DEFAULTS", "FIELDS", "MAX_ENUMERATED", "Parameter", "Value", "count_new_points", "default_point",
    "effective_point", "grid_points", "grid_size",
    "task_defaults",
]  # fmt: skip

Value = str | int | float | bool | None

MAX_ENUMERATED = 200_000  # points of a grid that are looked at for new ones, which takes seconds
CONFIGURATIONS: tuple[type[Configuration], ...] = (NetworkConfig, WindowConfig, TrainingConfig)
FIELDS: dict[str, type[Configuration]] = {
    name: owner for owner in CONFIGURATIONS for name in owner.model_fields if name not in ("others", "estimator")
}  # every parameter of a space and its configuration; the section `data` sets the other two
DEFAULTS = {name: owner.model_fields[name].default for name, owner in FIELDS.items()}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter and its domain.

    Attributes:
        kind: a choice has several `values`, a constant has one; int and float have `low` and `high` (both included),
            `log` and `step`.
        when: earlier parameters, and the values of them for which this parameter exists. At other points, the
            parameter has the default of its configuration.
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
        """Whether a sampler chooses the value."""
        return self.kind != "constant"

    @property
    def size(self) -> int | None:
        """Number of values of the domain; None if it is infinite."""
        if self.kind in ("constant", "choice"):
            return len(self.values)
        if self.kind == "float" and self.step is None:
            return None
        return int((to_fraction(self.high) - to_fraction(self.low)) / to_fraction(self.step or 1)) + 1

    def applies(self, point: Mapping[str, Value]) -> bool:
        """Return whether the parameter exists at a point with these values of the earlier parameters."""
        return all(name in point and point[name] in values for name, values in self.when.items())

    def contains(self, value: Value) -> bool:
        """Return whether a value is in the domain."""
        if self.kind in ("constant", "choice"):
            return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in self.values)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.kind == "int" and value != int(value):
            return False
        steps = (value - self.low) / self.step if self.step else 0
        return math.isclose(steps, round(steps), abs_tol=1e-9)

    def all_values(self) -> tuple[Value, ...] | None:
        """Return every value of the domain; None if it is infinite."""
        if self.kind in ("constant", "choice"):
            return self.values
        if self.size is None:
            return None
        low, step = to_fraction(self.low), to_fraction(self.step or 1)
        plain = int if self.kind == "int" else float
        return tuple(plain(low + index * step) for index in range(self.size))

    def as_yaml(self) -> Any:
        """Return the domain as plain data for a space file."""
        domain: dict[str, Any]
        if self.kind in ("constant", "choice"):
            values = [_to_yaml(self.name, value) for value in self.values]
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
            domain["when"] = {name: [_to_yaml(name, value) for value in values] for name, values in self.when.items()}
        return domain


def grid_points(parameters: tuple[Parameter, ...], *, constants: bool = False) -> Iterator[dict[str, Value]]:
    """Yield every point of a finite space once: the values of the varying parameters that exist there.

    Args:
        parameters: of the space.
        constants: include the constants.
    """

    def extend(point: dict[str, Value], rest: tuple[Parameter, ...]) -> Iterator[dict[str, Value]]:
        if not rest:
            yield {name: value for name, value in point.items() if name in varying}
            return
        parameter = rest[0]
        if not parameter.applies(point):
            yield from extend(point, rest[1:])
            return
        for value in parameter.all_values() or ():
            yield from extend({**point, parameter.name: value}, rest[1:])

    varying = {parameter.name for parameter in parameters if constants or parameter.varies}
    yield from extend({}, parameters)


def grid_size(parameters: tuple[Parameter, ...]) -> int | None:
    """Return the number of points that `grid_points` yields, without a loop over them; None if it is infinite."""
    if any(parameter.size is None for parameter in parameters):
        return None
    # A parameter exists if all its conditions hold. So the values chosen so far matter only for the set of later
    # parameters that are still possible. Count the points per set; a set is a number with one bit per parameter.
    counts = {(1 << len(parameters)) - 1: 1}
    for position, parameter in enumerate(parameters):
        later = {
            1 << index: set(other.when[parameter.name])
            for index, other in enumerate(parameters)
            if index > position and parameter.name in other.when
        }
        named = {value for values in later.values() for value in values}
        sizes = Counter(sum(bit for bit, values in later.items() if value in values) for value in named)
        sizes[0] += (parameter.size or 0) - len(named)
        unconditional = ~sum(later)
        extended: Counter[int] = Counter()
        for possible, count in counts.items():
            if not possible >> position & 1:
                extended[possible & unconditional] += count
                continue
            for allowed, size in sizes.items():
                if size:
                    extended[possible & (unconditional | allowed)] += count * size
        counts = extended
    return sum(counts.values())


def effective_point(point: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """Return what a trial trains: two points with the same effective point train the same networks.

    Parameters that do not exist at the point have their defaults, and a value without effect is replaced.
    """
    values = {**DEFAULTS, **point}
    if values["scaling"] == "relative" and values["target"] == "close":  # see WindowConfig.target
        values["target"] = "log_return"
    if values["num_layers"] == 1:  # see NetworkConfig.dropout
        values["dropout"] = 0.0
    # A sampler adds up the steps of a range, so its values differ from `all_values` in the last digits.
    return frozenset((name, float(f"{v:.12g}") if isinstance(v, float) else v) for name, v in values.items())


def task_defaults(data: DataConfig) -> dict[str, Value]:
    """Return the values of parameters whose defaults depend on the section `data`."""
    task = find_task(data.task)
    return {
        "features": features_label(data.features), "target": next(iter(task.targets)), "loss": task.losses[0],
        "scaling": task.scalings[0],
    }  # fmt: skip


def default_point(parameters: tuple[Parameter, ...], data: DataConfig) -> dict[str, Value]:
    """Return the complete point of the default configuration, which may lie outside of the space.

    A constant has its value. The other parameters have the defaults of their configurations, except: the cell, which
    has no default, and features that are not among the choices are the first choice; and windows are not longer than
    the longest of the space, for which the folds are made.

    Args:
        parameters: of the space.
        data: the section of the space.
    """
    point: dict[str, Value] = {}
    defaults = task_defaults(data)
    for parameter in parameters:
        if parameter.applies(point):
            point[parameter.name] = _default_value(parameter, defaults)
    return point


def _default_value(parameter: Parameter, defaults: Mapping[str, Value]) -> Value:
    name, values = parameter.name, parameter.values
    if not parameter.varies:
        return values[0]
    if name == "features":
        return defaults[name] if defaults[name] in values else values[0]
    field = FIELDS[name].model_fields[name]
    if field.is_required():
        return values[0]
    default: Value = defaults.get(name, field.default)
    if name == "sequence_length" and not parameter.when:
        return min(int(default or 0), max(int(value or 0) for value in values or (parameter.high,)))
    return default


def count_new_points(
    parameters: tuple[Parameter, ...], default: Mapping[str, Any], points: Iterable[Mapping[str, Any]], limit: int
) -> int:
    """Return the number of points that differ in effect from each other and from `points`; at most `limit`.

    Of an infinite space it is `limit`, and of one with more points than MAX_ENUMERATED it may be too large.

    Args:
        parameters: of the space.
        default: the default configuration, which is tried although the space may not contain it.
        points: that are not counted.
        limit: of the result.
    """
    size = grid_size(parameters)
    if limit <= 0 or size is None:
        return max(limit, 0)
    seen = {effective_point(point) for point in points}
    known = len(seen)
    grid = grid_points(parameters, constants=True)
    for point in itertools.chain([default], itertools.islice(grid, MAX_ENUMERATED)):
        if len(seen) - known == limit:
            break
        seen.add(effective_point(point))
    return len(seen) - known if size <= MAX_ENUMERATED else limit


def to_fraction(number: float) -> Fraction:
    """Return a number exactly as it is written: 0.1 becomes one tenth."""
    return Fraction(str(number))


def _to_yaml(name: str, value: Value) -> Value | list[str]:
    """Return a value as plain data for a space file: the name of a set of features, or a list of features."""
    if name == "features" and isinstance(value, str) and value not in FEATURE_SETS:
        return value.split(",")
    return value
