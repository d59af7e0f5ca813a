"""Parquet tables of a dataset: building them from numpy and turning them back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vla_ros.data.features import Feature, arrow_type
from vla_ros.errors import DatasetError, unknown_name


def to_arrow(values: npt.NDArray[Any], feature: Feature) -> pa.Array:
    """Return a column [N, *shape] (or [N] for shape (1,)) as an Arrow array of the feature's type."""
    kind = arrow_type(feature)
    flat = pa.array(np.ascontiguousarray(values, dtype=feature.dtype).reshape(-1))
    if feature.shape == (1,):
        return flat
    if len(feature.stored_shape) == 1:
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    nested = flat
    for size in reversed(feature.shape):
        offsets = pa.array(np.arange(0, len(nested) + 1, size, dtype=np.int32))
        nested = pa.ListArray.from_arrays(offsets, nested)
    return nested.cast(kind)


def to_numpy(column: pa.ChunkedArray, feature: Feature) -> npt.NDArray[Any]:
    """Return a column of a data table as [N, *shape]; a feature of shape (1,) gives [N]."""
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], type=column.type)
    rows = len(values)
    while pa.types.is_nested(values.type):
        values = values.flatten()
    flat: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    if feature.shape == (1,):
        return flat.astype(feature.dtype, copy=False)
    return flat.astype(feature.dtype, copy=False).reshape(rows, *feature.shape)


@contextmanager
def opened_table(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[pq.ParquetFile, list[str] | None]]:
    """Open a parquet file and give it with the columns to read, None for all.

    Raises DatasetError naming the file when it is missing or corrupt, or lacks a column; also for what is read inside.
    """
    try:
        with pq.ParquetFile(path) as file:
            have = set(file.schema_arrow.names)
            missing = [name for name in columns or () if name not in have]
            if missing:
                raise DatasetError(f"'{path}': {unknown_name('column', missing[0], have)}")
            yield file, list(columns) if columns is not None else None
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from None


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a parquet file; see `opened_table` for its errors."""
    with opened_table(path, columns) as (file, wanted):
        return file.read(columns=wanted)


def write_table(table: pa.Table, path: Path) -> None:
    """Write one row group, compressed by snappy. Raises DatasetError when the disk does not take it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="snappy", row_group_size=max(1, table.num_rows))
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"'{path}' cannot be written: {error}") from None


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """Return ``meta/tasks.parquet``: a pandas frame whose index is ``task``, its row the task's index."""
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [
            {
                "name": "task_index",
                "field_name": "task_index",
                "pandas_type": "int64",
                "numpy_type": "int64",
                "metadata": None,
            },
            {
                "name": "task",
                "field_name": "task",
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": None,
            },
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    schema = pa.schema([("task_index", pa.int64()), ("task", pa.string())], metadata={"pandas": json.dumps(pandas)})
    return pa.table({"task_index": list(range(len(tasks))), "task": list(tasks)}, schema=schema)


def read_tasks(path: Path) -> list[str]:
    """Return the tasks by their index."""
    table = read_table(path)
    column = "task" if "task" in table.column_names else "__index_level_0__"
    if column not in table.column_names or "task_index" not in table.column_names:
        raise DatasetError(f"'{path}' has columns {', '.join(table.column_names)}; want task and task_index")
    pairs: Mapping[int, str] = dict(zip(table["task_index"].to_pylist(), table[column].to_pylist(), strict=True))
    return [pairs[index] for index in sorted(pairs)]
