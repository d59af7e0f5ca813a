"""Every parser of what devices send, in one list, and how they are fuzzed: random and spoiled packets without end."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module

from vla_ros.errors import DeviceError

# name -> module and function that returns its ParserCase
PARSERS: dict[str, str] = {
    "anyskin stream": "vla_ros.drivers.anyskin:fuzz_case",
    "ati settings page": "vla_ros.drivers.netft:page_case",
    "axia record": "vla_ros.drivers.netft:axia_case",
    "ft300 stream": "vla_ros.drivers.ft300:fuzz_case",
    "natnet packet": "vla_ros.drivers.natnet:fuzz_case",
    "netft record": "vla_ros.drivers.netft:netft_case",
    "onrobot record": "vla_ros.drivers.onrobot:onrobot_case",
    "paxini stream": "vla_ros.drivers.paxini:fuzz_case",
    "vive poses": "vla_ros.drivers.vive:fuzz_case",
    "vrpn stream": "vla_ros.drivers.vrpn:fuzz_case",
    "webxr message": "vla_ros.drivers.webxr:fuzz_case",
    "xela message": "vla_ros.drivers.xela:fuzz_case",
}
LONGEST = 400  # [bytes] of a packet of random bytes
RENEWED = 1000  # packets after which a parser begins anew


@dataclass(frozen=True)
class ParserCase:
    """A parser to be fuzzed.

    make: returns a new one, a function that takes the bytes of a packet, or the next ones of a stream. It may raise a
    DeviceError, and nothing else. examples: valid packets, from which spoiled ones are made.
    """

    make: Callable[[], Callable[[bytes], object]]
    examples: tuple[bytes, ...]


@dataclass
class ParserReport:
    """What became of the packets. defects: exceptions that left the parser, by type and text of the first of each."""

    name: str
    packets: int = 0
    accepted: int = 0
    refused: int = 0  # by a DeviceError
    seconds: float = 0.0
    defects: Counter[str] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        """One line, and one for each kind of defect."""
        total = sum(self.defects.values())
        line = (
            f"{self.name}: {self.packets} packets in {self.seconds:.0f} s: {self.accepted} gave a value, "
            f"{self.refused} a DeviceError, {total} another exception"
        )
        return "\n".join([line, *(f"  {count} x {what}" for what, count in self.defects.items())])


def parser_case(name: str) -> ParserCase:
    """Return the case of a registered parser."""
    module, function = PARSERS[name].rsplit(":", 1)
    case: ParserCase = getattr(import_module(module), function)()
    return case


def fuzz(name: str, packets: int, seed: int = 0) -> ParserReport:
    """Feed a registered parser `packets` random or spoiled packets."""
    case, report = parser_case(name), ParserReport(name)
    parse = case.make()
    begin = time.monotonic()
    for packet in spoiled(random.Random(seed), case.examples, packets):
        if report.packets % RENEWED == 0:
            parse = case.make()
        report.packets += 1
        try:
            report.accepted += parse(packet) not in (None, [])
        except DeviceError:
            report.refused += 1
        except Exception as error:  # noqa: BLE001 - what is looked for
            report.defects[f"{type(error).__name__}: {str(error)[:80]}"] += 1
    report.seconds = time.monotonic() - begin
    return report


def spoiled(source: random.Random, examples: tuple[bytes, ...], count: int) -> Iterator[bytes]:
    """Yield `count` packets: a tenth random bytes, a tenth as they should be, the others spoiled ones of `examples`."""
    ways = (_flip, _overwrite, _cut, _insert, _repeat, _join)
    for _ in range(count):
        packet, kind = source.choice(examples), source.random()
        if kind < 0.1:
            packet = source.randbytes(source.randrange(LONGEST))
        elif kind < 0.8:
            for _ in range(source.randint(1, 3)):
                packet = source.choice(ways)(source, packet, examples)
        elif kind < 0.9:
            packet = source.randbytes(len(packet))
        yield packet


def _flip(source: random.Random, packet: bytes, examples: tuple[bytes, ...]) -> bytes:
    data = bytearray(packet or b"\0")
    data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    return bytes(data)


def _overwrite(source: random.Random, packet: bytes, examples: tuple[bytes, ...]) -> bytes:
    at = source.randint(0, len(packet))
    new = source.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * source.randint(1, 8)
    return packet[:at] + new + packet[at + len(new) :]


def _cut(source: random.Random, packet: bytes, examples: tuple[bytes, ...]) -> bytes:
    at = source.randint(0, len(packet))
    return packet[:at] if source.random() < 0.5 else packet[at:]


def _insert(source: random.Random, packet: bytes, examples: tuple[bytes, ...]) -> bytes:
    at = source.randint(0, len(packet))
    return packet[:at] + source.randbytes(source.randint(1, 8)) + packet[at:]


def _repeat(source: random.Random, packet: bytes, examples: tuple[bytes, ...]) -> bytes:
    at = source.randint(0, len(packet))
    piece = packet[at : at + source.randint(1, 8)]
    return packet[:at] + piece * source.randint(2, 5) + packet[at + len(piece) :]


def _join(source: random.Random, packet: bytes, examples: tuple[bytes, ...]) -> bytes:
    other = source.choice(examples)
    return packet[: source.randint(0, len(packet))] + other[source.randint(0, len(other)) :]
