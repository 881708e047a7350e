"""Numbers as people write them: 1234.5, 1,234.5 and 1.234,5, but never 1,234 where that may mean either.

All numbers of a file are written one way, which some number has to show: `1,234.5`, `12,345,678`, `12,5`, or else a
volume such as `345,678`, since volumes are whole. A price of 1.234 is taken as it stands where columns are separated by
commas, or by nothing (Parquet), and no number has a comma.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Literal

import numpy as np

from stockrnn.series import PriceError

__all__ = ["is_null", "read_numbers"]

NULL_WORDS = {"", "null", "nan", "none", "n/a", "#n/a", "<na>", "-", "--"}
NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
GROUPED = {
    "point": re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", re.ASCII),
    "comma": re.compile(r"[+-]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d+)(?:,\d+)?", re.ASCII),
}
COMMA = (",", "")  # delimiters beside which a point marks decimals
EITHER = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}", re.ASCII)  # 1,234 and 1.234
MAGNITUDES = {"K": 10**3, "M": 10**6, "B": 10**9}
A_NUMBER = "is not a number; numbers are digits and a point, as in 2183.49; rewrite it"

Mark = Literal["point", "comma"]
Where = Callable[[int], str]


def is_null(cell: str) -> bool:
    """Whether a cell stands for no value."""
    return cell.strip().lower() in NULL_WORDS


def read_numbers(columns: Mapping[str, Sequence[str]], delimiter: str, where: Where) -> tuple[np.ndarray, int]:
    """The numbers of several columns of one file.

    Args:
        columns: texts by the column's name; those of `volume` may end in K, M or B.
        delimiter: what separates the file's columns; "" where nothing does.
        where: `SOURCE:LINE` of a row.

    Returns:
        float64, shape (rows, columns), NaN for no value, and how many volumes ended in K, M or B.

    Raises:
        PriceError: a text that is no number, or one that may mean two.
    """
    stripped = {name: [cell.strip().removeprefix("$") for cell in cells] for name, cells in columns.items()}
    mark = _mark(stripped, delimiter, where)
    rounded, values = 0, []
    for name, cells in stripped.items():
        suffixed = [name == "volume" and cell[-1:].upper() in MAGNITUDES for cell in cells]
        rounded += sum(suffixed)
        read = [_number(cell, mark, large) for cell, large in zip(cells, suffixed, strict=True)]
        known = [value for value in read if value is not None]
        if len(known) < len(read):
            row = read.index(None)
            wrong = f"({len(read) - len(known)} of {len(read)} rows differ)"
            shown = columns[name][row][:40]
            raise PriceError(f"{where(row)}: {name.capitalize()}: {shown!r} {A_NUMBER} {wrong}")
        values.append(np.array(known, dtype=float))
    return np.column_stack(values), rounded


def _number(text: str, mark: Mark, large: bool) -> float | None:
    if large and (digits := _number(text[:-1].rstrip(), mark, False)) is not None and math.isfinite(digits):
        return float(Decimal(_plain(text[:-1].rstrip(), mark)) * MAGNITUDES[text[-1].upper()])
    if mark == "point" and NUMBER.fullmatch(text):
        return float(text)
    if text.lower() in NULL_WORDS:
        return math.nan
    if GROUPED[mark].fullmatch(text) or (mark == "comma" and NUMBER.fullmatch(text) and "." not in text):
        return float(_plain(text, mark))
    return None


def _plain(text: str, mark: Mark) -> str:
    """A number with a decimal point and no thousands."""
    return text.replace(",", "") if mark == "point" else text.replace(".", "").replace(",", ".")


def _mark(columns: Mapping[str, Sequence[str]], delimiter: str, where: Where) -> Mark:
    """What marks the decimals of all numbers of a file."""
    seen: dict[Mark, tuple[str, int, str]] = {}
    either: dict[Mark, list[tuple[str, int, str]]] = {}
    for name, row, text in _marked(columns):
        shown = _shows(text)
        if shown:
            seen.setdefault(shown, (name, row, text))
        elif found := EITHER.fullmatch(text.rstrip("KMBkmb ")):
            either.setdefault("point" if found[1] == "," else "comma", []).append((name, row, text))
    if len(seen) == 2:
        (name, row, text), (_, other, against) = sorted(seen.values(), key=lambda place: place[1])[::-1]
        raise PriceError(
            f"{where(row)}: {name.capitalize()}: {text[:40]!r} and {against[:40]!r} ({where(other)}) mark decimals "
            f"differently; all numbers of a file are written one way; rewrite them with a point and no thousands"
        )
    if seen:
        return next(iter(seen))
    # Here `either` holds 1,234 as "point" (thousands then) and 1.234 as "comma".
    of_volumes = {mark for mark, places in either.items() if places[-1][0] == "volume"}
    if not either or (delimiter in COMMA and set(either) == {"comma"} and not of_volumes):
        return "point"
    if of_volumes == {"point"} or (delimiter not in COMMA and of_volumes == {"comma"}):
        return next(iter(of_volumes))
    name, row, text = next(iter(either.values()))[0]
    digits = re.sub("[.,]", "", text)
    raise PriceError(
        f"{where(row)}: {name.capitalize()}: {text[:40]!r} is {digits[:-3]}.{digits[-3:]} or {digits}; no number "
        f"of the file shows which mark is the decimal one; write numbers with a decimal point and no thousands"
    )


def _marked(columns: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, int, str]]:
    for name, cells in columns.items():
        for row, text in enumerate(cells):
            if "," in text or "." in text:
                yield name, row, text


def _shows(text: str) -> Mark | None:
    """Which mark of decimals a number shows, if it does."""
    number = text.rstrip("KMBkmb ")
    if EITHER.fullmatch(number):
        return None
    point = NUMBER.fullmatch(number) or GROUPED["point"].fullmatch(number)
    comma = GROUPED["comma"].fullmatch(number)
    if point and not comma:
        return "point"
    return "comma" if comma and not point else None
