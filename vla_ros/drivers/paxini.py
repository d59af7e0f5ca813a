"""Paxini PX-6AX GEN3 on its serial converter board: asked for the force on every point of the pad, again and again.

Protocol, as two independent implementations held against the vendor's program describe it (github.com/Jingyi-Z/
paxini-sdk, on PyPI, and github.com/yknxh/paxini-toolkit with captures of the bus; both cite section 3 of the vendor's
"GEN3 Communication Board protocol"): 921600 baud, 8N1, all numbers little-endian.

    request  55 AA | length u16 | device u8 | 0 | function u8 | address u32 | count u16 | data | LRC
    answer   AA 55 | length u16 | device u8 | 0 | function u8 | address u32 | count u16 | status u8 | data | LRC

length: bytes of the frame less 5. function FB: read. address 040E: the points, 3 bytes each: x and y int8, z uint8, in
0.1 N (github.com/adnan-saood/paxini_ros2). status: 0, or 1 which the board sends on every read although the data is
right. LRC: the two's complement of the sum of all bytes before it. device: the module's number + 1.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.parsers import ParserCase
from vla_ros.drivers.serial_line import SerialLine

BAUD = 921600
REQUEST, ANSWER = b"\x55\xaa", b"\xaa\x55"
READ = 0xFB
POINTS = 0x040E  # address of the forces on the points
NEWTONS = 0.1  # [N] of one count
HEADER, SHORTEST, LONGEST = 14, 15, 2048  # [bytes] of an answer: up to its data, at least, at most
USABLE = (0, 1)  # statuses
PATIENCE = 0.1  # [s] after which a request is sent again
MODELS = {  # points of each GEN3 model
    "M2826": 127,
    "L3530": 135,
    "L5325": 239,
    "S1813": 51,
    "S3013": 96,
    "S2716": 116,
    "M2324": 68,
    "M3025": 77,
    "S1813E": 31,
    "S2015": 52,
    "S1610": 25,
    "M2020": 9,
}


def checksum(frame: bytes) -> int:
    """Return the LRC of a frame without its last byte."""
    return -sum(frame) & 0xFF


def read_request(device: int, address: int, count: int) -> bytes:
    """Return the request for `count` bytes from `address` of module `device`."""
    body = bytes((device, 0, READ)) + address.to_bytes(4, "little") + count.to_bytes(2, "little")
    frame = REQUEST + len(body).to_bytes(2, "little") + body
    return frame + bytes((checksum(frame),))


class PaxiniParser:
    """Bytes to answers (function, address, status, data). Lets no exception out; rejected: frames that were none."""

    def __init__(self) -> None:
        self.rejected = 0
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        """Take bytes as they come and return the answers that they complete."""
        self._buffer += data
        answers: list[tuple[int, int, int, bytes]] = []
        while (start := self._buffer.find(ANSWER)) >= 0:
            del self._buffer[:start]
            if len(self._buffer) < 4:
                return answers
            total = int.from_bytes(self._buffer[2:4], "little") + 5
            if SHORTEST <= total <= LONGEST:
                if len(self._buffer) < total:
                    return answers
                frame = bytes(self._buffer[:total])
                if checksum(frame[:-1]) == frame[-1]:
                    answers.append((frame[6], int.from_bytes(frame[7:11], "little"), frame[13], frame[HEADER:-1]))
                    del self._buffer[:total]
                    continue
            self.rejected += 1
            del self._buffer[:2]
        del self._buffer[: max(0, len(self._buffer) - 1)]  # the last byte may be half of a beginning
        return answers


class PaxiniDriver:
    """``paxini:///dev/ttyUSB0?model=S2015&module=1&rate=100``: forces [1, points, 3] float32 [N], x y shear, z normal.

    The points are not on a grid; where each lies is in the vendor's table of the model.
    """

    device = "paxini"
    unit = "N"

    def __init__(self, address: Address) -> None:
        address.only("model", "module", "rate")
        self._points = MODELS[address.text_of("model", "S2015", MODELS)]
        self._request = read_request(address.whole("module", 1, 0, 255), POINTS, 3 * self._points)
        self._period = 1 / address.number("rate", 100.0, 1.0, 500.0)
        self._line = SerialLine(self.device, address.path, BAUD)
        self._parser = PaxiniParser()
        self._wrong = 0  # answers of another length, address or status
        self._sent = self._due = 0.0

    @property
    def rejected(self) -> int:
        """Frames that were none, and answers to something else."""
        return self._parser.rejected + self._wrong

    def open(self) -> None:
        """Open the port. Raises DeviceError."""
        rejected = self._parser.rejected
        self._parser = PaxiniParser()
        self._parser.rejected = rejected
        self._due = 0.0
        self._line.open()

    def read(self, timeout: float) -> Reading[npt.NDArray[np.generic]] | None:
        """Return the next answer; None if there is none within `timeout` [s]. Raises DeviceError when it is unplugged."""
        end = time.monotonic() + timeout
        while (now := time.monotonic()) < end:
            if now >= self._due:
                self._parser.feed(self._line.read(0.0))  # a late answer to the request before would be old by now
                self._line.write(self._request)
                self._sent, self._due = now, now + PATIENCE
            data = self._line.read(min(end, self._due) - now)
            arrival = time.time_ns()
            for function, address, status, payload in self._parser.feed(data):
                if (function, address) != (READ, POINTS) or status not in USABLE or len(payload) != 3 * self._points:
                    self._wrong += 1
                    continue
                self._due = self._sent + self._period
                return Reading(forces(payload), arrival)
        return None

    def close(self) -> None:
        """Close the port."""
        self._line.close()


def forces(payload: bytes) -> npt.NDArray[np.float32]:
    """Return the forces [1, points, 3] [N] of an answer's data: x, y int8 and z uint8 of each point."""
    counts = np.frombuffer(payload, dtype=np.uint8).reshape(1, -1, 3).astype(np.float32)
    counts[..., :2] -= 256 * (counts[..., :2] > 127)
    return counts * np.float32(NEWTONS)


def fuzz_case() -> ParserCase:
    """Return how the parser is fuzzed: a stream of answers, of a pad, of the whole force and of a write, spoiled."""
    answers = []
    for function, address, count, data in (
        (READ, POINTS, 156, bytes(range(156))),
        (READ, 1008, 3, b"\1\2\3"),
        (121, 3, 1, b""),
    ):
        body = bytes((1, 0, function)) + address.to_bytes(4, "little") + count.to_bytes(2, "little") + b"\1" + data
        frame = ANSWER + len(body).to_bytes(2, "little") + body
        answers.append(frame + bytes((checksum(frame),)))
    return ParserCase(lambda: PaxiniParser().feed, tuple(answers))
