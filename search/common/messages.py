"""The words of error messages: values as YAML writes them, near misses, pydantic's complaints."""

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from stockrnn.io.files import line

__all__ = ["explain", "find_nearest", "format_epochs", "format_value", "one_line", "shorten", "suggest"]

MAX_VALUE_LENGTH = 60  # letters of a value that is shown
MAX_LINE_LENGTH = 4000  # letters of a line that is shown
BRANCHES = {"bool", "int", "float", "str", "constrained-int", "constrained-float", "constrained-str"}  # of a union


def format_value(value: object) -> str:
    """A value as YAML would write it on one line, shortened."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value).replace("inf", ".inf").replace("nan", ".nan")
    return shorten(json.dumps(value, ensure_ascii=False, default=str))


def shorten(text: str, most: int = MAX_VALUE_LENGTH) -> str:
    """A text of at most `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def one_line(text: str) -> str:
    """A text on one line, with what cannot be seen made visible, as long as a message may be."""
    return line(text, MAX_LINE_LENGTH)


def format_epochs(numbers: Sequence[int]) -> str:
    """`epoch 3`, or `epochs 3, 9, 27`; empty for none."""
    return f"{'epochs' if len(numbers) > 1 else 'epoch'} {', '.join(map(str, numbers))}" if numbers else ""


def find_nearest(given: object, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one is near to."""
    word, names = str(given).lower(), {str(name).lower(): name for name in known}
    close = [] if len(word) > MAX_VALUE_LENGTH else difflib.get_close_matches(word, names, n=1)
    return names[close[0]] if close else None


def suggest(given: object, known: Iterable[str]) -> str:
    """`; did you mean X?` where a known word is near, else the empty string."""
    close = find_nearest(given, known)
    return f"; did you mean {close}?" if close else ""


def explain(error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each complaint of a validation: (key below the validated value, `what is wrong; the rule; the fix`)."""
    for item in _telling(error):
        context, given = item.get("ctx", {}), format_value(item["input"])
        key = tuple(item["loc"])
        if isinstance(item["input"], float) and not math.isfinite(item["input"]):
            yield key, f"{given} is not finite; it must be a finite number; write one"
            continue
        if isinstance(item["input"], str) and (listed := re.fullmatch(r"\((.*,.*)\)", item["input"])):
            yield key, f"{given} is text; a list stands in square brackets; write [{listed[1]}]"
            continue
        match item["type"]:
            case "missing":
                yield key, "is missing; it has no default; add it"
            case "extra_forbidden":
                yield key, "unknown key"
            case "literal_error":
                options = context["expected"].replace("'", "").replace(" or ", ", ")
                hint = suggest(item["input"], options.split(", ")) or "; write one of them"
                yield key, f"{given} is none of {options}{hint}"
            case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" as kind:
                bound = next(iter(context.values()))
                words = {"greater_than": "above", "greater_than_equal": "at least", "less_than": "below"}
                size = "small" if kind.startswith("greater") else "large"
                rule = f"{words.get(kind, 'at most')} {bound}"
                yield key, f"{given} is too {size}; it must be {rule}; write a number {rule}"
            case "int_type" | "int_from_float":
                yield (
                    key,
                    f"{given} is no whole number; it must be one; write digits only, no quotes or point",
                )
            case "float_type":
                yield key, f"{given} is no number; it must be one; write it without quotes, as in 0.001"
            case "bool_type":
                yield key, f"{given} is neither true nor false; it must be one; write true or false"
            case "string_type" | "string_too_short":
                yield key, f"{given} is no text; it must be a word or a path; write it in quotes"
            case "string_too_long":
                yield key, f"{given} is too long; it has at most {context['max_length']} letters; shorten it"
            case "string_pattern_mismatch":
                yield key, f"{given} is none; it is of the form {context['pattern']}; mend it"
            case "too_long":
                yield key, f"has {context['actual_length']} entries; it has at most {context['max_length']}; drop some"
            case "model_type" | "dict_type" | "model_attributes_type":
                yield key, f"{given} is no mapping; it must hold keys; write {{key: value}}"
            case "list_type" | "tuple_type":
                yield key, f"{given} is no list; it must be one; write [...]"
            case "json_invalid":
                yield key, f"cannot be read as JSON ({context['error']})"
            case "union_tag_invalid":
                yield key, f"{format_value(context['tag'])} is none of {context['expected_tags'].replace(chr(39), '')}"
            case _:
                message = item["msg"].removeprefix("Value error, ")
                yield key, f"{given} does not fit; it {message}" if message.startswith("must") else message


def _telling(error: ValidationError) -> list[Any]:
    """The complaints; where a value fits no branch of a union, that of the branch which has its type."""
    found: dict[tuple[str | int, ...], Any] = {}
    for item in error.errors(include_url=False):
        of_branch = item["type"] not in ("extra_forbidden", "missing") and item["loc"] and item["loc"][-1] in BRANCHES
        key = item["loc"][:-1] if of_branch else item["loc"]  # a user may call a key `int`, too
        if key not in found or (found[key]["type"].endswith("_type") and not item["type"].endswith("_type")):
            found[key] = item | {"loc": key}
    return list(found.values())
