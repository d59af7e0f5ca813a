"""Writing a LeRobot v3.0 dataset, one episode at a time, so that a crash costs at most the running episode.

Each episode has files of its own (the format allows it), committed together; see `layout` for how, and `merge` for
making few files of many. Video is encoded while recording, rows go to a journal; what a save does then does not
depend on how long the dataset is.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from vla_ros.contract import Contract, parse_contract
from vla_ros.data import layout
from vla_ros.data.episode import RunningEpisode
from vla_ros.data.features import Feature, dataset_features, frames_per_second
from vla_ros.data.finished import FinishedEpisode
from vla_ros.data.interrupted import set_aside
from vla_ros.data.notes import Note, read_notes, write_notes
from vla_ros.data.stats import Stats, merge_stats, stats_from_json, stats_to_json
from vla_ros.data.tables import read_tasks, tasks_table, write_table
from vla_ros.data.video import VideoSettings
from vla_ros.errors import ContractError, DatasetError

DATA_FILE_MB = 100
VIDEO_FILE_MB = 200


class DatasetWriter:
    """Appends episodes to the dataset in folder `root`, which it creates if need be.

    A row maps the contract's keys to values: images uint8 [H, W, 3], depth float32 [H, W] in metres with NaN where
    nothing was measured, numbers of `StreamSpec.value_shape`, ``action`` [D], ``sync.age`` [S] and ``sync.stamp`` [S]
    (see `features`); ``intervention`` may be left out. Arrays that are writeable are copied.

    `notes` says what was found and repaired on opening, recordings that can be recovered among it. Raises
    DatasetError if the folder holds something else, a dataset of another contract, or is being written by another.
    """

    def __init__(self, root: str | Path, contract: Contract, video: VideoSettings | None = None) -> None:
        self.root = Path(root)
        self.contract = contract
        self.fps = frames_per_second(contract)
        self._video = video or VideoSettings()
        self.features = dataset_features(contract, self._video.info, self._video.depth_info)
        self._episode: RunningEpisode | None = None
        self._info: dict[str, Any] = {}
        self._tasks: dict[str, int] = {}  # to their numbers
        self._stats: dict[str, Stats] = {}
        self._noted: dict[int, tuple[Note, ...]] = {}
        self._refuse_strangers()
        self._lock = layout.FolderLock(self.root)
        try:
            self.notes = self._clean()
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finalize()

    @property
    def num_episodes(self) -> int:
        """Episodes saved in the dataset."""
        return int(self._info["total_episodes"])

    @property
    def num_frames(self) -> int:
        """Rows saved in the dataset."""
        return int(self._info["total_frames"])

    @property
    def running(self) -> bool:
        """True between start_episode() and save_episode() or discard_episode()."""
        return self._episode is not None

    @property
    def rows(self) -> int:
        """Rows of the running episode."""
        return self._episode.rows if self._episode else 0

    @property
    def backlog(self) -> int:
        """Frames that wait to be encoded, over all cameras."""
        return self._episode.backlog if self._episode else 0

    @property
    def spilled(self) -> int:
        """Frames of the running episode that have waited on disk, over all cameras."""
        return self._episode.spilled if self._episode else 0

    def start_episode(self, task: str) -> None:
        """Begin an episode with this instruction.

        Raises DatasetError while another is running or after finalize().
        """
        if self._lock.released:
            raise DatasetError(f"dataset '{self.root}' is closed")
        if self.running:
            raise DatasetError("an episode is running; valid: add_frame, save_episode, discard_episode")
        if not task.strip():
            raise DatasetError("an episode needs an instruction; the text is empty")
        folder = layout.recording_folder(self.root)
        try:
            shutil.rmtree(folder, ignore_errors=True)
            self._episode = RunningEpisode(folder, self.features, self.fps, self.num_episodes, task, self._video)
        except OSError as error:
            raise DatasetError(f"dataset '{self.root}' cannot be written: {error}") from None

    def add_frame(self, row: Mapping[str, Any], task: str | None = None) -> int:
        """Append a row, whose instruction is `task` or the episode's; return its index in the episode.

        Raises DatasetError naming what is missing, unknown or misshapen (the row is then not added), or that
        the encoder failed.
        """
        return self._running().add(row, task)

    def add_note(self, text: str, time: float | None = None, episode: int | None = None) -> Note:
        """Keep an operator's words with the running episode, or with one that is saved; return them with their time.

        time: since the episode's first row [s]; by default that of the running episode's last row, or the saved
        one's end. Raises DatasetError for a text that is no note, without such an episode, or if the disk is full.
        """
        try:
            if episode is None:
                running = self._running()
                note = Note(running.rows / self.fps if time is None else time, text)
                running.notes.add(note)
                return note
            if not 0 <= episode < self.num_episodes or self._lock.released:
                raise DatasetError(f"dataset '{self.root}' has no open episode {episode} for a note")
            note = Note(0.0 if time is None else time, text)
            noted = self._noted | {episode: (*self._noted.get(episode, ()), note)}
            write_notes(self.root, noted)
            self._noted = noted
        except OSError as error:
            raise DatasetError(f"the note cannot be written to '{self.root}': {error}") from None
        return note

    def save_episode(self, success: bool = True) -> int:
        """Commit the running episode and return its index.

        Raises DatasetError if it has no rows, or if it cannot be saved: a video's frames do not match the rows, or
        the disk is full. It is then kept aside for `recovery`.
        """
        episode = self._running()
        if not episode.rows:
            self.discard_episode()
            raise DatasetError("the episode has no rows: nothing to save")
        try:
            index = self.commit(episode.finish(), success)
        except (OSError, DatasetError) as error:
            kept = self.interrupt_episode()
            where = f"; {kept[0]}" if kept else ""
            raise DatasetError(f"episode {episode.index} cannot be saved to '{self.root}': {error}{where}") from None
        self._episode = None
        return index

    def discard_episode(self) -> None:
        """Give the running episode up; without one, do nothing."""
        if self._episode is not None:
            self._episode.abandon()
            self._episode = None
            shutil.rmtree(layout.recording_folder(self.root), ignore_errors=True)

    def interrupt_episode(self) -> list[str]:
        """Stop the running episode and keep it aside for recovery; return one line about it, none without one."""
        if self._episode is None:
            return []
        self._episode.abandon()
        self._episode = None
        try:
            return [] if self._lock.released else set_aside(self.root)
        except (OSError, DatasetError):
            return []  # the next to open this dataset does it

    def finalize(self) -> None:
        """Keep a running episode aside and let others write. Every saved episode is complete without this."""
        self.interrupt_episode()
        self._lock.release()

    def commit(self, episode: FinishedEpisode, success: bool) -> int:
        """Make an episode that lies complete in the recording folder part of the dataset; return its index.

        For `save_episode` and `recovery`. Raises OSError or DatasetError when the disk does not take it.
        """
        index, rows = self.num_episodes, episode.rows
        new = [task for task in dict.fromkeys(episode.tasks) if task not in self._tasks]
        tasks = self._tasks | {task: len(self._tasks) + i for i, task in enumerate(new)}
        stats = merge_stats(self._stats, episode.write(index, self.num_frames, success, tasks))
        info = self._info | {
            "total_episodes": index + 1,
            "total_frames": self.num_frames + rows,
            "total_tasks": len(tasks),
            "splits": {"train": f"0:{index + 1}"},
        }
        if new:
            write_table(tasks_table(list(tasks)), episode.tree / layout.TASKS)
        noted = self._noted | ({index: tuple(episode.notes)} if episode.notes else {})
        if episode.notes:
            write_notes(episode.tree, noted)
        layout.write_json(episode.tree / layout.STATS_FILE, stats_to_json(stats))
        layout.write_json(episode.tree / layout.INFO, info)
        try:
            layout.commit(self.root)
        except OSError:
            if layout.commit_pending(self.root):  # whoever opens this dataset next finishes it
                self._lock.release()
            raise
        self._info, self._tasks, self._stats, self._noted = info, tasks, stats, noted
        return index

    def _running(self) -> RunningEpisode:
        if self._episode is None:
            raise DatasetError("no episode is running; valid: start_episode")
        return self._episode

    def _clean(self) -> list[str]:
        notes = layout.clean(self.root)
        return notes + (set_aside(self.root) if (self.root / layout.INFO).exists() else [])

    def _refuse_strangers(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise DatasetError(f"'{self.root}' is a file; want a folder for the dataset")
        known = (self.root / layout.INFO).exists() or (self.root / layout.HIDDEN).exists()
        if self.root.exists() and not known and any(self.root.iterdir()):
            raise DatasetError(
                f"folder '{self.root}' holds something that is not a dataset; give an empty or a new folder"
            )

    def _open(self) -> None:
        if (self.root / layout.INFO).exists():
            self._info = layout.read_json(self.root / layout.INFO)
            self._refuse_differences()
            stored = self.num_episodes > 0
            tasks = read_tasks(self.root / layout.TASKS) if stored else []
            self._tasks = {task: number for number, task in enumerate(tasks)}
            self._noted = read_notes(self.root)
            self._stats = stats_from_json(layout.read_json(self.root / layout.STATS_FILE)) if stored else {}
            return
        self._info = self._empty_info()
        try:
            layout.write_text(self.root / layout.CONTRACT, self.contract.text)
            layout.write_json(self.root / layout.INFO, self._info)
        except OSError as error:
            raise DatasetError(f"dataset '{self.root}' cannot be written: {error}") from None

    def _refuse_differences(self) -> None:
        path = self.root / layout.CONTRACT
        try:
            theirs = parse_contract(path.read_text(encoding="utf-8"), str(path))
        except (OSError, ContractError) as error:
            raise DatasetError(f"dataset '{self.root}' cannot be continued without its contract: {error}") from None
        differences = self.contract.differences(theirs)
        version = self._info.get("codebase_version")
        if version != layout.CODEBASE_VERSION:
            differences.append(f"codebase_version {version}, want {layout.CODEBASE_VERSION}")
        stored = {key: Feature.from_json(key, data) for key, data in self._info.get("features", {}).items()}
        for key, feature in self.features.items():
            have = stored.get(key)
            shape = list(have.shape) if have else None
            if shape != list(feature.shape) and not differences:
                differences.append(f"feature '{key}' has shape {shape}, want {list(feature.shape)}")
            if have and feature.is_flat and not have.is_flat:  # a dataset from when arrays were stored nested
                self.features[key] = replace(feature, info={})
        if differences:
            raise DatasetError(f"dataset '{self.root}' was recorded with another contract: {'; '.join(differences)}")

    def _empty_info(self) -> dict[str, Any]:
        return {
            "codebase_version": layout.CODEBASE_VERSION,
            "robot_type": self.contract.robot,
            "total_episodes": 0,
            "total_frames": 0,
            "total_tasks": 0,
            "chunks_size": layout.CHUNK_FILES,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "fps": self.fps,
            "splits": {},
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH if any(f.is_video for f in self.features.values()) else None,
            "features": {key: feature.to_json() for key, feature in self.features.items()},
        }
