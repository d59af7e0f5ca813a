"""Emulated Dynamixel servos (XL330-M288) on DYNAMIXEL Protocol 2.0.

ROBOTIS e-Manual, "DYNAMIXEL Protocol 2.0": sections "Instruction Packet", "Status Packet", "Packet Process: byte stuffing",
"Error", "Instruction Details" (0x01 Ping, 0x02 Read, 0x03 Write, 0x08 Reboot, 0x82 Sync Read, 0x83 Sync Write), and "CRC"
(CRC-16, polynomial 0x8005, initial value 0, from the header to the last parameter). "XL330-M288", section 2 "Control Table".
"""

from __future__ import annotations

from vla_ros.emulators.servos import Servo, ServoBusEmulator

HEADER = b"\xff\xff\xfd\x00"  # "Header" of three bytes, and "Reserved"
BROADCAST = 0xFE
PING, READ, WRITE, REBOOT, STATUS, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x08, 0x55, 0x82, 0x83
RESULT_FAIL, BAD_INSTRUCTION, BAD_CRC, BAD_RANGE, BAD_LENGTH, BAD_ACCESS = 1, 2, 3, 4, 5, 7  # "Error"
ALERT = 0x80  # "Error": the Hardware Error Status is not zero
MODEL, FIRMWARE = 1200, 46  # of an XL330-M288
TORQUE, HARDWARE_ERROR, POSITION, READ_ONLY = 64, 70, 132, 120  # from READ_ONLY on, nothing but goal values is written
MODE, CURRENT_LIMIT, WATCHDOG, GOAL_CURRENT = 11, 38, 98, 102  # -, [mA], [20 ms], [mA]
EXPIRED, UNIT = 0xFF, 0.02  # what Bus Watchdog(98) shows once it has acted; [s]
LONGEST = 1024  # of a packet, where the SDK gives up too


class DynamixelEmulator(ServoBusEmulator):
    """A bus of XL330 servos."""

    name = "dynamixel"
    modes = frozenset(
        {0, 1, 3, 4, 5, 16}
    )  # Operating Mode(11); an XL430 has neither 0 nor 5, which need a current sensor

    def make_servo(self, servo: int) -> Servo:
        """Return an XL330 as delivered, but for its id and with its torque on."""
        made = Servo(size=147, torque=TORQUE, protected=64)
        for address, size, value in (
            *((0, 2, MODEL), (6, 1, FIRMWARE), (7, 1, servo), (8, 1, 1), (32, 2, 70), (34, 2, 35)),
            *((TORQUE, 1, 1), (68, 1, 2), (144, 2, 50), (146, 1, 30), (MODE, 1, 3), (CURRENT_LIMIT, 2, 1750)),
        ):
            made.set(address, size, value)
        return made

    def current(self, servo: int) -> int:
        """Return the current [mA] that a servo was told; 0 while its torque is off."""
        table = self.servos[servo].table
        told = int.from_bytes(table[GOAL_CURRENT : GOAL_CURRENT + 2], "little", signed=True)
        return told if table[TORQUE] else 0

    def silent(self, seconds: float) -> None:
        """Stop servos whose Bus Watchdog(98) was set to less; their goals cannot be written until it is set to 0."""
        for servo in self.servos.values():
            if 0 < servo.table[WATCHDOG] < 128 and seconds > servo.table[WATCHDOG] * UNIT:
                servo.table[WATCHDOG] = EXPIRED
                servo.set(GOAL_CURRENT, 2, 0)

    def place(self, servo: Servo, ticks: int) -> None:
        """Put in Present Position(132): counted the other way round in reverse Drive Mode(10), Homing Offset(20) added."""
        offset = int.from_bytes(servo.table[20:24], "little", signed=True)
        servo.set(POSITION, 4, (-ticks if servo.table[10] & 1 else ticks) + offset)

    def answer(self, received: bytes) -> tuple[list[bytes], bytes]:
        """Return the status packets for all instruction packets in `received`."""
        answers: list[bytes] = []
        while (start := received.find(HEADER[:3])) >= 0:
            received = received[start:]
            if len(received) < 7:
                return answers, received
            length = int.from_bytes(received[5:7], "little")
            if received[3] != 0 or not 3 <= length <= LONGEST:
                received = received[3:]
                continue
            if len(received) < 7 + length:
                return answers, received
            packet, received = received[: 7 + length], received[7 + length :]
            answers += self._execute(packet)
        return answers, received[-2:]

    def _execute(self, packet: bytes) -> list[bytes]:
        to, instruction = packet[4], packet[7]
        if crc(packet[:-2]) != int.from_bytes(packet[-2:], "little"):
            return [self._status(to, BAD_CRC)] if to in self.servos else []
        parameters = unstuffed(packet[7:-2])[1:]
        if instruction == SYNC_READ and to == BROADCAST:
            return [self._read(servo, parameters[:4]) for servo in parameters[4:] if servo in self.servos]
        if instruction == SYNC_WRITE and to == BROADCAST:
            self._sync_write(parameters)
            return []
        if to == BROADCAST:
            return [self._ping(servo) for servo in sorted(self.servos)] if instruction == PING else []
        if to not in self.servos:
            return []
        if instruction == PING:
            return [self._ping(to)]
        if instruction == READ:
            return [self._read(to, parameters)]
        if instruction == WRITE:
            return [self._status(to, self._write(to, parameters))]
        if instruction == REBOOT:
            self.servos[to] = self.make_servo(to)
            return [self._status(to, 0)]
        return [self._status(to, BAD_INSTRUCTION)]

    def _ping(self, servo: int) -> bytes:
        table = self.servos[servo].table
        return self._status(servo, 0, bytes(table[0:2]) + bytes(table[6:7]))

    def _read(self, servo: int, parameters: bytes) -> bytes:
        if len(parameters) != 4:
            return self._status(servo, BAD_LENGTH)
        address, size = int.from_bytes(parameters[:2], "little"), int.from_bytes(parameters[2:], "little")
        if not self.servos[servo].inside(address, size):
            return self._status(servo, BAD_ACCESS)
        return self._status(servo, 0, bytes(self.servos[servo].table[address : address + size]))

    def _write(self, servo: int, parameters: bytes) -> int:
        address, data = int.from_bytes(parameters[:2], "little"), parameters[2:]
        if len(parameters) < 3:
            return BAD_LENGTH
        target = self.servos[servo]
        if not target.inside(address, len(data)) or address >= READ_ONLY or address < 7 or target.locked(address):
            return BAD_ACCESS
        if address == GOAL_CURRENT and len(data) == 2:
            limit = target.get(CURRENT_LIMIT, 2)
            if target.table[WATCHDOG] == EXPIRED or abs(int.from_bytes(data, "little", signed=True)) > limit:
                return BAD_RANGE
        if address == MODE and data[0] not in self.modes:
            return BAD_RANGE
        target.table[address : address + len(data)] = data
        return 0

    def _sync_write(self, parameters: bytes) -> None:
        size = int.from_bytes(parameters[2:4], "little")
        rest = parameters[4:]
        while size and len(rest) > size:
            if rest[0] in self.servos:
                self._write(rest[0], parameters[:2] + rest[1 : 1 + size])
            rest = rest[1 + size :]

    def _status(self, servo: int, error: int, parameters: bytes = b"") -> bytes:
        if self.servos[servo].table[HARDWARE_ERROR]:
            error |= ALERT
        return self.collide(servo, packed(servo, bytes([STATUS, error]) + parameters))


def packed(servo: int, content: bytes) -> bytes:
    """Return a packet: header, id, length, `content` (instruction and parameters) with stuffing, CRC."""
    stuffed_content = stuffed(content)
    packet = HEADER + bytes([servo]) + (len(stuffed_content) + 2).to_bytes(2, "little") + stuffed_content
    return packet + crc(packet).to_bytes(2, "little")


def stuffed(content: bytes) -> bytes:
    """Return `content` with FD after each FF FF FD, so that no header appears inside a packet."""
    return content.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")


def unstuffed(content: bytes) -> bytes:
    """Return `content` without the stuffing."""
    return content.replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")


def crc(data: bytes) -> int:
    """Return the CRC-16 of the protocol."""
    register = 0
    for byte in data:
        register = (register << 8 & 0xFFFF) ^ CRC_TABLE[register >> 8 ^ byte]
    return register


def _table_entry(byte: int) -> int:
    register = byte << 8
    for _ in range(8):
        register = (register << 1 ^ 0x8005 if register & 0x8000 else register << 1) & 0xFFFF
    return register


CRC_TABLE = tuple(map(_table_entry, range(256)))
