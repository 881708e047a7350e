"""Read a space file as plain data with the line of each key, and lay `--set` values over it.

Tags and objects are not allowed. A file that is too large or too deep is refused before its data is built, so time and
memory have limits for every file.
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
MAX_OPTION_LENGTH = 200  # characters of an option in an error


class SpaceError(UserError):
    """Errors of a space file or its options.

    Attributes:
        problems: lines `FILE:LINE: KEY: problem; rule; fix`; at most `MAX_PROBLEMS`, and one line if there are more.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        lines = [one_line(problem) for problem in itertools.islice(problems, MAX_PROBLEMS + 1)]
        if len(lines) > MAX_PROBLEMS:
            lines[MAX_PROBLEMS:] = [f"there are more than {MAX_PROBLEMS} errors; correct the errors above first"]
        self.problems = tuple(lines)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class SpaceDocument:
    """Data of a space file, and the line or option where each key is set.

    Args:
        path: the file as the user typed it; errors name it.

    Attributes:
        text: content of the file.
        data: sections and parameters, as plain data.

    Raises:
        SpaceError: the file cannot be read, is not YAML, is not a mapping, repeats a key, or is too large or too deep.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.text = _read_text(path)
            reader = YamlReader(self.text, fix="correct this line or the one above")
            data = reader.read()
            if not isinstance(data, dict):
                raise YamlError(
                    f"is {'empty' if data is None else 'not a mapping'}; a space file maps keys to values; "
                    "start with 'space:', see spaces/",
                    reader.first_line,
                )
        except YamlError as error:
            location = f"{path}:{error.line}" if error.line else path
            raise SpaceError([f"{location}: {error}"]) from None
        self.data: dict[str, Any] = data
        self._lines = reader.lines
        self._options: dict[Key, str] = {}

    def location(self, key: Key) -> str:
        """Return `FILE:LINE` of a key, or the option that set it; for a default, those of the nearest parent."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._options:
                return self._options[key[:length]]
            if key[:length] in self._lines:
                return f"{self.path}:{self._lines[key[:length]]}"
        return f"{self.path}:1"

    def line(self, key: Key) -> int:
        """Return the line of a key; for a default, that of the nearest parent; 0 if an option set the key."""
        number = self.location(key).removeprefix(f"{self.path}:")
        return int(number) if number.isdecimal() else 0

    def __getstate__(self) -> dict[str, Any]:
        # The text may hold a password, which must not reach the workers and Ray's files.
        return {**self.__dict__, "text": ""}

    def format_problem(self, key: Key, text: str) -> str:
        """Return one line with the location of a key, its dotted name and the text."""
        name = ".".join(shorten(str(part)) for part in key)
        return f"{self.location(key)}: {name + ': ' if name else ''}{text}"

    def override(self, name: str, text: str, option: str | None = None) -> None:
        """Replace the value of a key, as `--set NAME=TEXT` does; TEXT is YAML.

        Raises:
            SpaceError: the text is not YAML, or a parent of the key is not a mapping.
        """
        option = shorten(option or f"--set {name}={text}", MAX_OPTION_LENGTH)
        key: Key = tuple(name.split("."))
        if not all(key) or len(key) > MAX_DEPTH:
            raise SpaceError(
                [
                    f"{option}: {shorten(name)!r} is not a key; a key has 1 to {MAX_DEPTH} words, joined by dots; "
                    "for example --set seed=1"
                ]
            )
        try:
            value = YamlReader(text, fix="quote the value").read()
        except YamlError as error:
            raise SpaceError([f"{option}: {shorten(name)}: {error}"]) from None
        parent = self.data
        for depth, part in enumerate(key[:-1], start=1):
            child = parent.get(str(part))
            if child is None:
                child = parent[str(part)] = {}
                self._options.setdefault(key[:depth], option)
            if not isinstance(child, dict):
                above = shorten(".".join(map(str, key[:depth])))
                raise SpaceError(
                    [f"{option}: {above}: {format_value(child)} is a value without keys; set {above} as a whole"]
                )
            parent = child
        parent[str(key[-1])] = value
        self._lines = {place: line for place, line in self._lines.items() if place[: len(key)] != key}
        self._options = {place: typed for place, typed in self._options.items() if place[: len(key)] != key}
        self._options[key] = option


def find_space_file(path: str) -> str:
    """Return the user's file; if it does not exist, the built-in space of that name; otherwise the path unchanged.

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


def _read_text(path: str) -> str:
    try:
        content = read_bytes(path, MAX_BYTES)
    except FileNotFoundError:
        known = _builtin_spaces()
        near = suggest_path(path, [*known, *(name.partition("/")[2] for name in known)], ".yaml")
        fix = near if near.startswith("did") else f"check the path, or use one of {', '.join(known)}"
        raise YamlError(f"no such file; a space is a YAML file; {fix}", 0) from None
    except FileError as error:
        raise YamlError(f"{error}; a space is a YAML file of at most {MAX_BYTES:,} bytes; check the path") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise YamlError("is not UTF-8 text; save the file as UTF-8", line) from None
    for number, line_text in enumerate(text.split("\n"), start=1):
        indent = line_text[: len(line_text) - len(line_text.lstrip())]
        if "\t" in indent and not line_text.lstrip().startswith("#") and line_text.strip():
            raise YamlError("the line is indented with a tab; YAML allows only spaces; replace the tab", number)
    return text
