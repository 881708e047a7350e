"""Texts in English that know their template and values, and so can be translated."""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["LANGUAGES", "Text", "translate"]

LANGUAGES = ("en", "ko")


class Text(str):
    """A text in English, made of a template with placeholders as of `str.format`.

    `Text("{count} trials", count=3)` is the string "3 trials". A value may be a text as well.

    Attributes:
        template, values: what it was made of.
    """

    __slots__ = ("template", "values")
    template: str
    values: Mapping[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> "Text":
        """Return the formatted text."""
        text = super().__new__(cls, template.format(**values) if values else template)
        text.template, text.values = template, values
        return text


def translate(value: Any, language: str) -> Any:
    """Return nested data with its texts in a language; a text without a translation stays English.

    Args:
        value: texts, plain values, and lists, tuples and dicts of them.
        language: one of `LANGUAGES`.
    """
    if language == "en":
        return value
    if isinstance(value, Text):
        values = {name: translate(item, language) for name, item in value.values.items()}
        catalogue, finish = _language(language)
        template = catalogue.get(value.template, value.template)
        return finish(template.format(**values) if values else template)
    if isinstance(value, Mapping):
        return {translate(key, language): translate(item, language) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [translate(item, language) for item in value]
    return value


def _language(language: str) -> tuple[Mapping[str, str], Callable[[str], str]]:
    """Return the templates of a language, and what makes the words of a formatted text agree."""
    from search.common.korean import KOREAN, choose_particles  # only a Korean report needs it

    return {"ko": (KOREAN, choose_particles)}[language]
