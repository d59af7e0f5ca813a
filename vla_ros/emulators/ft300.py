"""Robotiq's FT 300-S on a pseudo-terminal (see `vla_ros.drivers.ft300` for the protocol)."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import time
from collections.abc import Sequence

from vla_ros.drivers.modbus import READ_HOLDING, WRITE_MULTIPLE, framed, intact
from vla_ros.emulators.base import Emulator, SerialPort

SLAVE, STREAM_REGISTER, STREAM = 9, 410, 0x0200
FORCE_REGISTER = 180  # Fx, Fy, Fz, Mx, My, Mz
SERIAL_REGISTER, YEAR_REGISTER = 510, 514
ENOUGH = 20  # bytes of 0xFF in a row end the stream
RATE = 100.0  # [Hz]
TICK = 0.002  # [s]
WRITE_LENGTH, READ_LENGTH = 11, 8  # [bytes] of the requests


class Ft300Emulator(Emulator):
    """Streams `wrench` [6] in N and Nm once it was asked to, and answers reads of its registers before."""

    name = "ft300"

    def __init__(self) -> None:
        super().__init__()
        self.wrench: Sequence[float] = (1.0, -2.0, 3.0, 0.1, -0.2, 0.3)
        self._port = SerialPort()
        self._random = random.Random(0)
        self._power_up()

    @property
    def address(self) -> str:
        """The address that a driver takes."""
        return f"{self.name}://{self._port.path}"

    def start(self) -> None:
        """Make the port, and answer."""
        self._port.plug()
        self._start_loop(self._run)

    def stop(self) -> None:
        """Remove the port."""
        if self._end_loop():
            self._port.remove()

    def _power_up(self) -> None:
        self._heard = b""
        self._streaming = False
        self._begun, self._sent = 0.0, 0

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            gone = self.fault == "unplug"
            if gone and self._port.descriptor >= 0:
                self._port.unplug()
                self._power_up()
            elif not gone and self._port.descriptor < 0:
                self._port.plug()
            if self._port.descriptor >= 0:
                self._listen()
                while self._streaming and self._begun + self._sent / RATE <= time.monotonic():
                    self._sent += 1
                    self._send(self._message())

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            self._heard += os.read(self._port.descriptor, 4096)
        if self._streaming:
            if b"\xff" * ENOUGH in self._heard:
                self._streaming = False
                self._heard = self._heard.rpartition(b"\xff" * ENOUGH)[2]
            self._heard = self._heard[-4096:]
            return
        self._heard = self._heard.lstrip(b"\xff")
        for start in range(len(self._heard)):
            for length, answer in ((WRITE_LENGTH, self._write), (READ_LENGTH, self._read)):
                request = self._heard[start : start + length]
                if len(request) == length and request[0] == SLAVE and intact(request) and (said := answer(request)):
                    self._heard = self._heard[start + length :]
                    self._send(said)
                    return
        self._heard = self._heard[-64:]

    def _write(self, request: bytes) -> bytes:
        _, function, register, count, size, value = struct.unpack(">BBHHBH", request[:-2])
        if (function, count, size) != (WRITE_MULTIPLE, 1, 2):
            return b""
        if (register, value) == (STREAM_REGISTER, STREAM):
            self._streaming, self._begun, self._sent = True, time.monotonic(), 0
        return framed(request[:6])

    def _read(self, request: bytes) -> bytes:
        _, function, register, count = struct.unpack(">BBHH", request[:-2])
        if function != READ_HOLDING or not 0 < count <= 125:
            return b""
        registers = dict(enumerate(self._counts(), FORCE_REGISTER))
        registers |= {SERIAL_REGISTER: 1, YEAR_REGISTER: 2026}
        values = [registers.get(register + i, 0) & 0xFFFF for i in range(count)]
        return framed(bytes([SLAVE, READ_HOLDING, 2 * count]) + struct.pack(f">{count}H", *values))

    def _counts(self) -> list[int]:
        scaled = (value * scale for value, scale in zip(self.wrench, [100] * 3 + [1000] * 3, strict=True))
        return [max(-32768, min(32767, round(value))) for value in scaled]

    def _message(self) -> bytes:
        message = framed(b"\x20\x4e" + struct.pack("<6h", *self._counts()))
        return message[: self._random.randrange(len(message))] if self.fault == "partial" else message

    def _send(self, data: bytes) -> None:
        if self.fault == "silence":
            return
        if self.fault == "garbage":
            data = self._random.randbytes(self._random.randint(1, 40))
        with contextlib.suppress(OSError):  # nobody reads: what does not fit is gone, as on a line
            os.write(self._port.descriptor, data)
