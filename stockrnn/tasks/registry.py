"""List all tasks, and find a task, a target or a metric by name."""

from dataclasses import replace

from stockrnn.plugins import load_plugins
from stockrnn.tasks.direction import DIRECTION
from stockrnn.tasks.price import PRICE
from stockrnn.tasks.task import Target, Task
from stockrnn.tasks.volatility import VOLATILITY

__all__ = ["METRIC_NAMES", "TARGET_NAMES", "TASKS", "find_target", "find_task"]

TASKS: dict[str, Task] = {task.name: task for task in (PRICE, VOLATILITY, DIRECTION)}
_ADDED = load_plugins("stockrnn.tasks", TASKS, lambda entry: isinstance(entry, Task))
TASKS.update({name: replace(task, name=name) for name, task in _ADDED.items()})
TARGET_NAMES = tuple(name for task in TASKS.values() for name in task.targets)
METRIC_NAMES = tuple(dict.fromkeys(name for task in TASKS.values() for name in task.metrics))


def find_task(name: str) -> Task:
    """Return a task."""
    return TASKS[name]


def find_target(name: str) -> Target:
    """Return a target of any task."""
    return next(task.targets[name] for task in TASKS.values() if name in task.targets)
