"""An emulated Paxini PX-6AX GEN3, model S2015, on its serial converter board; see `drivers.paxini`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.drivers.paxini import ANSWER, MODELS, NEWTONS, POINTS, READ, REQUEST, checksum
from vla_ros.emulators.serial_device import SerialEmulator
from vla_ros.emulators.touching import taxel_forces, touch_at

POINT_COUNT = MODELS["S2015"]
RESULTANT = 0x03F0  # address of the total force, 3 bytes
CALIBRATE, ZERO = 0x79, 3  # function and address of "take the present load for none"
LENGTH_ERROR = 1  # status that the board sends on every read
SHORTEST = 14  # [bytes] of a request


class PaxiniEmulator(SerialEmulator):
    """Answers reads of the total force and of the points, and the calibration."""

    name = "paxini"
    period = 0.05  # [s] at which it looks whether it is to stop

    def __init__(self) -> None:
        super().__init__()
        self._asked = bytearray()

    def answer(self, data: bytes) -> bytes:
        """Return the answers to the requests that `data` completes."""
        self._asked += data
        answers = b""
        while (start := self._asked.find(REQUEST)) >= 0 and len(self._asked) - start >= SHORTEST:
            total = int.from_bytes(self._asked[start + 2 : start + 4], "little") + 5
            request = bytes(self._asked[start : start + total])
            if len(request) < total:
                break
            del self._asked[: start + (total if checksum(request[:-1]) == request[-1] else 2)]
            if checksum(request[:-1]) == request[-1]:
                answers += self._answer(request)
        return answers

    def counts(self) -> npt.NDArray[np.int64]:
        """Return the present forces [52, 3] in counts of 0.1 N."""
        forces = 12 * taxel_forces(1, POINT_COUNT, touch_at(self.at()))[0]  # 24 N in all, so that points feel some
        return np.asarray(np.rint(forces / NEWTONS).astype(np.int64))

    def _answer(self, request: bytes) -> bytes:
        device, function = request[4], request[6]
        address, count = int.from_bytes(request[7:11], "little"), int.from_bytes(request[11:13], "little")
        memory = {POINTS: _bytes(self.counts()), RESULTANT: _bytes(self.counts().sum(0, keepdims=True))}
        if function == READ and address in memory:
            return _frame(device, function, address, count, LENGTH_ERROR, memory[address][:count].ljust(count, b"\0"))
        known = (function, address) == (CALIBRATE, ZERO)
        return _frame(device, function, address, count, 0 if known else 6, b"")


def _bytes(counts: npt.NDArray[np.int64]) -> bytes:
    """Return x and y as int8 and z as uint8 of each row, saturated."""
    limited = np.clip(counts, [-128, -128, 0], [127, 127, 255])
    return limited.astype(np.uint8).tobytes()


def _frame(device: int, function: int, address: int, count: int, status: int, data: bytes) -> bytes:
    body = bytes((device, 0, function)) + address.to_bytes(4, "little") + count.to_bytes(2, "little")
    body += bytes((status,)) + data
    frame = ANSWER + len(body).to_bytes(2, "little") + body
    return frame + bytes((checksum(frame),))
