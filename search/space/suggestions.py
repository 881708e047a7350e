"""Suggest the intended key for an unknown one: a similar spelling, or the section where the key belongs."""

from collections.abc import Iterable

from search.common.messages import suggest
from search.space.parameters import FIELDS
from search.space.sections import SECTIONS, TOP_LEVEL, WhenConfig
from search.space.yaml_reader import Key
from stockrnn.configuration import Configuration
from stockrnn.dataset.config import OtherConfig

__all__ = ["suggest_key", "suggest_key_within"]


def suggest_key_within(key: Key, config: type[Configuration]) -> str:
    """Return the fix for an unknown key of a section or of an entry in it."""
    if "also" in key:
        return suggest_key(key[-1], OtherConfig.model_fields)
    if key[0] != "when":
        return suggest_key(key[-1], config.model_fields)
    known = [field.alias or name for name, field in WhenConfig.model_fields.items()]
    if key[-1] in FIELDS:
        return f"; {key[-1]} is a parameter; write it as a condition, if: {{{key[-1]}: ...}}"
    return suggest(key[-1], known) or f"; the keys of an entry are {', '.join(known)}"


def suggest_key(key: object, known: Iterable[str], *, option: bool = False) -> str:
    """Return the fix for an unknown key: its section, a similar known key, or all known keys.

    Args:
        option: the key comes from an option, not from the file.
    """
    known = tuple(known)
    if key in FIELDS:
        return f"; {key} is a parameter; write {_full_key('space', key, option)}"
    for section, config in SECTIONS.items():
        if key in config.model_fields:
            return f"; {key} is a key of section {section}; write {_full_key(section, key, option)}"
    if key in TOP_LEVEL:
        return f"; {key} belongs to the top level; do not indent it"
    return suggest(key, known) or f"; the known keys are {', '.join(known)}"


def _full_key(section: str, key: object, option: bool) -> str:
    return f"--set {section}.{key}=..." if option else f"it under {section}:"
