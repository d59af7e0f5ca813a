"""Cameras behind a skin, GelSight Mini and DIGIT: USB video devices, read through OpenCV; a video file in their place.

Facts. GelSight Mini: github.com/gelsightinc/gsrobotics, config.py and utilities: 15% of the picture are cut off at each
border, 320x240 wanted. DIGIT: digit-interface 0.2.1 on PyPI, digit.py: QVGA at 60 Hz or VGA at 30 Hz, the picture turned
by 90 degrees, LED brightness 0 to 15 for red, green and blue in bits 8, 4 and 0 of the UVC control "zoom".
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.errors import DeviceError

Picture = npt.NDArray[np.uint8]
VIDEO4LINUX = Path("/sys/class/video4linux")
FILE_RATE = 30.0  # [Hz] of a video file that does not tell
FINEST = 1000.0  # [Hz]


class _SkinCamera:
    """What both devices share. `product`: what the USB device calls itself, or begins with."""

    device = ""
    product = ""
    unit = "rgb"

    def __init__(self, address: Address, width: int, height: int, rate: float) -> None:
        self._path, self._serial = address.path, address.host
        self._width = address.whole("width", width, 16, 4096)
        self._height = address.whole("height", height, 16, 4096)
        self._rate = address.number("rate", rate, 1.0, 240.0)
        self._capture: Any = None
        self._node = ""  # the file that is open
        self._identity: tuple[int, int, int] | None = None
        self._due = 0.0  # of a file's next picture
        self.rejected = 0

    def open(self) -> None:
        """Open the camera, or the video file. Raises DeviceError: what was looked for, what was found, what to do."""
        import cv2

        self._node = self._path or find_camera(self.device, self.product, self._serial)
        self._identity = self._identify()
        if not os.access(self._node, os.R_OK):
            raise DeviceError(
                f"{self.device}: {self._node} may not be opened: sudo usermod -aG video $USER and log in again, or a "
                "udev rule (docs/sensors_touch.md)"
            )
        self._capture = cv2.VideoCapture(self._node, cv2.CAP_V4L2 if self._is_device() else cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise DeviceError(
                f"{self.device}: {self._node} is no camera or video that OpenCV opens; is it in use by another program?"
            )
        if self._is_device():
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._width)
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._height)
            self._capture.set(cv2.CAP_PROP_FPS, self._rate)
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            self._set_up(self._capture)
        self._due = time.monotonic()

    def read(self, timeout: float) -> Reading[npt.NDArray[np.generic]] | None:
        """Return the next picture [H, W, 3] uint8 RGB; None if there is none within `timeout` [s].

        A video file plays at its own rate, again and again. Raises DeviceError when device or file is gone or replaced.
        """
        if self._capture is None:
            raise DeviceError(f"{self.device}: not open")
        if self._identity != self._identify():
            raise DeviceError(f"{self.device}: {self._node} is another one than a moment ago; opening it again")
        frame = self._grab(timeout) if self._is_device() else self._play(timeout)
        arrival = time.time_ns()
        if frame is None:
            return None
        return Reading(self._picture(frame), arrival, self._kernel_time() if self._is_device() else None)

    def close(self) -> None:
        """Let the camera go."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _set_up(self, capture: Any) -> None:
        """Set what the device needs beyond size and rate."""

    def _picture(self, frame: Picture) -> Picture:
        """Return a frame of OpenCV [H, W, 3], BGR, as the device's picture, RGB."""
        raise NotImplementedError

    def _is_device(self) -> bool:
        return self._node.startswith("/dev/")

    def _identify(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self._node)
        except OSError:
            raise DeviceError(
                f"{self.device}: {self._node} is not there; cameras here: {_cameras()}; plug the device in"
            ) from None
        return status.st_dev, status.st_ino, status.st_rdev

    def _grab(self, timeout: float) -> Picture | None:
        import cv2

        try:
            ready, _ = cv2.VideoCapture.waitAny([self._capture], max(1, round(timeout * 1e9)))  # 0 would be for ever
            if not ready:
                return None
            good, frame = self._capture.retrieve()
        except cv2.error as error:
            raise DeviceError(f"{self.device}: {self._node} fails: {error.err}") from None
        if not good:
            raise DeviceError(f"{self.device}: {self._node} gives no more pictures; plug it in again")
        return np.asarray(frame)

    def _kernel_time(self) -> float | None:
        """When the kernel had the frame, by its monotonic clock [s]: OpenCV gives a V4L2 buffer's timestamp as this."""
        import cv2

        milliseconds = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return milliseconds / 1e3 if milliseconds > 0 else None

    def _play(self, timeout: float) -> Picture | None:
        import cv2

        wait = self._due - time.monotonic()
        time.sleep(max(0.0, min(wait, timeout)))
        if wait > timeout:
            return None
        good, frame = self._capture.read()
        if not good:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            good, frame = self._capture.read()
        if not good:
            raise DeviceError(f"{self.device}: {self._node} has no pictures that OpenCV can read")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        period = 1 / (rate if 0 < rate <= FINEST else FILE_RATE)
        self._due = max(self._due + period, time.monotonic() - period)
        return np.asarray(frame)


class GelSightDriver(_SkinCamera):
    """``gelsight:///dev/video0?width=320&height=240&border=0.15``: pictures [height, width, 3] RGB without the border.

    ``gelsight://`` alone takes the first GelSight Mini that is plugged in, ``gelsight://SERIAL`` the one of that number.
    """

    device = "gelsight"
    product = "GelSight Mini"

    def __init__(self, address: Address) -> None:
        address.only("width", "height", "rate", "border")
        super().__init__(address, 320, 240, 25.0)
        self._border = address.number("border", 0.15, 0.0, 0.45)

    def _picture(self, frame: Picture) -> Picture:
        import cv2

        rows, columns = (int(side * self._border) for side in frame.shape[:2])
        inner = frame[rows : frame.shape[0] - rows, columns : frame.shape[1] - columns]
        if inner.shape[:2] != (self._height, self._width):
            inner = cv2.resize(inner, (self._width, self._height), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(inner, cv2.COLOR_BGR2RGB))


class DigitDriver(_SkinCamera):
    """``digit:///dev/video0?width=320&height=240&rate=60&light=15``: pictures [width, height, 3] RGB, upright.

    ``digit://`` alone takes the first DIGIT that is plugged in, ``digit://D20235`` the one of that serial number.
    """

    device = "digit"
    product = "DIGIT"

    def __init__(self, address: Address) -> None:
        address.only("width", "height", "rate", "light")
        super().__init__(address, 320, 240, 60.0)
        self._light = address.whole("light", 15, 0, 15)

    def _set_up(self, capture: Any) -> None:
        import cv2

        capture.set(cv2.CAP_PROP_ZOOM, self._light << 8 | self._light << 4 | self._light)

    def _picture(self, frame: Picture) -> Picture:
        import cv2

        upright = cv2.rotate(frame, cv2.ROTATE_90_COUNTERCLOCKWISE)
        return np.asarray(cv2.cvtColor(upright, cv2.COLOR_BGR2RGB))


def find_camera(device: str, product: str, serial: str = "", root: Path = VIDEO4LINUX) -> str:
    """Return the /dev path of the first camera whose USB product begins with `product`, of number `serial` if given.

    root: what the kernel tells of its cameras. Raises DeviceError naming the cameras that are there.
    """
    for node in sorted(root.glob("video*"), key=lambda path: int(path.name[5:]) if path.name[5:].isdigit() else 0):
        usb = (node / "device").resolve().parent
        number = _text(usb / "serial")
        if not _text(usb / "product").startswith(product) or (serial and number.lower() != serial.lower()):
            continue
        if _text(node / "index") in ("", "0"):  # further ones give metadata, not pictures
            return f"/dev/{node.name}"
    number = f" of serial number {serial}" if serial else ""
    raise DeviceError(f"{device}: no {product}{number} is plugged in; cameras here: {_cameras(root)}")


def _cameras(root: Path = VIDEO4LINUX) -> str:
    found = [f"/dev/{node.name} ({_text(node / 'name')})" for node in sorted(root.glob("video*"))]
    return ", ".join(found) or "none"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
