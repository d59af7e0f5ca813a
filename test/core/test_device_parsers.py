"""The parsers of what devices send: known packets, and whatever else may come."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.drivers.ft300 import MARK, MessageParser
from vla_ros.drivers.modbus import crc16, framed, intact, write_register, written
from vla_ros.drivers.parsers import PARSERS, fuzz, parser_case, spoiled
from vla_ros.drivers.rdt import RECORD, RecordParser, parse_record, request
from vla_ros.errors import DeviceError

PACKETS = st.lists(st.binary(max_size=200), max_size=20)
COUNTS = st.lists(st.integers(-32768, 32767), min_size=6, max_size=6)


@pytest.mark.parametrize("name", sorted(PARSERS))
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_bytes_make_a_parser_raise_anything_but_a_device_error(name: str, data: st.DataObject) -> None:
    case = parser_case(name)
    parse = case.make()
    for packet in data.draw(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from(case.examples)), max_size=8)):
        try:
            parse(packet)
        except DeviceError as error:
            assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_spoiled_packets_leave_no_defect(name: str) -> None:
    report = fuzz(name, 5000, seed=1)
    assert report.defects == {}
    assert report.packets == 5000
    assert report.accepted > 100, "valid ones are among them"


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_every_example_is_a_valid_packet(name: str) -> None:
    case = parser_case(name)
    parse = case.make()
    parse(case.examples[0])  # the first record of a stream is not yet believed
    assert all(parse(example) not in (None, []) for example in case.examples[1:])


def test_the_same_seed_spoils_packets_in_the_same_way() -> None:
    first, second = (list(spoiled(random.Random(3), (b"abcdef", b"123"), 50)) for _ in range(2))
    assert first == second
    assert len(set(first)) > 25


def test_requests_are_as_the_manual_writes_them() -> None:
    assert request(2) == bytes.fromhex("12340002 00000000")
    assert request(0x0082, 10) == bytes.fromhex("12340082 0000000A")


def test_checksums_are_those_of_the_manuals_examples() -> None:
    assert framed(bytes.fromhex("090300B40001")) == bytes.fromhex("090300B40001C564")
    assert framed(bytes.fromhex("090300B40006")) == bytes.fromhex("090300B4000684A6")
    assert framed(bytes.fromhex("091003E900020460E63CC8")) == bytes.fromhex("091003E900020460E63CC8EC7C")
    assert write_register(9, 410, 0x0200)[:9] == bytes.fromhex("0910019A0001020200")
    assert written(9, 410)[:6] == bytes.fromhex("0910019A0001")
    assert crc16(b"123456789") == 0x4B37  # the check value of CRC-16/MODBUS


@given(data=st.binary(min_size=1, max_size=30), bit=st.integers(0, 10_000))
def test_a_turned_bit_is_noticed(data: bytes, bit: int) -> None:
    frame = bytearray(framed(data))
    assert intact(bytes(frame))
    frame[bit // 8 % len(frame)] ^= 1 << bit % 8
    assert not intact(bytes(frame))


def record(number: int, ticks: int = 0) -> bytes:
    return RECORD.pack(number % 2**32, ticks, 0, 1, 2, 3, 4, 5, 6)


def test_a_record_is_read_with_its_high_bytes_first() -> None:
    packet = bytes.fromhex("00000001 0000000E 80000000 000F4240 FFFFFFFE 00000003 00000004 00000005 7FFFFFFF")
    assert parse_record(packet) == (1, 14, 0x80000000, (1_000_000, -2, 3, 4, 5, 2**31 - 1))


@given(start=st.integers(0, 2**32 - 1), steps=st.lists(st.integers(1, 1000), min_size=1, max_size=30))
def test_records_in_order_are_believed_over_gaps_and_the_wrap(start: int, steps: list[int]) -> None:
    parser, number = RecordParser(), start
    assert parser.feed(record(number)) is None  # one alone may be anything
    for step in steps:
        number += step
        assert parser.feed(record(number)) is not None
    assert parser.rejected == 0


def test_old_doubled_and_wild_records_are_rejected_and_a_new_stream_is_followed() -> None:
    parser = RecordParser()
    believed = [parser.feed(record(n)) is not None for n in (5, 6, 7, 7, 6, 900_000_000, 8, 40_000_000, 40_000_001)]
    assert believed == [False, True, True, False, False, False, True, False, True]
    assert parser.rejected == 4


@given(counts=st.lists(COUNTS, min_size=1, max_size=6), cuts=st.lists(st.integers(1, 40), max_size=30))
def test_messages_are_found_wherever_the_pieces_were_cut(counts: list[list[int]], cuts: list[int]) -> None:
    stream = b"".join(framed(MARK + np.array(values, "<i2").tobytes()) for values in counts)
    parser, found = MessageParser(), []
    for cut in [*cuts, len(stream)]:
        found += [value for value, _ in parser.feed(stream[:cut])]
        stream = stream[cut:]
    assert np.allclose(found, np.array(counts) * ([0.01] * 3 + [0.001] * 3))
    assert parser.rejected == 0


@given(counts=COUNTS, before=st.binary(max_size=60), between=st.binary(max_size=60))
def test_messages_are_found_behind_rubbish(counts: list[int], before: bytes, between: bytes) -> None:
    message = framed(MARK + np.array(counts, "<i2").tobytes())
    parser = MessageParser()
    found = parser.feed(before + message + between + message + b"\0" * 16)
    assert sum(np.allclose(value, np.array(counts) * ([0.01] * 3 + [0.001] * 3)) for value, _ in found) >= 2
    assert parser.rejected >= -(-len(before) // 16)


def test_a_message_tells_how_many_bytes_came_after_it() -> None:
    message = framed(MARK + bytes(12))
    assert [after for _, after in MessageParser().feed(message + message + message[:5])] == [21, 5]
