"""Gamepad and 3D mouse: what the kernel's events and the device's reports mean, and the files they come from."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.drivers.address import Address
from vla_ros.errors import DeviceError
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.gamepad import (
    ABS,
    CLUTCH,
    EVENT,
    KEY,
    LEFT_X,
    LEFT_Y,
    RIGHT_TRIGGER,
    SYN,
    SYN_DROPPED,
    Gamepad,
    Pad,
)
from vla_ros.teleop.hand_device import HandDevice, Meaning
from vla_ros.teleop.spacemouse import SILENT, Cap, SpaceMouse

ENDS = (0.0, 0.04)
BUTTON_1, BUTTON_2, NO_BUTTON = bytes.fromhex("03 01 00"), bytes.fromhex("03 02 00"), bytes.fromhex("03 00 00")


def event(kind: int, code: int, value: int) -> bytes:
    return EVENT.pack(1_700_000_000, 0, kind, code, value)


def twist(device: Meaning, now: float = 0.0) -> list[float]:
    sample = device.sample(0, now)
    assert sample.twist is not None
    return sample.twist.tolist()


def test_sticks_move_the_tip_and_the_shoulder_button_is_the_clutch() -> None:
    pad = Pad(speed=0.2, turn=1.0)
    assert not pad.sample(0, 0.0).clutch
    pad.press(event(KEY, CLUTCH, 1) + event(ABS, LEFT_Y, -32768) + event(ABS, LEFT_X, 32767) + event(SYN, 0, 0), 0.0)
    assert pad.sample(0, 0.0).clutch
    assert twist(pad) == pytest.approx([0.2, -0.2, 0, 0, 0, 0], abs=1e-5), "up and right: forward and to the right"
    pad.press(event(ABS, LEFT_Y, 1000) + event(ABS, LEFT_X, -1500) + event(KEY, CLUTCH, 0), 0.0)
    assert twist(pad) == [0.0] * 6, "inside the dead zone"
    assert not pad.sample(0, 0.0).clutch


def test_the_trigger_closes_the_gripper() -> None:
    pad = Pad(gripper=ENDS)
    assert pad.sample(0, 0.0).gripper == 0.04, "as long as nothing else is told it is let go"
    pad.press(event(ABS, RIGHT_TRIGGER, 255), 0.0)
    assert pad.sample(0, 0.0).gripper == 0.0
    pad.press(event(ABS, RIGHT_TRIGGER, 0), 0.0)
    assert pad.sample(0, 0.0).gripper == 0.04


def test_an_event_may_come_in_pieces_and_with_lost_ones_nobody_knows_what_is_pressed() -> None:
    pad = Pad(speed=0.2)
    for byte in event(KEY, CLUTCH, 1) + event(ABS, LEFT_Y, -32768):
        pad.press(bytes([byte]), 0.0)
    assert pad.sample(0, 0.0).clutch and twist(pad)[0] == pytest.approx(0.2)
    with pytest.raises(DeviceError, match="events were lost"):
        pad.press(event(SYN, SYN_DROPPED, 0), 0.0)


def report(number: int, *values: int) -> bytes:
    return bytes([number]) + b"".join(value.to_bytes(2, "little", signed=True) for value in values)


def test_the_cap_moves_the_tip_in_the_arms_frame() -> None:
    cap = Cap(speed=0.1, turn=1.0)
    cap.press(report(1, 0, -350, 0), 0.0)  # pushed away from the user
    assert twist(cap) == pytest.approx([0.1, 0, 0, 0, 0, 0])
    cap.press(report(1, 350, 0, -350), 0.0)  # to the right, and pulled up
    assert twist(cap) == pytest.approx([0, -0.1, 0.1, 0, 0, 0])
    cap.press(bytes.fromhex("02 00 00 e2 fe 00 00"), 0.0)  # -286 about y
    assert twist(cap)[3] == pytest.approx((286 / 350 - 0.08) / 0.92)
    cap.press(report(1, 0, 0, 0, 0, 0, -350), 0.0)  # a newer model: all six in one
    assert twist(cap) == pytest.approx([0, 0, 0, 0, 0, 1.0])


def test_a_cap_that_says_nothing_more_is_taken_for_let_go() -> None:
    cap = Cap(speed=0.1)
    cap.press(report(1, 0, -350, 0), 5.0)
    assert twist(cap, 5.0 + 0.9 * SILENT)[0] == pytest.approx(0.1)
    assert twist(cap, 5.0 + 1.1 * SILENT) == [0.0] * 6


def test_the_left_button_is_the_clutch_and_the_right_one_the_gripper() -> None:
    cap = Cap(gripper=ENDS)
    grips, clutches = [], []
    for data in (BUTTON_1, BUTTON_1, NO_BUTTON, BUTTON_2, NO_BUTTON, BUTTON_2, NO_BUTTON, BUTTON_1):
        cap.press(data, 0.0)
        grips.append(cap.sample(0, 0.0).gripper)
        clutches.append(cap.sample(0, 0.0).clutch)
    assert clutches == [True] * 7 + [False], "a held button counts once"
    assert grips == [None] * 3 + [0.0] * 2 + [0.04] * 2 + [None]


def test_taking_the_clutch_forgets_what_the_gripper_was_told_and_its_button_closes_it_first() -> None:
    cap = Cap(gripper=ENDS)
    for data in (BUTTON_1, NO_BUTTON, BUTTON_2, NO_BUTTON, BUTTON_1, NO_BUTTON, BUTTON_2, NO_BUTTON, BUTTON_1):
        cap.press(data, 0.0)
    assert cap.sample(0, 0.0).clutch and cap.sample(0, 0.0).gripper is None
    cap.press(BUTTON_2, 0.0)
    assert cap.sample(0, 0.0).gripper == 0.0


@given(st.sampled_from([Pad, Cap]), st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_move_within_the_speeds(kind: type[Pad] | type[Cap], parts: list[bytes]) -> None:
    device = kind(speed=0.1, turn=0.5, gripper=ENDS)
    for data in parts:
        with suppress(DeviceError):
            device.press(data, 0.0)
        sample = device.sample(0, 0.0)
        assert (np.abs(twist(device)) <= np.array([0.1] * 3 + [0.5] * 3) + 1e-12).all()
        assert sample.gripper is None or ENDS[0] <= sample.gripper <= ENDS[1]


# The files


def read_until(device: HandDevice, clutch: bool) -> TeleopSample:
    for _ in range(3000):
        reading = device.read(0.1)
        assert reading is not None
        if reading.value.clutch == clutch:
            return reading.value
    raise AssertionError(f"the clutch did not become {clutch}")


@pytest.mark.parametrize(
    ("kind", "taken", "released"),
    [(Gamepad, event(KEY, CLUTCH, 1), event(KEY, CLUTCH, 0)), (SpaceMouse, BUTTON_1, NO_BUTTON)],
)
def test_events_are_read_from_a_file_until_it_is_gone(
    kind: type[Gamepad] | type[SpaceMouse], taken: bytes, released: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "events"
    os.mkfifo(path)
    device = kind(Address.parse(f"{kind.__name__.lower()}://{path}"))
    device.open()
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, taken)
    read_until(device, clutch=True)
    if kind is Gamepad:
        os.write(writer, released)
        read_until(device, clutch=False)
    os.close(writer)
    with pytest.raises(DeviceError, match=f"{path} is closed"):
        for _ in range(100):
            device.read(0.1)
    device.close()
    device.open()
    first = device.read(0.1)
    assert first is not None and not first.value.clutch, "open again after it came back"
    device.close()


def test_a_gamepad_whose_events_were_lost_is_a_lost_device(tmp_path: Path) -> None:
    path = tmp_path / "events"
    os.mkfifo(path)
    device = Gamepad(Address.parse(f"gamepad://{path}"))
    device.open()
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, event(KEY, CLUTCH, 1))
    read_until(device, clutch=True)
    os.write(writer, event(SYN, SYN_DROPPED, 0))
    with pytest.raises(DeviceError, match=f"{path}: events were lost"):
        for _ in range(100):
            device.read(0.1)
    os.close(writer)
    device.close()


@pytest.mark.parametrize(
    ("kind", "path", "message"),
    [
        (Gamepad, "", "gamepad: no device; gamepads here: "),
        (
            Gamepad,
            "/dev/nowhere",
            "/dev/nowhere: No such file or directory; gamepads here: .*; you must be in the group",
        ),
        (Gamepad, __file__, "is no gamepad; gamepads here: "),
        (SpaceMouse, "", "spacemouse: no device; 3D mice here: "),
        (
            SpaceMouse,
            "/dev/nowhere",
            "/dev/nowhere: No such file or directory; 3D mice here: .*; a udev rule gives access",
        ),
    ],
)
def test_what_cannot_be_opened_is_answered_with_what_to_do(
    kind: type[Gamepad] | type[SpaceMouse], path: str, message: str
) -> None:
    name = kind.__name__.lower()
    with pytest.raises(DeviceError, match=message):
        kind(Address.parse(f"{name}://{path}" if path else name)).open()
