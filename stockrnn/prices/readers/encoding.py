"""Decompress a file and decode its text: gzip or not; Unicode, or a Windows code page of Asia or Europe."""

import codecs
import zlib
from collections.abc import Callable

from stockrnn.io.files import line
from stockrnn.prices.series import PriceError

__all__ = ["MAX_FILE_BYTES", "decode", "decompress"]

MAX_FILE_BYTES = 256 << 20  # of a file, also decompressed; 25 years of daily prices are half a megabyte
GZIP_MAGIC = b"\x1f\x8b"  # first bytes of a gzip file
CODE_PAGES = {  # the first of those in which most columns are recognized
    "cp1252": "Western European", "cp949": "Korean", "cp932": "Japanese", "gb18030": "Chinese", "big5": "Chinese",
    "cp1250": "Central European", "cp1251": "Cyrillic", "cp1254": "Turkish",
}  # fmt: skip
OTHER_FORMATS = (  # first bytes of files that are not text
    (b"PK\x03\x04", "a ZIP file or an Excel workbook; unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook; save the sheet as CSV"),
    (b'{"', "JSON; write the rows as CSV"),
    (b"[{", "JSON; write the rows as CSV"),
    (b"[[", "JSON; write the rows as CSV"),
    (b"<!", "a web page, also if its name ends in .xls; open it in a spreadsheet, and save it as CSV"),
    (b"<html", "a web page, also if its name ends in .xls; open it in a spreadsheet, and save it as CSV"),
    (b"<table", "a web page, also if its name ends in .xls; open it in a spreadsheet, and save it as CSV"),
    (b"%PDF", "a PDF; export the prices as CSV"),
)
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, since it begins with the same bytes
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decompress(source: str, content: bytes) -> bytes:
    """Return the decompressed content of a gzip file, or the content unchanged if it is not gzip.

    Args:
        source: name of the file, for messages.
        content: bytes of the file.

    Raises:
        PriceError: the gzip file is damaged, or decompresses to more than MAX_FILE_BYTES.
    """
    if not content.startswith(GZIP_MAGIC):
        return content
    result, rest = bytearray(), content
    try:
        while rest.startswith(GZIP_MAGIC):  # a gzip file may have several members
            member = zlib.decompressobj(wbits=31)
            result += member.decompress(rest, MAX_FILE_BYTES + 1 - len(result))
            if len(result) > MAX_FILE_BYTES:
                raise PriceError(
                    f"{source}: decompresses to more than {MAX_FILE_BYTES >> 20} MiB; a daily series is smaller; "
                    f"check the file"
                )
            if not member.eof:
                raise EOFError("it ends too early")
            rest = member.unused_data
    except (EOFError, zlib.error) as error:
        raise PriceError(
            f"{source}: cannot be decompressed ({line(error)}); the gzip file is damaged or incomplete; "
            f"compress it again"
        ) from None
    return bytes(result)


def decode(source: str, content: bytes, count_columns: Callable[[str], int]) -> tuple[str, str]:
    """Return the text, and its code page as in `Korean text (CP949)`, or an empty string if it is Unicode.

    Args:
        source: name of the file, for messages.
        content: bytes of the file, decompressed.
        count_columns: returns how many columns of prices are recognized in a text. A code page can decode almost any
            bytes, so the text is read as the one with most columns, and only if there are any.

    Raises:
        PriceError: the content is not text in a supported encoding.
    """
    for start, kind in OTHER_FORMATS:
        if b"".join(content[:100].split())[: len(start)].lower() == start.lower():
            raise PriceError(f"{source}: is {kind}; a source is a CSV or Parquet file")
    if (text := _try(content, _unicode_encoding(content))) is not None:
        return text.removeprefix("\ufeff"), ""
    counts = {encoding: count_columns(text) for encoding in CODE_PAGES if (text := _try(content, encoding))}
    best = max(counts, key=lambda encoding: counts[encoding], default="")
    if not counts.get(best):
        raise PriceError(
            f"{source}: is not text with columns of prices; a source is Parquet, or CSV in UTF-8, UTF-16 or a code "
            f"page of Windows; export it as UTF-8"
        )
    return content.decode(best), f"{CODE_PAGES[best]} text ({best.upper()})"


def _unicode_encoding(content: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding
    if content[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if content[:1] == b"\0" else "utf-8"


def _try(content: bytes, encoding: str) -> str | None:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
