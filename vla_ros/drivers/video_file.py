"""A video file in a camera's place: ``video:///folder/clip.mp4?pace=real|fast&loop=1``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Frame, Reading
from vla_ros.errors import DeviceError


class VideoFile:
    """Plays a file. pace: "real", frame by frame when it is due, or "fast", as soon as it is asked for.

    At the end of the file it is lost, as a camera is that was unplugged, and for good unless `loop` is 1.
    """

    def __init__(self, address: Address) -> None:
        address.only("pace", "loop")
        self._path = address.host + address.path  # video://clip.mp4 is a relative path
        self.device, self.rejected = self._path, 0
        self._real = address.text_of("pace", "real", ("real", "fast")) == "real"
        self._loop = address.text_of("loop", "0", ("0", "1")) == "1"
        self._over = False
        self._container: Any = None
        self._frames: Iterator[tuple[float, Any]] = iter(())
        self._waiting: tuple[float, Any] | None = None  # decoded, and not due yet
        self._start = 0.0  # of the file, as of time.monotonic
        self._sequence = -1

    def open(self) -> None:
        """Open the file. Raises DeviceError."""
        if self._over:
            raise DeviceError(f"{self._path} has been played to its end; loop=1 plays it again")
        try:
            self._container = av.open(self._path)
            if not self._container.streams.video:
                raise DeviceError(f"{self._path} has no video in it")
        except (av.FFmpegError, OSError) as error:
            raise DeviceError(f"{self._path} is no video that can be read: {error}") from None
        self._frames = self._decoded()
        self._waiting = None
        self._start = time.monotonic()

    def read(self, timeout: float) -> Reading[Frame] | None:
        """Return the next frame, once it is due. Raises DeviceError at the end and where the file is damaged."""
        if self._waiting is None:
            self._waiting = self._next()
        seconds, frame = self._waiting
        if self._real and not self._wait(self._start + seconds, timeout):
            return None
        self._waiting = None
        self._sequence += 1
        colour = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
        return Reading(Frame(colour), time.time_ns(), seconds if self._real else None, self._sequence)

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _next(self) -> tuple[float, Any]:
        try:
            return next(self._frames)
        except StopIteration:
            self._over = True
            raise DeviceError(f"{self._path} has come to its end; loop=1 plays it again") from None
        except av.FFmpegError as error:
            raise DeviceError(f"{self._path} is damaged: {error}") from None

    def _decoded(self) -> Iterator[tuple[float, Any]]:
        """Yield seconds since the first frame, and the frame; over and over in a loop."""
        stream = self._container.streams.video[0]
        period = 1.0 / float(stream.average_rate or 30)
        begin = 0.0  # of this round
        while True:
            first, last = None, begin - period
            for frame in self._container.decode(stream):
                own = float(frame.time) if frame.time is not None else last - begin + period
                first = own if first is None else first
                last = begin + own - first
                yield last, frame
            if not self._loop or first is None:
                return
            begin = last + period
            self._container.seek(0)

    @staticmethod
    def _wait(until: float, timeout: float) -> bool:
        """Sleep until `until` [s, monotonic], for `timeout` at the most; True if it has come."""
        left = until - time.monotonic()
        if left > 0:
            time.sleep(min(left, timeout))
        return left <= timeout
