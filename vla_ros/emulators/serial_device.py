"""An emulated device on a pseudo-terminal: what its kinds have in common."""

from __future__ import annotations

import os
import select
import time
from abc import abstractmethod

import numpy as np

from vla_ros.emulators.base import Emulator, SerialPort


class SerialEmulator(Emulator):
    """Sends a packet every `period` [s], or answers what it is sent; does wrong as `fault` says.

    touch: [s] of the cycle of `emulators.touching` at which the contact stands still; None: it goes on.
    """

    period = 0.01  # [s]

    def __init__(self) -> None:
        super().__init__()
        self.touch: float | None = None
        self._random = np.random.default_rng(0)
        self._port = SerialPort()
        self._plugged = False
        self._began = 0.0

    @property
    def address(self) -> str:
        """The port's address for a driver."""
        return f"{self.name}://{self._port.path}"

    @property
    def path(self) -> str:
        """The port's path, for programs other than ours."""
        return self._port.path

    def start(self) -> None:
        """Make the port appear and live."""
        self._began = time.monotonic()
        self._plug(True)
        self._start_loop(self._run)

    def stop(self) -> None:
        """Make the port disappear for good."""
        if self._end_loop():
            self._plug(False)
            self._port.remove()

    def at(self) -> float:
        """Return the present instant of the cycle [s]."""
        return time.monotonic() - self._began if self.touch is None else self.touch

    def spontaneous(self) -> bytes:
        """Return what the device sends unasked, each period; nothing for one that only answers."""
        return b""

    @abstractmethod
    def answer(self, data: bytes) -> bytes:
        """Return the device's answer to what it was sent; nothing for one that only sends."""

    def _plug(self, plugged: bool) -> None:
        if plugged != self._plugged:
            (self._port.plug if plugged else self._port.unplug)()
            self._plugged = plugged

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._plug(self.fault != "unplug")
            if not self._plugged:
                self._stop.wait(0.02)
                due = time.monotonic()
                continue
            received = self._receive(due - time.monotonic())
            if received:
                self._send(self.answer(received))
            if time.monotonic() >= due:
                due = max(due + self.period, time.monotonic() - self.period)
                self._send(self.spontaneous())

    def _receive(self, timeout: float) -> bytes:
        if not select.select([self._port.descriptor], [], [], max(timeout, 0.0))[0]:
            return b""
        try:
            return os.read(self._port.descriptor, 4096)
        except OSError:  # nobody has the port open
            return b""

    def _send(self, packet: bytes) -> None:
        if not packet or self.fault == "silence":
            return
        if self.fault == "garbage":
            packet = self._random.bytes(len(packet))
        elif self.fault == "partial":
            packet = packet[: int(self._random.integers(1, len(packet)))]
        try:
            os.write(self._port.descriptor, packet)
        except OSError:  # nobody reads: the rest is lost, as in a device whose buffer is full
            return
