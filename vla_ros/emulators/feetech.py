"""Emulated Feetech servos (STS3215).

Feetech, "Communication Protocol Manual" (FT-SCS): sections "Instruction Packet", "Response Packet" (FF FF, id, length, error,
parameters, check sum: the complement of the sum from the id on), "Instruction Type" (PING 01, READ DATA 02, WRITE DATA 03,
REG WRITE DATA 04, ACTION 05, SYNC READ 82, SYNC WRITE 83). "Magnetic Encoder STS Servo, Memory Table", sections 2.1 to 2.4, 3.2.
"""

from __future__ import annotations

from vla_ros.emulators.servos import TICKS, Servo, ServoBusEmulator

HEADER = b"\xff\xff"
BROADCAST = 0xFE
PING, READ, WRITE, REG_WRITE, ACTION, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x04, 0x05, 0x82, 0x83
MODEL = 777  # at address 3
TORQUE, LOCK, POSITION, STATUS = 40, 55, 56, 65


class FeetechEmulator(ServoBusEmulator):
    """A bus of STS3215 servos."""

    name = "feetech"
    _registered: tuple[int, bytes] | None = None  # what ACTION is to write

    def make_servo(self, servo: int) -> Servo:
        """Return an STS3215 as delivered, but for its id and with its torque on."""
        made = Servo(size=87, torque=TORQUE, protected=0)
        for address, size, value in (
            *((0, 1, 3), (1, 1, 10), (3, 2, MODEL), (5, 1, servo), (8, 1, 1), (11, 2, 4095), (13, 1, 70)),
            *((14, 1, 80), (15, 1, 40), (TORQUE, 1, 1), (LOCK, 1, 1), (62, 1, 74), (63, 1, 30)),
        ):
            made.set(address, size, value)
        return made

    def place(self, servo: Servo, ticks: int) -> None:
        """Put in the present position (56), from which the homing offset (31, sign in bit 11) is taken: within a turn, for
        bit 4 of Phase (18) is not set.
        """
        stored = servo.get(31, 2)
        offset = -(stored & 0x7FF) if stored & 0x800 else stored & 0x7FF
        servo.set(POSITION, 2, (ticks - offset) % TICKS)

    def answer(self, received: bytes) -> tuple[list[bytes], bytes]:
        """Return the response packets for all instruction packets in `received`."""
        answers: list[bytes] = []
        while (start := received.find(HEADER)) >= 0:
            received = received[start:]
            if len(received) < 4:
                return answers, received
            length = received[3]
            if received[2] == 0xFF or length < 2:
                received = received[1:]
                continue
            if len(received) < 4 + length:
                return answers, received
            packet, received = received[: 4 + length], received[4 + length :]
            if packet[-1] == checksum(packet[2:-1]):  # a servo does not answer what it cannot read
                answers += self._execute(packet[2], packet[4], packet[5:-1])
        return answers, received[-1:]

    def _execute(self, to: int, instruction: int, parameters: bytes) -> list[bytes]:
        if instruction == SYNC_READ and to == BROADCAST and len(parameters) > 2:
            return [self._read(servo, parameters[:2]) for servo in parameters[2:] if servo in self.servos]
        if instruction == SYNC_WRITE and to == BROADCAST:
            self._sync_write(parameters)
            return []
        if instruction == ACTION and self._registered is not None:
            self._write(*self._registered)
            self._registered = None
        if to not in self.servos:
            return []
        if instruction == READ:
            return [self._read(to, parameters)] if len(parameters) == 2 else []
        if instruction == WRITE:
            self._write(to, parameters)
        elif instruction == REG_WRITE:
            self._registered = (to, parameters)
        elif instruction not in (PING, ACTION):
            return []
        return [self._response(to)]

    def _read(self, servo: int, parameters: bytes) -> bytes:
        address, size = parameters
        table = self.servos[servo].table
        return self._response(servo, bytes(table[address : address + size]))

    def _write(self, servo: int, parameters: bytes) -> None:
        address, data = (parameters[0], parameters[1:]) if parameters else (0, b"")
        target = self.servos[servo]
        read_only = address < 5 or address >= POSITION
        if target.inside(address, len(data)) and not read_only:
            target.table[address : address + len(data)] = data

    def _sync_write(self, parameters: bytes) -> None:
        size = parameters[1] if len(parameters) > 1 else 0
        rest = parameters[2:]
        while size and len(rest) > size:
            if rest[0] in self.servos:
                self._write(rest[0], parameters[:1] + rest[1 : 1 + size])
            rest = rest[1 + size :]

    def _response(self, servo: int, parameters: bytes = b"") -> bytes:
        content = bytes([servo, len(parameters) + 2, self.servos[servo].table[STATUS]]) + parameters
        return self.collide(servo, HEADER + content + bytes([checksum(content)]))


def checksum(content: bytes) -> int:
    """Return the check sum of a packet without its header: the complement of the sum's low byte."""
    return ~sum(content) & 0xFF
