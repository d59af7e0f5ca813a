"""A scripted hand on an emulated leader arm: what it wants becomes servo ticks, and comes back over the servos' bus."""

from __future__ import annotations

import time

from vla_ros.drivers.address import Address
from vla_ros.emulators.dynamixel import DynamixelEmulator
from vla_ros.emulators.feetech import FeetechEmulator
from vla_ros.emulators.servos import ServoBusEmulator
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.servo_arm import DynamixelArm, FeetechArm, ServoArm

DEADLINE = 10.0  # [s] for an answer: a busy machine is no broken cable
CALIBRATION = "emulated"  # in config/leaders


class ServoHand:
    """An `EmulatedHand` on a servo bus, with the calibration that the package ships for it."""

    bus: type[ServoBusEmulator]
    arm: type[ServoArm]

    def __init__(self, kinematics: Kinematics) -> None:
        self._emulator = self.bus(amplitude=0.0)
        self._driver: ServoArm | None = None

    def connect(self) -> None:
        """Start the bus and find the servos on it."""
        self._emulator.start()
        address = f"{self._emulator.address}?calibration={CALIBRATION}&baud=1000000&rate=1000"
        self._driver = self.arm(Address.parse(address))
        self._driver.open()

    def move(self, wanted: TeleopSample) -> None:
        """Turn the servos."""
        if self._driver is not None:
            for name, joint in self._driver.calibration.joints.items():
                self._emulator.rest[joint.id] = joint.ticks(wanted.joints[name])

    def read(self) -> TeleopSample:
        """Return the joints that the servos' answers to one sync read say."""
        end = time.monotonic() + DEADLINE
        while self._driver is not None and time.monotonic() < end:
            if (reading := self._driver.read(0.1)) is not None:
                return reading.value
        raise DeviceError(f"{self._emulator.address}: no answer within {DEADLINE:.0f} s")

    def close(self) -> None:
        """Let go of the bus, then end it."""
        if self._driver is not None:
            self._driver.close()
        self._emulator.stop()


class DynamixelHand(ServoHand):
    """On Dynamixel servos."""

    bus, arm = DynamixelEmulator, DynamixelArm


class FeetechHand(ServoHand):
    """On Feetech servos."""

    bus, arm = FeetechEmulator, FeetechArm
