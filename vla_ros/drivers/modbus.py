"""What of Modbus RTU the serial devices need: the checksum, and writing and reading registers."""

from __future__ import annotations

READ_HOLDING, WRITE_MULTIPLE = 0x03, 0x10


def _table() -> list[int]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
        entries.append(value)
    return entries


TABLE = _table()


def crc16(data: bytes) -> int:
    """Return the checksum of Modbus over serial line V1.02, section 6.2.2; it is sent low byte first."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 0xFF]
    return value


def framed(data: bytes) -> bytes:
    """Return `data` with its checksum."""
    return data + crc16(data).to_bytes(2, "little")


def intact(frame: bytes) -> bool:
    """Say whether the last two bytes of `frame` are the checksum of the others."""
    return len(frame) > 2 and crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little")


def write_register(slave: int, register: int, value: int) -> bytes:
    """Return the request "preset multiple registers" for one register (function 16)."""
    head = bytes([slave, WRITE_MULTIPLE]) + register.to_bytes(2, "big") + b"\x00\x01\x02"
    return framed(head + value.to_bytes(2, "big"))


def written(slave: int, register: int) -> bytes:
    """Return the answer to `write_register`."""
    return framed(bytes([slave, WRITE_MULTIPLE]) + register.to_bytes(2, "big") + b"\x00\x01")
