"""The running episode's rows on disk, appended to while recording, so that a killed recorder loses a second.

A journal is a file of `records`, each a batch of rows in Arrow's message format; its number is that of the first row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from vla_ros.data.features import MADE_AT_SAVE, Feature, data_schema
from vla_ros.data.records import RecordFile, records

TASK = "task"  # the journal's column of instructions


def journal_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Return the columns of a journal: what a row brings with it, and its instruction."""
    kept = {key: feature for key, feature in features.items() if key not in MADE_AT_SAVE}
    return data_schema(kept).append(pa.field(TASK, pa.string()))


class Journal:
    """Appends batches of rows to the new file `path`."""

    def __init__(self, path: Path) -> None:
        self._file = RecordFile(path)
        self._rows = 0

    def append(self, batch: pa.RecordBatch) -> None:
        """Write a batch; a kill of this process does not lose it any more. Raises OSError when the disk is full."""
        self._file.append(self._rows, batch.serialize())
        self._rows += batch.num_rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journal(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a journal that are whole and follow each other; nothing where there is no file."""
    rows = 0
    for first, data in records(path):
        if first != rows:
            return
        batch = pa.ipc.read_record_batch(pa.py_buffer(data), schema)
        rows += batch.num_rows
        yield batch
