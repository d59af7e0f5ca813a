"""A box that sends RDT records, as `vla_ros.drivers.rdt` describes them, on a UDP port of the loopback interface."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Sequence

from vla_ros.emulators.base import Emulator

REQUEST, RECORD = struct.Struct(">HHI"), struct.Struct(">III6i")
HEADER = 0x1234
LARGEST = 2**31 - 1  # count
TICK = 0.002  # [s] the longest pause between two looks at the socket and at what is due


class RdtEmulator(Emulator):
    """Sends `wrench` at `rate` to whoever asked last, until told to stop.

    wrench: [6] in N and Nm. status: the status word. drop: so many records are counted, and not sent, next. All may be
    set while it runs. host, port: where it listens; port 0: a free one.
    """

    force_counts, torque_counts = 1_000_000.0, 1_000_000.0  # a N, a Nm
    internal_rate = 7000.0  # [Hz] of ft_sequence

    def __init__(self, host: str = "127.0.0.1", port: int = 0, rate: float = 500.0) -> None:
        super().__init__()
        self.host, self.port, self.rate = host, port, rate
        self.wrench: Sequence[float] = (1.0, -2.0, 3.0, 0.1, -0.2, 0.3)
        self.status = self.drop = 0
        self._bias: tuple[float, ...] = (0.0,) * 6
        self._random = random.Random(0)
        self._socket: socket.socket | None = None
        self._power_on = 0.0
        self._end_stream()

    @property
    def address(self) -> str:
        """The address that a driver takes."""
        return f"{self.name}://{self.host}:{self.port}"

    def start(self) -> None:
        """Open the port and answer."""
        self._power_on = time.monotonic()
        self.plug()
        self._start_loop(self._run)

    def stop(self) -> None:
        """Close the port."""
        self._end_loop()
        self.unplug()

    def plug(self) -> None:
        """Open what the device listens on."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, self.port))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._end_stream()

    def unplug(self) -> None:
        """Close what the device listens on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def on_command(self, command: int, value: int) -> None:
        """Do what a request asks for besides starting and stopping."""
        if command == 0x0042:
            self._bias = tuple(self.wrench)

    def _end_stream(self) -> None:
        self._client: tuple[str, int] | None = None
        self._sequence, self._left = 0, 0
        self._begun = 0.0

    def _run(self) -> None:
        while not self._stop.wait(min(TICK, 1 / self.rate)):
            gone = self.fault == "unplug"
            if gone and self._socket is not None:
                self.unplug()
            elif not gone and self._socket is None:
                with contextlib.suppress(OSError):  # the port is still taken: at the next tick
                    self.plug()
            if self._socket is not None:
                self._listen(self._socket)
                self._send_due(self._socket)

    def _listen(self, port: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                packet, client = port.recvfrom(2048)
                if len(packet) == REQUEST.size:
                    header, command, value = REQUEST.unpack(packet)
                    if header == HEADER:
                        self._obey(command, value, client)

    def _obey(self, command: int, value: int, client: tuple[str, int]) -> None:
        if command == 0:
            self._end_stream()
        elif command in (1, 2, 3):
            self._client, self._left, self._sequence = client, value or -1, 0
            self._begun = time.monotonic()
        else:
            self.on_command(command, value)

    def _send_due(self, port: socket.socket) -> None:
        while self._client is not None and self._left and self._begun + self._sequence / self.rate <= time.monotonic():
            self._sequence += 1
            self._left -= 1
            if self.drop:
                self.drop -= 1
            elif (packet := self._packet()) is not None:
                with contextlib.suppress(OSError):
                    port.sendto(packet, self._client)

    def _packet(self) -> bytes | None:
        if self.fault == "silence":
            return None
        if self.fault == "garbage":
            return self._random.randbytes(self._random.choice([RECORD.size, self._random.randint(0, 200)]))
        scale = [self.force_counts] * 3 + [self.torque_counts] * 3
        values = ((value - bias) * counts for value, bias, counts in zip(self.wrench, self._bias, scale, strict=True))
        counts = [max(-LARGEST, min(LARGEST, round(value))) for value in values]
        ticks = int((self._begun + self._sequence / self.rate - self._power_on) * self.internal_rate)
        packet = RECORD.pack(self._sequence % 2**32, ticks % 2**32, self.status, *counts)
        return packet[: self._random.randrange(RECORD.size)] if self.fault == "partial" else packet
