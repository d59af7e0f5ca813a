"""A serial port of 8 data bits, no parity and one stop bit, read with a deadline; its errors say what to do."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios
import time
import tty
from pathlib import Path

from vla_ros.errors import DeviceError

PORTS = ("ttyACM*", "ttyUSB*", "ttyS[0-3]", "serial/by-id/*")  # what USB devices are called under /dev
CHUNK = 4096  # [bytes] of one read
PATIENCE = 1.0  # [s] for a port that takes no bytes


class SerialLine:
    """The port at `path`, such as /dev/ttyACM0, at `baud`; `name` is what errors call the device."""

    def __init__(self, name: str, path: str, baud: int) -> None:
        if not path:
            raise DeviceError(f"{name}: names no serial port, want {name}:///dev/ttyACM0; {_ports()}")
        if not hasattr(termios, f"B{baud}"):
            raise DeviceError(f"{name}: no serial port here runs at {baud} baud")
        self._name, self._path, self._speed = name, path, getattr(termios, f"B{baud}")
        self._descriptor = -1

    def open(self) -> None:
        """Open it for this process alone and forget what it has received so far. Raises DeviceError."""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tty.setraw(self._descriptor)
            settings = termios.tcgetattr(self._descriptor)
            settings[2] = (
                settings[2] & ~(termios.PARENB | termios.CSTOPB | termios.CRTSCTS) | termios.CLOCAL | termios.CREAD
            )
            settings[4] = settings[5] = self._speed
            termios.tcsetattr(self._descriptor, termios.TCSANOW, settings)
            termios.tcflush(self._descriptor, termios.TCIFLUSH)
        except (OSError, termios.error) as error:
            self.close()
            raise DeviceError(f"{self._name}: {self._path} {self._reason(error)}") from None

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, waiting up to `timeout` [s] for the first byte; empty if there is none."""
        if self._descriptor < 0:
            raise DeviceError(f"{self._name}: {self._path} is not open")
        try:
            if not select.select([self._descriptor], [], [], max(timeout, 0.0))[0]:
                return b""
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise DeviceError(f"{self._name}: {self._path} {self._reason(error)}") from None
        if not data:
            raise DeviceError(f"{self._name}: {self._path} was unplugged; plug it in again")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises DeviceError when the port is gone or takes nothing for a second."""
        if self._descriptor < 0:
            raise DeviceError(f"{self._name}: {self._path} is not open")
        end = time.monotonic() + PATIENCE
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                if time.monotonic() > end:
                    raise DeviceError(f"{self._name}: {self._path} takes no bytes; is the device alive?") from None
                select.select([], [self._descriptor], [], 0.1)
            except OSError as error:
                raise DeviceError(f"{self._name}: {self._path} {self._reason(error)}") from None

    def close(self) -> None:
        """Let it go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _reason(self, error: Exception) -> str:
        code = error.args[0] if error.args else None
        if code == errno.ENOENT:
            return f"is not there; {_ports()}; plug the device in"
        if code == errno.EACCES:
            return (
                "may not be opened: sudo usermod -aG dialout $USER and log in again, or a udev rule (docs/sensors.md)"
            )
        if code in (errno.EAGAIN, errno.EBUSY):
            return "is in use by another program; end that program"
        if code == errno.ENOTTY:
            return "is no serial port"
        if code in (errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBADF):
            return "was unplugged; plug it in again"
        return f"fails: {error}"


def _ports() -> str:
    found = sorted(str(path) for pattern in PORTS for path in Path("/dev").glob(pattern))
    return f"serial ports here: {', '.join(found) or 'none'}"
