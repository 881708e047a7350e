"""Load plug-ins: heads, features and other entries that installed packages register as entry points.

`load_plugins` is called where the names are first needed, in the modules of configurations, not where the dictionaries
(HEADS, SOURCES, ...) are. So a plug-in's module may import the dictionaries' modules for the classes of its entries.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from stockrnn.io.errors import UserError
from stockrnn.io.files import line

__all__ = ["KINDS", "Plugin", "PluginError", "PluginWarning", "check_plugins", "find_plugin", "load_plugins"]

KINDS = {  # of an entry, by group of entry points
    "stockrnn.architectures": "architecture", "stockrnn.baselines": "baseline", "stockrnn.features": "feature",
    "stockrnn.heads": "head", "stockrnn.sources": "source", "stockrnn.tasks": "task", "search.samplers": "sampler",
}  # fmt: skip


class PluginError(UserError):
    """A study needs a plug-in that is not installed; the message is one line."""


class PluginWarning(UserWarning):
    """An installed plug-in cannot be used; its name is unknown."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """An entry of an installed package.

    Attributes:
        group: group of its entry point, a key of KINDS.
        name: the name that spaces use.
        package, version: of the package.
    """

    group: str
    name: str
    package: str
    version: str


_loaded: dict[tuple[str, str], Plugin] = {}


def load_plugins(group: str, taken: Iterable[str], check: Any) -> dict[str, Any]:
    """Return the entries that installed packages register in a group, by name.

    A plug-in that cannot be imported, has another type or a name that is taken is left out, with a `PluginWarning`.

    Args:
        group: a key of KINDS.
        taken: names that exist already.
        check: returns whether an object is an entry of this group.
    """
    names, found = set(taken), {}
    for point in _entry_points().select(group=group):
        package, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
        problem = None
        if not point.name.isidentifier() or point.name in names:
            problem = "its name exists already or is no identifier; rename it"
        else:
            try:
                entry = point.load()
            except Exception as error:  # any code of the plug-in runs here
                problem = f"{type(error).__name__}: {line(error, 200)}; repair or uninstall the package"
            else:
                if not check(entry):
                    problem = f"is a {type(entry).__name__}; see docs/extending.md for the type of a {KINDS[group]}"
        if problem:
            text = f"{KINDS[group]} {point.name} of the package {package} {version}: cannot be used: {problem}"
            warnings.warn(line(text, 1000), PluginWarning, stacklevel=2)
        else:
            names.add(point.name)
            found[point.name] = entry
            plugin = Plugin(group=group, name=point.name, package=package, version=version)
            _loaded[group, point.name] = plugin
    return found


def find_plugin(group: str, name: str) -> Plugin | None:
    """Return the plug-in that an entry comes from; None for an entry of this project."""
    return _loaded.get((group, name))


def check_plugins(place: str, used: Iterable[Mapping[str, Any]]) -> None:
    """Raise PluginError unless all plug-ins that a study used are loaded; another version is accepted.

    The modules of their dictionaries must have been imported.

    Args:
        place: folder of the study, for the message.
        used: `plugins` of its manifest.
    """
    for plugin in used:
        group, name = str(plugin.get("group")), str(plugin.get("name"))
        if (group, name) not in _loaded:
            package = line(f"{plugin.get('package')} {plugin.get('version')}", 100)
            raise PluginError(
                f"{place}: uses the {KINDS.get(group, 'entry')} {line(name, 60)} of the package {package}, which is "
                "not installed here or cannot be used; a study is read with its plug-ins; install the package if you "
                "trust its source"
            )


@cache
def _entry_points() -> Any:  # the type depends on the version of Python
    return entry_points()
