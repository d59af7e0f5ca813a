"""An episode whose rows are complete: its data table, its line of metadata and its statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vla_ros.data import layout
from vla_ros.data.features import SUCCESS, Feature, data_schema, episode_schema
from vla_ros.data.notes import Note
from vla_ros.data.stats import Stats, column_stats
from vla_ros.data.tables import to_arrow, write_table


@dataclass(frozen=True)
class FinishedEpisode:
    """What one episode adds to a dataset, apart from its place there.

    tree: the folder of the files to commit, which already holds the videos. columns: key to [N, *shape], without
    the columns made when it is saved. tasks: the instruction of each row. video_stats: of each camera. notes: of
    the operator.
    """

    tree: Path
    features: Mapping[str, Feature]
    fps: int
    columns: Mapping[str, npt.NDArray[Any]]
    tasks: Sequence[str]
    video_stats: Mapping[str, Stats]
    notes: Sequence[Note] = ()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.tasks)

    def write(self, index: int, first_row: int, success: bool, task_index: Mapping[str, int]) -> dict[str, Stats]:
        """Write the table and the metadata of episode number `index`, whose first row is number `first_row`.

        task_index: the number of each instruction. Returns the episode's statistics by feature.
        """
        columns = self._all_columns(index, first_row, success, task_index)
        stats = {key: column_stats(self.features[key].stored(values)) for key, values in columns.items()}
        stats |= self.video_stats
        schema = data_schema(self.features)
        arrays = [to_arrow(columns[key], self.features[key]) for key in schema.names]
        write_table(pa.Table.from_arrays(arrays, schema=schema), self.tree / layout.data_file(index))
        write_table(self._metadata(index, first_row, stats), self.tree / layout.episodes_file(index))
        return stats

    def _all_columns(
        self, index: int, first_row: int, success: bool, task_index: Mapping[str, int]
    ) -> dict[str, npt.NDArray[Any]]:
        frame = np.arange(self.rows)
        return dict(self.columns) | {
            SUCCESS: np.full(self.rows, success),
            "timestamp": (frame / self.fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(self.rows, index),
            "index": first_row + frame,
            "task_index": np.array([task_index[task] for task in self.tasks]),
        }

    def _metadata(self, index: int, first_row: int, stats: Mapping[str, Stats]) -> pa.Table:
        chunk, file = layout.file_location(index)
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": list(dict.fromkeys(self.tasks)),
            "length": self.rows,
            "dataset_from_index": first_row,
            "dataset_to_index": first_row + self.rows,
        }
        for place in ("data", "meta/episodes", *(f"videos/{key}" for key in self.video_stats)):
            row |= {f"{place}/chunk_index": chunk, f"{place}/file_index": file}
        for key in self.video_stats:
            row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": self.rows / self.fps}
        for key, one in stats.items():
            row |= {f"stats/{key}/{name}": value.tolist() for name, value in one.items()}
        return pa.Table.from_pylist([row], schema=episode_schema(self.features))
