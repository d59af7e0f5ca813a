"""A 3D mouse of 3Dconnexion, read as a raw HID device.

Its reports (as its HID report descriptor lists them): 1, translation x y z; 2, rotation about x y z; 3, buttons, one bit each;
little-endian signed 16-bit numbers, up to 350 either way. Newer models put all six numbers into report 1. x is to the right, y
towards the user, z down.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.filters import dead_zone
from vla_ros.teleop.hand_device import DeflectedDevice

TRANSLATION, ROTATION, BUTTONS = 1, 2, 3
FULL = 350.0
SILENT = 0.3  # [s] a deflected cap reports many times a second: after this it is taken for let go
CLUTCH, GRIPPER = 0, 1  # buttons
MAKERS = ("0000256F", "0000046D")  # vendor ids of 3Dconnexion, and of Logitech which sold the older ones
NAMES = ("3Dconnexion", "SpaceNavigator", "SpaceMouse", "SpacePilot", "SpaceTraveler")


class Cap:
    """What reports mean. The left button takes and releases the clutch, the right one closes and opens the gripper.

    Taking the clutch forgets which it was: the gripper stays as it is until the right button closes it.
    speed [m/s] and turn [rad/s] at full deflection; dead: share of it that is no motion; gripper: closed and open position
    [m], None without.
    """

    def __init__(
        self,
        speed: float = 0.15,
        turn: float = 0.8,
        gripper: tuple[float, float] | None = None,
        dead: float = 0.08,
    ) -> None:
        self._speeds = np.array([speed] * 3 + [turn] * 3)
        self._ends, self._dead = gripper, dead
        self._deflections, self._moved = np.zeros(6), -SILENT  # in the arm's frame, and when they were told [s]
        self._pressed = 0
        self._closed: bool | None = None
        self._clutch = False

    def press(self, data: bytes, now: float) -> None:
        """Take one report, as a read of a raw HID device returns it. What is none is passed over."""
        if len(data) >= 13 and data[0] == TRANSLATION:
            self._move(slice(0, 6), data[1:13], now)
        elif len(data) >= 7 and data[0] in (TRANSLATION, ROTATION):
            self._move(slice(0, 3) if data[0] == TRANSLATION else slice(3, 6), data[1:7], now)
        elif len(data) >= 2 and data[0] == BUTTONS:
            fresh = data[1] & ~self._pressed
            self._pressed = data[1]
            if fresh >> CLUTCH & 1:
                self._clutch, self._closed = not self._clutch, None
            if fresh >> GRIPPER & 1:
                self._closed = not self._closed

    def sample(self, stamp: int, now: float) -> TeleopSample:
        """Return what the cap asks for at `now` [s], stamped `stamp` [ns]."""
        deflections = self._deflections if now - self._moved < SILENT else np.zeros(6)
        gripper = None
        if self._ends is not None and self._closed is not None:
            gripper = self._ends[0] if self._closed else self._ends[1]
        twist = dead_zone(deflections, self._dead) * self._speeds
        return TeleopSample(stamp, twist=twist, gripper=gripper, clutch=self._clutch)

    def _move(self, axes: slice, numbers: bytes, now: float) -> None:
        values = np.clip(np.array(struct.unpack(f"<{len(numbers) // 2}h", numbers)) / FULL, -1.0, 1.0)
        x, y, z = values.reshape(-1, 3).T
        self._deflections[axes] = np.stack([-y, -x, -z], axis=1).ravel()  # forward, left, up
        self._moved = now


class SpaceMouse(DeflectedDevice):
    """``spacemouse:///dev/hidraw3?speed=0.15&turn=0.8``."""

    kind, plural = "spacemouse", "3D mice"

    def present(self) -> list[str]:
        """Return the raw HID devices that are 3D mice."""
        return mice()

    def advice(self) -> str:
        """Name the 3D mice that are here."""
        return f"; {self.here()}; a udev rule gives access (docs/teleop.md)"

    def meaning(self) -> Cap:
        """Return a cap that nobody touches."""
        return Cap(self._speed, self._turn, self._gripper)


def mice() -> list[str]:
    """Return the raw HID devices that are 3D mice by vendor and name."""
    found = []
    for entry in sorted(Path("/sys/class/hidraw").glob("*")):
        try:
            text = (entry / "device/uevent").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if any(maker in text.upper() for maker in MAKERS) and any(name in text for name in NAMES):
            found.append(f"/dev/{entry.name}")
    return found
