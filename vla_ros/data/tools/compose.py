"""Putting a dataset together from episodes of others: what merging, splitting and removing have in common.

The new dataset is built in a hidden folder beside its place and put there by one rename. Tables are written
anew, since every row carries its numbers; videos are copied whole, or cut out by `cut`, never re-encoded.
Statistics come from those of the episodes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_ros.data import layout
from vla_ros.data.features import episode_schema
from vla_ros.data.reader import Dataset, Episode
from vla_ros.data.stats import Stats, column_stats, merge_stats, stats_to_json
from vla_ros.data.tables import tasks_table, write_table
from vla_ros.data.tools import metadata
from vla_ros.data.tools.cut import cut_video
from vla_ros.data.tools.extras import carry_extras
from vla_ros.data.tools.rows import contract_of, episode_table
from vla_ros.errors import DatasetError

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Part:
    """Episodes of a dataset, in the order in which they are taken."""

    dataset: Dataset
    episodes: list[Episode]


def compose(parts: Sequence[Part], output: Path) -> list[str]:
    """Write the parts' episodes as the new dataset `output`; return one line about each file not carried over.

    Raises DatasetError if the parts differ in what a dataset must have in common, if something cannot be
    read, or if `output` is there already; nothing that exists is changed.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DatasetError(f"'{output}' exists already; give a new folder")
    with staging(output) as folder:
        notes = build(parts, folder)
        folder.rename(output)
    return notes


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """Give a hidden folder beside `output` for building in; it is removed at the end, unless it was renamed."""
    parent = output.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=parent))
        folder.chmod(0o755)
    except OSError as error:
        raise DatasetError(f"'{output}' cannot be written: {error}") from None
    try:
        yield folder
    except OSError as error:
        raise DatasetError(f"'{output}' cannot be written: {error}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build(parts: Sequence[Part], folder: Path) -> list[str]:
    """Write the dataset into the empty `folder` and flush it to the disk; see `compose`."""
    parts = [part for part in parts if part.episodes]
    if not parts:
        raise DatasetError("no episodes are left to write")
    refuse_differences([part.dataset for part in parts])
    builder = _Builder(folder, parts[0].dataset)
    for part in parts:
        builder.add(part)
    builder.finish()
    notes = carry_extras([(part.dataset.root, [e.index for e in part.episodes]) for part in parts], folder)
    layout.sync_tree(folder)
    return notes


def refuse_differences(datasets: Sequence[Dataset]) -> None:
    """Raise DatasetError unless the datasets have one contract, rate, and the same features and codecs."""
    first = datasets[0]
    for other in datasets[1:]:
        mine, theirs = contract_of(first), contract_of(other)
        found = mine.differences(theirs) if mine and theirs else []
        if first.fps != other.fps:
            found.append(f"fps: {first.fps} and {other.fps}")
        if found:
            raise DatasetError(f"'{other.root}' does not go with '{first.root}': {'; '.join(found)}")
        for key in dict.fromkeys((*first.features, *other.features)):
            a, b = (_essence(dataset, key) for dataset in (first, other))
            if a != b:
                raise DatasetError(f"'{other.root}' does not go with '{first.root}': feature '{key}': {a} and {b}")


def _essence(dataset: Dataset, key: str) -> str:
    feature = dataset.features.get(key)
    if feature is None:
        return "absent"
    codec = [str(feature.info.get(name)) for name in ("video.codec", "video.pix_fmt", "is_depth_map")]
    return " ".join([feature.dtype, str(list(feature.stored_shape)), *(codec if feature.is_video else [])])


@dataclass
class _Builder:
    """Adds episodes to the dataset in `folder`, which has the features of `model`."""

    folder: Path
    model: Dataset
    tasks: list[str] = field(default_factory=list)
    rows: list[metadata.Row] = field(default_factory=list)
    stats: dict[str, Stats] = field(default_factory=dict)
    frames: int = 0
    data_files: int = 0
    video_files: dict[str, int] = field(default_factory=dict)
    _writer: pq.ParquetWriter | None = None
    _sink: Any = None

    def add(self, part: Part) -> None:
        """Append the part's episodes."""
        dataset = part.dataset
        known = metadata.metadata_rows(dataset)
        keys = [key for key, feature in dataset.features.items() if feature.dtype not in ("string", "language")]
        for episode in part.episodes:
            row = dict(known[episode.index])
            stats = metadata.stats_of(row, keys, f"'{dataset.root}', episode {episode.index}")
            numbers = self._write_rows(dataset, episode)
            stats |= {key: column_stats(values) for key, values in numbers.items()}
            metadata.put_stats(row, stats)
            metadata.place(row, "data", self.data_files)
            metadata.place(row, "meta/episodes", 0)
            row["episode_index"] = len(self.rows)
            row["dataset_from_index"], row["dataset_to_index"] = self.frames, self.frames + episode.length
            self.rows.append(row)
            self.frames += episode.length
            self.stats = merge_stats(self.stats, stats)
            self._roll_over()
        for camera in dataset.cameras:
            self._write_videos(dataset, part.episodes, camera)

    def finish(self) -> None:
        """Write the metadata."""
        self._close()
        write_table(metadata.table(self.rows, episode_schema(self.model.features)), self._path(layout.EPISODES_PATH, 0))
        write_table(tasks_table(self.tasks), self.folder / layout.TASKS)
        layout.write_json(self.folder / layout.STATS_FILE, stats_to_json(self.stats))
        contract = self.model.root / layout.CONTRACT
        if contract.exists():
            layout.write_text(self.folder / layout.CONTRACT, contract.read_text(encoding="utf-8"))
        totals = {"total_episodes": len(self.rows), "total_frames": self.frames, "total_tasks": len(self.tasks)}
        paths = {"data_path": layout.DATA_PATH, "video_path": layout.VIDEO_PATH if self.model.cameras else None}
        splits = {"splits": {"train": f"0:{len(self.rows)}"}}
        layout.write_json(self.folder / layout.INFO, {**self.model.info, **totals, **paths, **splits})

    def _write_rows(self, dataset: Dataset, episode: Episode) -> dict[str, np.ndarray[Any, Any]]:
        """Append an episode's rows with their new numbers, which are returned."""
        table = episode_table(dataset, episode)
        if table.num_rows != episode.length:
            raise DatasetError(
                f"'{dataset.root}', episode {episode.index}: {table.num_rows} rows, the metadata says {episode.length}"
            )
        numbers = {
            "episode_index": np.full(episode.length, len(self.rows), dtype=np.int64),
            "index": self.frames + np.arange(episode.length, dtype=np.int64),
            "task_index": self._tasks_of(dataset, table["task_index"].to_numpy()),
        }
        for key, values in numbers.items():
            table = table.set_column(table.schema.get_field_index(key), key, pa.array(values))
        if self._writer is None:
            path = self._path(layout.DATA_PATH, self.data_files)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = path.open("wb")
            self._writer = pq.ParquetWriter(self._sink, table.schema, compression="snappy")
        table = table.select(self._writer.schema.names).cast(self._writer.schema)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        return numbers

    def _tasks_of(self, dataset: Dataset, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        new = {}
        for index in dict.fromkeys(int(i) for i in indices):
            if not 0 <= index < len(dataset.tasks):
                raise DatasetError(f"'{dataset.root}': task_index {index}; valid: 0..{len(dataset.tasks) - 1}")
            if dataset.tasks[index] not in self.tasks:
                self.tasks.append(dataset.tasks[index])
            new[index] = self.tasks.index(dataset.tasks[index])
        return np.array([new[int(i)] for i in indices], dtype=np.int64)

    def _roll_over(self) -> None:
        if self._sink.tell() > int(self.model.info.get("data_files_size_in_mb", 100)) * MEGABYTE:
            self._close()
            self.data_files += 1

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = None

    def _write_videos(self, dataset: Dataset, episodes: Sequence[Episode], camera: str) -> None:
        taken = {episode.index for episode in episodes}
        split = {e.files[camera] for e in dataset.episodes if e.index not in taken}
        whole: dict[tuple[int, int], int] = {}  # file to the number of its copy
        for row, episode in zip(self.rows[-len(episodes) :], episodes, strict=True):
            source, start = dataset.video(camera, episode.index)
            number = self.video_files.setdefault(camera, 0)
            if episode.files[camera] not in split:
                if episode.files[camera] not in whole:
                    whole[episode.files[camera]] = number
                    self._copy(source, self._path(layout.VIDEO_PATH, number, video_key=camera))
                    self.video_files[camera] += 1
                number = whole[episode.files[camera]]
            else:
                target = self._path(layout.VIDEO_PATH, number, video_key=camera)
                cut_video(source, target, start, episode.length, dataset.fps)
                self.video_files[camera] += 1
                start = 0.0
            metadata.place(row, f"videos/{camera}", number)
            row[f"videos/{camera}/from_timestamp"] = start
            row[f"videos/{camera}/to_timestamp"] = start + episode.length / dataset.fps

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, target)
        except FileNotFoundError:
            raise DatasetError(f"video '{source}' is missing") from None

    def _path(self, pattern: str, number: int, **names: str) -> Path:
        chunk, file = layout.file_location(number)
        return self.folder / pattern.format(chunk_index=chunk, file_index=file, **names)
