"""A VRPN server on the loopback interface whose trackers are a hand, its thumb and its index finger.

Messages as `vla_ros.drivers.vrpn_wire` cites them; y up, as Vicon Tracker and Motive can stream. What is not seen is not sent.
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
from vla_ros.emulators.hand import EmulatedHand

COOKIE = b"vrpn: ver. 07.38  0".ljust(24, b"\0")
NAMES = {0: "VRPN Control", 1: "Hand", 2: "Thumb", 3: "Index"}
TYPES = {0: "vrpn_Base ping_message", 1: "vrpn_Base pong_message", 2: "vrpn_Tracker Pos_Quat"}
POSE = 2
TICK = 0.002  # [s] the longest pause between two looks at the sockets and at what is due


class VrpnEmulator(Emulator):
    """hand: what is streamed, at `rate` [Hz]. number: of the last sample that was begun."""

    name = "vrpn"

    def __init__(self, rate: float = 100.0) -> None:
        super().__init__()
        self.hand = EmulatedHand()
        self.port, self.rate, self.number = 0, rate, 0
        self._axes, self._random = Axes("y"), random.Random(0)
        self._listener: socket.socket | None = None
        self._clients: list[socket.socket] = []
        self._due, self._sequence = 0.0, 0

    @property
    def address(self) -> str:
        """The address that a driver takes."""
        return f"vrpn://127.0.0.1:{self.port}?body=Hand&thumb=Thumb&index=Index"

    def start(self) -> None:
        """Listen."""
        self._plug()
        self._start_loop(self._run)

    def stop(self) -> None:
        """Close the port and the connections."""
        self._end_loop()
        self._unplug()

    def _plug(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._due = time.monotonic()

    def _unplug(self) -> None:
        for one in [*self._clients, self._listener]:
            if one is not None:
                one.close()
        self._clients, self._listener = [], None

    def _run(self) -> None:
        while not self._stop.is_set():
            if self.fault == "unplug":
                self._unplug()
                self._stop.wait(0.02)
                continue
            if self._listener is None:
                self._plug()
            if (listener := self._listener) is not None:
                waiting = max(0.0, min(TICK, self._due - time.monotonic()))
                ready, _, _ = select.select([listener, *self._clients], [], [], waiting)
                for one in ready:
                    self._welcome(listener) if one is listener else self._hear(one)
                self._stream()

    def _welcome(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            client.setblocking(False)
            self._clients.append(client)
            self._send(client, COOKIE)
            described = [(-1, number, name) for number, name in NAMES.items()]
            described += [(-2, number, name) for number, name in TYPES.items()]
            for kind, number, name in described:
                text = name.encode() + b"\0"
                self._send(client, self._message(number, kind, struct.pack(">I", len(text)) + text))

    def _hear(self, client: socket.socket) -> None:
        """Take what a client says: its greeting, and its names, which change nothing here."""
        try:
            gone = not client.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            gone = True
        if gone:
            client.close()
            self._clients.remove(client)

    def _stream(self) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = max(self._due + 1.0 / self.rate, now - 0.1)
        self.number += 1
        data = self._sample()
        for client in list(self._clients) if data else []:
            self._send(client, data)

    def _sample(self) -> bytes:
        if self.fault == "silence" or (not self.hand.seen and self.fault == "none"):
            return b""
        if self.fault == "garbage":
            return self._random.randbytes(self._random.randint(1, 200))
        now = time.time_ns()
        hand, (thumb, index) = self.hand.at(now), self.hand.tips(now)
        data = b""
        for number, place in ((2, thumb), (3, index), (1, hand[:3])):
            pose = self._axes.back(np.concatenate([place, hand[3:]]))
            data += self._message(number, POSE, struct.pack(">ii3d4d", 0, 0, *pose), now)
        return data[: self._random.randrange(1, len(data))] if self.fault == "partial" else data

    def _message(self, sender: int, kind: int, body: bytes, now: int | None = None) -> bytes:
        self._sequence += 1
        seconds, rest = divmod(time.time_ns() if now is None else now, 1_000_000_000)
        head = struct.pack(">IIIiiI", 24 + len(body), seconds, rest // 1000, sender, kind, self._sequence)
        return head + body.ljust(-(-len(body) // 8) * 8, b"\0")

    def _send(self, client: socket.socket, data: bytes) -> None:
        try:
            client.sendall(data)
        except OSError:  # gone, or it does not read
            client.close()
            if client in self._clients:
                self._clients.remove(client)
