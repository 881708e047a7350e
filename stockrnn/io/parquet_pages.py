"""Check the size of an untrusted Parquet file after decompression, before PyArrow decodes it.

This module reads the footer and the header of each page, because PyArrow crashes on some damaged footers and trusts the
sizes in a file. Both are structs in Thrift's compact protocol, with the field and type numbers of parquet.thrift
(https://github.com/apache/parquet-format).
"""

import struct
from typing import Any

from stockrnn.io.files import FileError

__all__ = ["check_pages"]

MAGIC = b"PAR1"
CODECS = {0, 1}  # none and Snappy, whose output is at most 21 times as long as its input
ENCODINGS = {0, 2, 3, 4, 8}  # plain, dictionary, run length; other encodings can repeat texts without limit
DAMAGED = "is not a complete Parquet file"
OTHER_FORMAT = "has an encoding or compression that this project does not write"
DATA, DICTIONARY, DATA_V2 = 0, 2, 3
MAX_PAGES, MAX_COLUMNS, MAX_DEPTH = 5000, 100, 12
MAX_UNPACKED_BYTES = 200_000_000  # of all pages together
Struct = dict[int, Any]  # values by field number


def check_pages(content: bytes, max_rows: int) -> None:
    """Raise FileError if a Parquet file is damaged or too large.

    Args:
        content: the file.
        max_rows: limit of the rows.

    Raises:
        FileError: the file is incomplete or damaged, uses other codecs than this project, or exceeds a limit.
    """
    try:
        _check(content, max_rows)
    except (LookupError, TypeError, struct.error):
        raise FileError(DAMAGED) from None


def _check(content: bytes, max_rows: int) -> None:
    length = int.from_bytes(content[-8:-4], "little")
    if content[:4] != MAGIC or content[-4:] != MAGIC or not 0 < length <= len(content) - 12:
        raise FileError(DAMAGED)
    footer = _Reader(content, len(content) - 8 - length, len(content) - 8).struct()
    if not 0 <= footer[3] <= max_rows:
        raise FileError(f"has more than {max_rows} rows")
    pages = _Pages(content)
    if sum(group[3] for group in footer[4]) != footer[3] or len(footer[4]) > MAX_PAGES:
        raise FileError(DAMAGED)
    for group in footer[4]:
        if len(group[1]) > MAX_COLUMNS or group[3] < 0:
            raise FileError(f"has more than {MAX_COLUMNS} columns")
        for chunk in group[1]:
            pages.add(chunk[3], group[3])


class _Pages:
    """Count the pages of a file and their decompressed bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._pages, self._unpacked = 0, 0

    def add(self, column: Struct, rows: int) -> None:
        """Count the pages of a column chunk; `column` is its metadata."""
        if column[4] not in CODECS or column[5] != rows:
            raise FileError(OTHER_FORMAT)
        if not rows:  # PyArrow decodes nothing
            return
        start = column[9] if column.get(11, 0) <= 0 else min(column[9], column[11])
        end = start + column[7]
        if not 0 < start <= end <= len(self._content):
            raise FileError(DAMAGED)
        values = 0
        while start < end and values < rows:
            reader = _Reader(self._content, start, end)
            page = reader.struct()
            packed, unpacked = page[3], page[2]
            self._pages, self._unpacked = self._pages + 1, self._unpacked + unpacked
            start = reader.place + packed
            head = page[{DATA: 5, DICTIONARY: 7, DATA_V2: 8}[page[1]]]
            encoding = head[4] if page[1] == DATA_V2 else head[2]
            if packed < 0 or unpacked < 0 or start > end or head[1] < 0 or encoding not in ENCODINGS:
                raise FileError(OTHER_FORMAT)
            if self._pages > MAX_PAGES or self._unpacked > MAX_UNPACKED_BYTES:
                raise FileError(f"decompresses to more than {MAX_UNPACKED_BYTES} bytes, or has over {MAX_PAGES} pages")
            values += head[1] if page[1] != DICTIONARY else 0
        if values != rows or start != end:
            raise FileError(DAMAGED)


class _Reader:
    """Read structs of Thrift's compact protocol from a part of the content; IndexError at its end."""

    def __init__(self, content: bytes, start: int, end: int) -> None:
        self._content, self.place, self._end = content, start, end

    def struct(self, depth: int = 0) -> Struct:
        """Return the values of a struct's fields by field number."""
        if depth > MAX_DEPTH:
            raise IndexError
        found: Struct = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            if not step:  # field numbers must increase; 0 would repeat a field
                raise IndexError
            number += step
            found[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            number = self._varint()
            return (number >> 1) ^ -(number & 1)
        if kind == 7:
            return struct.unpack("<d", self._bytes(8))[0]
        if kind == 8:
            return self._bytes(self._varint())
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            if count > self._end - self.place:  # each element has at least one byte
                raise IndexError
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        raise IndexError

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        if count > self._end - self.place:
            raise IndexError
        self.place += count
        return self._content[self.place - count : self.place]

    def _varint(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise IndexError
