"""Parse columns of numbers such as 1234.5, 1,234.5 and ₩1.234,5, or report that a number like 1,234 is ambiguous.

All numbers of a file must use the same decimal mark. At least one number must show it: `1,234.5`, `12,345,678`, `12,5`,
`1 234,5`, or a volume such as `345,678`, since volumes are whole numbers. In a Parquet file, or a CSV with commas
between its columns, a price of 1.234 is read with a decimal point if no number has a comma. All prices must have the
same currency.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np

from stockrnn.prices.series import PriceError

__all__ = ["Numbers", "is_null", "looks_like_number", "read_numbers"]

NULL_WORDS = {
    "", "null", "nan", "none", "n/a", "#n/a", "<na>", "-", "--", "---", "–", "—", "na", "n.a.", "nil", "#n/a n/a",
}  # fmt: skip
NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
GROUPED = {  # with thousands separators, also the Indian 12,34,567.5
    "point": re.compile(r"[+-]?[1-9]\d{0,2}(?:(?:,\d{3})+|(?:,\d{2})+,\d{3})(?:\.\d+)?", re.ASCII),
    "comma": re.compile(r"[+-]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d+)(?:,\d+)?", re.ASCII),
}
SPACED = re.compile(r"[+-]?[1-9]\d{0,2}(?:[ '’]\d{3})+(?:[.,]\d+)?", re.ASCII)  # 1 234,5 and 1'234.5
POINT_DELIMITERS = (",", "")  # with these delimiters, decimals have a point
AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}", re.ASCII)  # 1,234 and 1.234
MAGNITUDES = {
    "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "만": 10**4, "억": 10**8, "万": 10**4, "萬": 10**4, "亿": 10**8,
    "億": 10**8,
}  # fmt: skip
SIGNS = r"(?:(?:US|HK|NT|A|C|S)?\$|[€£¥₩₹₽₺₫฿₪₱₴]|R\$|Rs\.?|zł|Kč|원|円|元|USD|EUR|GBP|JPY|KRW|CNY|INR|TWD|HKD|SEK|PLN)"
CURRENCY = re.compile(rf"([+-]?)(?:({SIGNS})\s*([+-]?[\d.,].*)|([+-]?[\d.,].*?)\s*({SIGNS}))", re.DOTALL)
SAME_CURRENCY = {"원": "₩", "KRW": "₩", "円": "¥", "JPY": "¥", "US$": "$", "USD": "$", "EUR": "€", "GBP": "£"}
UNIT = re.compile(r"(.*\d)\s*(?:주|株|股|shares)")  # of a volume
NUMBER_RULE = "is not a number; numbers are digits and a point, as in 2183.49; rewrite it"

DecimalMark = Literal["point", "comma"]
Cell = tuple[str, int, str]  # name of the column, row, text
Locate = Callable[[int], str]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Numbers of several columns of a file.

    Attributes:
        values: float64, shape (rows, columns), NaN for a missing value.
        rounded: number of volumes that end in K, M or another magnitude.
        currency: sign of the prices' currency; empty if they have none.
    """

    values: np.ndarray
    rounded: int
    currency: str


def is_null(cell: str) -> bool:
    """Return whether a cell represents a missing value."""
    return cell.strip().lower() in NULL_WORDS


def looks_like_number(cell: str) -> bool:
    """Return whether a cell is a number in any of the forms that `read_numbers` reads."""
    text, _ = _strip_currency(_clean(cell))
    forms = (NUMBER, GROUPED["point"], GROUPED["comma"])
    return any(form.fullmatch(_without_magnitude(text)) for form in forms)


def read_numbers(columns: Mapping[str, Sequence[str]], delimiter: str, locate: Locate) -> Numbers:
    """Return the numbers of several columns of a file.

    Args:
        columns: texts by column name; those of `volume` may end in a magnitude such as K, M or B.
        delimiter: delimiter of the file's columns; "" for a Parquet file.
        locate: returns `SOURCE:LINE` of a row.

    Raises:
        PriceError: a text is not a number, or is ambiguous, or prices have different currencies.
    """
    texts: dict[str, list[str]] = {}
    currencies: dict[str, Cell] = {}
    for name, cells in columns.items():
        pairs = [_strip_currency(_clean(cell)) for cell in cells]
        texts[name] = [text for text, _ in pairs]
        for row, (_, currency) in enumerate(pairs):
            if currency and currency not in currencies:
                currencies[currency] = (name, row, cells[row])
    if len(currencies) > 1:
        (name, row, text), (_, other_row, other) = sorted(currencies.values(), key=lambda cell: cell[1])[1::-1]
        raise PriceError(
            f"{locate(row)}: {name.capitalize()}: {text[:40]!r} and {other[:40]!r} ({locate(other_row)}) have "
            f"different currencies; all prices of a series have the same one; convert them"
        )
    mark = _detect_decimal_mark(texts, delimiter, locate)
    rounded, values, wrong = 0, [], []
    for name, cells in texts.items():
        suffixed = [name == "volume" and cell[-1:].upper() in MAGNITUDES for cell in cells]
        rounded += sum(suffixed)
        parsed = [_parse(cell, mark, suffix) for cell, suffix in zip(cells, suffixed, strict=True)]
        wrong += [(row, name) for row, value in enumerate(parsed) if value is None]
        values.append(np.array([math.nan if value is None else value for value in parsed], dtype=float))
    if wrong:
        row, name = wrong[0]
        count = len({row for row, _ in wrong})
        raise PriceError(
            f"{locate(row)}: {name.capitalize()}: {columns[name][row][:40]!r} {NUMBER_RULE} "
            f"({count} of {len(values[0])} rows are wrong)"
        )
    return Numbers(values=np.column_stack(values), rounded=rounded, currency=next(iter(currencies), ""))


def _clean(cell: str) -> str:
    """Return a cell without outer spaces, and with plain ones in place of non-breaking and narrow spaces."""
    text = cell.strip()
    if text.isascii():
        return text
    text = re.sub(r"[\u00a0\u2007\u2009\u202f]", " ", text).replace("\u2212", "-")
    return text.replace("￦", "₩").replace("￥", "¥")


def _strip_currency(text: str) -> tuple[str, str]:
    """Return a number without its currency, unit and spaces or apostrophes between thousands; and the currency."""
    if NUMBER.fullmatch(text):
        return text, ""
    currency = ""
    if found := CURRENCY.fullmatch(text):
        sign, prefix, after, before, suffix = found.groups()
        currency = prefix or suffix
        text = sign + (after or before)
        currency = SAME_CURRENCY.get(currency, currency)
    elif unit := UNIT.fullmatch(text):
        text = unit[1]
    return (re.sub("[ '’]", "", text) if SPACED.fullmatch(text) else text), currency


def _without_magnitude(text: str) -> str:
    return text[:-1].rstrip() if text[-1:].upper() in MAGNITUDES else text


def _parse(text: str, mark: DecimalMark, has_suffix: bool) -> float | None:
    if has_suffix and (digits := _parse(_without_magnitude(text), mark, False)) is not None and math.isfinite(digits):
        return float(Decimal(_normalize(_without_magnitude(text), mark)) * MAGNITUDES[text[-1].upper()])
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
        elif found := AMBIGUOUS.fullmatch(_without_magnitude(text)):
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
    number = _without_magnitude(text)
    if AMBIGUOUS.fullmatch(number):
        return None
    point = NUMBER.fullmatch(number) or GROUPED["point"].fullmatch(number)
    comma = GROUPED["comma"].fullmatch(number)
    if point and not comma:
        return "point"
    return "comma" if comma and not point else None
