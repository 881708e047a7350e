"""How a key that is unknown where it stands may have been meant."""

from collections.abc import Iterable

from search.common.messages import suggestion
from search.space.parameters import FIELDS
from search.space.sections import SECTIONS, TOP_LEVEL, WhenConfig
from search.space.yaml_reader import Key
from stockrnn.configuration import Configuration
from stockrnn.dataset.config import OtherConfig

__all__ = ["hint", "hint_within"]


def hint_within(key: Key, config: type[Configuration]) -> str:
    """How an unknown key of a section, or of an entry in it, may have been meant."""
    if "also" in key:
        return hint(key[-1], OtherConfig.model_fields)
    if key[0] != "when":
        return hint(key[-1], config.model_fields)
    known = [field.alias or name for name, field in WhenConfig.model_fields.items()]
    if key[-1] in FIELDS:
        return f"; it is a parameter; write it as a condition: if: {{{key[-1]}: ...}}"
    return suggestion(key[-1], known) or f"; an entry has {', '.join(known)}"


def hint(key: object, known: Iterable[str], *, option: bool = False) -> str:
    """How an unknown key may have been meant: misspelt, or at home elsewhere; else the known ones.

    Args:
        option: it was given by an option, not in the file.
    """
    known = tuple(known)
    if key in FIELDS:
        return f"; it is a parameter; write {_home('space', key, option)}"
    for section, config in SECTIONS.items():
        if key in config.model_fields:
            return f"; it is a key of {section}; write {_home(section, key, option)}"
    if key in TOP_LEVEL:
        return "; it stands at the top level; do not indent it"
    return suggestion(key, known) or f"; known are {', '.join(known)}"


def _home(section: str, key: object, option: bool) -> str:
    return f"--set {section}.{key}=..." if option else f"it under {section}: {key}: ..."
