"""Trackers behind a VRPN server: the stream's messages, wherever it was cut, and what goes wrong."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from device_support import running
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_ros.drivers import vrpn_wire as wire
from vla_ros.drivers.address import Address
from vla_ros.drivers.vrpn import Vrpn
from vla_ros.emulators.vrpn import VrpnEmulator
from vla_ros.errors import DeviceError

GREETING = b"vrpn: ver. 07.35  0" + bytes(5)


def message(sender: int, kind: int, body: bytes) -> bytes:
    head = struct.pack(">IIIiiI", 24 + len(body), 1_700_000_000, 250_000, sender, kind, 1)
    return head + body + bytes(-len(body) % 8)


def named(number: int, kind: int, name: str) -> bytes:
    return message(number, kind, struct.pack(">I", len(name) + 1) + name.encode() + b"\0")


def stream(places: list[tuple[float, float, float]]) -> bytes:
    poses = [message(1, 2, struct.pack(">ii3d4d", 3, 3, *place, 0, 0, 0, 1)) for place in places]
    names = named(1, -1, "Hand") + named(2, -2, "vrpn_Tracker Pos_Quat") + named(0, -2, "vrpn_Base ping_message")
    return GREETING + names + message(1, 0, b"") + b"".join(poses)


def test_a_name_is_read_from_its_bytes() -> None:
    parser = wire.StreamParser()
    assert parser.feed(GREETING + named(1, -1, "Hand")) == []
    assert parser.senders == {1: "Hand"}
    by_hand = bytes.fromhex("00000021 6553F100 0003D090 00000001 FFFFFFFF 00000001 00000005 48616E64 00") + bytes(7)
    assert named(1, -1, "Hand") == by_hand


PLACES = st.lists(st.tuples(*[st.floats(-9.0, 9.0)] * 3), min_size=1, max_size=5)


@settings(deadline=None)
@given(places=PLACES, cuts=st.lists(st.integers(1, 90), max_size=40))
def test_poses_are_found_wherever_the_stream_was_cut(places: list[tuple[float, float, float]], cuts: list[int]) -> None:
    parser, data, found = wire.StreamParser(), stream(places), []
    for cut in [*cuts, len(data)]:
        found += parser.feed(data[:cut])
        data = data[cut:]
    assert [pose.position for pose in found] == places
    assert {(pose.tracker, pose.sensor, pose.time) for pose in found} == {("Hand", 3, 1_700_000_000.25)}


@pytest.mark.parametrize(
    "data, words",
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "want b'vrpn: ver. 07.38': is it a VRPN server"),
        (GREETING.replace(b"07", b"06"), "of version 7"),
        (GREETING + bytes(24), "message of 0 bytes"),
        (GREETING + struct.pack(">IIIiiI", 10**6, 0, 0, 0, 0, 0), "message of 1000000 bytes"),
        (stream([]) + message(1, 2, bytes(60)), "pose of 60 bytes"),
        (GREETING + message(1, -1, struct.pack(">I", 99) + b"Hand\0"), "name in 9 bytes"),
    ],
)
def test_what_is_no_vrpn_is_named(data: bytes, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        wire.StreamParser().feed(data)


def test_the_driver_tells_where_the_body_was_and_what_else_was_near() -> None:
    with VrpnEmulator() as server, running("tracker", server.address.split("&")[0]) as device:
        reading = device.more()
        assert set(reading.value.poses) == {"Hand", "Thumb", "Index"}
        pose, taken = reading.value.poses["Hand"], round((reading.device_time or 0.0) * 1e6) * 1000
        wanted = server.hand.at(taken)
        assert np.abs(pose[:3] - wanted[:3]).max() < 1e-6
        assert (Rotation.from_quat(pose[3:]) * Rotation.from_quat(wanted[3:]).inv()).magnitude() < 1e-5


@pytest.mark.parametrize(
    "fault, words",
    [("silence", "'Hand' is not tracked"), ("garbage", "VRPN"), ("unplug", "VRPN server running")],
)
def test_what_is_wrong_with_the_server_is_told_and_it_comes_back(fault: str, words: str) -> None:
    with VrpnEmulator() as server, running("tracker", server.address.split("&")[0]) as device:
        device.more()
        server.fault = fault
        device.problem(words)
        server.fault = "none"
        device.recovered()
        device.more()


def test_a_body_that_the_server_does_not_know_is_named_with_those_it_knows() -> None:
    with VrpnEmulator() as server, running("tracker", f"vrpn://127.0.0.1:{server.port}?body=Foot") as device:
        device.problem("'Foot' is not tracked", "its trackers: Hand, Index, Thumb, VRPN Control")


def test_a_mistyped_host_is_named() -> None:
    with pytest.raises(DeviceError, match=r"^vrpn 192.168..5: '192.168..5' is no host's name or address, want vrpn://"):
        Vrpn(Address.parse("vrpn://192.168..5?body=Hand")).open()


def test_an_address_without_a_body_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"no host or no body, want vrpn://192.168.1.5\?body=Hand"):
        Vrpn(Address.parse("vrpn://192.168.1.5"))
