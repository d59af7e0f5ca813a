"""The rows of ``meta/episodes``, whole: what a tool needs to give episodes other numbers and places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from vla_ros.data import layout
from vla_ros.data.features import STATS
from vla_ros.data.reader import Dataset
from vla_ros.data.stats import Stats
from vla_ros.data.tables import read_table
from vla_ros.errors import DatasetError

Row = dict[str, Any]


def metadata_rows(dataset: Dataset) -> list[Row]:
    """Return the metadata of every episode, by index. Raises DatasetError naming what cannot be read."""
    rows: list[Row] = []
    for path in sorted(layout.current(dataset.root, "meta/episodes").glob("chunk-*/file-*.parquet")):
        rows += read_table(path).to_pylist()
    by_index = {int(row["episode_index"]): row for row in rows}
    missing = [index for index in range(dataset.num_episodes) if index not in by_index]
    if missing:
        raise DatasetError(f"'{dataset.root}/meta/episodes' lacks episode {missing[0]}")
    return [by_index[index] for index in range(dataset.num_episodes)]


def stats_of(row: Mapping[str, Any], keys: list[str], where: str) -> dict[str, Stats]:
    """Return the statistics that an episode's metadata holds of the features `keys`.

    Raises DatasetError naming a feature without them, since those of the dataset are made from them.
    """
    stats: dict[str, Stats] = {}
    for key in keys:
        values = {name: row.get(f"stats/{key}/{name}") for name in STATS}
        missing = [name for name, value in values.items() if value is None]
        if missing:
            raise DatasetError(
                f"{where}: no statistic '{missing[0]}' of '{key}'; make it by: vla-ros dataset stats --repair"
            )
        stats[key] = {name: np.asarray(value) for name, value in values.items()}
    return stats


def put_stats(row: Row, stats: Mapping[str, Stats]) -> None:
    """Write statistics into an episode's metadata."""
    for key, one in stats.items():
        row.update({f"stats/{key}/{name}": value.tolist() for name, value in one.items()})


def place(row: Row, where: str, number: int) -> None:
    """Say that what `where` names (``data``, ``videos/KEY``, ``meta/episodes``) lies in its number-th file."""
    row[f"{where}/chunk_index"], row[f"{where}/file_index"] = layout.file_location(number)


def table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """Return metadata as the table of ``meta/episodes``."""
    return pa.Table.from_pylist(rows, schema=schema)
