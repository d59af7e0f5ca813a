"""Keys of a terminal: what strokes mean, and a real pseudo-terminal behind them."""

from __future__ import annotations

import os
import termios
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.drivers.address import Address
from vla_ros.errors import DeviceError
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.keyboard import STROKE, Keyboard, Keys


def twist(keys: Keys, now: float) -> list[float]:
    sample = keys.sample(0, now)
    assert sample.twist is not None
    return sample.twist.tolist()


def test_a_stroke_moves_for_a_moment_and_a_held_key_keeps_moving() -> None:
    keys = Keys(speed=0.1, turn=0.5)
    keys.press(b"w", 0.0)
    assert twist(keys, 0.5 * STROKE) == [0.1, 0, 0, 0, 0, 0]
    assert twist(keys, 1.01 * STROKE) == [0.0] * 6
    for k in range(10):
        keys.press(b"\x1b[Dj", 1.0 + 0.05 * k)
        assert twist(keys, 1.04 + 0.05 * k) == [0, 0.1, 0, 0, 0, 0.5]


def test_an_arrow_may_come_in_pieces_and_another_sequence_moves_nothing() -> None:
    keys = Keys(speed=0.1)
    for byte in b"\x1b[A":
        keys.press(bytes([byte]), 0.0)
    assert twist(keys, 0.01)[0] == 0.1
    keys.press(b"\x1b[Z\x1bO~", 1.0)
    assert twist(keys, 1.01) == [0.0] * 6


def test_space_is_the_clutch_and_the_gripper_stays_until_it_is_told() -> None:
    keys = Keys(gripper=(0.0, 0.04))
    assert keys.sample(0, 0.0).clutch is False and keys.sample(0, 0.0).gripper is None
    keys.press(b" h", 0.0)
    assert keys.sample(0, 0.0).clutch and keys.sample(0, 0.0).gripper == 0.0
    keys.press(b"g", 0.0)
    assert keys.sample(0, 0.0).gripper == 0.04


def test_taking_the_clutch_forgets_what_the_gripper_was_told_before() -> None:
    keys = Keys(gripper=(0.0, 0.04))
    keys.press(b" g h", 0.0)
    assert not keys.sample(0, 0.0).clutch
    keys.press(b" ", 60.0)
    assert keys.sample(0, 60.0).clutch and keys.sample(0, 60.0).gripper is None


@given(st.lists(st.tuples(st.binary(max_size=8), st.floats(0.0, 1.0)), max_size=30))
def test_any_bytes_move_within_the_speeds(strokes: list[tuple[bytes, float]]) -> None:
    keys, now = Keys(speed=0.1, turn=0.5, gripper=(0.0, 0.04)), 0.0
    for data, later in strokes:
        now += later
        keys.press(data, now)
        assert (np.abs(twist(keys, now)) <= [0.1] * 3 + [0.5] * 3).all()


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    near, far = os.openpty()
    yield near, os.ttyname(far)
    os.close(near)
    os.close(far)


def read_until(keyboard: Keyboard, clutch: bool) -> TeleopSample:
    for _ in range(3000):
        reading = keyboard.read(0.1)
        assert reading is not None
        if reading.value.clutch == clutch:
            return reading.value
    raise AssertionError(f"the clutch did not become {clutch}")


def test_the_keys_of_a_real_terminal_are_read_and_it_is_left_as_it_was(terminal: tuple[int, str]) -> None:
    near, path = terminal
    before = termios.tcgetattr(near)
    keyboard = Keyboard(Address.parse(f"keyboard://{path}?speed=0.05"))
    keyboard.open()
    os.write(near, b"w ")
    read_until(keyboard, clutch=True)
    os.write(near, b" ")
    read_until(keyboard, clutch=False)
    keyboard.close()
    assert termios.tcgetattr(near) == before


def test_a_closed_terminal_is_a_lost_device(terminal: tuple[int, str]) -> None:
    near, path = terminal
    keyboard = Keyboard(Address.parse(f"keyboard://{path}"))
    keyboard.open()
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, near)  # closes the terminal's near end; the number stays the test's
    os.close(null)
    with pytest.raises(DeviceError, match=f"{path} is closed"):
        for _ in range(100):
            keyboard.read(0.1)
    keyboard.close()


@pytest.mark.parametrize("path", ["/dev/null", "/dev/nowhere", __file__])
def test_what_is_no_terminal_is_refused(path: str) -> None:
    keyboard = Keyboard(Address.parse(f"keyboard://{Path(path)}"))
    with pytest.raises(DeviceError, match="(is no terminal|No such file).*'tty' tells yours"):
        keyboard.open()
    keyboard.close()


def test_a_keyboard_without_a_terminal_is_answered_with_what_to_do() -> None:
    with pytest.raises(DeviceError, match="no terminal; 'vla-ros teleop --device keyboard' takes the one it runs in"):
        Keyboard(Address.parse("keyboard"))
