"""Bytes of a text file -> its text, whatever program wrote it: UTF-8, UTF-16, Korean CP949, packed or not."""

import codecs
import zlib

from stockrnn.files import line
from stockrnn.series import PriceError

__all__ = ["MOST_BYTES", "decoded", "unpacked"]

MOST_BYTES = 256 << 20  # of a file, and of what it unpacks to: 25 years of days are half a megabyte
GZIP = b"\x1f\x8b"  # how these files begin, whatever their names
KOREAN = "cp949"  # what Korean Windows writes; it contains EUC-KR
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def unpacked(source: str, content: bytes) -> bytes:
    """The content of a gzip file; that of any other file as it is.

    Raises:
        PriceError: the gzip file is broken, or unpacks to more than MOST_BYTES.
    """
    if not content.startswith(GZIP):
        return content
    whole, rest = bytearray(), content
    try:
        while rest.startswith(GZIP):  # a gzip file may have several members
            part = zlib.decompressobj(wbits=31)
            whole += part.decompress(rest, MOST_BYTES + 1 - len(whole))
            if len(whole) > MOST_BYTES:
                raise PriceError(
                    f"{source}: unpacks to more than {MOST_BYTES >> 20} MiB; a daily series is smaller; check the file"
                )
            if not part.eof:
                raise EOFError("it ends too early")
            rest = part.unused_data
    except (EOFError, zlib.error) as error:
        raise PriceError(f"{source}: cannot be unpacked ({line(error)}); a gzip file is whole; pack it again") from None
    return bytes(whole)


def decoded(source: str, content: bytes, korean: tuple[str, ...]) -> tuple[str, str]:
    """The text and its encoding.

    Args:
        source: as the user wrote it.
        content: the file's bytes, unpacked.
        korean: words of which one has to stand in the first line for the text to be taken as CP949, an encoding in
            which almost any bytes mean something.

    Raises:
        PriceError: it is no text in an encoding known here.
    """
    for encoding in _candidates(content):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        first = text.lstrip().partition("\n")[0]
        if "\0" not in text and (encoding != KOREAN or any(word in first for word in korean)):
            return text.removeprefix("\ufeff"), encoding
    raise PriceError(
        f"{source}: is not text; a source is a CSV in UTF-8, UTF-16 or Korean CP949, or Parquet; export it as one"
    )


def _candidates(content: bytes) -> tuple[str, ...]:
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return (encoding,)
    if content[1:2] == b"\0":
        return ("utf-16-le",)
    return ("utf-16-be",) if content[:1] == b"\0" else ("utf-8", KOREAN)
