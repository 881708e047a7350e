"""Plain YAML: read within bounds, its mistakes told by line, and written so that it reads back equal.

No tags, no objects. Time and memory are bounded whatever a stranger's file holds.
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from search.common.messages import shorten

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Key", "YamlError", "YamlReader", "yaml_text"]

Key = tuple[str | int, ...]

MAX_DEPTH = 20
MAX_BYTES = 500_000
MAX_DIGITS = 18
MAX_NODES = 20_000
YAML = "tag:yaml.org,2002:"
MAX_TEXT_LENGTH = 4096  # letters of a value or key: those of the longest path


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


class YamlError(Exception):
    """What is wrong with a YAML text, and on which line."""

    def __init__(self, text: str, line: int = 1) -> None:
        super().__init__(text)
        self.line = line


class YamlReader(yaml.SafeLoader):
    """YAML's plain data: no tags; 1e-4 is a number, 010 is ten, dates and 1:30 stay text."""

    def __init__(self, text: str, *, mend: str) -> None:
        self.mend, self.whole = mend, text
        self.lines: dict[Key, int] = {}
        self.first_line = 1
        self._nodes = self._depth = 0
        if len(text) > MAX_BYTES:
            raise YamlError(f"is too long; a space has at most {MAX_BYTES:,} letters; shorten it")
        try:
            super().__init__(text)
        except yaml.reader.ReaderError as error:
            raise YamlError(
                f"the character #x{error.character:04x} is not allowed; YAML is text; delete it",
                text[: error.position].count("\n") + 1,
            ) from None

    def plain(self) -> Any:
        """The one document's data; fills `lines`.

        Raises:
            YamlError: the text is no YAML, or not of the plain kind.
        """
        try:
            if not self.check_node():
                return None
            node = self.get_node()
            if self.check_node():
                raise YamlError(
                    "begins a second document; a space file holds one; delete this one",
                    self._next_event().start_mark.line + 1,
                )
        except yaml.MarkedYAMLError as error:
            reason = ": ".join(part for part in (error.context, error.problem) if part)
            open_at_end = re.search("end of stream|stream end", error.problem or "")
            mark = (error.context_mark if open_at_end else None) or error.problem_mark
            number = mark.line + 1 if mark else 1
            raise YamlError(
                _common(self.whole, number, reason) or f"is not YAML ({reason}); {self.mend}", number
            ) from None
        except (ValueError, OverflowError):  # PyYAML's chr() of what is no code point
            raise YamlError("an escape in quotes names no character; use \\uXXXX", self.line + 1) from None
        assert node is not None
        self.first_line = node.start_mark.line + 1
        self._nodes = 0
        return self._data(node, (), 1)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """PyYAML's, kept from reading more, deeper or other than plain data."""
        event = self._next_event()
        line = event.start_mark.line + 1
        if tag := getattr(event, "tag", None):
            name = shorten(tag.replace(YAML, "!!"))
            raise YamlError(f"has the tag {name}; a space is plain data without tags; remove the tag", line)
        if len(getattr(event, "value", "")) > MAX_TEXT_LENGTH:  # it may be repeated by aliases
            raise YamlError(f"has a text too long; it has at most {MAX_TEXT_LENGTH:,} letters; shorten it", line)
        self._depth += 1
        self._check_size(self._depth - 1, line)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """A decimal number; its digits are limited, as more of them are no count of anything here."""
        if len(node.value.lstrip("+-")) > MAX_DIGITS:
            raise YamlError(
                f"{shorten(node.value)} is too long; a number has at most {MAX_DIGITS} digits; shorten it",
                node.start_mark.line + 1,
            )
        return int(node.value)

    def _next_event(self) -> Any:
        return self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs lack its type

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
                raise YamlError("a key is a list or mapping; keys are words; write key: value", line)
            name = name_node.value  # as written: `on:` and `1:` are words where a key stands
            if name in mapping:
                dotted = ".".join(shorten(str(part)) for part in (*key, name))
                first = self.lines[*key, name]
                raise YamlError(f"{dotted}: stands twice, first on line {first}; a key stands once; delete one", line)
            self.lines[*key, name] = line
            mapping[name] = self._data(value_node, (*key, name), self.lines[*key, name])
        return mapping

    def _check_size(self, depth: int, line: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise YamlError(
                f"too much data; a space has at most {MAX_NODES:,} values, aliases counted; delete some",
                line,
            )
        if depth > MAX_DEPTH:
            raise YamlError(f"is nested too deeply; a space has at most {MAX_DEPTH} levels; flatten it", line)


def _common(text: str, number: int, reason: str) -> str | None:
    """What is wrong with a line that YAML stumbles over, where it is one of the common mistakes; else None."""
    *before, here = text.split("\n")[:number]
    for line in (here, *before[-1:]):
        if glued := re.match(r"\s*([A-Za-z_]\w*):([^\s/:].*)", line):
            return f"{glued[1]}: has no space behind its colon; YAML wants one; write {glued[1]}: {shorten(glued[2])}"
    before = [line for line in before if line.strip() and not line.lstrip().startswith("#")]
    if not before or not re.search("mapping values are not allowed|block end", reason):
        return None
    its, above = (len(line) - len(line.lstrip(" ")) for line in (here, before[-1]))
    around: list[int] = []  # where the sections around the line begin
    for column in (len(line) - len(line.lstrip(" ")) for line in before):
        around = [*(other for other in around if other < column), column]
    if its in around or (its > above and re.search(r"[\[{,:]\s*(#.*)?$", before[-1])):
        return None
    return (
        f"begins in column {its + 1}, the line above it in column {above + 1}; keys that belong together begin in one "
        "column; move this line or the one above"
    )


class _Dumper(yaml.SafeDumper):
    """Quotes every text that `YamlReader` or another reader of YAML would take for something else."""

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
YamlReader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag in (YAML + "bool", YAML + "null")]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in NUMBERS.items():
    for _kind in (YamlReader, _Dumper):
        _kind.add_implicit_resolver(_tag, re.compile(_pattern), list("-+0123456789."))
_Dumper.add_representer(str, _Dumper.text)
YamlReader.add_constructor(YAML + "int", YamlReader.whole_number)
