"""List the plug-ins that a study uses. Importing this module loads all plug-ins, and those of baselines only here."""

from collections.abc import Iterator

from search.space.samplers import SAMPLERS
from search.space.space import Space
from stockrnn.dataset.features import DERIVED, ROLLING, parse_rolling
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.heads import HEADS
from stockrnn.plugins import Plugin, find_plugin, load_plugins
from stockrnn.prices.sources import SOURCES
from stockrnn.tasks.price import BASELINES
from stockrnn.tasks.registry import TASKS

__all__ = ["ENTRIES", "used_plugins"]

BASELINES.update(load_plugins("stockrnn.baselines", BASELINES, callable))
ENTRIES = {  # names by group of entry points
    "stockrnn.architectures": ARCHITECTURES.keys(), "stockrnn.baselines": BASELINES.keys(),
    "stockrnn.features": DERIVED.keys() | ROLLING.keys(), "stockrnn.heads": HEADS.keys(),
    "stockrnn.sources": SOURCES.keys(), "stockrnn.tasks": TASKS.keys(), "search.samplers": SAMPLERS.keys(),
}  # fmt: skip


def used_plugins(space: Space) -> list[Plugin]:
    """Return the plug-ins that a study of a space uses: those that the space names, and all baselines."""
    return [plugin for group, name in dict.fromkeys(_names(space)) if (plugin := find_plugin(group, name))]


def _names(space: Space) -> Iterator[tuple[str, str]]:
    for parameter in space.parameters:
        if parameter.name in ("architecture", "head"):
            for value in parameter.values:
                yield f"stockrnn.{parameter.name}s", str(value)
    for feature in space.features:
        rolling = parse_rolling(feature)
        yield "stockrnn.features", rolling[0] if rolling else feature
    for series in (space.data, *space.data.also):
        yield "stockrnn.sources", series.source
    yield "search.samplers", space.search.sampler
    yield "stockrnn.tasks", space.data.task
    for baseline in space.task.baselines:
        yield "stockrnn.baselines", baseline
