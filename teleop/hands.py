"""Emulated devices that the scripted operator can move, as a person's hand would move the real ones."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from vla_ros.errors import DeviceError, unknown_name
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.device import TeleopSample

# name -> module and class, whose constructor takes the follower's Kinematics. Names are those of the emulators.
HANDS: dict[str, str] = {
    "dynamixel": "vla_ros.teleop.servo_hand:DynamixelHand",
    "feetech": "vla_ros.teleop.servo_hand:FeetechHand",
    "natnet": "vla_ros.teleop.tracker_hands:NatNetHand",
    "webxr": "vla_ros.teleop.tracker_hands:WebXrHand",
}


class EmulatedHand(Protocol):
    """An emulated device, and the driver that reads it over the device's own protocol."""

    def connect(self) -> None:
        """Start the emulator and open its driver. Raises DeviceError."""

    def move(self, wanted: TeleopSample) -> None:
        """Bring the device to where `wanted` says: joints [rad, m] by name, the tip's pose [7] and the gripper [m]."""

    def read(self) -> TeleopSample:
        """Return what the driver makes of the device as it was moved last. Raises DeviceError when it does not answer."""
        ...

    def close(self) -> None:
        """Let driver and emulator go."""


def make_hand(name: str, kinematics: Kinematics) -> EmulatedHand:
    """Return the hand on an emulated device, not yet connected. Raises DeviceError naming the valid ones."""
    if name not in HANDS:
        raise DeviceError("scripted://: " + unknown_name("emulated device", name, HANDS))
    module, kind = HANDS[name].rsplit(":", 1)
    made: EmulatedHand = getattr(import_module(module), kind)(kinematics)
    return made
