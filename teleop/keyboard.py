"""The keys of a terminal as a device: each stroke moves the tip a little, a held key keeps it moving.

A terminal tells of strokes, not of releases. So a key counts for `STROKE`, and the terminal's own repetition makes motion of
it. Keys are read as bytes (ECMA-48 for the arrows: ESC [ A to D).
"""

from __future__ import annotations

import termios
import tty
from contextlib import suppress
from typing import Any

import numpy as np

from vla_ros.drivers.address import Address
from vla_ros.errors import DeviceError
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.hand_device import HandDevice

STROKE = 0.12  # [s] for which a key counts
MOVES = {  # key -> axis of the twist (x y z, then turns about them) and its sign
    b"\x1b[A": (0, 1),
    b"\x1b[B": (0, -1),
    b"\x1b[D": (1, 1),
    b"\x1b[C": (1, -1),
    b"w": (0, 1),
    b"s": (0, -1),
    b"a": (1, 1),
    b"d": (1, -1),
    b"r": (2, 1),
    b"f": (2, -1),
    b"u": (3, 1),
    b"o": (3, -1),
    b"i": (4, 1),
    b"k": (4, -1),
    b"j": (5, 1),
    b"l": (5, -1),
}
CLUTCH, OPEN, CLOSE = b" ", b"g", b"h"
HELP = (
    "space: clutch   w/s or up/down: forward, back   a/d or left/right: left, right   r/f: up, down\n"
    "u/o: roll   i/k: pitch   j/l: yaw   g: open the gripper   h: close it   Ctrl-C: end"
)


class Keys:
    """What strokes mean. speed [m/s] and turn [rad/s] of a held key; gripper: closed and open position [m], None without.

    Taking the clutch forgets what the gripper was told: it stays as it is until it is told anew.
    """

    def __init__(self, speed: float = 0.08, turn: float = 0.5, gripper: tuple[float, float] | None = None) -> None:
        self._speeds = np.array([speed] * 3 + [turn] * 3)
        self._ends = gripper
        self._gripper: float | None = None  # until it is told to open or to close
        self._until = np.zeros(6)  # until when each axis moves [s]
        self._signs = np.zeros(6)
        self._rest = b""
        self.clutch = False

    def press(self, data: bytes, now: float) -> None:
        """Take bytes as they came from the terminal at `now` [s]. What means nothing is passed over."""
        data, self._rest = self._rest + data, b""
        while data:
            key = data[:3] if data[:2] == b"\x1b[" else data[:1]
            if data[:1] == b"\x1b" and len(data) < 3 and b"\x1b[".startswith(data):
                self._rest = data
                return
            data = data[len(key) :]
            self._stroke(key, now)

    def sample(self, stamp: int, now: float) -> TeleopSample:
        """Return what the keys ask for at `now` [s], stamped `stamp` [ns]."""
        twist = np.where(now < self._until, self._signs, 0.0) * self._speeds
        return TeleopSample(stamp, twist=twist, gripper=self._gripper, clutch=self.clutch)

    def _stroke(self, key: bytes, now: float) -> None:
        if key in MOVES:
            axis, sign = MOVES[key]
            self._until[axis], self._signs[axis] = now + STROKE, sign
        elif key == CLUTCH:
            self.clutch, self._gripper = not self.clutch, None
            self._until[:] = 0.0
        elif key in (OPEN, CLOSE) and self._ends is not None:
            self._gripper = self._ends[key == OPEN]


class Keyboard(HandDevice):
    """A driver of a terminal: ``keyboard:///dev/pts/3?speed=0.08&turn=0.5``. It is put into raw mode while it is open.

    gripper: closed and open position [m].
    """

    def __init__(self, address: Address, gripper: tuple[float, float] | None = None) -> None:
        address.only("speed", "turn")
        self._speed = address.number("speed", 0.08, 0.001, 0.5)
        self._turn = address.number("turn", 0.5, 0.01, 2.0)
        self._gripper = gripper
        self._before: list[Any] | None = None
        if not address.path:
            what = "no terminal; 'vla-ros teleop --device keyboard' takes the one it runs in"
            raise DeviceError(f"{address.text}: {what}")
        super().__init__("keyboard", address.path)

    def meaning(self) -> Keys:
        """Put the terminal into raw mode."""
        try:
            self._before = termios.tcgetattr(self._file)
            tty.setcbreak(self._file, termios.TCSANOW)  # Ctrl-C still ends the program in the foreground
        except (OSError, termios.error) as error:
            raise DeviceError(f"{self.path} is no terminal: {error.args[-1]}{self.advice()}") from None
        return Keys(self._speed, self._turn, self._gripper)

    def advice(self) -> str:
        """Say how a terminal is found."""
        return "; 'tty' tells yours"

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._before is not None:
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._file, termios.TCSANOW, self._before)
        self._before = None
        super().close()
