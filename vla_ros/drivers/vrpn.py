"""Trackers behind a VRPN server, Vicon's, OptiTrack's or another's: ``vrpn://192.168.1.5?body=Hand``; port 3883 by default.

body: the tracker's name, "Hand", or "Hand/2" for its sensor 2. A sample comes with each pose of it; others, a thumb or an
index finger, are in it too, as they were last. up: the axis that points up there, y or z. yaw: [degrees]. Protocol:
`vrpn_wire`. Such servers send nothing of what they do not see.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable

from vla_ros.drivers import vrpn_wire as wire
from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.parsers import ParserCase
from vla_ros.drivers.tracked import Array, Axes, Tracked
from vla_ros.errors import DeviceError

PORT = 3883
CONNECT = 3.0  # [s] that a connection may take
UNSEEN = 0.8  # [s] without a pose of the body
TOGETHER = 0.1  # [s] within which poses of several things belong together
MOST = 1000  # things whose poses are kept
LARGEST = 1 << 16  # [bytes] taken at once
HINT = "is the VRPN server running, and its port open in the firewall?"


class Vrpn:
    """A VRPN server."""

    options: tuple[str, ...] = ("up", "yaw", "body")
    bodies: tuple[str, ...] = ()
    hand = ""

    def __init__(self, address: Address) -> None:
        self._body = address.text_of("body", "")
        if not address.host or not self._body:
            raise DeviceError(f"{address.text}: no host or no body, want vrpn://192.168.1.5?body=Hand")
        self._host, self._port = address.host, address.port or PORT
        self._axes = Axes.of(address, valid=("y", "z"))
        self.device, self.rejected = f"vrpn {address.host}", 0
        self._socket: socket.socket | None = None
        self._parser = wire.StreamParser()
        self._last: dict[str, tuple[float, Array]] = {}  # time by the server's clock [s], pose
        self._ready: list[Reading[Tracked]] = []
        self._seen = 0.0

    def open(self) -> None:
        """Connect and greet the server. Raises DeviceError."""
        self.close()
        self._parser, self._last, self._ready = wire.StreamParser(), {}, []
        try:
            self._socket = socket.create_connection((self._host, self._port), CONNECT)
            self._socket.sendall(wire.COOKIE)
            self._socket.setblocking(False)
        except UnicodeError:
            raise DeviceError(
                f"{self.device}: '{self._host}' is no host's name or address, want vrpn://192.168.1.5?body=Hand"
            ) from None
        except OSError as error:
            self.close()
            raise DeviceError(f"{self.device}:{self._port}: {error.strerror or error}; {HINT}") from None
        self._seen = time.monotonic()

    def read(self, timeout: float) -> Reading[Tracked] | None:
        """Return the next pose; None if there is none within `timeout` [s]. Raises DeviceError when it is lost."""
        if self._socket is None:
            raise DeviceError(f"{self.device}: not open")
        end = time.monotonic() + timeout
        while not self._ready:
            left = end - time.monotonic()
            try:
                ready, _, _ = select.select([self._socket], [], [], max(0.0, left))
                data = self._socket.recv(LARGEST) if ready else b""
            except (OSError, ValueError) as error:
                raise DeviceError(f"{self.device}: lost: {getattr(error, 'strerror', None) or error}; {HINT}") from None
            if ready and not data:
                raise DeviceError(f"{self.device}: the server has closed the connection; {HINT}")
            self._ready += self.take(data, time.time_ns())
            if not self._ready and left <= 0:
                self._check_seen()
                return None
        self._seen = time.monotonic()
        return self._ready.pop(0)

    def close(self) -> None:
        """Let the server go."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def take(self, data: bytes, arrival: int) -> list[Reading[Tracked]]:
        """Return what bytes say that arrived at `arrival` [ns]. Raises DeviceError where they are no VRPN."""
        try:
            poses = self._parser.feed(data)
        except DeviceError as error:
            self.rejected += 1
            raise DeviceError(f"{self.device}: {error}") from None
        readings = []
        for pose in poses:
            name = f"{pose.tracker}/{pose.sensor}" if pose.sensor else pose.tracker
            if len(self._last) >= MOST and name not in self._last:
                continue
            try:
                self._last[name] = (pose.time, self._axes(pose.position, pose.quaternion))
            except ValueError:
                self.rejected += 1
                continue
            if name == self._body:
                near = {key: last for key, (at, last) in self._last.items() if abs(at - pose.time) < TOGETHER}
                readings.append(Reading(Tracked(near), arrival, pose.time))
        return readings

    def _check_seen(self) -> None:
        if time.monotonic() - self._seen > UNSEEN:
            known = ", ".join(sorted(self._parser.senders.values())) or "none"
            raise DeviceError(
                f"{self.device}: '{self._body}' is not tracked; bring it into view (its trackers: {known})"
            )


def fuzz_case() -> ParserCase:
    """Return how the parser is fuzzed: with spoiled pieces of a stream after the greeting."""

    def message(sender: int, kind: int, body: bytes) -> bytes:
        filled = body.ljust(-(-len(body) // wire.EVERY) * wire.EVERY, b"\0")
        return wire.HEADER.pack(wire.HEADER.size + len(body), 1_700_000_000, 5, sender, kind, 9) + filled

    def named(number: int, kind: int, name: str) -> bytes:
        text = name.encode() + b"\0"
        return message(number, kind, struct.pack(">I", len(text)) + text)

    names = named(0, wire.SENDER, "Hand") + named(3, wire.TYPE, wire.POS_QUAT)
    pose = message(0, 3, wire.POSE.pack(0, 0, 0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0))

    def parser() -> Callable[[bytes], object]:
        driver = Vrpn(Address.parse("vrpn://box?body=Hand"))
        driver.take(wire.COOKIE + names, 0)
        return lambda data: driver.take(data, 0)

    return ParserCase(parser, (names + pose, pose, pose + pose))
