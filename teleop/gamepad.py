"""A gamepad as the kernel shows it: input events of ``/dev/input/event*``.

Linux, "Input event codes" and "Linux Gamepad Specification" (Documentation/input/event-codes.rst, gamepad.rst): an event is
`struct input_event` (time, type, code, value); sticks are ABS_X, ABS_Y, ABS_RX, ABS_RY, triggers ABS_Z and ABS_RZ, the pad
ABS_HAT0X and ABS_HAT0Y, the shoulder button BTN_TL; EVIOCGABS tells an axis' range.
"""

from __future__ import annotations

import fcntl
import stat
import struct
from collections.abc import Mapping
from contextlib import suppress
from os import fstat
from pathlib import Path

import numpy as np

from vla_ros.errors import DeviceError
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.filters import dead_zone
from vla_ros.teleop.hand_device import DeflectedDevice

EVENT = struct.Struct("@llHHi")  # seconds, microseconds, type, code, value
SYN, KEY, ABS = 0, 1, 3
SYN_DROPPED = 3  # of SYN: events were lost
CLUTCH = 0x136  # BTN_TL
LEFT_X, LEFT_Y, LEFT_TRIGGER, RIGHT_X, RIGHT_Y, RIGHT_TRIGGER, HAT_X, HAT_Y = 0, 1, 2, 3, 4, 5, 0x10, 0x11
STICK, TRIGGER, HAT = (-32768, 32767), (0, 255), (-1, 1)  # ranges of the commonest pads
RANGES = dict.fromkeys((LEFT_X, LEFT_Y, RIGHT_X, RIGHT_Y), STICK) | dict.fromkeys((HAT_X, HAT_Y), HAT)
RANGES |= dict.fromkeys((LEFT_TRIGGER, RIGHT_TRIGGER), TRIGGER)
# axis of the twist (x y z, then turns about them), its sign, by event code; sticks say less for up and left
AXES = {LEFT_Y: (0, -1), LEFT_X: (1, -1), RIGHT_Y: (2, -1), HAT_X: (3, 1), HAT_Y: (4, -1), RIGHT_X: (5, -1)}
ASK_RANGE, ABSINFO = 0x80184540, struct.Struct("6i")  # EVIOCGABS(0): value, minimum, maximum, fuzz, flat, resolution


class Pad:
    """What events mean: motion while the left shoulder button is held; the right trigger closes the gripper.

    speed [m/s] and turn [rad/s] at full deflection; ranges: of the axes by code; dead: share of a stick that is no motion;
    gripper: closed and open position [m], None without.
    """

    def __init__(
        self,
        speed: float = 0.15,
        turn: float = 0.8,
        gripper: tuple[float, float] | None = None,
        ranges: Mapping[int, tuple[int, int]] = RANGES,
        dead: float = 0.12,
    ) -> None:
        self._speeds = np.array([speed] * 3 + [turn] * 3)
        self._ends, self._ranges, self._dead = gripper, ranges, dead
        self._rest = b""
        self._deflections = np.zeros(6)
        self._closed = 0.0  # how far the trigger is pulled
        self._clutch = False

    def press(self, data: bytes, now: float) -> None:
        """Take bytes as they came; the end of an event may come later. Raises DeviceError when some did not come."""
        data = self._rest + data
        whole = len(data) - len(data) % EVENT.size
        self._rest = data[whole:]
        for _, _, kind, code, value in EVENT.iter_unpack(data[:whole]):
            if kind == SYN and code == SYN_DROPPED:
                raise DeviceError("events were lost, nobody knows what is pressed now")
            if kind == KEY and code == CLUTCH:
                self._clutch = bool(value)
            elif kind == ABS and code in AXES:
                axis, sign = AXES[code]
                self._deflections[axis] = sign * (2.0 * self._share(code, value) - 1.0)
            elif kind == ABS and code == RIGHT_TRIGGER:
                self._closed = self._share(code, value)

    def sample(self, stamp: int, now: float) -> TeleopSample:
        """Return what the pad asks for, stamped `stamp` [ns]."""
        gripper = None
        if self._ends is not None:
            gripper = self._ends[1] + self._closed * (self._ends[0] - self._ends[1])
        twist = dead_zone(self._deflections, self._dead) * self._speeds
        return TeleopSample(stamp, twist=twist, gripper=gripper, clutch=self._clutch)

    def _share(self, code: int, value: int) -> float:
        low, high = self._ranges.get(code, STICK)
        return min(max((value - low) / (high - low), 0.0), 1.0)


class Gamepad(DeflectedDevice):
    """``gamepad:///dev/input/event5?speed=0.15&turn=0.8``; a named pipe of events will do, too."""

    kind, plural = "gamepad", "gamepads"

    def present(self) -> list[str]:
        """Return what the system takes for gamepads."""
        return gamepads()

    def advice(self) -> str:
        """Name the gamepads that are here."""
        return f"; {self.here()}; you must be in the group 'input'"

    def meaning(self) -> Pad:
        """Ask the kernel for the ranges of the axes."""
        ranges = {}
        for code in RANGES:
            with suppress(OSError):
                answer = fcntl.ioctl(self._file, ASK_RANGE + code, bytes(ABSINFO.size))
                _, low, high, *_ = ABSINFO.unpack(answer)
                ranges[code] = (low, high) if low < high else RANGES[code]
        if not ranges and not stat.S_ISFIFO(fstat(self._file).st_mode):
            raise DeviceError(f"{self.path} is no gamepad{self.advice()}")
        return Pad(self._speed, self._turn, self._gripper, RANGES | ranges)


def gamepads() -> list[str]:
    """Return the devices that the system takes for joysticks or gamepads, by their lasting names."""
    return sorted(str(path) for path in Path("/dev/input/by-id").glob("*-event-joystick"))
