"""The running episode's rows on disk, appended to while recording, so that a killed recorder loses a second.

A journal is a file of records, each a batch of rows in Arrow's message format behind its length and checksum.
Reading ends at the first record that is not whole.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from vla_ros.data.features import MADE_AT_SAVE, Feature, data_schema

_HEADER = struct.Struct("<4sII")  # mark, length, checksum
_MARK = b"VLAr"
TASK = "task"  # the journal's column of instructions


def journal_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Return the columns of a journal: what a row brings with it, and its instruction."""
    kept = {key: feature for key, feature in features.items() if key not in MADE_AT_SAVE}
    return data_schema(kept).append(pa.field(TASK, pa.string()))


class Journal:
    """Appends batches of rows to the file `path`."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self._path = path
        self._end = 0

    def append(self, batch: pa.RecordBatch) -> None:
        """Write a batch; a kill of this process does not lose it any more. Raises OSError when the disk is full."""
        data = batch.serialize()
        header = _HEADER.pack(_MARK, len(data), zlib.crc32(data))
        if os.pwritev(self._file, [header, data], self._end) != len(header) + len(data):
            raise OSError(28, "no space left for rows", str(self._path))
        self._end += len(header) + len(data)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read_journal(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a journal that are whole; nothing where there is no file."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            mark, length, checksum = _HEADER.unpack(header)
            data = file.read(length)
            if mark != _MARK or len(data) != length or zlib.crc32(data) != checksum:
                return
            yield pa.ipc.read_record_batch(pa.py_buffer(data), schema)
