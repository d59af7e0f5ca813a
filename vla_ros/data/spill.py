"""A queue of frames that never drops one and never makes the recorder wait: memory first, then a file.

A few frames wait in memory. When there are more, all of them move to a file and later ones follow them there,
until the encoder has emptied it (a file of `records`, numbered as the frames are). The frames that the encoder took
last go to the file too, so that what it owes survives the death of the process.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.data.records import HEADER, read_record, records, write_record


class FrameQueue:
    """Frames of one shape and dtype, first in, first out, between one producer and one consumer.

    memory: frames that wait there before they go to the file `path`. owed: how many of the frames it took last the
    consumer may lose when it dies.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str, memory: int, owed: int = 0) -> None:
        self.spilled = 0  # frames that have ever gone to the file
        self._path, self._shape, self._dtype, self._memory = path, shape, np.dtype(dtype), memory
        self._length = int(np.prod(shape)) * self._dtype.itemsize  # of a frame [bytes]
        self._size = HEADER + self._length
        self._waiting: deque[tuple[int, npt.NDArray[Any]]] = deque()
        self._taken: deque[tuple[int, npt.NDArray[Any]]] = deque(maxlen=owed)
        self._begin = self._end = 0  # records of the file that are still to be read: [begin, end)
        self._count = 0
        self._closed = self._abandoned = False
        self._file = -1
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Frames that wait, in memory and in the file."""
        with self._changed:
            return len(self._waiting) + self._end - self._begin

    def reserve(self) -> None:
        """Make sure that the next `put` finds its place. Raises OSError when the disk is full."""
        with self._changed:
            if self._must_spill():
                self._open()
                records = self._end + len(self._taken) + len(self._waiting) + 1
                os.posix_fallocate(self._file, 0, records * self._size)

    def put(self, frame: npt.NDArray[Any]) -> None:
        """Append a frame, which must not change afterwards; never waits. Raises OSError when the disk is full."""
        with self._changed:
            if self._must_spill():
                self._open()
                if not self._end:
                    for taken in self._taken:
                        self._write(*taken)
                    self._begin = self._end
                while self._waiting:
                    self._write(*self._waiting[0])
                    self._waiting.popleft()
                    self.spilled += 1
                self._write(self._count, frame)
                self.spilled += 1
            else:
                self._waiting.append((self._count, frame))
            self._count += 1
            self._changed.notify_all()

    def get(self) -> npt.NDArray[Any] | None:
        """Return the next frame, waiting for it; None after `close` when all are taken, or after `abandon`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._end > self._begin or self._closed)
            if self._abandoned:
                return None
            if self._end > self._begin:
                number, frame = self._read()
            elif self._waiting:
                number, frame = self._waiting.popleft()
            else:
                return None
            self._taken.append((number, frame))
            return frame

    def close(self) -> None:
        """Let the consumer take what waits, and then None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Give the consumer None at once."""
        with self._changed:
            self._closed = self._abandoned = True
            self._changed.notify_all()

    def release(self, keep: bool = False) -> None:
        """Close the file, and remove it unless it is to be kept; only when nobody uses the queue any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            if not keep:
                self._path.unlink(missing_ok=True)

    def _must_spill(self) -> bool:
        return self._end > self._begin or len(self._waiting) >= self._memory

    def _open(self) -> None:
        if self._file < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)

    def _write(self, number: int, frame: npt.NDArray[Any]) -> None:
        data = np.ascontiguousarray(frame).data.cast("B")
        write_record(self._file, self._end * self._size, number, data, self._path)
        self._end += 1

    def _read(self) -> tuple[int, npt.NDArray[Any]]:
        number, data = read_record(self._file, self._begin * self._size, self._length)
        self._begin += 1
        if self._begin == self._end:  # what follows waits in memory again
            self._begin = self._end = 0
            os.ftruncate(self._file, 0)
        return number, np.frombuffer(data, dtype=self._dtype).reshape(self._shape)


def spilled_frames(path: Path, shape: tuple[int, ...], dtype: str, first: int) -> Iterator[npt.NDArray[Any]]:
    """Yield the frames from number `first` on that a queue's file holds without a gap."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    for number, data in records(path):
        if len(data) != size or number > first:
            return
        if number == first:
            yield np.frombuffer(data, dtype=dtype).reshape(shape)
            first += 1
