"""A YAML file as plain data that remembers the line of every key, `--set` values laid over it; and back.

Only plain data is read (no tags, no objects). Duplicate keys are refused, and whatever is too large, too deep or too
long, before anything is made of it: time and memory are bounded whatever a stranger's file holds.
"""

import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from search.common.errors import UserError
from search.common.messages import format_value, one_line, shorten
from search.space.yaml_reader import MAX_BYTES, MAX_DEPTH, Key, YamlError, YamlReader
from stockrnn.io.files import FileError, read_bytes, suggest_path

__all__ = ["MAX_PROBLEMS", "SpaceDocument", "SpaceError", "find_space_file"]

PACKAGE = Path(__file__).parents[1]
MAX_PROBLEMS = 50
MAX_OPTION_LENGTH = 200  # letters of an option that an error shows


class SpaceError(UserError):
    """A user's mistake in a space or an option; `problems` are lines `FILE:LINE: KEY: what; rule; fix`, 51 at most."""

    def __init__(self, problems: Iterable[str]) -> None:
        lines = [one_line(problem) for problem in itertools.islice(problems, MAX_PROBLEMS + 1)]
        if len(lines) > MAX_PROBLEMS:
            lines[MAX_PROBLEMS:] = [f"there are more mistakes; {MAX_PROBLEMS} are shown; mend these first"]
        self.problems = tuple(lines)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class SpaceDocument:
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
            loader = YamlReader(self.text, mend="mend this line or the one above")
            data = loader.plain()
            if not isinstance(data, dict):
                raise YamlError(
                    f"is {'empty' if data is None else 'no mapping'}; a space file maps keys to values; "
                    "start with 'space:', see spaces/",
                    loader.first_line,
                )
        except YamlError as wrong:
            where = f"{path}:{wrong.line}" if wrong.line else path
            raise SpaceError([f"{where}: {wrong}"]) from None
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

    def line(self, key: Key) -> int:
        """The line of a key (of its nearest parent where it is a default); 0 where an option set it."""
        number = self.where(key).removeprefix(f"{self.path}:")
        return int(number) if number.isdecimal() else 0

    def __getstate__(self) -> dict[str, Any]:  # no password travels to the workers, or into Ray's files
        return {**self.__dict__, "text": ""}

    def problem(self, key: Key, text: str) -> str:
        """One line: where a key stands, its dotted name and what is wrong with it."""
        name = ".".join(shorten(str(part)) for part in key)
        return f"{self.where(key)}: {name + ': ' if name else ''}{text}"

    def set(self, name: str, text: str, option: str | None = None) -> None:
        """Lay a value over the file's, as `--set NAME=TEXT` does; TEXT is read as YAML.

        Raises:
            SpaceError: the text is no YAML, or the name leads through something that is no mapping.
        """
        option = shorten(option or f"--set {name}={text}", MAX_OPTION_LENGTH)
        key: Key = tuple(name.split("."))
        if not all(key) or len(key) > MAX_DEPTH:
            raise SpaceError(
                [
                    f"{option}: {shorten(name)!r} is no key; a key is words joined by dots, at most {MAX_DEPTH}; "
                    "as in --set seed=1"
                ]
            )
        try:
            value = YamlReader(text, mend="quote the value").plain()
        except YamlError as wrong:
            raise SpaceError([f"{option}: {shorten(name)}: {wrong}"]) from None
        parent = self.data
        for depth, part in enumerate(key[:-1], start=1):
            child = parent.get(str(part))
            if child is None:
                child = parent[str(part)] = {}
                self._options.setdefault(key[:depth], option)
            if not isinstance(child, dict):
                above = shorten(".".join(map(str, key[:depth])))
                raise SpaceError(
                    [f"{option}: {above}: {format_value(child)} is no section; it holds no keys; set {above} whole"]
                )
            parent = child
        parent[str(key[-1])] = value
        self._lines = {place: line for place, line in self._lines.items() if place[: len(key)] != key}
        self._options = {place: typed for place, typed in self._options.items() if place[: len(key)] != key}
        self._options[key] = option


def find_space_file(path: str) -> str:
    """Return the user's file; if it does not exist, the built-in space of that name; else the path unchanged.

    Args:
        path: as the user typed it; `smoke.yaml` and `spaces/smoke.yaml` name the same built-in space.
    """
    if os.path.lexists(path):
        return path
    known = _builtin_spaces()
    return str(known.get(path) or known.get(f"spaces/{path}") or path)


def _builtin_spaces() -> dict[str, Path]:
    """Return the files of the built-in spaces by name, as in `spaces/smoke.yaml`.

    They are in `spaces/` of the repository, or in `search/spaces/` of an installed package.
    """
    folder = next((each for each in (PACKAGE / "spaces", PACKAGE.parent / "spaces") if each.is_dir()), PACKAGE)
    return {f"spaces/{path.name}": path for path in sorted(folder.glob("*.yaml"))}


def _text(path: str) -> str:
    """The text of a space file."""
    try:
        raw = read_bytes(path, MAX_BYTES)
    except FileNotFoundError:
        known = _builtin_spaces()
        near = suggest_path(path, [*known, *(name.partition("/")[2] for name in known)], ".yaml")
        fix = near if near.startswith("did") else f"write one, see spaces/, or name one of {', '.join(known)}"
        raise YamlError(f"no such file; a space is a YAML file; {fix}", 0) from None
    except FileError as error:
        raise YamlError(f"{error}; a space is a plain YAML file of at most {MAX_BYTES:,} bytes; name one") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise YamlError("is not UTF-8 text; a space file is; save it as UTF-8", line) from None
    for number, content in enumerate(text.split("\n"), start=1):
        indent = content[: len(content) - len(content.lstrip())]
        if "\t" in indent and not content.lstrip().startswith("#") and content.strip():
            raise YamlError("a tab indents the line; YAML indents with spaces; replace the tab", number)
    return text
