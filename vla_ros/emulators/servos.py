"""What emulated servo buses share: a half-duplex line on a pseudo-terminal, and servos with their control tables."""

from __future__ import annotations

import math
import os
import random
import select
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from vla_ros.emulators.base import Emulator, SerialPort

POLL = 0.02  # [s] in which a fault that is set takes effect
KEPT = 10_000  # answers whose times are kept
TICKS = 4096


class Servo:
    """A servo's control table of `size` bytes. protected: below this address nothing is written while its torque is on."""

    def __init__(self, size: int, torque: int, protected: int) -> None:
        self.table = bytearray(size)
        self._torque, self._protected = torque, protected

    def set(self, address: int, size: int, value: int) -> None:
        """Put a little-endian number into the table, as the servo itself does."""
        self.table[address : address + size] = (value % (1 << 8 * size)).to_bytes(size, "little")

    def get(self, address: int, size: int) -> int:
        """Return a little-endian number of the table."""
        return int.from_bytes(self.table[address : address + size], "little")

    def inside(self, address: int, size: int) -> bool:
        """Return whether these bytes are in the table."""
        return size > 0 and address + size <= len(self.table)

    def locked(self, address: int) -> bool:
        """Return whether torque keeps this address from being written."""
        return address < self._protected and bool(self.table[self._torque])


class ServoBusEmulator(Emulator):
    """Servos by id that answer on one line. They are swung by an imaginary hand, `amplitude` [ticks] at `frequency` [Hz]
    around `rest` (ticks by id); `doubled`: an id that two servos have, as a fault.
    """

    def __init__(self, ids: Iterable[int] = range(1, 8), amplitude: float = 150.0, frequency: float = 0.2) -> None:
        super().__init__()
        self.servos = {servo: self.make_servo(servo) for servo in ids}
        self.rest = dict.fromkeys(self.servos, TICKS // 2)
        self.amplitude, self.frequency = amplitude, frequency
        self.doubled: int | None = None
        self.answered: deque[int] = deque(maxlen=KEPT)  # host times at which a sync read was answered [ns]
        self.began = time.time_ns()
        self._line = SerialPort()
        self._buffer = b""
        self._heard = time.monotonic()

    @abstractmethod
    def make_servo(self, servo: int) -> Servo:
        """Return a servo as it comes from the factory."""

    @abstractmethod
    def place(self, servo: Servo, ticks: int) -> None:
        """Put the present position into the servo's table."""

    @abstractmethod
    def answer(self, received: bytes) -> tuple[list[bytes], bytes]:
        """Return the packets that answer the instructions in `received`, and what is left for later."""

    @property
    def path(self) -> str:
        """The serial port."""
        return self._line.path

    @property
    def address(self) -> str:
        """The driver's address, without the calibration that it needs besides."""
        return f"{self.name}://{self.path}"

    def ticks(self, t: int) -> dict[int, int]:
        """Return where the servos are at host time `t` [ns]."""
        swing = self.amplitude * math.sin(2.0 * math.pi * self.frequency * (t - self.began) / 1e9)
        return {servo: round(rest + swing) for servo, rest in self.rest.items()}

    def start(self) -> None:
        """Open the line and answer."""
        self._line.plug()
        self._start_loop(self._run)

    def stop(self) -> None:
        """Close the line for good."""
        if self._end_loop():
            self._line.remove()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self.fault == "unplug":
                self._line.unplug()
                self.silent(time.monotonic() - self._heard)
                self._stop.wait(POLL)
                continue
            if self._line.descriptor < 0:
                self._buffer = b""
                self._line.plug()
            ready, _, _ = select.select([self._line.descriptor], [], [], POLL)
            self.silent(0.0 if ready else time.monotonic() - self._heard)
            if ready:
                with suppress(OSError):
                    self._serve(os.read(self._line.descriptor, 4096))

    def silent(self, seconds: float) -> None:
        """Do what servos do by themselves after so long without a packet; by default nothing."""

    def _serve(self, received: bytes) -> None:
        self._heard = time.monotonic()
        now = time.time_ns()
        for servo, ticks in self.ticks(now).items():
            self.place(self.servos[servo], ticks)
        answers, self._buffer = self.answer(self._buffer + received)
        data = b"".join(answers)
        if self.fault == "silence":
            data = b""
        elif self.fault == "garbage":
            data = random.randbytes(len(data))
        elif self.fault == "partial":
            data = data[: len(data) // 2]
        if data:
            os.write(self._line.descriptor, data)
            self.answered.append(now)

    def collide(self, servo: int, packet: bytes) -> bytes:
        """Return what is on the line when two servos of one id answer at once: the zeros of either win."""
        if servo != self.doubled:
            return packet
        other = bytes((byte * 37 + 11) % 256 for byte in packet)
        return packet[:4] + bytes(a & b for a, b in zip(packet[4:], other[4:], strict=True))
