"""Files of records that a dead process leaves readable: rows, notes, and frames that wait for an encoder.

A record is a header of 20 bytes, little-endian, and its data: mark ``VLA1``, number (uint64, what it counts is the
file's affair), length of the data (uint32), CRC-32 of number, length and data (uint32). Reading ends at the first
record that is not whole.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MARK = b"VLA1"
_HEADER = struct.Struct("<4sQII")
_CHECKED = struct.Struct("<QI")
HEADER = _HEADER.size


def write_record(file: int, at: int, number: int, data: Any, path: Path) -> int:
    """Write a record at offset `at` of a descriptor; return the offset behind it.

    data: bytes or a contiguous buffer of them. A kill of this process does not lose it any more. Raises OSError naming
    `path` when the disk does not take all of it.
    """
    length = memoryview(data).nbytes
    header = _HEADER.pack(_MARK, number, length, _checksum(number, length, data))
    end = at + HEADER + length
    try:
        at += os.pwritev(file, [header, data], at)
        while at < end:  # a full disk takes a part; the next try says why
            at += os.pwrite(file, (header + bytes(memoryview(data)))[at - end :], at)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None
    return end


def read_record(file: int, at: int, length: int) -> tuple[int, memoryview]:
    """Return number and data of the record of `length` bytes of data that this process has written at `at`."""
    content = os.pread(file, HEADER + length, at)
    return int(_HEADER.unpack_from(content)[1]), memoryview(content)[HEADER:]


def records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number and data of the records of a file that are whole; nothing where there is no file."""
    if not path.is_file():
        return
    left = path.stat().st_size
    with path.open("rb") as file:
        while len(header := file.read(HEADER)) == HEADER:
            mark, number, length, checksum = _HEADER.unpack(header)
            left -= HEADER + length
            if mark != _MARK or left < 0:
                return
            data = file.read(length)
            if len(data) != length or _checksum(number, length, data) != checksum:
                return
            yield number, data


class RecordFile:
    """A new file `path` to which records are appended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self._end = 0

    def append(self, number: int, data: Any) -> None:
        """Write a record; see `write_record`."""
        self._end = write_record(self._file, self._end, number, data, self.path)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _checksum(number: int, length: int, data: Any) -> int:
    return zlib.crc32(data, zlib.crc32(_CHECKED.pack(number, length)))
