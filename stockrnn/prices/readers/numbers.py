"""Parse columns of numbers such as 1234.5, 1,234.5 and 1.234,5, or report that a number like 1,234 is ambiguous.

All numbers of a file must use the same decimal mark. At least one number must show it: `1,234.5`, `12,345,678`, `12,5`,
or a volume such as `345,678`, since volumes are whole numbers. In a Parquet file, or a CSV with commas between its
columns, a price of 1.234 is read with a decimal point if no number has a comma.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Literal

import numpy as np

from stockrnn.prices.series import PriceError

__all__ = ["is_null", "read_numbers"]

NULL_WORDS = {"", "null", "nan", "none", "n/a", "#n/a", "<na>", "-", "--"}
NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
GROUPED = {
    "point": re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", re.ASCII),
    "comma": re.compile(r"[+-]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d+)(?:,\d+)?", re.ASCII),
}
POINT_DELIMITERS = (",", "")  # with these delimiters, decimals have a point
AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}", re.ASCII)  # 1,234 and 1.234
MAGNITUDES = {"K": 10**3, "M": 10**6, "B": 10**9}
NUMBER_RULE = "is not a number; numbers are digits and a point, as in 2183.49; rewrite it"

DecimalMark = Literal["point", "comma"]
Cell = tuple[str, int, str]  # name of the column, row, text
Locate = Callable[[int], str]


def is_null(cell: str) -> bool:
    """Return whether a cell represents a missing value."""
    return cell.strip().lower() in NULL_WORDS


def read_numbers(columns: Mapping[str, Sequence[str]], delimiter: str, locate: Locate) -> tuple[np.ndarray, int]:
    """Return the numbers of several columns of a file, and the number of volumes that end in K, M or B.

    Args:
        columns: texts by column name; those of `volume` may end in K, M or B.
        delimiter: delimiter of the file's columns; "" for a Parquet file.
        locate: returns `SOURCE:LINE` of a row.

    Returns:
        float64, shape (rows, columns), NaN for a missing value; and the number of volumes.

    Raises:
        PriceError: a text is not a number, or is ambiguous.
    """
    stripped = {name: [cell.strip().removeprefix("$") for cell in cells] for name, cells in columns.items()}
    mark = _detect_decimal_mark(stripped, delimiter, locate)
    rounded, values = 0, []
    for name, cells in stripped.items():
        suffixed = [name == "volume" and cell[-1:].upper() in MAGNITUDES for cell in cells]
        rounded += sum(suffixed)
        parsed = [_parse(cell, mark, suffix) for cell, suffix in zip(cells, suffixed, strict=True)]
        valid = [value for value in parsed if value is not None]
        if len(valid) < len(parsed):
            row = parsed.index(None)
            wrong = f"({len(parsed) - len(valid)} of {len(parsed)} rows are wrong)"
            shown = columns[name][row][:40]
            raise PriceError(f"{locate(row)}: {name.capitalize()}: {shown!r} {NUMBER_RULE} {wrong}")
        values.append(np.array(valid, dtype=float))
    return np.column_stack(values), rounded


def _parse(text: str, mark: DecimalMark, has_suffix: bool) -> float | None:
    if has_suffix and (digits := _parse(text[:-1].rstrip(), mark, False)) is not None and math.isfinite(digits):
        return float(Decimal(_normalize(text[:-1].rstrip(), mark)) * MAGNITUDES[text[-1].upper()])
    if mark == "point" and NUMBER.fullmatch(text):
        return float(text)
    if text.lower() in NULL_WORDS:
        return math.nan
    if GROUPED[mark].fullmatch(text) or (mark == "comma" and NUMBER.fullmatch(text) and "." not in text):
        return float(_normalize(text, mark))
    return None


def _normalize(text: str, mark: DecimalMark) -> str:
    """Return a number with a decimal point and without thousands separators."""
    return text.replace(",", "") if mark == "point" else text.replace(".", "").replace(",", ".")


def _detect_decimal_mark(columns: Mapping[str, Sequence[str]], delimiter: str, locate: Locate) -> DecimalMark:
    """Return the decimal mark of all numbers in a file."""
    shown: dict[DecimalMark, Cell] = {}
    ambiguous: dict[DecimalMark, list[Cell]] = {}  # 1,234 has a point as decimal mark if its comma is for thousands
    for name, row, text in _cells_with_marks(columns):
        mark = _shown_decimal_mark(text)
        if mark:
            shown.setdefault(mark, (name, row, text))
        elif found := AMBIGUOUS.fullmatch(text.rstrip("KMBkmb ")):
            ambiguous.setdefault("point" if found[1] == "," else "comma", []).append((name, row, text))
    if len(shown) == 2:
        (name, row, text), (_, other_row, other) = sorted(shown.values(), key=lambda cell: cell[1])[::-1]
        raise PriceError(
            f"{locate(row)}: {name.capitalize()}: {text[:40]!r} and {other[:40]!r} ({locate(other_row)}) have "
            f"different decimal marks; all numbers of a file must use the same one; rewrite them with a decimal point "
            f"and no thousands separators"
        )
    if shown:
        return next(iter(shown))
    volume_marks = {mark for mark, cells in ambiguous.items() if cells[-1][0] == "volume"}
    if not ambiguous or (delimiter in POINT_DELIMITERS and set(ambiguous) == {"comma"} and not volume_marks):
        return "point"
    if volume_marks == {"point"} or (delimiter not in POINT_DELIMITERS and volume_marks == {"comma"}):
        return next(iter(volume_marks))
    name, row, text = next(iter(ambiguous.values()))[0]
    digits = re.sub("[.,]", "", text)
    raise PriceError(
        f"{locate(row)}: {name.capitalize()}: {text[:40]!r} is {digits[:-3]}.{digits[-3:]} or {digits}; no number in "
        f"the file shows its decimal mark; write numbers with a decimal point and no thousands separators"
    )


def _cells_with_marks(columns: Mapping[str, Sequence[str]]) -> Iterator[Cell]:
    for name, cells in columns.items():
        for row, text in enumerate(cells):
            if "," in text or "." in text:
                yield name, row, text


def _shown_decimal_mark(text: str) -> DecimalMark | None:
    number = text.rstrip("KMBkmb ")
    if AMBIGUOUS.fullmatch(number):
        return None
    point = NUMBER.fullmatch(number) or GROUPED["point"].fullmatch(number)
    comma = GROUPED["comma"].fullmatch(number)
    if point and not comma:
        return "point"
    return "comma" if comma and not point else None
