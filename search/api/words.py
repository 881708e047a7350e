"""Reword messages of the command line for Python: options become arguments."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import yaml

from search.common.errors import UserError
from search.space.document import SpaceError

__all__ = ["in_python_words", "reworded_errors"]

SETTING = r"""--set (?:"([\w.]+)=([^"]*)"|'([\w.]+)=([^']*)'|([\w.]+)=(\.\.\.|[^\s;"']*[^\s;"',.]))"""
PLACE = r"(\S+?)(?=[,;:.]?(?:\s|$))"
RULES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (rf"{SETTING}(?: {SETTING})*", lambda match: _overrides(match[0])),
    (rf"^--resume {PLACE}: ", r"\1: "),
    (rf"(?:python -m search\.run )?--resume {PLACE}", r"search.open_study('\1').resume()"),
    (r"--resume\b", "resume()"),
    (r"--time-budget TIME", "time_budget=SECONDS"),
    (r"choose another name with --name", 'choose another name with overrides={"name": ...}'),
    (r"--ticker (\^?[\w.=-]*\w)", r'overrides={"data.ticker": "\1"}'),
    (r"--ticker\b", 'overrides={"data.ticker": ...}'),
    (r"--(fit|force|reopen-test|offline|in-process)\b", lambda match: match[1].replace("-", "_") + "=True"),
    (rf"--(output|workers|address) {PLACE}", r"\1=\2"),
)


def in_python_words(text: str) -> str:
    """Return a message with arguments of `run_study` and `resume` in place of the options of the command line."""
    lines = text.split("\n")
    for pattern, replacement in RULES:
        lines = [re.sub(pattern, replacement, each) for each in lines]
    return "\n".join(lines)


@contextmanager
def reworded_errors() -> Iterator[None]:
    """Raise the errors of the block again, in Python's words."""
    try:
        yield
    except SpaceError as error:
        raise SpaceError(map(in_python_words, error.problems)) from None
    except UserError as error:
        text = in_python_words(str(error))
        if text == str(error):
            raise
        raise type(error)(text) from None


def _overrides(settings: str) -> str:
    """Return `--set KEY=VALUE --set ...` as the argument `overrides`."""
    found = [[part for part in match.groups() if part is not None] for match in re.finditer(SETTING, settings)]
    items = (f'"{key}": {value if value == "..." else repr(yaml.safe_load(value))}' for key, value in found)
    return f"overrides={{{', '.join(items)}}}"
