"""Robotiq's FT 300-S, FT 300 and FT 150 on a serial port: ``ft300:///dev/ttyUSB0``.

From "FT 300-S Force Torque Sensor, Instruction Manual", section 4.4: Modbus RTU, 19200 baud, 8 data bits, 1 stop bit,
no parity, slave 9 (4.4.1). Writing 0x0200 to register 410 (function 16) starts the data stream (4.4.2), 100 messages a
second of 16 bytes:

    0x20 0x4E, then int16 with their low byte first: 100 Fx, 100 Fy, 100 Fz [N], 1000 Mx, 1000 My, 1000 Mz [Nm],
    then the checksum of Modbus over the 14 bytes before, low byte first

While it streams it answers nothing; 0xFF sent for half a second, 50 times, stops it. A message has neither a time nor a
number: samples are stamped by their arrival, those that came together by the time that the line takes for what came
after them, and one message is 8.3 ms on the line.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections import deque

import numpy as np
import numpy.typing as npt

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.modbus import framed, intact, write_register, written
from vla_ros.drivers.parsers import ParserCase
from vla_ros.drivers.serial_line import SerialLine
from vla_ros.errors import DeviceError

BAUD = 19200
BYTE_TIME = 10 / BAUD  # [s] start bit, 8 bits, stop bit
SLAVE = 9
STREAM_REGISTER, STREAM = 410, 0x0200
MARK = b"\x20\x4e"
MESSAGE = struct.Struct("<2s6hH")
UNITS = np.array([0.01] * 3 + [0.001] * 3)  # [N, Nm] a count
STOPS, STOP_PAUSE = 50, 0.01  # bytes of 0xFF, and the time [s] between two
ANSWER = 1.0  # [s] to wait for the answer to the request, or for a message


class MessageParser:
    """Finds the messages in a stream of bytes. rejected: runs of 16 or fewer bytes so far that were in none."""

    def __init__(self) -> None:
        self.rejected = 0
        self.reset()

    def reset(self) -> None:
        """Begin with a new stream."""
        self._bytes = bytearray()
        self._skipped = 0

    def feed(self, data: bytes) -> list[tuple[npt.NDArray[np.float64], int]]:
        """Return the wrenches [6] that `data` completes, in N and Nm, and how many of its bytes came after each."""
        self._bytes += data
        found = []
        while len(self._bytes) >= MESSAGE.size:
            if self._bytes.startswith(MARK) and intact(bytes(self._bytes[: MESSAGE.size])):
                counts = MESSAGE.unpack_from(self._bytes)[1:7]
                del self._bytes[: MESSAGE.size]
                self._skipped = 0
                found.append((np.array(counts, np.float64) * UNITS, len(self._bytes)))
            else:
                self._skip()
        return found

    def _skip(self) -> None:
        """Drop what is before the next mark."""
        at = self._bytes.find(MARK, 1)
        count = at if at > 0 else len(self._bytes) - (self._bytes[-1:] == MARK[:1])
        count = max(1, count)
        del self._bytes[:count]
        before = -(-self._skipped // MESSAGE.size)
        self._skipped += count
        self.rejected += -(-self._skipped // MESSAGE.size) - before


class Ft300:
    """An FT 300-S and its elder kin."""

    def __init__(self, address: Address) -> None:
        address.only()
        if not address.path:
            raise DeviceError(f"{address.text}: no serial port, want ft300:///dev/ttyUSB0")
        self.device = address.device
        self._path = address.path
        self._parser = MessageParser()
        self._line: SerialLine | None = None
        self._ready: deque[Reading[npt.NDArray[np.float64]]] = deque()

    @property
    def rejected(self) -> int:
        """Pieces of the stream so far that were no messages."""
        return self._parser.rejected

    def open(self) -> None:
        """End a stream that is left over and begin one. Raises DeviceError."""
        self.close()
        self._parser.reset()
        self._ready.clear()
        line = SerialLine(self.device, self._path, BAUD)
        line.open()
        self._line = line
        self._end_stream(line)
        line.write(write_register(SLAVE, STREAM_REGISTER, STREAM))
        heard, end = b"", time.monotonic() + ANSWER
        while time.monotonic() < end:
            heard += line.read(end - time.monotonic())
            _, behind, stream = heard.partition(written(SLAVE, STREAM_REGISTER))
            if behind:
                self._take(stream)
                return
            if MessageParser().feed(heard):  # its answer was lost
                self._take(heard)
                return
        self.close()
        found = f"{len(heard)} other bytes" if heard else "nothing"
        raise DeviceError(
            f"{self.device}: {self._path}: {found} came in answer to the request for the stream; "
            "check the sensor's 24 V supply and that it is this sensor's port"
        )

    def read(self, timeout: float) -> Reading[npt.NDArray[np.float64]] | None:
        """Return the next wrench [6] in N and Nm; None if there is none within `timeout` [s]. Raises DeviceError."""
        if self._line is None:
            raise DeviceError(f"{self.device}: {self._path}: not open")
        end = time.monotonic() + timeout
        while not self._ready and (left := end - time.monotonic()) > 0:
            self._take(self._line.read(left))
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """End the stream and let the port go."""
        if self._line is not None:
            with contextlib.suppress(DeviceError):
                self._line.write(b"\xff" * STOPS)
            self._line.close()
            self._line = None

    def _end_stream(self, line: SerialLine) -> None:
        for _ in range(STOPS):
            line.write(b"\xff")
            line.read(STOP_PAUSE)
        end = time.monotonic() + ANSWER
        while line.read(3 * STOP_PAUSE) and time.monotonic() < end:
            pass

    def _take(self, data: bytes) -> None:
        arrival = time.time_ns()
        for value, after in self._parser.feed(data):
            self._ready.append(Reading(value, arrival - round(after * BYTE_TIME * 1e9)))


def fuzz_case() -> ParserCase:
    """Return how the parser is fuzzed: a stream of messages, spoiled."""
    values = ((100, -200, 300, 400, -500, 600), (0x4E20,) * 6, (-32768, 32767, 0, 0, 0, 0))
    messages = [framed(MARK + struct.pack("<6h", *counts)) for counts in values]
    return ParserCase(lambda: MessageParser().feed, tuple(messages))
