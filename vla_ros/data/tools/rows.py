"""One episode's rows in memory, read from just the row groups that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vla_ros.contract import Contract, StreamSpec
from vla_ros.data import layout
from vla_ros.data.features import AGE, STAMP
from vla_ros.data.reader import Dataset, Episode
from vla_ros.data.tables import opened_table, to_numpy

STATE, ACTION = "observation.state", "action"


@dataclass(frozen=True)
class EpisodeRows:
    """What the data table says of one episode.

    columns: key to array [T, *shape]. sync: the streams of ``sync.age`` and ``sync.stamp``, in their order.
    contract: None for a dataset that carries none. length: the rows that the metadata promises.
    """

    index: int
    length: int
    fps: int
    columns: Mapping[str, npt.NDArray[Any]]
    sync: tuple[str, ...] = ()
    contract: Contract | None = None

    @property
    def rows(self) -> int:
        """Rows that are there."""
        return min((len(values) for values in self.columns.values()), default=0)

    def time(self, row: int) -> float:
        """Return the time of a row since the episode's start [s]."""
        return row / self.fps

    def sync_column(self, key: str, stream: str) -> npt.NDArray[Any] | None:
        """Return one stream's column [T] of ``sync.age`` or ``sync.stamp``; None where there is none."""
        if key not in self.columns or stream not in self.sync:
            return None
        column: npt.NDArray[Any] = self.columns[key].reshape(self.rows, -1)[:, self.sync.index(stream)]
        return column

    def spec(self, stream: str) -> StreamSpec | None:
        """Return what the contract says of a stream."""
        return self.contract.observation.get(stream) if self.contract else None

    @cached_property
    def speed(self) -> npt.NDArray[np.float64]:
        """The fastest joint's speed between two rows [rad/s, m/s], float64 [T - 1]; empty without a state."""
        state = self.columns.get(STATE)
        if state is None or len(state) < 2:
            return np.zeros(0)
        moved = np.abs(np.diff(state.reshape(len(state), -1).astype(np.float64), axis=0))
        fastest: npt.NDArray[np.float64] = moved.max(axis=1) * self.fps
        return fastest


def contract_of(dataset: Dataset) -> Contract | None:
    """Return the dataset's contract; None for a dataset that was recorded elsewhere and carries none.

    Raises DatasetError for a contract that is there but cannot be read.
    """
    return dataset.contract if (dataset.root / layout.CONTRACT).exists() else None


def load_rows(dataset: Dataset, episode: Episode, columns: Sequence[str] | None = None) -> EpisodeRows:
    """Read an episode's rows, of all columns that are not videos or of `columns`.

    Raises DatasetError naming a file that is missing or corrupt, or a column that it lacks.
    """
    keys = list(columns or [key for key, feature in dataset.features.items() if not feature.is_video])
    table = episode_table(dataset, episode, keys)
    values = {key: to_numpy(table[key], dataset.features[key]) for key in keys}
    sync = dataset.features[AGE].names if AGE in dataset.features else None
    sync = sync or (dataset.features[STAMP].names if STAMP in dataset.features else None)
    return EpisodeRows(episode.index, episode.length, dataset.fps, values, tuple(sync or ()), contract_of(dataset))


def episode_table(dataset: Dataset, episode: Episode, columns: Sequence[str] | None = None) -> pa.Table:
    """Return an episode's rows as they are stored. Raises DatasetError naming the file and its fault."""
    first = episode.from_index - _first_rows(dataset)[episode.files["data"]]
    with opened_table(dataset.rows_file(episode), columns) as (file, wanted):
        groups, skipped = _groups(file, first, first + episode.length)
        table = file.read_row_groups(groups, columns=wanted)
    return table.slice(first - skipped, episode.length)


@lru_cache(maxsize=8)
def _first_rows(dataset: Dataset) -> dict[tuple[int, int], int]:
    """Return the number of each data file's first row in the dataset."""
    firsts: dict[tuple[int, int], int] = {}
    for episode in dataset.episodes:
        place = episode.files["data"]
        firsts[place] = min(episode.from_index, firsts.get(place, episode.from_index))
    return firsts


def _groups(file: pq.ParquetFile, first: int, last: int) -> tuple[list[int], int]:
    """Return the row groups that overlap rows first..last, and how many rows lie before them."""
    groups, skipped, start = [], 0, 0
    for group in range(file.metadata.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        if end <= first:
            skipped = end
        elif start < last:
            groups.append(group)
        start = end
    return groups, skipped
