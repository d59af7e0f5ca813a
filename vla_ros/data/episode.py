"""The running episode of a recording: rows in memory and in a journal, video being encoded, all in one folder.

The recording folder holds ``episode.json`` (what is being recorded), ``rows`` (the journal), ``notes``, ``spill``
(frames that wait) and ``tree``: the very files that a commit adds to the dataset. What a kill leaves of it, `interrupted`
reads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vla_ros.data import layout
from vla_ros.data.features import AGE, INTERVENTION, MADE_AT_SAVE, STAMP, Feature
from vla_ros.data.finished import FinishedEpisode
from vla_ros.data.journal import TASK, Journal, journal_schema
from vla_ros.data.notes import NoteFile
from vla_ros.data.pictures import Pictures, pictures_of
from vla_ros.data.tables import to_arrow
from vla_ros.data.video import VideoEncoder, VideoSettings
from vla_ros.errors import DatasetError

SYNC_PERIOD = 1.0  # [s] between two flushes to the disk itself, which bound what a power cut costs


class RunningEpisode:
    """Episode number `index` of a dataset, built in `folder`."""

    def __init__(
        self,
        folder: Path,
        features: Mapping[str, Feature],
        fps: int,
        index: int,
        task: str,
        video: VideoSettings,
    ) -> None:
        self.folder = folder
        self.features = features
        self.fps = fps
        self.index = index
        self.task = task
        self.tasks: list[str] = []  # of each row
        self._values: dict[str, list[npt.NDArray[Any]]] = {
            key: [] for key, feature in features.items() if not feature.is_video and key not in MADE_AT_SAVE
        }
        self._pictures = {key: pictures_of(feature) for key, feature in features.items() if feature.is_video}
        self._tree = folder / layout.TREE
        self._tree.mkdir(parents=True)
        note = {"task": task, "fps": fps, "index": index, "started": time.time(), "codec": video.codec}
        layout.write_json(folder / layout.EPISODE_NOTE, note)
        self._journal, self._journaled = Journal(folder / layout.JOURNAL), 0
        self._schema = journal_schema(features)
        self.notes = NoteFile(folder)
        self._encoders = {key: self._encoder(key, pictures, video) for key, pictures in self._pictures.items()}
        files = [folder / layout.JOURNAL, *(encoder.path for encoder in self._encoders.values())]
        self._syncer = Syncer(files, SYNC_PERIOD)

    def _encoder(self, key: str, pictures: Pictures, video: VideoSettings) -> VideoEncoder:
        path = self._tree / layout.video_file(key, self.index)
        path.parent.mkdir(parents=True)
        spill = self.folder / layout.SPILL / f"{key}.frames"
        return VideoEncoder(path, spill, self.fps, pictures, video)

    @property
    def rows(self) -> int:
        """Rows so far."""
        return len(self.tasks)

    @property
    def backlog(self) -> int:
        """Frames that wait to be encoded, over all cameras."""
        return sum(encoder.backlog for encoder in self._encoders.values())

    @property
    def spilled(self) -> int:
        """Frames that have waited on disk, over all cameras."""
        return sum(encoder.spilled for encoder in self._encoders.values())

    def add(self, row: Mapping[str, Any], task: str | None = None) -> int:
        """Append a row and return its index; see `DatasetWriter.add_frame`. On an error it is not added."""
        checked = self._checked(row)
        for encoder in self._encoders.values():
            encoder.reserve()
        frames = {key: checked.pop(key) for key in self._encoders}
        for key, value in checked.items():
            self._values[key].append(value)
        self.tasks.append(task or self.task)
        try:
            self._write_rows(at_least=max(1, self.fps // 4))
        except OSError as error:
            for values in (*self._values.values(), self.tasks):
                values.pop()  # type: ignore[attr-defined]
            raise DatasetError(f"row {self.rows} cannot be written: {error}") from None
        for key, frame in frames.items():
            self._encoders[key].put(frame)
        return self.rows - 1

    def finish(self) -> FinishedEpisode:
        """End videos and journal, and return the episode as it is to be committed.

        Raises DatasetError unless each video holds exactly one frame per row, OSError when the disk is full.
        """
        self._write_rows(at_least=1)  # should the commit fail, the episode can be recovered whole
        for key, encoder in self._encoders.items():
            frames = encoder.close()
            if frames != self.rows:
                raise DatasetError(f"'{key}' has {frames} frames for {self.rows} rows: the episode is not saved")
        self._close()
        stats = {key: encoder.stats() for key, encoder in self._encoders.items()}
        columns = {key: np.stack(values) for key, values in self._values.items()}
        return FinishedEpisode(self._tree, self.features, self.fps, columns, self.tasks, stats, self.notes.notes)

    def abandon(self) -> None:
        """Stop; what was recorded lies in the folder as far as it got."""
        for encoder in self._encoders.values():
            encoder.abandon()
        with suppress(OSError):  # on a full disk the last quarter of a second is not in the journal
            self._write_rows(at_least=1)
        self._close()

    def _close(self) -> None:
        self._syncer.stop()
        self._journal.close()
        self.notes.close()

    def _write_rows(self, at_least: int) -> None:
        if self.rows - self._journaled < at_least:
            return
        new = slice(self._journaled, self.rows)
        arrays = [
            pa.array(self.tasks[new]) if key == TASK else to_arrow(np.stack(self._values[key][new]), self.features[key])
            for key in self._schema.names
        ]
        self._journal.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._journaled = self.rows

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
        if feature.is_video:
            value, shape, dtype = np.asarray(given), self._pictures[key].shape, self._pictures[key].dtype
        else:
            shape, dtype = () if feature.shape == (1,) else feature.shape, feature.dtype
            value = np.array(given, dtype=dtype)
            value = value.reshape(shape) if value.shape == feature.shape else value
        if value.shape != shape or value.dtype != dtype:
            raise DatasetError(
                f"row {self.rows}: '{key}' is {value.dtype} {list(value.shape)}, want {dtype} {list(shape)}"
            )
        exempt = feature.is_video or key in (AGE, STAMP)
        if not exempt and dtype == "float32" and not np.isfinite(value).all():
            raise DatasetError(f"row {self.rows}: '{key}' is not finite: {value.ravel()[:8].tolist()}")
        return value


class Syncer:
    """Flushes growing files to the disk every `period` [s], in a thread, so that a commit has little left to flush."""

    def __init__(self, files: list[Path], period: float) -> None:
        self._files, self._period = files, period
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sync recording", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            for file in self._files:
                if file.exists():  # a video appears with its first frames
                    layout.sync(file)
                    layout.sync(file.parent)
