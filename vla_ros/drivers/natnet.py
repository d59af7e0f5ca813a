"""OptiTrack's Motive, which streams rigid bodies by NatNet 3.0 and later: ``natnet://192.168.1.5?up=y``.

The port is that of commands, 1510. The server says whether it sends to a multicast group or to each client, who then has
to send keep-alives (NatNet SDK, PythonClient sample: NAT_KEEPALIVE); by options where it does not say: group, data (port).
local: address of this machine's interface towards it. sender: another address of the server's, where frames come from that;
those of anybody else in the group, another Motive or a stranger, are passed over. up: the axis that points up in Motive, y
or z. yaw: [degrees].

A frame's time is the middle of the cameras' exposure by the server's clock; how long Motive then worked on it is in the
frame too and taken from its arrival, so that only the network's shortest way is not known.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable

from vla_ros.drivers import natnet_wire as wire
from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.parsers import ParserCase
from vla_ros.drivers.tracked import Axes, Tracked
from vla_ros.errors import DeviceError

PORT, DATA_PORT = 1510, 1511
ATTEMPTS, PATIENCE = 3, 0.5  # requests, which may get lost, and the wait [s] for an answer to each
KEEPALIVE = 1.0  # [s] between two of them
BUFFER = 1 << 20  # [bytes] asked of the kernel
LARGEST = 1 << 16  # [bytes] of a datagram
ALONE = 0.8  # [s] for which strangers may send and the server not
SLOWEST = 1.0  # [s] that Motive may work on a frame; a longer time is none
HINT = "is Motive running, 'Broadcast Frame Data' on, and its Local Interface this network's? And the firewall?"


class NatNet:
    """A server of rigid bodies."""

    options: tuple[str, ...] = ("up", "yaw", "local", "group", "data", "sender")
    hand = ""

    def __init__(self, address: Address) -> None:
        if not address.host:
            raise DeviceError(f"{address.text}: no host, want natnet://192.168.1.5")
        self._host, self._port = address.host, address.port or PORT
        self._local = address.text_of("local", "")
        self._group = address.text_of("group", "")
        self._sender = address.text_of("sender", "")
        self._data_port = address.whole("data", DATA_PORT, 1, 65535)
        self._axes = Axes.of(address)
        self.device, self.rejected = f"natnet {address.host}", 0
        self._info = wire.ServerInfo("", wire.OLDEST)
        self._names: dict[int, str] = {}
        self._commands: socket.socket | None = None
        self._data: socket.socket | None = None
        self._server = ""
        self._senders: frozenset[str] = frozenset()  # addresses that are listened to
        self._strange: float | None = None  # since when only strangers send
        self._alive = 0.0

    @property
    def bodies(self) -> tuple[str, ...]:
        """The rigid bodies that Motive knows."""
        return tuple(self._names.values())

    def open(self) -> None:
        """Connect, and ask for the names of the rigid bodies. Raises DeviceError."""
        self.close()
        try:
            self._server = self._resolved(self._host)
            self._senders = frozenset([self._server, *([self._resolved(self._sender)] if self._sender else [])])
            self._commands = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._commands.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            self._commands.bind((self._local, 0))
            self._info = wire.parse_server(self._asked(self._commands, wire.CONNECT, b"Ping\0", wire.SERVERINFO))
            self._names = wire.parse_models(
                self._asked(self._commands, wire.REQUEST_MODELDEF, b"\0", wire.MODELDEF), self._info.version
            )
            if group := self._group or self._info.group:
                self._data = self._joined(group, self._commands)
        except OSError as error:
            self.close()
            raise DeviceError(f"{self.device}:{self._port}: {error.strerror or error}; {HINT}") from None
        except DeviceError:
            self.close()
            raise
        self._alive, self._strange = time.monotonic(), None

    def read(self, timeout: float) -> Reading[Tracked] | None:
        """Return the next frame; None if there is none within `timeout` [s]. Raises DeviceError when it is lost."""
        if self._commands is None:
            raise DeviceError(f"{self.device}: not open")
        end = time.monotonic() + timeout
        try:
            while True:
                self._keep_alive(self._commands)
                source, left = self._data or self._commands, end - time.monotonic()
                ready, _, _ = select.select([source], [], [], max(0.0, min(left, KEEPALIVE)))
                if not ready and left <= 0:
                    return None
                if not ready:
                    continue
                data, sender = source.recvfrom(LARGEST)
                arrival = time.time_ns()
                if sender[0] not in self._senders:
                    self._check_strange(sender[0])
                    continue
                self._strange = None
                if (reading := self.take(data, arrival)) is not None:
                    return reading
        except (OSError, ValueError) as error:
            raise DeviceError(f"{self.device}: lost: {getattr(error, 'strerror', None) or error}; {HINT}") from None

    def close(self) -> None:
        """Tell the server, and let it go."""
        if self._commands is not None:
            with contextlib.suppress(OSError):  # it is gone already
                self._commands.sendto(wire.packet(wire.DISCONNECT), (self._server, self._port))
        for port in (self._commands, self._data):
            if port is not None:
                port.close()
        self._commands = self._data = None

    def take(self, data: bytes, arrival: int) -> Reading[Tracked] | None:
        """Return what a datagram says that arrived at `arrival` [ns]; None when it is no frame."""
        try:
            message, payload = wire.opened(data)
            if message == wire.MODELDEF:
                self._names = wire.parse_models(payload, self._info.version)
            if message != wire.FRAMEOFDATA:
                return None
            frame = wire.parse_frame(payload, self._info.version)
            poses = {
                self._names.get(body.id, str(body.id)): self._axes(body.position, body.quaternion)
                for body in frame.bodies
                if body.tracked
            }
        except (DeviceError, ValueError):
            self.rejected += 1
            return None
        unseen = [self._names.get(body.id, str(body.id)) for body in frame.bodies if not body.tracked]
        flags = tuple(f"'{name}' is not tracked" for name in unseen)
        taken, worked = self._times(frame)
        return Reading(Tracked(poses), arrival - round(worked * 1e9), taken, frame.number, flags)

    def _times(self, frame: wire.Frame) -> tuple[float | None, float]:
        """Return when a frame was taken by the server's clock [s], None if unknown, and how long it was worked on [s]."""
        if not (frame.exposed and self._info.frequency):
            return (frame.time if 0 < frame.time < 1e12 else None), 0.0
        worked = (frame.sent - frame.exposed) / self._info.frequency
        return frame.exposed / self._info.frequency, worked if 0 <= worked < SLOWEST else 0.0

    def _asked(self, port: socket.socket, request: int, payload: bytes, wanted: int) -> bytes:
        """Return the payload of the answer to a request. Raises DeviceError if there is none."""
        hint = HINT
        for _ in range(ATTEMPTS):
            port.sendto(wire.packet(request, payload), (self._server, self._port))
            end = time.monotonic() + PATIENCE
            while (left := end - time.monotonic()) > 0 and select.select([port], [], [], left)[0]:
                data, sender = port.recvfrom(LARGEST)
                if sender[0] not in self._senders:
                    hint = _only(sender[0])
                    continue
                try:
                    message, answer = wire.opened(data)
                except DeviceError:
                    self.rejected += 1
                    continue
                if message == wanted:
                    return answer
        raise DeviceError(f"{self.device}:{self._port}: no answer to {ATTEMPTS} requests; {hint}")

    def _resolved(self, host: str) -> str:
        """Return a host's address. Raises DeviceError where it can be no host, OSError where there is none of that name."""
        try:
            return socket.gethostbyname(host)
        except UnicodeError:
            raise DeviceError(
                f"{self.device}: '{host}' is no host's name or address, want one such as 192.168.1.5"
            ) from None

    def _check_strange(self, stranger: str) -> None:
        """Raise DeviceError when for a while only strangers have sent."""
        now = time.monotonic()
        if self._strange is None:
            self._strange = now
        if now - self._strange > ALONE:
            raise DeviceError(f"{self.device}: {_only(stranger)}")

    def _joined(self, group: str, commands: socket.socket) -> socket.socket:
        """Return a socket that hears what is sent to a multicast group."""
        local = self._local
        if not local:  # the interface that leads to the server
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((self._server, self._port))
                local = probe.getsockname()[0]
        data = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            data.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            data.bind((group, self._info.data_port or self._data_port))
            member = socket.inet_aton(group) + socket.inet_aton(local)
            data.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        except OSError:
            data.close()
            raise
        return data

    def _keep_alive(self, commands: socket.socket) -> None:
        if time.monotonic() - self._alive > KEEPALIVE:
            self._alive = time.monotonic()
            commands.sendto(wire.packet(wire.KEEPALIVE, b"\0"), (self._server, self._port))


def _only(stranger: str) -> str:
    return f"only {stranger} sends; if that is Motive's machine too, say sender={stranger}"


def fuzz_case() -> ParserCase:
    """Return how the parser is fuzzed: with spoiled frames, and the descriptions in between."""
    body = wire.BODY.pack(1, 0.5, 1.0, -0.25, 0.0, 0.0, 0.0, 1.0, 1e-4, 1)
    suffix = wire.SUFFIX.pack(0, 0, 12.5, 10**8, 10**8 + 1, 10**8 + 2)
    sized, empty = struct.pack("<ii", 1, len(body)) + body, struct.pack("<ii", 0, 0)
    frame = struct.pack("<i", 7) + empty * 2 + sized + empty * 5 + suffix + bytes(6)
    model = b"Hand\0" + struct.pack("<ii3fi", 1, -1, 0.0, 0.0, 0.0, 1) + bytes(16) + b"M\0"
    models = struct.pack("<iii", 1, wire.RIGID_BODY, len(model)) + model
    server = wire.SERVER.pack(b"Motive", 3, 1, 0, 0, 4, 1, 0, 0)
    server += wire.SERVER_MORE.pack(10**7, DATA_PORT, True, 239, 255, 42, 99)
    answers = ((wire.SERVERINFO, server), (wire.MODELDEF, models), (wire.FRAMEOFDATA, frame))

    def parser() -> Callable[[bytes], object]:
        driver = NatNet(Address.parse("natnet://box"))
        driver._info = wire.parse_server(server)

        def parse(data: bytes) -> object:
            message, payload = wire.opened(data)
            if message == wire.SERVERINFO:
                return wire.parse_server(payload)
            if message == wire.MODELDEF:
                return wire.parse_models(payload, driver._info.version)
            return driver.take(data, 0)

        return parse

    return ParserCase(parser, tuple(wire.packet(*answer) for answer in answers))
