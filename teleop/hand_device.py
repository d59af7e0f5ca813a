"""What keyboard, gamepad and 3D mouse share: a file whose bytes say how the tip is to move, asked 100 times a second."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from typing import Protocol

from vla_ros.beat import next_question
from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.errors import DeviceError
from vla_ros.teleop.device import TeleopSample

PERIOD = 0.01  # [s] between two samples
LONGEST = 4096  # [bytes] taken at once


class Meaning(Protocol):
    """What a device's bytes mean."""

    def press(self, data: bytes, now: float) -> None:
        """Take bytes as they came at `now` [s]. Raises DeviceError when it is unknown what they mean."""

    def sample(self, stamp: int, now: float) -> TeleopSample:
        """Return what is asked for at `now` [s], stamped `stamp` [ns]: a twist [6], a gripper, the device's clutch."""


class HandDevice:
    """A driver (see `vla_ros.drivers.base`) of the file `path`. Its clutch is open whenever it is opened."""

    def __init__(self, kind: str, path: str) -> None:
        self.path = path
        self.device, self.rejected = f"{kind} {path}", 0
        self._file = -1
        self._due = 0.0

    def meaning(self) -> Meaning:
        """Return what the bytes mean, with nothing pressed; called with the file open."""
        raise NotImplementedError

    def open(self) -> None:
        """Open the file."""
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise DeviceError(f"{self.path}: {error.strerror}{self.advice()}") from None
        self._meaning = self.meaning()
        self._due = next_question(time.monotonic())

    def advice(self) -> str:
        """Return what to do when the file cannot be opened, with a leading '; '."""
        return ""

    def read(self, timeout: float) -> Reading[TeleopSample] | None:
        """Return what is asked for, at its next due time."""
        self._due += PERIOD
        if (now := time.monotonic()) > self._due:
            self._due = next_question(now)
        while (pause := self._due - time.monotonic()) > 0:
            try:
                ready, _, _ = select.select([self._file], [], [], pause)
                data = os.read(self._file, LONGEST) if ready else b""
            except (OSError, ValueError) as error:
                raise DeviceError(f"{self.path} is closed: {error}") from None
            if ready and not data:
                raise DeviceError(f"{self.path} is closed")
            try:
                self._meaning.press(data, time.monotonic())
            except DeviceError as error:
                raise DeviceError(f"{self.path}: {error}") from None
        stamp = time.time_ns()
        return Reading(self._meaning.sample(stamp, time.monotonic()), stamp)

    def close(self) -> None:
        """Let the file go."""
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
        self._file = -1


class DeflectedDevice(HandDevice):
    """A hand device whose deflections move the tip; options of its address: speed [m/s] and turn [rad/s] at full deflection.

    gripper: closed and open position [m].
    """

    kind: str  # as in its address
    plural: str  # what messages call such devices

    def __init__(self, address: Address, gripper: tuple[float, float] | None = None) -> None:
        address.only("speed", "turn")
        self._speed = address.number("speed", 0.15, 0.001, 0.5)
        self._turn = address.number("turn", 0.8, 0.01, 2.0)
        self._gripper = gripper
        if not address.path:
            raise DeviceError(f"{address.text}: no device; {self.here()}")
        super().__init__(self.kind, address.path)

    def present(self) -> list[str]:
        """Return the files of such devices on this machine."""
        raise NotImplementedError

    def here(self) -> str:
        """Name the devices that are here."""
        return f"{self.plural} here: {', '.join(self.present()) or 'none'}"
