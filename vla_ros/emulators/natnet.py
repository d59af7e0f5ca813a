"""Motive: a NatNet server on the loopback interface that streams a hand, its thumb and index finger, and
its arm's elbow and shoulder.

Packets as `vla_ros.drivers.natnet_wire` cites them. It sends to each client that connected and keeps alive, or to a
multicast group. Motive's axes: y up.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import time

import numpy as np

from vla_ros.drivers.tracked import Axes
from vla_ros.emulators.base import Emulator
from vla_ros.emulators.hand import SHOULDER, EmulatedHand

NAMES = {1: "Hand", 2: "Thumb", 3: "Index", 4: "Elbow", 5: "Shoulder"}
CONNECT, SERVERINFO, REQUEST, RESPONSE, REQUEST_MODELDEF, MODELDEF = 0, 1, 2, 3, 4, 5
FRAMEOFDATA, DISCONNECT, KEEPALIVE, UNRECOGNIZED = 7, 9, 10, 100
FREQUENCY = 10_000_000  # ticks of its clock a second
WORK = 0.004  # [s] from the exposure to the transmission
FORGOTTEN = 10.0  # [s] without a keep-alive after which a client is gone
TICK = 0.002  # [s] the longest pause between two looks at the socket and at what is due


class NatNetEmulator(Emulator):
    """hand: what is streamed, at `rate` [Hz]. group: of multicast, "" for unicast. version: of NatNet, from 3.0 on.
    sender: the address that frames come from, as of a machine with several; "" for that of the commands.

    frames: the last ones' numbers, and the host time [ns] at which they were exposed.
    """

    name = "natnet"

    def __init__(
        self,
        rate: float = 120.0,
        group: str = "",
        data_port: int = 1511,
        version: tuple[int, int] = (4, 1),
        sender: str = "",
    ) -> None:
        super().__init__()
        self.hand = EmulatedHand()
        self.port, self.rate, self.group, self.data_port, self.version = 0, rate, group, data_port, version
        self.frames: dict[int, int] = {}
        self.sender = sender
        self._axes, self._random = Axes("y"), random.Random(0)
        self._socket: socket.socket | None = None  # of the commands
        self._mouth: socket.socket | None = None  # of the frames
        self._clients: dict[tuple[str, int], float] = {}
        self.number, self._due = 0, 0.0

    @property
    def address(self) -> str:
        """The address that a driver takes."""
        return f"natnet://127.0.0.1:{self.port}?body=Hand&thumb=Thumb&index=Index"

    def start(self) -> None:
        """Open the command port."""
        self._plug()
        self._start_loop(self._run)

    def stop(self) -> None:
        """Close it."""
        self._end_loop()
        self._unplug()

    def _plug(self) -> None:
        self._socket = self._bound("127.0.0.1", self.port)
        self._mouth = self._bound(self.sender, 0) if self.sender else self._socket
        self.port = self._socket.getsockname()[1]
        self._clients.clear()
        self._due = time.monotonic()

    def _bound(self, host: str, port: int) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((host, port))
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        return opened

    def _unplug(self) -> None:
        for one in (self._socket, self._mouth):
            if one is not None:
                one.close()
        self._socket = self._mouth = None

    def _run(self) -> None:
        while not self._stop.is_set():
            if self.fault == "unplug":
                self._unplug()
                self._stop.wait(0.02)
                continue
            if self._socket is None:
                self._plug()
            if self._socket is not None and self._mouth is not None:
                select.select([self._socket], [], [], max(0.0, min(TICK, self._due - time.monotonic())))
                self._answer(self._socket)
                self._stream(self._mouth)

    def _answer(self, port: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                data, client = port.recvfrom(2048)
                if len(data) >= 4 and self.fault == "none":
                    self._obey(port, data, client)

    def _obey(self, port: socket.socket, data: bytes, client: tuple[str, int]) -> None:
        message = struct.unpack_from("<H", data)[0]
        if message == DISCONNECT:
            self._clients.pop(client, None)
        elif message == KEEPALIVE:
            self._clients[client] = time.monotonic()
        elif message == CONNECT:
            self._clients[client] = time.monotonic()
            port.sendto(_packet(SERVERINFO, self._server()), client)
        elif message == REQUEST_MODELDEF:
            port.sendto(_packet(MODELDEF, self._models()), client)
        elif message == REQUEST and data[4:].startswith(b"FrameRate"):
            port.sendto(_packet(RESPONSE, struct.pack("<f", self.rate)), client)
        else:
            port.sendto(_packet(UNRECOGNIZED), client)

    def _server(self) -> bytes:
        group = [int(number) for number in self.group.split(".")] if self.group else [0] * 4
        head = struct.pack("<256s4B4B", b"Emulated Motive", 3, 1, 0, 0, *self.version, 0, 0)
        return head + struct.pack("<QH?4B", FREQUENCY, self.data_port, bool(self.group), *group)

    def _models(self) -> bytes:
        described = b""
        for number, name in NAMES.items():
            body = name.encode() + b"\0" + struct.pack("<ii3f", number, -1, 0.0, 0.0, 0.0)
            if self.version >= (4, 2):
                body += struct.pack("<4f", 0.0, 0.0, 0.0, 1.0)
            markers = [(0.02, 0.0, 0.0), (-0.02, 0.0, 0.0), (0.0, 0.0, 0.03)]
            body += struct.pack("<i", len(markers)) + b"".join(struct.pack("<3f", *marker) for marker in markers)
            body += struct.pack(f"<{len(markers)}i", *(0 for _ in markers))
            if self.version >= (4, 0):
                body += b"".join(f"Marker {i}\0".encode() for i, _ in enumerate(markers, 1))
            size = struct.pack("<i", len(body)) if self.version >= (4, 1) else b""
            described += struct.pack("<i", 1) + size + body
        return struct.pack("<i", len(NAMES)) + described

    def _stream(self, port: socket.socket) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = max(self._due + 1.0 / self.rate, now - 0.1)
        self.number += 1
        for client in [client for client, heard in self._clients.items() if now - heard > FORGOTTEN]:
            del self._clients[client]
        if self.fault == "silence":
            return
        data = self._frame()
        for target in [(self.group, self.data_port)] if self.group else list(self._clients):
            with contextlib.suppress(OSError):
                port.sendto(data, target)

    def _frame(self) -> bytes:
        if self.fault == "garbage":
            return self._random.randbytes(self._random.randint(0, 400))
        host = time.time_ns()
        exposed = host - round(WORK * 1e9)
        self.frames[self.number] = exposed
        self.frames.pop(self.number - 1000, None)
        hand, (thumb, index) = self.hand.at(exposed), self.hand.tips(exposed)
        beside = (thumb, index, self.hand.elbow(exposed), SHOULDER)
        poses = (hand, *(np.concatenate([place, hand[3:]]) for place in beside))
        bodies = b"".join(self._body(number, pose) for number, pose in zip(NAMES, poses, strict=True))
        labeled = struct.pack("<i3ffhf", 1 << 16 | 1, *self._axes.back(hand)[:3], 0.012, 2, 0.0001)
        marker_set = b"Hand\0" + struct.pack("<i3f", 1, *self._axes.back(hand)[:3])
        sections = [(1, marker_set), (1, struct.pack("<3f", 0.0, 1.0, 0.0)), (len(NAMES), bodies), (0, b"")]
        sections += [(0, b"")] * (self.version >= (4, 1)) + [(1, labeled), (0, b""), (0, b"")]
        data = struct.pack("<i", self.number)
        for count, content in sections:
            data += struct.pack("<i", count)
            data += (struct.pack("<i", len(content)) if self.version >= (4, 1) else b"") + content
        ticks, work = time.monotonic_ns() // 100, round(WORK * FREQUENCY)
        data += struct.pack("<IIdQQQ", 0, 0, self.number / self.rate, ticks - work, ticks - work // 2, ticks)
        data += (struct.pack("<II", 0, 0) if self.version >= (4, 1) else b"") + struct.pack("<hi", 0, 0)
        packet = _packet(FRAMEOFDATA, data)
        return packet[: self._random.randrange(len(packet))] if self.fault == "partial" else packet

    def _body(self, number: int, pose: np.ndarray) -> bytes:
        x, y, z, *quaternion = self._axes.back(pose)
        return struct.pack("<i3f4ffh", number, x, y, z, *quaternion, 0.0002, 1 if self.hand.seen else 0)


def _packet(message: int, payload: bytes = b"") -> bytes:
    return struct.pack("<HH", message, len(payload)) + payload
