"""Single frames of videos, in any order, fast: files stay open, and what follows the last frame is not sought.

With a key frame at every second picture, as recordings have it, a frame costs a seek in an open file and one or two
decoded pictures.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from vla_ros.data import layout
from vla_ros.data.pictures import Frame, Pictures, pictures_of
from vla_ros.data.reader import Dataset
from vla_ros.errors import DatasetError, unknown_name


class FrameReader:
    """Frames of a dataset's cameras by episode and row. Each process that uses it opens its own files.

    open_files: how many videos stay open; the one unused longest is closed first.
    """

    def __init__(self, dataset: Dataset, open_files: int = 64) -> None:
        self._dataset, self._limit = dataset, open_files
        self._pictures = {key: pictures_of(dataset.features[key]) for key in dataset.cameras}
        self._files: OrderedDict[Path, OpenVideo] = OrderedDict()
        self._process, self._generation = os.getpid(), layout.generation(dataset.root)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": OrderedDict(), "_process": 0}

    def frames(self, key: str, episode: int, rows: Sequence[int]) -> Frame:
        """Return a camera's frames of these rows of an episode, [len(rows), *shape], as `Dataset.frames` does.

        Raises DatasetError for an unknown camera or row, or a video that is missing, corrupt or too short.
        """
        if key not in self._pictures:
            raise DatasetError(f"dataset '{self._dataset.root}': {unknown_name('camera', key, self._pictures)}")
        one = self._dataset.episodes[episode]
        wrong = [row for row in rows if not 0 <= row < one.length]
        if wrong:
            raise DatasetError(f"episode {episode} has no row {wrong[0]}; valid: 0..{one.length - 1}")
        path, start = self._dataset.video(key, episode)
        first = round(start * self._dataset.fps)
        video = self._open(path, self._pictures[key])
        return np.stack([video.frame(first + row) for row in rows])

    def _open(self, path: Path, pictures: Pictures) -> OpenVideo:
        generation = layout.generation(self._dataset.root)
        if self._process != os.getpid() or self._generation != generation:
            # After a fork the files' positions would be shared; after a merge other files have these names.
            self._files, self._process, self._generation = OrderedDict(), os.getpid(), generation
        video = self._files.pop(path, None) or OpenVideo(path, self._dataset.fps, pictures)
        self._files[path] = video
        while len(self._files) > self._limit:
            self._files.popitem(last=False)[1].close()
        return video


class OpenVideo:
    """One open file. Remembers its last frames, which windows that overlap the start of an episode ask for again."""

    REMEMBERED = 4
    AHEAD = 4  # pictures that are rather decoded than sought

    def __init__(self, path: Path, fps: int, pictures: Pictures) -> None:
        self._path, self._fps, self._coding = path, fps, pictures
        try:
            self._container: Any = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (av.error.FFmpegError, OSError, IndexError) as error:
            raise DatasetError(f"video '{path}' cannot be read: {error}") from None
        self._stream.thread_type = "NONE"
        self._stream.codec_context.thread_count = 1
        self._decoded: Any = None
        self._next = -1  # number of the picture that `_decoded` gives next; -1: not known
        self._last: OrderedDict[int, Frame] = OrderedDict()

    def frame(self, number: int) -> Frame:
        """Return the number-th frame of the file. Raises DatasetError if it cannot be decoded."""
        if number not in self._last:
            try:
                self._last[number] = self._coding.decode(self._picture(number))
            except (av.error.FFmpegError, OSError) as error:
                raise DatasetError(f"video '{self._path}' cannot be read: {error}") from None
            while len(self._last) > self.REMEMBERED:
                self._last.popitem(last=False)
        return self._last[number]

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _picture(self, number: int) -> Any:
        if not 0 <= self._next <= number <= self._next + self.AHEAD:
            base = self._stream.time_base
            self._container.seek(round(number / (self._fps * base)), stream=self._stream)
            self._decoded = self._container.decode(self._stream)
        for picture in self._decoded:
            shown = round(picture.time * self._fps)
            self._next = shown + 1
            if shown == number:
                return picture
            if shown > number:
                break
        self._next = -1
        raise DatasetError(f"video '{self._path}' has no frame {number} at {number / self._fps:.3f} s")
