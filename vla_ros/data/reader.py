"""Reading a LeRobot v3.0 dataset without LeRobot: tables by Arrow, frames by PyAV, nothing loaded before it
is asked for.

``meta/info.json`` decides what the dataset holds: files beyond its episodes (a commit cut short) are not
looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vla_ros.contract import Contract, parse_contract
from vla_ros.data import layout
from vla_ros.data.features import SUCCESS, Feature
from vla_ros.data.notes import Note, read_notes
from vla_ros.data.pictures import Frame, pictures_of
from vla_ros.data.stats import Stats, stats_from_json
from vla_ros.data.tables import read_table, read_tasks, to_numpy
from vla_ros.data.video import read_frames
from vla_ros.errors import ContractError, DatasetError, unknown_name

T = TypeVar("T")
MOVES = 10  # how often a file may be moved by a merge while it is being opened
_SUCCESS = f"stats/{SUCCESS}/min"  # one value for the whole episode, so its statistics tell it


@dataclass(frozen=True)
class Episode:
    """One episode: rows from_index (inclusive) to to_index (exclusive) of the dataset.

    task: its first instruction. success: None where the dataset does not say. files: place ("data" or a
    video's key) to (chunk_index, file_index). starts: a video's key to the time of the first frame in its
    file [s].
    """

    index: int
    length: int
    from_index: int
    to_index: int
    task: str
    tasks: tuple[str, ...]
    success: bool | None
    files: dict[str, tuple[int, int]]
    starts: dict[str, float]


class Dataset:
    """The dataset in folder `root`. Raises DatasetError naming the file and what is wrong with it."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not (self.root / layout.INFO).is_file():
            raise DatasetError(f"'{self.root}' is not a dataset: it has no {layout.INFO}")
        self.info = layout.read_json(self.root / layout.INFO)
        version = self.info.get("codebase_version")
        if version != layout.CODEBASE_VERSION:
            raise DatasetError(
                f"dataset '{self.root}' has codebase_version {version}; valid: {layout.CODEBASE_VERSION}"
            )
        try:
            self.fps = int(self.info["fps"])
            self.num_episodes = int(self.info["total_episodes"])
            self.num_frames = int(self.info["total_frames"])
            features = dict(self.info["features"])
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"'{self.root / layout.INFO}' is malformed: {error!r}") from None
        self.features = {key: Feature.from_json(key, value) for key, value in features.items()}
        self._generation = layout.generation(self.root)

    def __len__(self) -> int:
        return self.num_frames

    @cached_property
    def contract(self) -> Contract:
        """The contract it was recorded with. Raises DatasetError for a dataset that carries none."""
        path = self.root / layout.CONTRACT
        try:
            return parse_contract(path.read_text(encoding="utf-8"), str(path))
        except (OSError, ContractError) as error:
            raise DatasetError(f"dataset '{self.root}' has no usable contract: {error}") from None

    @property
    def cameras(self) -> list[str]:
        """The keys whose values are video frames."""
        return [key for key, feature in self.features.items() if feature.is_video]

    @cached_property
    def tasks(self) -> list[str]:
        """The instructions, by task_index."""
        return read_tasks(self.root / layout.TASKS) if self.num_episodes else []

    @cached_property
    def stats(self) -> dict[str, Stats]:
        """The statistics of ``meta/stats.json``: feature to statistic to array."""
        return stats_from_json(layout.read_json(self.root / layout.STATS_FILE)) if self.num_episodes else {}

    @cached_property
    def notes(self) -> dict[int, tuple[Note, ...]]:
        """The operator's notes, by the index of the episode; episodes without any are not in it."""
        return {i: notes for i, notes in read_notes(self.root).items() if i < self.num_episodes}

    @property
    def episodes(self) -> list[Episode]:
        """All episodes, by index."""
        return self._settled(lambda: self._episodes)

    def _settled(self, read: Callable[[], T]) -> T:
        """Return what `read` gives of one state of the files, however often they are merged meanwhile."""
        tries = MOVES
        while True:
            generation = layout.generation(self.root)
            if generation != self._generation:
                self._generation = generation
                self.__dict__.pop("_episodes", None)
            moving = layout.merged_folder(self.root).exists() and tries > 0
            try:
                value = read()
            except DatasetError:
                if layout.generation(self.root) == generation and not moving:
                    raise
                tries -= 1
                continue
            if layout.generation(self.root) == generation:
                return value

    @cached_property
    def _episodes(self) -> list[Episode]:
        names = ["episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index"]
        places = {"data": "data", **{key: f"videos/{key}" for key in self.cameras}}
        names += [f"{place}/{name}" for place in places.values() for name in ("chunk_index", "file_index")]
        names += [f"videos/{key}/from_timestamp" for key in self.cameras]
        names += [_SUCCESS] if SUCCESS in self.features else []
        rows: list[dict[str, Any]] = []
        for path in sorted(layout.current(self.root, "meta/episodes").glob("chunk-*/file-*.parquet")):
            if len(rows) < self.num_episodes:
                rows += read_table(path, names).to_pylist()
        rows = sorted(rows, key=lambda row: int(row["episode_index"]))[: self.num_episodes]
        if [row["episode_index"] for row in rows] != list(range(self.num_episodes)):
            raise DatasetError(
                f"'{self.root}/meta/episodes' lacks episodes of 0..{self.num_episodes - 1}: has {len(rows)}"
            )
        return [self._episode(row, places) for row in rows]

    def column(self, key: str, episode: int | None = None) -> npt.NDArray[Any]:
        """Return a column's rows [N, *shape] ([N] for shape (1,)), of all episodes or of one.

        Raises DatasetError for an unknown key, or one that is a video (see `frames`).
        """
        feature = self.features.get(key)
        if feature is None or feature.is_video:
            valid = [name for name, one in self.features.items() if not one.is_video]
            raise DatasetError(f"dataset '{self.root}': {unknown_name('column', key, valid)}")
        return self._settled(lambda: self._column(key, feature, episode))

    def _column(self, key: str, feature: Feature, episode: int | None) -> npt.NDArray[Any]:
        chosen = self._episodes if episode is None else [self._chosen(episode)]
        parts = [self._rows(key, feature, self.rows_file(e)) for e in _first_of_file(chosen)]
        if not parts:
            return np.zeros((0, *(feature.shape if feature.shape != (1,) else ())), dtype=feature.dtype)
        values = np.concatenate(parts)
        if episode is not None:
            offset = min(e.from_index for e in self._episodes if e.files["data"] == chosen[0].files["data"])
            values = values[chosen[0].from_index - offset : chosen[0].to_index - offset]
        wanted = self.num_frames if episode is None else chosen[0].length
        if len(values) != wanted:
            raise DatasetError(
                f"dataset '{self.root}': column '{key}' has {len(values)} rows, the episodes say {wanted}"
            )
        return values

    def frames(self, key: str, episode: int) -> Frame:
        """Return a camera's frames of an episode, T being its rows: uint8 [T, H, W, 3] RGB, or depth float32
        [T, H, W] in metres with NaN where nothing was measured.

        Raises DatasetError for an unknown camera or episode, or a video that is missing, corrupt or too
        short.
        """
        if key not in self.cameras:
            raise DatasetError(f"dataset '{self.root}': {unknown_name('camera', key, self.cameras)}")
        return self._settled(lambda: self._frames(key, episode))

    def rows_file(self, episode: Episode) -> Path:
        """Return the file that holds an episode's rows."""
        return self._path(self.info["data_path"], episode.files["data"])

    def video(self, key: str, episode: int) -> tuple[Path, float]:
        """Return the file that holds a camera's frames of an episode, and the time of the first in it [s]."""
        chosen = self._chosen(episode)
        return self._path(self.info["video_path"], chosen.files[key], video_key=key), chosen.starts[key]

    def _frames(self, key: str, episode: int) -> Frame:
        chosen = self._chosen(episode)
        path, start = self.video(key, episode)
        return read_frames(path, start, chosen.length, self.fps, pictures_of(self.features[key]))

    def _chosen(self, episode: int) -> Episode:
        if not 0 <= episode < self.num_episodes:
            raise DatasetError(f"dataset '{self.root}' has no episode {episode}; valid: 0..{self.num_episodes - 1}")
        return self._episodes[episode]

    def _rows(self, key: str, feature: Feature, path: Path) -> npt.NDArray[Any]:
        return to_numpy(read_table(path, [key])[key], feature)

    def _path(self, pattern: str, place: tuple[int, int], **names: str) -> Path:
        return layout.current(self.root, pattern.format(chunk_index=place[0], file_index=place[1], **names))

    def _episode(self, row: dict[str, Any], places: dict[str, str]) -> Episode:
        tasks = tuple(str(task) for task in row["tasks"])
        return Episode(
            index=row["episode_index"],
            length=row["length"],
            from_index=row["dataset_from_index"],
            to_index=row["dataset_to_index"],
            task=tasks[0] if tasks else "",
            tasks=tasks,
            success=bool(row[_SUCCESS][0] > 0.5) if _SUCCESS in row else None,
            files={place: (row[f"{path}/chunk_index"], row[f"{path}/file_index"]) for place, path in places.items()},
            starts={key: row[f"videos/{key}/from_timestamp"] for key in self.cameras},
        )


def _first_of_file(episodes: list[Episode]) -> list[Episode]:
    """Return one episode per data file, in the order of the rows."""
    return list({episode.files["data"]: episode for episode in reversed(episodes)}.values())[::-1]
