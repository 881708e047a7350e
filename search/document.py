"""A YAML file as plain data that remembers the line of every key, with `--set` values laid over it.

Only plain data is built (no tags, no objects); duplicate keys, huge or deeply nested files are refused.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Document", "Key", "SpaceError"]

Key = tuple[str | int, ...]

MOST_BYTES = 1_000_000
MOST_NODES = 20_000
DEEPEST = 20


class SpaceError(ValueError):
    """A user's mistake in a space or its overrides; `problems` are lines `FILE:LINE: KEY: what; rule; fix`."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class _Loader(yaml.SafeLoader):
    """YAML's safe subset; numbers such as 1e-4 are numbers, dates stay text."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float"))]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


class Document:
    """The data of a space file and where each key stands.

    Args:
        path: the file, as the user wrote it; it names the file in errors.

    Raises:
        SpaceError: the file cannot be read, is no YAML, no mapping, repeats a key, or is too large or too deep.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.data: dict[Any, Any] = {}
        self._lines: dict[Key, int] = {}
        self._options: dict[Key, str] = {}
        self._nodes = 0
        self._read()

    def where(self, key: Key) -> str:
        """`FILE:LINE` of a key (of its nearest parent where it is a default), or the option that set it."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._options:
                return self._options[key[:length]]
            if key[:length] in self._lines:
                return f"{self.path}:{self._lines[key[:length]]}"
        return f"{self.path}:1"

    def problem(self, key: Key, text: str) -> str:
        """One line: where a key stands, its dotted name and what is wrong with it."""
        name = ".".join(map(str, key))
        return f"{self.where(key)}: {name + ': ' if name else ''}{_one_line(text)}"

    def set(self, name: str, text: str, option: str | None = None) -> None:
        """Lay a value over the file's, as `--set NAME=TEXT` does; TEXT is read as YAML.

        Raises:
            SpaceError: the text is no YAML, or the name leads through something that is no mapping.
        """
        option = option or f"--set {name}={text}"
        key: Key = tuple(name.split("."))
        if not all(key):
            raise SpaceError([f"{option}: {name!r} is no key; write section.key=value; as in --set seed=1"])
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            value = None if node is None else self._build(loader, node, key, option)
        except yaml.YAMLError as error:
            raise SpaceError([f"{option}: {name}: the value is not YAML ({_reason(error)}); quote it"]) from None
        except RecursionError:
            raise SpaceError([f"{option}: {name}: the value is nested too deeply"]) from None
        finally:
            loader.dispose()
        parent = self.data
        for depth, part in enumerate(key[:-1], start=1):
            child = parent.setdefault(part, {})
            if child is None:
                child = parent[part] = {}
            if not isinstance(child, dict):
                dotted = ".".join(map(str, key[:depth]))
                raise SpaceError([f"{option}: {dotted}: is {child!r}, not a section; a key below it cannot be set"])
            parent = child
        parent[key[-1]] = value
        for known in [line for line in self._lines if line[: len(key)] == key]:
            del self._lines[known]
        self._options[key] = option

    def _read(self) -> None:
        try:
            raw = Path(self.path).read_bytes()
        except FileNotFoundError:
            raise SpaceError([f"{self.path}:1: no such file; a space is a YAML file; see spaces/ for examples"]) from None
        except OSError as error:
            raise SpaceError([f"{self.path}:1: cannot be read ({error.strerror}); a space is a YAML file"]) from None
        if len(raw) > MOST_BYTES:
            raise SpaceError([f"{self.path}:1: has {len(raw):,} bytes; a space file has at most {MOST_BYTES:,}"])
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            raise SpaceError([f"{self.path}:{line}: is not UTF-8 text; a space file is; save it as UTF-8"]) from None
        if (line := _tab(text)) is not None:
            raise SpaceError([f"{self.path}:{line}: a tab indents the line; YAML indents with spaces; replace the tab"])
        try:
            loader = _Loader(text)  # checks the characters at once
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                line = 1 if node is None else node.start_mark.line + 1
                raise SpaceError(
                    [f"{self.path}:{line}: is no mapping of keys to values; start with 'space:' and see spaces/"]
                )
            self.data = self._build(loader, node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise SpaceError([f"{self.path}:{line}: is not YAML ({_reason(error)}); mend this line or the one above"]) from None
        except yaml.YAMLError as error:
            raise SpaceError([f"{self.path}:1: is not YAML ({_reason(error)})"]) from None
        except RecursionError:
            raise SpaceError([f"{self.path}:1: is nested too deeply; a space has at most {DEEPEST} levels"]) from None

    def _build(self, loader: _Loader, node: yaml.Node, key: Key, option: str | None = None) -> Any:
        where = option or f"{self.path}:{node.start_mark.line + 1}"
        self._nodes += 1
        if self._nodes > MOST_NODES or len(key) > DEEPEST:
            raise SpaceError(
                [f"{where}: too much data; a space has at most {MOST_NODES:,} values and {DEEPEST} levels, aliases counted"]
            )
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self._note((*key, index), item, option)
                items.append(self._build(loader, item, (*key, index), option))
            return items
        if isinstance(node, yaml.MappingNode):
            mapping: dict[Any, Any] = {}
            for name_node, value_node in node.value:
                if not isinstance(name_node, yaml.ScalarNode):
                    raise SpaceError([f"{where}: a key is a list or mapping; keys are words; write key: value"])
                name = loader.construct_object(name_node)
                if isinstance(name, bool) or name is None:
                    name = name_node.value  # `on:` and `null:` are words where a key stands
                if name in mapping:
                    here = option or f"{self.path}:{name_node.start_mark.line + 1}"
                    first = self._lines.get((*key, name), "?")
                    raise SpaceError([f"{here}: {name}: stands twice (first on line {first}); a key stands once; delete one"])
                self._note((*key, name), name_node, option)
                mapping[name] = self._build(loader, value_node, (*key, name), option)
            return mapping
        return loader.construct_object(node)

    def _note(self, key: Key, node: yaml.Node, option: str | None) -> None:
        if option is None:
            self._lines[key] = node.start_mark.line + 1


def _tab(text: str) -> int | None:
    """The first line that a tab indents."""
    for number, line in enumerate(text.split("\n"), start=1):
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent and line.strip() and not line.lstrip().startswith("#"):
            return number
    return None


def _reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        return _one_line(": ".join(part for part in (error.context, error.problem) if part))
    return _one_line(str(error).split("\n")[0])


def _one_line(text: str) -> str:
    return " ".join(text.split())
