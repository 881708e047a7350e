"""Read plain YAML with the line of each key, within limits of size; write YAML that reads back equal.

Tags and objects are not allowed. The limits hold for time and memory, whatever the file holds.
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
MAX_TEXT_LENGTH = 4096  # characters of a value or key; the longest path has as many
YAML = "tag:yaml.org,2002:"


def yaml_text(sections: Mapping[str, Any]) -> str:
    """Return data as YAML that reads back equal, with one line per key and per key of a section."""

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
    """An error of a YAML text, and its line; line 0 if no line has the error."""

    def __init__(self, text: str, line: int = 1) -> None:
        super().__init__(text)
        self.line = line


class YamlReader(yaml.SafeLoader):
    """Reader of YAML without tags. 1e-4 is a number, 010 is ten, dates and 1:30 are text.

    Args:
        text: one YAML document.
        fix: end of the error for a text that is not YAML.

    Attributes:
        lines: line of each key.
        first_line: line of the first value.
    """

    def __init__(self, text: str, *, fix: str) -> None:
        self.fix, self.text = fix, text
        self.lines: dict[Key, int] = {}
        self.first_line = 1
        self._nodes = self._depth = 0
        if len(text) > MAX_BYTES:
            raise YamlError(f"is too long; the maximum is {MAX_BYTES:,} characters; shorten it")
        try:
            super().__init__(text)
        except yaml.reader.ReaderError as error:
            raise YamlError(
                f"the character #x{error.character:04x} is not allowed in YAML; remove it",
                text[: error.position].count("\n") + 1,
            ) from None

    def read(self) -> Any:
        """Return the data of the document, and fill `lines`.

        Raises:
            YamlError: the text is not YAML, or breaks a rule of this reader.
        """
        try:
            if not self.check_node():
                return None
            node = self.get_node()
            if self.check_node():
                raise YamlError(
                    "a second document starts here; a space file has only one; remove the second",
                    self._next_event().start_mark.line + 1,
                )
        except yaml.MarkedYAMLError as error:
            reason = ": ".join(part for part in (error.context, error.problem) if part)
            open_at_end = re.search("end of stream|stream end", error.problem or "")
            mark = (error.context_mark if open_at_end else None) or error.problem_mark
            number = mark.line + 1 if mark else 1
            raise YamlError(
                _explain_common_mistake(self.text, number, reason) or f"is not YAML ({reason}); {self.fix}", number
            ) from None
        except (ValueError, OverflowError):  # PyYAML calls chr() with a number that is not a code point
            raise YamlError("an escape in the quoted text is not a character; write \\uXXXX", self.line + 1) from None
        assert node is not None
        self.first_line = node.start_mark.line + 1
        self._nodes = 0
        return self._data(node, (), 1)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node as PyYAML does, but refuse tags, long texts, and too much or too deep data."""
        event = self._next_event()
        line = event.start_mark.line + 1
        if tag := getattr(event, "tag", None):
            name = shorten(tag.replace(YAML, "!!"))
            raise YamlError(f"has the tag {name}; tags are not allowed in a space file; remove the tag", line)
        if len(getattr(event, "value", "")) > MAX_TEXT_LENGTH:  # aliases may repeat it
            raise YamlError(f"a text is too long; the maximum is {MAX_TEXT_LENGTH:,} characters; shorten it", line)
        self._depth += 1
        self._check_size(self._depth - 1, line)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """Return a decimal number of at most `MAX_DIGITS` digits, which fits into 64 bits."""
        if len(node.value.lstrip("+-")) > MAX_DIGITS:
            raise YamlError(
                f"{shorten(node.value)} is too long; a number has at most {MAX_DIGITS} digits; shorten it",
                node.start_mark.line + 1,
            )
        return int(node.value)

    def _next_event(self) -> Any:
        return self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs lack its type

    def _data(self, node: yaml.Node, key: Key, line: int) -> Any:
        line = max(line, node.start_mark.line + 1)  # the line of an alias, not that of its anchor
        self._check_size(len(key), line)  # a second check: an alias is composed once, but built at every use
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
                raise YamlError("a key is a list or a mapping; keys must be words; write key: value", line)
            name = name_node.value  # the text, because `on:` and `1:` are words if they are keys
            if name in mapping:
                dotted = ".".join(shorten(str(part)) for part in (*key, name))
                first = self.lines[*key, name]
                raise YamlError(f"{dotted}: is set twice, first on line {first}; remove one of the two", line)
            self.lines[*key, name] = line
            mapping[name] = self._data(value_node, (*key, name), self.lines[*key, name])
        return mapping

    def _check_size(self, depth: int, line: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise YamlError(
                f"too many values; the maximum is {MAX_NODES:,}, including repeated aliases; remove some", line
            )
        if depth > MAX_DEPTH:
            raise YamlError(f"is nested too deeply; the maximum is {MAX_DEPTH} levels; remove some", line)


def _explain_common_mistake(text: str, number: int, reason: str) -> str | None:
    """Return a problem and its fix if the line with a YAML error has a common mistake; otherwise None."""
    *before, here = text.split("\n")[:number]
    for line in (here, *before[-1:]):
        if glued := re.match(r"\s*([A-Za-z_]\w*):([^\s/:].*)", line):
            return f"{glued[1]}: a space is missing after the colon; write {glued[1]}: {shorten(glued[2])}"
    before = [line for line in before if line.strip() and not line.lstrip().startswith("#")]
    if not before or not re.search("mapping values are not allowed|block end", reason):
        return None
    indent, above = (len(line) - len(line.lstrip(" ")) for line in (here, before[-1]))
    open_indents: list[int] = []  # indents of the sections that contain the line
    for column in (len(line) - len(line.lstrip(" ")) for line in before):
        open_indents = [*(other for other in open_indents if other < column), column]
    if indent in open_indents or (indent > above and re.search(r"[\[{,:]\s*(#.*)?$", before[-1])):
        return None
    return (
        f"starts in column {indent + 1}, but the line above in column {above + 1}; keys of one section must start in "
        "the same column; change the indent of one of the two lines"
    )


class _Dumper(yaml.SafeDumper):
    """Writer that quotes every text that `YamlReader` or another YAML reader would not read as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.Node:
        """Write a text. A text that is not printable needs double quotes: other styles lose some line breaks."""
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
_Dumper.add_representer(str, _Dumper.represent_text)
YamlReader.add_constructor(YAML + "int", YamlReader.whole_number)
