"""Decompress a file and decode its text: gzip or not; UTF-8, UTF-16, UTF-32 or Korean CP949."""

import codecs
import zlib

from stockrnn.io.files import line
from stockrnn.prices.series import PriceError

__all__ = ["MAX_FILE_BYTES", "decode", "decompress"]

MAX_FILE_BYTES = 256 << 20  # of a file, also decompressed; 25 years of daily prices are half a megabyte
GZIP_MAGIC = b"\x1f\x8b"  # first bytes of a gzip file
KOREAN_ENCODING = "cp949"  # of Korean Windows; it includes EUC-KR
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


def decode(source: str, content: bytes, korean: tuple[str, ...]) -> tuple[str, str]:
    """Return the text and its encoding.

    Args:
        source: name of the file, for messages.
        content: bytes of the file, decompressed.
        korean: Korean words; the text is read as CP949 only if its first line has one of them, since CP949 can decode
            almost any bytes.

    Raises:
        PriceError: the content is not text in a supported encoding.
    """
    for encoding in _candidates(content):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        first = text.lstrip().partition("\n")[0]
        if "\0" not in text and (encoding != KOREAN_ENCODING or any(word in first for word in korean)):
            return text.removeprefix("\ufeff"), encoding
    raise PriceError(
        f"{source}: is not text; a source is Parquet, or CSV in UTF-8, UTF-16 or Korean CP949; export it as one of them"
    )


def _candidates(content: bytes) -> tuple[str, ...]:
    for mark, encoding in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return (encoding,)
    if content[1:2] == b"\0":
        return ("utf-16-le",)
    return ("utf-16-be",) if content[:1] == b"\0" else ("utf-8", KOREAN_ENCODING)
