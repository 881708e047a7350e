"""A YAML file as plain data that remembers the line of every key, `--set` values laid over it; and back.

Only plain data is read (no tags, no objects). Duplicate keys are refused, and whatever is too large, too deep or too
long, before anything is made of it: time and memory are bounded whatever a stranger's file holds.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from search.shipped import shipped
from search.wording import one_line, shortened, shown
from stockrnn.files import FileError, plain_bytes

__all__ = ["MOST_PROBLEMS", "Document", "Key", "SpaceError", "yaml_text"]

Key = tuple[str | int, ...]

MOST_BYTES = 500_000
MOST_NODES = 20_000
MOST_PROBLEMS = 50
DEEPEST = 20
LONGEST_TEXT = 4096  # letters of a value or key: those of the longest path
LONGEST_OPTION = 200  # letters of an option that an error shows
MOST_DIGITS = 18
YAML = "tag:yaml.org,2002:"


class SpaceError(ValueError):
    """A user's mistake in a space or an option; `problems` are lines `FILE:LINE: KEY: what; rule; fix`, 51 at most."""

    def __init__(self, problems: Iterable[str]) -> None:
        lines = [one_line(problem) for problem in itertools.islice(problems, MOST_PROBLEMS + 1)]
        if len(lines) > MOST_PROBLEMS:
            lines[MOST_PROBLEMS:] = [f"there are more mistakes; {MOST_PROBLEMS} are shown; mend these first"]
        self.problems = tuple(lines)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Document:
    """The data of a space file and where each key stands.

    Args:
        path: the file, as the user wrote it; it names the file in errors.

    Attributes:
        text: the file's.
        data: what it says.

    Raises:
        SpaceError: the file cannot be read, is no YAML, no mapping, repeats a key, or is too large
            or too deep.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.text = _text(path)
            loader = _Loader(self.text, mend="mend this line or the one above")
            data = loader.plain()
            if not isinstance(data, dict):
                raise _Wrong(
                    f"is {'empty' if data is None else 'no mapping'}; a space file maps keys to values; "
                    "start with 'space:', see spaces/",
                    loader.first_line,
                )
        except _Wrong as wrong:
            raise SpaceError([f"{path}:{wrong.line}: {wrong}"]) from None
        self.data: dict[str, Any] = data
        self._lines = loader.lines
        self._options: dict[Key, str] = {}

    def where(self, key: Key) -> str:
        """`FILE:LINE` of a key (of its nearest parent where it is a default), or the option that set it."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._options:
                return self._options[key[:length]]
            if key[:length] in self._lines:
                return f"{self.path}:{self._lines[key[:length]]}"
        return f"{self.path}:1"

    def __getstate__(self) -> dict[str, Any]:  # no password travels to the workers, or into Ray's files
        return {**self.__dict__, "text": ""}

    def problem(self, key: Key, text: str) -> str:
        """One line: where a key stands, its dotted name and what is wrong with it."""
        name = ".".join(shortened(str(part)) for part in key)
        return f"{self.where(key)}: {name + ': ' if name else ''}{text}"

    def set(self, name: str, text: str, option: str | None = None) -> None:
        """Lay a value over the file's, as `--set NAME=TEXT` does; TEXT is read as YAML.

        Raises:
            SpaceError: the text is no YAML, or the name leads through something that is no mapping.
        """
        option = shortened(option or f"--set {name}={text}", LONGEST_OPTION)
        key: Key = tuple(name.split("."))
        if not all(key) or len(key) > DEEPEST:
            raise SpaceError(
                [
                    f"{option}: {shortened(name)!r} is no key; a key is words joined by dots, at most {DEEPEST}; "
                    "as in --set seed=1"
                ]
            )
        try:
            value = _Loader(text, mend="quote the value").plain()
        except _Wrong as wrong:
            raise SpaceError([f"{option}: {shortened(name)}: {wrong}"]) from None
        parent = self.data
        for depth, part in enumerate(key[:-1], start=1):
            child = parent.get(str(part))
            if child is None:
                child = parent[str(part)] = {}
                self._options.setdefault(key[:depth], option)
            if not isinstance(child, dict):
                above = shortened(".".join(map(str, key[:depth])))
                raise SpaceError(
                    [f"{option}: {above}: {shown(child)} is no section; it holds no keys; set {above} whole"]
                )
            parent = child
        parent[str(key[-1])] = value
        self._lines = {place: line for place, line in self._lines.items() if place[: len(key)] != key}
        self._options = {place: typed for place, typed in self._options.items() if place[: len(key)] != key}
        self._options[key] = option


def yaml_text(sections: Mapping[str, Any]) -> str:
    """Data as YAML that reads back equal: a line per key, and per key of a section."""

    def line(name: str, value: Any) -> str:
        text = yaml.dump(
            {name: value},
            Dumper=_Dumper,
            default_flow_style=True,
            sort_keys=False,
            width=float("inf"),
            allow_unicode=True,
        )
        return text.strip()[1:-1]  # without the braces

    lines = []
    for name, section in sections.items():
        if isinstance(section, Mapping) and section:
            lines += [f"{name}:", *(f"  {line(key, value)}" for key, value in section.items())]
        else:
            lines.append(line(name, section))
    return "\n".join(lines) + "\n"


class _Wrong(Exception):  # noqa: N818
    """What is wrong with a YAML text, and on which line."""

    def __init__(self, text: str, line: int = 1) -> None:
        super().__init__(text)
        self.line = line


class _Loader(yaml.SafeLoader):
    """YAML's plain data: no tags; 1e-4 is a number, 010 is ten, dates and 1:30 stay text."""

    def __init__(self, text: str, *, mend: str) -> None:
        self.mend = mend
        self.lines: dict[Key, int] = {}
        self.first_line = 1
        self._nodes = self._depth = 0
        if len(text) > MOST_BYTES:
            raise _Wrong(f"is too long; a space has at most {MOST_BYTES:,} letters; shorten it")
        try:
            super().__init__(text)
        except yaml.reader.ReaderError as error:
            raise _Wrong(
                f"the character #x{error.character:04x} is not allowed; YAML is text; delete it",
                text[: error.position].count("\n") + 1,
            ) from None

    def plain(self) -> Any:
        """The one document's data; fills `lines`.

        Raises:
            _Wrong: the text is no YAML, or not of the plain kind.
        """
        try:
            if not self.check_node():
                return None
            node = self.get_node()
            if self.check_node():
                raise _Wrong(
                    "begins a second document; a space file holds one; delete this one",
                    self.peek_event().start_mark.line + 1,
                )
        except yaml.MarkedYAMLError as error:
            reason = ": ".join(part for part in (error.context, error.problem) if part)
            open_at_end = re.search("end of stream|stream end", error.problem or "")
            mark = (error.context_mark if open_at_end else None) or error.problem_mark
            raise _Wrong(f"is not YAML ({reason}); {self.mend}", mark.line + 1 if mark else 1) from None
        except (ValueError, OverflowError):  # PyYAML's chr() of what is no code point
            raise _Wrong("an escape in quotes names no character; use \\uXXXX", self.line + 1) from None
        assert node is not None
        self.first_line = node.start_mark.line + 1
        self._nodes = 0
        return self._data(node, (), 1)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """PyYAML's, kept from reading more, deeper or other than plain data."""
        event = self.peek_event()
        line = event.start_mark.line + 1
        if tag := getattr(event, "tag", None):
            name = shortened(tag.replace(YAML, "!!"))
            raise _Wrong(f"has the tag {name}; a space is plain data without tags; remove the tag", line)
        if len(getattr(event, "value", "")) > LONGEST_TEXT:  # it may be repeated by aliases
            raise _Wrong(f"has a text too long; it has at most {LONGEST_TEXT:,} letters; shorten it", line)
        self._depth += 1
        self._check_size(self._depth - 1, line)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """A decimal number; its digits are limited, as more of them are no count of anything here."""
        if len(node.value.lstrip("+-")) > MOST_DIGITS:
            raise _Wrong(
                f"{shortened(node.value)} is too long; a number has at most {MOST_DIGITS} digits; shorten it",
                node.start_mark.line + 1,
            )
        return int(node.value)

    def _data(self, node: yaml.Node, key: Key, line: int) -> Any:
        line = max(line, node.start_mark.line + 1)  # an alias counts where it stands, after its anchor
        self._check_size(len(key), line)  # again: an alias is composed once, and built wherever it stands
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.lines[*key, index] = item.start_mark.line + 1
                items.append(self._data(item, (*key, index), line))
            return items
        if not isinstance(node, yaml.MappingNode):
            return self.construct_object(node)
        mapping: dict[str, Any] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                raise _Wrong("a key is a list or mapping; keys are words; write key: value", line)
            name = name_node.value  # as written: `on:` and `1:` are words where a key stands
            if name in mapping:
                dotted = ".".join(shortened(str(part)) for part in (*key, name))
                first = self.lines[*key, name]
                raise _Wrong(f"{dotted}: stands twice, first on line {first}; a key stands once; delete one", line)
            self.lines[*key, name] = line
            mapping[name] = self._data(value_node, (*key, name), self.lines[*key, name])
        return mapping

    def _check_size(self, depth: int, line: int) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise _Wrong(
                f"too much data; a space has at most {MOST_NODES:,} values, aliases counted; delete some",
                line,
            )
        if depth > DEEPEST:
            raise _Wrong(f"is nested too deeply; a space has at most {DEEPEST} levels; flatten it", line)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that `_Loader` or another reader of YAML would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def text(self, data: str) -> yaml.Node:
        """A text; with escapes where it is not printable, as PyYAML's other styles lose some line breaks."""
        return self.represent_scalar(YAML + "str", data, style=None if data.isprintable() else '"')


NUMBERS = {
    YAML + "int": r"[-+]?[0-9]+$",
    YAML + "float": r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$"
    r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$",
}
_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag in (YAML + "bool", YAML + "null")]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in NUMBERS.items():
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(_tag, re.compile(_pattern), list("-+0123456789."))
_Dumper.add_representer(str, _Dumper.text)
_Loader.add_constructor(YAML + "int", _Loader.whole_number)


def _text(path: str) -> str:
    """The text of a space file."""
    try:
        raw = plain_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        known = ", ".join(shipped())
        raise _Wrong(f"no such file; a space is a YAML file; write one, see spaces/, or name one of {known}") from None
    except FileError as error:
        raise _Wrong(f"{error}; a space is a plain YAML file of at most {MOST_BYTES:,} bytes; name one") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _Wrong("is not UTF-8 text; a space file is; save it as UTF-8", line) from None
    for number, content in enumerate(text.split("\n"), start=1):
        indent = content[: len(content) - len(content.lstrip())]
        if "\t" in indent and not content.lstrip().startswith("#") and content.strip():
            raise _Wrong("a tab indents the line; YAML indents with spaces; replace the tab", number)
    return text
