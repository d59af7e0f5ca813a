"""VRPN, as Vicon's, OptiTrack's and other trackers serve it: messages over TCP, all numbers big-endian.

As the library's own source has it (vrpn 07.38: vrpn_Connection.C, vrpn_Tracker.C) and "VRPN Protocol Details" (vrpn-rs,
Protocol.md) describes it. First each side sends 24 bytes, the text "vrpn: ver. 07.38", two spaces, a digit and zeros; what
stands before the last period has to agree. Then messages:

    uint32 length of header and body, 24 + n; uint32 seconds, uint32 microseconds; int32 sender; int32 type; uint32 sequence
    number; body of n bytes; zeros up to a multiple of 8

Type -1 gives the sender of that number a name, type -2 a type: uint32 length with its zero byte, the name. A pose is of type
"vrpn_Tracker Pos_Quat": int32 sensor, int32 that only fills up, double[3] position [m], double[4] quaternion xyzw.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from vla_ros.errors import DeviceError

COOKIE = b"vrpn: ver. 07.38  0".ljust(24, b"\0")
AGREED = len(b"vrpn: ver. 07.")  # bytes of it that have to be the same
HEADER, POSE, LENGTH = struct.Struct(">IIIiiI"), struct.Struct(">ii3d4d"), struct.Struct(">I")
SENDER, TYPE = -1, -2
POS_QUAT = "vrpn_Tracker Pos_Quat"
LONGEST = 4000  # [bytes] of a body; those of trackers have less than 100
MOST = 10_000  # names
EVERY = 8  # bytes to a multiple of which messages are filled up


class Pose(NamedTuple):
    """Where a sensor of a tracker was, at `time` [s] of the server's clock."""

    tracker: str
    sensor: int
    time: float
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]


class StreamParser:
    """Bytes of the server to poses. senders: the names that it has told."""

    def __init__(self) -> None:
        self.senders: dict[int, str] = {}
        self._types: dict[int, str] = {}
        self._buffer = b""
        self._greeted = False

    def feed(self, data: bytes) -> list[Pose]:
        """Return the poses that `data` completes. Raises DeviceError where the bytes are no VRPN; it begins anew then."""
        self._buffer += data
        poses: list[Pose] = []
        try:
            if not self._greeted and len(self._buffer) >= len(COOKIE):
                self._greet()
            while self._greeted and (message := self._next()) is not None:
                if (pose := self._read(*message)) is not None:
                    poses.append(pose)
        except DeviceError:
            self._buffer = b""
            raise
        return poses

    def _greet(self) -> None:
        said = self._buffer[: len(COOKIE)]
        if said[:AGREED] != COOKIE[:AGREED]:
            raise DeviceError(f"it says {said[:20]!r}, want {COOKIE[:16]!r}: is it a VRPN server, of version 7?")
        self._greeted, self._buffer = True, self._buffer[len(COOKIE) :]

    def _next(self) -> tuple[float, int, int, bytes] | None:
        """Return time, sender, type and body of the next message; None until it is complete."""
        if len(self._buffer) < HEADER.size:
            return None
        length, seconds, microseconds, sender, kind, _ = HEADER.unpack_from(self._buffer)
        size = length - HEADER.size
        if not 0 <= size <= LONGEST:
            raise DeviceError(f"a VRPN message of {length} bytes is none")
        end = HEADER.size + -(-size // EVERY) * EVERY
        if len(self._buffer) < end:
            return None
        body, self._buffer = self._buffer[HEADER.size : HEADER.size + size], self._buffer[end:]
        return seconds + microseconds * 1e-6, sender, kind, body

    def _read(self, time: float, sender: int, kind: int, body: bytes) -> Pose | None:
        if kind in (SENDER, TYPE):
            names = self.senders if kind == SENDER else self._types
            if sender < 0 or (len(names) >= MOST and sender not in names):
                raise DeviceError(f"a VRPN name for number {sender} is none")
            names[sender] = _name(body)
        elif self._types.get(kind) == POS_QUAT:
            if len(body) != POSE.size:
                raise DeviceError(f"a VRPN pose of {len(body)} bytes is none")
            sensor, _, x, y, z, qx, qy, qz, qw = POSE.unpack(body)
            return Pose(self.senders.get(sender, str(sender)), sensor, time, (x, y, z), (qx, qy, qz, qw))
        return None


def _name(body: bytes) -> str:
    if len(body) < LENGTH.size or LENGTH.unpack_from(body)[0] != len(body) - LENGTH.size:
        raise DeviceError(f"a VRPN name in {len(body)} bytes is none")
    text = body[LENGTH.size :].rstrip(b"\0").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)
