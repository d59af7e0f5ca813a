"""Raw Data Transfer: records of six counts over UDP, as ATI's Net F/T defined it and OnRobot's compute box took it over.

A request is 8 bytes, a record 36, all numbers with their high byte first (ATI, "Net F/T Installation and Operation
Manual", 9620-05-net ft-11, section 10.1; "F/T Sensor, Ethernet Axia", 9610-05-Ethernet Axia-09, sections 12.1.1 and
12.1.2):

    request: uint16 0x1234, uint16 command, uint32 number of samples (0: without end)
    record:  uint32 rdt_sequence, uint32 ft_sequence, uint32 status, int32 Fx Fy Fz Tx Ty Tz

The box answers whoever asked last, at the address and port that the request came from (Axia manual, section 12.1), and
sends until it is told to stop. A record has no checksum. What tells it from other bytes is its length and that its
rdt_sequence goes on from that of the record before, by one if nothing was lost.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.parsers import ParserCase
from vla_ros.errors import DeviceError

PORT = 49152
HEADER = 0x1234
STOP, START, BIAS = 0x0000, 0x0002, 0x0042
WRAP = 2**32  # of both sequence numbers
REQUEST = struct.Struct(">HHI")
RECORD = struct.Struct(">III6i")
FURTHEST = 20_000  # records that may be missing between two that belong together: 3 s at the 7 kHz of a Net F/T
ATTEMPTS, PATIENCE = 3, 0.5  # requests for the stream, which may get lost, and the wait [s] for a record after each
BUFFER = 1 << 20  # [bytes] asked of the kernel, for the while in which this process does not run


class Record(NamedTuple):
    """One record. counts: [6] force x y z, torque x y z."""

    rdt_sequence: int
    ft_sequence: int
    status: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Scale:
    """What turns counts into N and Nm. rate: ft_sequence numbers a second [Hz]; 0 where that is not known."""

    force: float  # [counts/N]
    torque: float  # [counts/Nm]
    rate: float = 0.0

    def wrench(self, counts: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Return [6] in N and Nm."""
        scale = np.array([self.force] * 3 + [self.torque] * 3)
        return np.asarray(np.array(counts, np.float64) / scale)


def request(command: int, samples: int = 0) -> bytes:
    """Return the request for `command`."""
    return REQUEST.pack(HEADER, command, samples)


def parse_record(packet: bytes) -> Record | None:
    """Return the record in a datagram, None when it is none."""
    if len(packet) != RECORD.size:
        return None
    rdt_sequence, ft_sequence, status, *counts = RECORD.unpack(packet)
    return Record(rdt_sequence, ft_sequence, status, tuple(counts))


class RecordParser:
    """Tells records from other datagrams: one is believed when it goes on from the last or from the one just doubted.

    rejected: datagrams so far that were no records, or old ones. The first of a stream is neither believed nor counted.
    """

    def __init__(self) -> None:
        self.rejected = 0
        self.reset()

    def reset(self) -> None:
        """Begin with a new stream."""
        self._believed: int | None = None
        self._doubted: int | None = None

    def feed(self, packet: bytes) -> Record | None:
        """Return the record in a datagram, None when it is none or cannot be believed."""
        record = parse_record(packet)
        if record is None:
            self.rejected += 1
            return None
        number = record.rdt_sequence
        for before in (self._believed, self._doubted):
            if before is not None and 0 < (number - before) % WRAP <= FURTHEST:
                self._believed, self._doubted = number, None
                return record
        self.rejected += (self._believed, self._doubted) != (None, None)
        self._doubted = number
        return None


class RdtDriver(ABC):
    """A device that sends RDT records; a child says how it is set up and what its status bits mean."""

    faults: ClassVar[
        dict[int, str]
    ] = {}  # status bit -> what it says; "saturated" begins those of a value out of range
    hint = ""  # what to look at when it does not answer

    def __init__(self, address: Address, *options: str) -> None:
        address.only(*options)
        self.address, self.device = address, address.device
        if not address.host:
            raise DeviceError(f"{address.text}: no host, want {self.device}://192.168.1.1")
        self._port = address.port or PORT
        self._parser = RecordParser()
        self._socket: socket.socket | None = None
        self._scale = Scale(1.0, 1.0)
        self._ticks: tuple[int, int] | None = None  # ft_sequence as sent, and counted on beyond its wrap

    @property
    def rejected(self) -> int:
        """Datagrams so far that were no records."""
        return self._parser.rejected

    @abstractmethod
    def settings(self) -> Scale:
        """Return the scale; DeviceError when it cannot be had from the device."""

    def requests(self) -> list[bytes]:
        """Return what makes the device send, in order."""
        return [request(START)]

    def open(self) -> None:
        """Ask the device to send, and wait for its first datagram. Raises DeviceError."""
        self.close()
        self._scale = self.settings()
        self._parser.reset()
        self._ticks = None
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            self._socket.connect((self.address.host, self._port))
            self._socket.setblocking(False)
            for _ in range(ATTEMPTS):
                for packet in self.requests():
                    self._socket.send(packet)
                if self._readable(PATIENCE):
                    return
        except (OSError, ValueError, TypeError) as error:  # of a ValueError or TypeError: the host is no name
            self.close()
            raise DeviceError(f"{self._where()}: {getattr(error, 'strerror', None) or error}; {self.hint}") from None
        self.close()
        raise DeviceError(f"{self._where()}: no answer to {ATTEMPTS} requests; {self.hint}")

    def read(self, timeout: float) -> Reading[npt.NDArray[np.float64]] | None:
        """Return the next wrench [6] in N and Nm; None if there is none within `timeout` [s]. Raises DeviceError."""
        if self._socket is None:
            raise DeviceError(f"{self._where()}: not open")
        end = time.monotonic() + timeout
        try:
            while self._readable(end - time.monotonic()):
                packet = self._socket.recv(2048)
                arrival = time.time_ns()
                if (reading := self.take(packet, arrival)) is not None:
                    return reading
        except OSError as error:
            raise DeviceError(f"{self._where()}: lost: {error.strerror or error}; {self.hint}") from None
        return None

    def close(self) -> None:
        """Tell the device to stop and let it go."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(request(STOP))
            self._socket.close()
            self._socket = None

    def take(self, packet: bytes, arrival: int) -> Reading[npt.NDArray[np.float64]] | None:
        """Return the wrench in a datagram that arrived at `arrival` [ns]; None when it is none."""
        record = self._parser.feed(packet)
        if record is None:
            return None
        time_of_device = self._count(record.ft_sequence) / self._scale.rate if self._scale.rate else None
        flags = status_flags(record.status, self.faults)
        value = self._scale.wrench(record.counts)
        return Reading(value, arrival, time_of_device, record.rdt_sequence, flags)

    def _count(self, ft_sequence: int) -> int:
        """Return ft_sequence counted on beyond its wrap; a device that has restarted counts from 0 again."""
        if self._ticks is None:
            counted = ft_sequence
        else:
            step = (ft_sequence - self._ticks[0] + WRAP // 2) % WRAP - WRAP // 2
            counted = self._ticks[1] + step if self._ticks[1] + step >= 0 else ft_sequence
        self._ticks = (ft_sequence, counted)
        return counted

    def _readable(self, timeout: float) -> bool:
        if self._socket is None:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout) * 1e3))

    def _where(self) -> str:
        return f"{self.device} at {self.address.host}:{self._port}"


def status_flags(status: int, faults: dict[int, str]) -> tuple[str, ...]:
    """Return what the set bits of a status word say; bit 31, "any error", only where no other bit is set."""
    bits = [bit for bit in range(31) if status >> bit & 1] or ([31] if status >> 31 & 1 else [])
    return tuple(faults.get(bit, f"status bit {bit}") for bit in bits)


def record_case(make: Callable[[], RdtDriver]) -> ParserCase:
    """Return how the driver that `make` makes is fuzzed: with spoiled records of a stream, around the counters' wrap."""
    numbers = ((2**32 - 1, 2**32 - 7, 0), (0, 7, 0xFFFFFFFF), (1, 21, 0), (2, 35, 1 << 31), (3, 49, 0))
    records = [RECORD.pack(*head, 1_000_000, -2, 3, 4, -(2**31), 2**31 - 1) for head in numbers]

    def parser() -> Callable[[bytes], object]:
        driver = make()
        return lambda packet: driver.take(packet, 0)

    return ParserCase(parser, tuple(records))
