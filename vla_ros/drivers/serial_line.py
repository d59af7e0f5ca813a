"""A serial port by POSIX's own means: opened raw, read with a deadline, and lost with a reason."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from pathlib import Path

from vla_ros.errors import DeviceError

PORTS = ("ttyUSB*", "ttyACM*", "ttyS[0-3]", "serial/by-id/*")  # of /dev, that a message lists


class SerialLine:
    """An open serial port `path`, 8 data bits, no parity, 1 stop bit. device: who is behind it, for messages."""

    def __init__(self, device: str, path: str, baud: int) -> None:
        import termios
        import tty

        self._device, self.path = device, path
        try:
            self._port = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise DeviceError(f"{device}: {path}: {error.strerror}; {_advice(error, path)}") from None
        try:
            tty.setraw(self._port)
            settings = termios.tcgetattr(self._port)
            settings[2] = settings[2] & ~(termios.PARENB | termios.CSTOPB | termios.CRTSCTS) | termios.CLOCAL
            settings[4] = settings[5] = getattr(termios, f"B{baud}")
            termios.tcsetattr(self._port, termios.TCSANOW, settings)
            termios.tcflush(self._port, termios.TCIOFLUSH)
        except (termios.error, OSError) as error:
            os.close(self._port)
            raise DeviceError(f"{device}: {path} is no serial port: {error.args[-1]}") from None

    def read(self, timeout: float) -> bytes:
        """Return the bytes that are there, at the latest after `timeout` [s], then b"". Raises DeviceError if lost."""
        try:
            poll = select.poll()
            poll.register(self._port, select.POLLIN)
            if not poll.poll(max(0.0, timeout) * 1e3):
                return b""
            data = os.read(self._port, 4096)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error.strerror) from None
        if not data:
            raise self._lost("end of file")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises DeviceError when the port is lost or takes nothing for a second."""
        end = time.monotonic() + 1.0
        while data:
            try:
                data = data[os.write(self._port, data) :]
            except BlockingIOError:
                if time.monotonic() > end:
                    raise self._lost("takes no bytes") from None
                select.select([], [self._port], [], 0.1)
            except OSError as error:
                raise self._lost(error.strerror) from None

    def close(self) -> None:
        """Close the port."""
        with contextlib.suppress(OSError):
            os.close(self._port)

    def _lost(self, reason: str | None) -> DeviceError:
        return DeviceError(f"{self._device}: {self.path} lost: {reason}; was it unplugged?")


def _advice(error: OSError, path: str) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "add yourself to its group: sudo usermod -aG dialout $USER, then log in anew; or a udev rule, MODE=0666"
    if error.errno == errno.ENOENT:
        found = sorted(str(port) for pattern in PORTS for port in Path("/dev").glob(pattern))
        return f"serial ports here: {', '.join(found) or 'none'}; is it plugged in?"
    if error.errno == errno.EBUSY:
        return "another program has it open"
    return f"want a serial port such as /dev/ttyUSB0, not {path}"
