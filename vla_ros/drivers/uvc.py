"""USB cameras (UVC) by Video4Linux: ``uvc:///dev/video0?width=640&height=480&fps=30&fourcc=MJPG&exposure=10``.

Stamps are the kernel's: OpenCV's V4L2 backend gives the buffer's timestamp, of CLOCK_MONOTONIC and taken when the
first data of the frame came (Linux media API, "struct v4l2_buffer", timestamp), as CAP_PROP_POS_MSEC.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.drivers.address import Address
from vla_ros.drivers.background import BackgroundReader
from vla_ros.drivers.base import Frame, Reading
from vla_ros.errors import DeviceError

MANUAL_EXPOSURE, AUTOMATIC_EXPOSURE = 1, 3  # V4L2_EXPOSURE_MANUAL, V4L2_EXPOSURE_APERTURE_PRIORITY
EXPOSURE_UNIT = 0.1  # [ms] of V4L2_CID_EXPOSURE_ABSOLUTE (Linux media API, "Camera Control Reference")


class UvcCamera:
    """A camera of /dev/video*, or of a stable name below /dev/v4l/by-id."""

    def __init__(self, address: Address) -> None:
        address.only("width", "height", "fps", "fourcc", "exposure")
        if not address.path:
            raise DeviceError(f"{address.text}: names no device; want uvc:///dev/video0, {video_devices()}")
        self.device, self._path = address.path, address.path
        self.rejected = 0
        self._width = address.whole("width", 640, 16, 8192)
        self._height = address.whole("height", 480, 16, 8192)
        self._rate = address.number("fps", 30.0, 1.0, 1000.0)
        self._fourcc = address.text_of("fourcc", "MJPG").upper()
        if len(self._fourcc) != 4:
            raise DeviceError(f"{address.text}: fourcc is '{self._fourcc}', want four letters such as MJPG or YUYV")
        self._exposure = address.number("exposure", 0.0, 0.0, 10_000.0)  # [ms], 0: automatic
        self._sequence = 0
        self._reader: BackgroundReader[Reading[Frame]] | None = None

    def open(self) -> None:
        """Open the device with the wished format; DeviceError if it is not there, not allowed or in other hands."""
        _check_access(self._path)
        capture = cv2.VideoCapture(self._path, cv2.CAP_V4L2)
        if not capture.isOpened():
            raise DeviceError(
                f"{self._path} is there but gives no pictures: it may be in use (fuser {self._path}), or be a device of "
                f"metadata; {video_devices()}"
            )
        try:
            self._configure(capture)
        except DeviceError:
            capture.release()
            raise
        self._reader = BackgroundReader(lambda: self._grab(capture), capture.release, self._path)

    def read(self, timeout: float) -> Reading[Frame] | None:
        """Return the next frame."""
        return self._reader.take(timeout) if self._reader else None

    def close(self) -> None:
        """Let the device go."""
        if self._reader:
            self._reader.stop()
            self._reader = None

    def _configure(self, capture: Any) -> None:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._fourcc))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._height)
        capture.set(cv2.CAP_PROP_FPS, self._rate)
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL_EXPOSURE if self._exposure else AUTOMATIC_EXPOSURE)
        if self._exposure:
            capture.set(cv2.CAP_PROP_EXPOSURE, self._exposure / EXPOSURE_UNIT)
        size = tuple(int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if size != (self._width, self._height):
            raise DeviceError(
                f"{self._path} gives {size[0]}x{size[1]} where {self._width}x{self._height} as {self._fourcc} is wanted; "
                f"v4l2-ctl -d {self._path} --list-formats-ext tells what it can"
            )

    def _grab(self, capture: Any) -> Reading[Frame]:
        if not capture.grab():
            raise DeviceError(f"{self._path}: no more pictures; unplugged? {video_devices()}")
        arrival = time.time_ns()
        taken = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1e3
        readable, picture = capture.retrieve()
        if not readable:
            self.rejected += 1
            return self._grab(capture)
        self._sequence += 1  # counts what is grabbed, so that pictures nobody took in time show as lost
        return Reading(Frame(_rgb(picture)), arrival, taken or None, self._sequence)


def video_devices(folder: str = "/dev") -> str:
    """Return "found ..." with the cameras of this machine, for error messages."""
    found = sorted(str(path) for path in Path(folder).glob("video*"))
    return f"found {', '.join(found)}" if found else f"found no {folder}/video*: is the camera plugged in?"


def _check_access(path: str) -> None:
    if not os.path.exists(path):
        raise DeviceError(f"{path} is not there; {video_devices()}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise DeviceError(f"no permission for {path}: sudo usermod -aG video $USER, then log in again")


def _rgb(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    code = cv2.COLOR_GRAY2RGB if picture.ndim == 2 or picture.shape[2] == 1 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(picture, code))
