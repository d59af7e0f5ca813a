"""The running episode of a recording: rows in memory, video being encoded into the recording folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vla_ros.data import layout
from vla_ros.data.features import (
    AGE,
    INDEX_FEATURES,
    INTERVENTION,
    STAMP,
    SUCCESS,
    Feature,
    data_schema,
    episode_schema,
)
from vla_ros.data.stats import Stats, column_stats
from vla_ros.data.tables import to_arrow, write_table
from vla_ros.data.video import VideoEncoder, VideoSettings
from vla_ros.errors import DatasetError

MADE_HERE = (SUCCESS, *INDEX_FEATURES)  # columns that add() does not take


class RunningEpisode:
    """Episode number `index` of a dataset, whose first row is number `first_row`, built in `folder`."""

    def __init__(
        self,
        folder: Path,
        features: Mapping[str, Feature],
        fps: int,
        index: int,
        first_row: int,
        task: str,
        video: VideoSettings,
    ) -> None:
        self.folder = folder
        self.features = features
        self.fps = fps
        self.index = index
        self.first_row = first_row
        self.task = task
        self.tasks: list[str] = []  # of each row
        self._values: dict[str, list[npt.NDArray[Any]]] = {
            key: [] for key, feature in features.items() if not feature.is_video and key not in MADE_HERE
        }
        self._encoders: dict[str, VideoEncoder] = {}
        for key, feature in features.items():
            if feature.is_video:
                path = folder / self._file(layout.VIDEO_PATH, video_key=key)
                path.parent.mkdir(parents=True)
                self._encoders[key] = VideoEncoder(path, fps, feature.shape, video)

    @property
    def rows(self) -> int:
        """Rows so far."""
        return len(self.tasks)

    @property
    def backlog(self) -> int:
        """Frames that wait to be encoded, over all cameras."""
        return sum(encoder.backlog for encoder in self._encoders.values())

    def add(self, row: Mapping[str, Any], task: str | None = None) -> int:
        """Append a row and return its index; see `DatasetWriter.add_frame`."""
        checked = self._checked(row)
        for key, encoder in self._encoders.items():
            encoder.put(checked.pop(key))
        for key, value in checked.items():
            self._values[key].append(value)
        self.tasks.append(task or self.task)
        return self.rows - 1

    def finish_videos(self) -> None:
        """End the videos. Raises DatasetError unless each holds exactly one frame per row."""
        for key, encoder in self._encoders.items():
            frames = encoder.close()
            if frames != self.rows:
                raise DatasetError(
                    f"'{key}' has {frames} frames for {self.rows} rows: the episode is not saved"
                )

    def abandon(self) -> None:
        """Stop the encoders; the files are left to whoever removes the folder."""
        for encoder in self._encoders.values():
            encoder.abandon()

    def write(self, success: bool, all_tasks: list[str]) -> dict[str, Stats]:
        """Write the data table and the episode's metadata into the folder; return its statistics."""
        columns = self._columns(success, all_tasks)
        stats = {key: column_stats(values) for key, values in columns.items()}
        stats |= {key: encoder.stats() for key, encoder in self._encoders.items()}
        schema = data_schema(self.features)
        arrays = [to_arrow(columns[key], self.features[key]) for key in schema.names]
        write_table(pa.Table.from_arrays(arrays, schema=schema), self.folder / self._file(layout.DATA_PATH))
        write_table(self._metadata(stats), self.folder / self._file(layout.EPISODES_PATH))
        return stats

    def _checked(self, row: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
        wanted = [*self._encoders, *self._values]
        unknown = [key for key in row if key not in wanted]
        missing = [key for key in wanted if key not in row and key != INTERVENTION]
        if unknown or missing:
            problem = f"unknown '{unknown[0]}'" if unknown else f"no '{missing[0]}'"
            raise DatasetError(f"row {self.rows}: {problem}; want: {', '.join(wanted)}")
        return {key: self._value(key, row.get(key, False)) for key in wanted}

    def _value(self, key: str, given: Any) -> npt.NDArray[Any]:
        feature = self.features[key]
        shape = () if feature.shape == (1,) else feature.shape
        value = np.asarray(given) if feature.is_video else np.array(given, dtype=feature.dtype)
        if value.shape != shape or (feature.is_video and value.dtype != np.uint8):
            raise DatasetError(
                f"row {self.rows}: '{key}' is {value.dtype} {list(value.shape)}, want {list(shape)}"
            )
        if key not in (AGE, STAMP) and feature.dtype == "float32" and not np.isfinite(value).all():
            raise DatasetError(f"row {self.rows}: '{key}' is not finite: {value.ravel()[:8].tolist()}")
        return value

    def _columns(self, success: bool, all_tasks: list[str]) -> dict[str, npt.NDArray[Any]]:
        frame = np.arange(self.rows)
        return {key: np.stack(values) for key, values in self._values.items()} | {
            SUCCESS: np.full(self.rows, success),
            "timestamp": (frame / self.fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(self.rows, self.index),
            "index": self.first_row + frame,
            "task_index": np.array([all_tasks.index(task) for task in self.tasks]),
        }

    def _metadata(self, stats: Mapping[str, Stats]) -> pa.Table:
        chunk, file = layout.file_location(self.index)
        row: dict[str, Any] = {
            "episode_index": self.index,
            "tasks": list(dict.fromkeys(self.tasks)),
            "length": self.rows,
            "dataset_from_index": self.first_row,
            "dataset_to_index": self.first_row + self.rows,
        }
        for place in ("data", "meta/episodes", *(f"videos/{key}" for key in self._encoders)):
            row |= {f"{place}/chunk_index": chunk, f"{place}/file_index": file}
        for key in self._encoders:
            row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": self.rows / self.fps}
        for key, one in stats.items():
            row |= {f"stats/{key}/{name}": value.tolist() for name, value in one.items()}
        return pa.Table.from_pylist([row], schema=episode_schema(self.features))

    def _file(self, pattern: str, **names: str) -> str:
        chunk, file = layout.file_location(self.index)
        return pattern.format(chunk_index=chunk, file_index=file, **names)
