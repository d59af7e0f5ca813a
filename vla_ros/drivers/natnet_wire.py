"""NatNet, the protocol of OptiTrack's Motive: packets over UDP, all numbers little-endian, strings end with a zero byte.

Layouts as the NatNet SDK's direct depacketization samples (PacketClient.cpp and PythonClient, NatNet 4.1) and its header
NatNetTypes.h give them; versions 3.0 and later, in which rigid bodies carry no markers:

    packet:      uint16 message, uint16 number of bytes that follow
    SERVERINFO:  char[256] name, uint8[4] its version, uint8[4] version of NatNet, uint64 ticks of its clock a second,
                 uint16 data port, bool is multicast, uint8[4] multicast group (sSender_Server)
    MODELDEF:    int32 number; each: int32 type, from 4.1 int32 size in bytes, then, of a rigid body (1): string name,
                 int32 id, int32 parent, float[3] offset, from 4.2 float[4] its rotation, int32 markers, each float[3],
                 each int32 label, from 4.0 each string name (sRigidBodyDescription)
    FRAMEOFDATA: int32 frame; sections, each int32 number and, from 4.1, int32 size in bytes: marker sets, other markers,
                 rigid bodies, skeletons, assets (from 4.1), labeled markers, force plates, devices; then uint32 timecode,
                 uint32 subframe, double timestamp [s], uint64 ticks: middle of the exposure, arrival of the cameras' data,
                 transmission (sFrameOfMocapData); what follows is not read
    rigid body:  int32 id, float[3] position [m], float[4] quaternion xyzw, float mean marker error [m], int16 params, of
                 which bit 0 says that it was tracked (sRigidBodyData)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

from vla_ros.errors import DeviceError

CONNECT, SERVERINFO, REQUEST, RESPONSE, REQUEST_MODELDEF, MODELDEF = 0, 1, 2, 3, 4, 5
FRAMEOFDATA, MESSAGESTRING, DISCONNECT, KEEPALIVE, UNRECOGNIZED = 7, 8, 9, 10, 100
HEADER = struct.Struct("<HH")
SERVER, SERVER_MORE = struct.Struct("<256s4B4B"), struct.Struct("<QH?4B")
BODY, LABELED = struct.Struct("<i3f4ffh"), struct.Struct("<i3ffhf")
SUFFIX = struct.Struct("<IIdQQQ")
MARKER_SET, RIGID_BODY, SKELETON, CAMERA = 0, 1, 2, 5
MOST = 10_000  # of anything in a packet; more do not fit in a datagram
OLDEST = (3, 0)
LONGEST_NAME = 256


class ServerInfo(NamedTuple):
    """What a server says of itself. frequency: of its clock [ticks/s], 0 if it does not say. group: "" for unicast."""

    name: str
    version: tuple[int, int]  # of NatNet
    frequency: int = 0
    data_port: int = 0
    group: str = ""


class Body(NamedTuple):
    """A rigid body in a frame. tracked: whether the position and the quaternion xyzw are of this frame."""

    id: int
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    error: float  # [m]
    tracked: bool


@dataclass(frozen=True)
class Frame:
    """A frame of data. exposed, sent: ticks of the server's clock, 0 where it does not know. time: of its software [s]."""

    number: int
    bodies: tuple[Body, ...]
    time: float
    exposed: int
    sent: int


def packet(message: int, payload: bytes = b"") -> bytes:
    """Return a packet."""
    return HEADER.pack(message, len(payload)) + payload


def opened(data: bytes) -> tuple[int, bytes]:
    """Return message and payload. Raises DeviceError if it is shorter than it says."""
    if len(data) < HEADER.size:
        raise DeviceError(f"NatNet: a packet of {len(data)} bytes is none")
    message, size = HEADER.unpack_from(data)
    if len(data) - HEADER.size < size:
        raise DeviceError(f"NatNet: message {message} says {size} bytes and has {len(data) - HEADER.size}")
    return message, data[HEADER.size : HEADER.size + size]


def parse_server(payload: bytes) -> ServerInfo:
    """Read SERVERINFO. Raises DeviceError."""
    reader = _Reader(payload)
    name, *versions = reader.take(SERVER)
    info = ServerInfo(_text(name.partition(b"\0")[0]), (versions[4], versions[5]))
    if info.version < OLDEST:
        raise DeviceError(f"NatNet {info.version[0]}.{info.version[1]} of '{info.name}' is too old, want 3.0 or later")
    if reader.left < SERVER_MORE.size:
        return info
    frequency, port, multicast, *group = reader.take(SERVER_MORE)
    return info._replace(
        frequency=frequency, data_port=port, group=".".join(str(number) for number in group) if multicast else ""
    )


def parse_models(payload: bytes, version: tuple[int, int]) -> dict[int, str]:
    """Read MODELDEF: the names of the rigid bodies by their ids. Raises DeviceError."""
    reader, names = _Reader(payload), {}
    for _ in range(reader.count()):
        kind = reader.number()
        end = reader.end() if version >= (4, 1) else None
        if kind == RIGID_BODY:
            number, name = reader.rigid_body_description(version)
            names[number] = name
        elif end is None and not reader.skip_description(kind, version):
            break  # of an unknown length: the rigid bodies come before such
        if end is not None:
            reader.go_to(end)
    return names


def parse_frame(payload: bytes, version: tuple[int, int]) -> Frame:
    """Read FRAMEOFDATA. Raises DeviceError."""
    reader = _Reader(payload)
    number, sized = reader.number(), version >= (4, 1)
    for section in (reader.marker_sets, reader.markers):
        reader.section(sized, section)
    count = reader.count(BODY.size)
    end = reader.end() if sized else None
    bodies = tuple(reader.body() for _ in range(count))
    if end is not None and end != reader.at:
        raise DeviceError("NatNet: the rigid bodies are not as long as they say")
    reader.section(sized, reader.skeletons)
    if sized:
        reader.section(sized, reader.nothing)  # assets
    for section in (reader.labeled, reader.channels, reader.channels):
        reader.section(sized, section)
    _, _, time, exposed, _, sent = reader.take(SUFFIX)
    return Frame(number, bodies, time, exposed, sent)


class _Reader:
    """Bytes, and how far they are read."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def take(self, layout: struct.Struct) -> tuple[Any, ...]:
        if self.left < layout.size:
            raise DeviceError(f"NatNet: {layout.size} bytes are missing at byte {self.at} of {len(self._data)}")
        values = layout.unpack_from(self._data, self.at)
        self.at += layout.size
        return values

    def go_to(self, end: int) -> None:
        if not self.at <= end <= len(self._data):
            raise DeviceError(f"NatNet: something ends at byte {end}, the packet has {len(self._data)}")
        self.at = end

    def skip(self, size: int) -> None:
        self.go_to(self.at + size)

    def number(self) -> int:
        return int(self.take(_NUMBER)[0])

    def count(self, each: int = 1) -> int:
        """Return how many of at least `each` bytes follow."""
        count = self.number()
        if not 0 <= count <= min(MOST, self.left // each):
            raise DeviceError(f"NatNet: {count} things in the {self.left} bytes that are left")
        return count

    def end(self) -> int:
        """Return where what is as long as the number that is next ends."""
        size = self.number()
        if not 0 <= size <= self.left:
            raise DeviceError(f"NatNet: a size of {size} in the {self.left} bytes that are left")
        return self.at + size

    def string(self) -> str:
        end = self._data.find(b"\0", self.at, self.at + LONGEST_NAME)
        if end < 0:
            raise DeviceError(f"NatNet: no name at byte {self.at}")
        text = _text(self._data[self.at : end])
        self.at = end + 1
        return text

    def section(self, sized: bool, walk: Any) -> None:
        """Go past a section: by its size, or by walking through each of its things."""
        count = self.count()
        if sized:
            self.go_to(self.end())
            return
        for _ in range(count):
            walk()

    def nothing(self) -> None:
        """Without a size there is none."""

    def marker_sets(self) -> None:
        self.string()
        self.skip(12 * self.count(12))

    def markers(self) -> None:
        self.skip(12)

    def body(self) -> Body:
        number, x, y, z, qx, qy, qz, qw, error, params = self.take(BODY)
        return Body(number, (x, y, z), (qx, qy, qz, qw), error, bool(params & 1))

    def skeletons(self) -> None:
        self.number()
        self.skip(BODY.size * self.count(BODY.size))

    def labeled(self) -> None:
        self.skip(LABELED.size)

    def channels(self) -> None:
        """Go past a force plate or a device: its id, and per channel the number of values and the values."""
        self.number()
        for _ in range(self.count(4)):
            self.skip(4 * self.count(4))

    def rigid_body_description(self, version: tuple[int, int]) -> tuple[int, str]:
        name, number = self.string(), self.number()
        self.skip(4 + 12 + (16 if version >= (4, 2) else 0))
        markers = self.count(16)
        self.skip(16 * markers)
        for _ in range(markers if version >= (4, 0) else 0):
            self.string()
        return number, name

    def skip_description(self, kind: int, version: tuple[int, int]) -> bool:
        """Go past a description without a size; return False for one whose length is not known here."""
        if kind == MARKER_SET:
            self.string()
            for _ in range(self.count()):
                self.string()
        elif kind == SKELETON:
            self.string()
            self.number()
            for _ in range(self.count()):
                self.rigid_body_description(version)
        elif kind == CAMERA:
            self.string()
            self.skip(28)
        else:
            return False
        return True


_NUMBER = struct.Struct("<i")


def _text(data: bytes) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in data.decode("utf-8", "replace"))
