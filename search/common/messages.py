"""Build error messages: values as YAML, suggestions for misspelt words, pydantic's errors in plain English."""

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from stockrnn.io.files import line

__all__ = ["explain", "find_nearest", "format_epochs", "format_value", "one_line", "shorten", "suggest"]

MAX_VALUE_LENGTH = 60  # characters
MAX_LINE_LENGTH = 4000  # characters
UNION_BRANCHES = {"bool", "int", "float", "str", "constrained-int", "constrained-float", "constrained-str"}


def format_value(value: object) -> str:
    """Return a value as YAML on one line, shortened."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value).replace("inf", ".inf").replace("nan", ".nan")
    return shorten(json.dumps(value, ensure_ascii=False, default=str))


def shorten(text: str, max_length: int = MAX_VALUE_LENGTH) -> str:
    """Return a text of at most `max_length` characters; a longer text ends in three dots."""
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


def one_line(text: str) -> str:
    """Return a text on one line of at most `MAX_LINE_LENGTH` characters, with invisible characters escaped."""
    return line(text, MAX_LINE_LENGTH)


def format_epochs(numbers: Sequence[int]) -> str:
    """Return `epoch 3` or `epochs 3, 9, 27`; an empty string without numbers."""
    return f"{'epochs' if len(numbers) > 1 else 'epoch'} {', '.join(map(str, numbers))}" if numbers else ""


def find_nearest(given: object, known: Iterable[str]) -> str | None:
    """Return the known word that is most similar to a misspelt word; None if no word is similar."""
    word, names = str(given).lower(), {str(name).lower(): name for name in known}
    close = [] if len(word) > MAX_VALUE_LENGTH else difflib.get_close_matches(word, names, n=1)
    return names[close[0]] if close else None


def suggest(given: object, known: Iterable[str]) -> str:
    """Return `; did you mean X?`, or an empty string if no known word is similar."""
    nearest = find_nearest(given, known)
    return f"; did you mean {nearest}?" if nearest else ""


def explain(error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield each problem of a validation as (key below the validated value, `problem; rule; fix`)."""
    for item in _unique_errors(error):
        yield tuple(item["loc"]), _explain_error(item)


def _explain_error(item: dict[str, Any]) -> str:
    value, context, given = item["input"], item.get("ctx", {}), format_value(item["input"])
    if isinstance(value, float) and not math.isfinite(value):
        return f"{given} is not allowed; write a finite number"
    if isinstance(value, str) and (listed := re.fullmatch(r"\((.*,.*)\)", value)):
        return f"{given} is text; a list needs square brackets; write [{listed[1]}]"
    match item["type"]:
        case "missing":
            return "is missing; this key is required; add it"
        case "extra_forbidden":
            return "unknown key"
        case "literal_error":
            options = context["expected"].replace("'", "").replace(" or ", ", ")
            return f"{given} is not one of {options}" + (suggest(value, options.split(", ")) or "; choose one of them")
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" as kind:
            bound = next(iter(context.values()))
            words = {"greater_than": "above", "greater_than_equal": "at least", "less_than": "below"}
            size = "small" if kind.startswith("greater") else "large"
            return f"{given} is too {size}; the value must be {words.get(kind, 'at most')} {bound}"
        case "int_type" | "int_from_float":
            return f"{given} is not a whole number; write digits only, without quotes or a decimal point"
        case "float_type":
            return f"{given} is not a number; write a number without quotes, such as 0.001"
        case "bool_type":
            return f"{given} is not a boolean; write true or false"
        case "string_type":
            return f"{given} is not text; write a word or a path in quotes"
        case "string_too_short":
            return f"{given} is empty; write a word or a path"
        case "string_too_long":
            return f"{given} is too long; the maximum is {context['max_length']} characters; shorten it"
        case "string_pattern_mismatch":
            return f"{given} is not valid; the value must match the pattern {context['pattern']}; correct it"
        case "too_long":
            return f"has {context['actual_length']} entries; the maximum is {context['max_length']}; remove some"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"{given} is not a mapping; write {{key: value}}"
        case "list_type" | "tuple_type":
            return f"{given} is not a list; write [...]"
        case "json_invalid":
            return f"cannot be read as JSON ({context['error']})"
        case "union_tag_invalid":
            return f"{format_value(context['tag'])} is not one of {context['expected_tags'].replace(chr(39), '')}"
        case _:
            message = str(item["msg"]).removeprefix("Value error, ")
            return f"{given} is not valid; it {message}" if message.startswith("must") else message


def _unique_errors(error: ValidationError) -> list[dict[str, Any]]:
    """Return one error per key; for a union, the error of the branch that has the type of the value."""
    errors: dict[tuple[str | int, ...], dict[str, Any]] = {}
    for item in error.errors(include_url=False):
        key = item["loc"]
        if item["type"] not in ("extra_forbidden", "missing") and key and key[-1] in UNION_BRANCHES:
            key = key[:-1]  # an unknown or missing key may itself be named `int`
        if key not in errors or (errors[key]["type"].endswith("_type") and not item["type"].endswith("_type")):
            errors[key] = {**item, "loc": key}
    return list(errors.values())
