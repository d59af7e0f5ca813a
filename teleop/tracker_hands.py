"""A scripted hand that an emulated tracker sees: where it is becomes packets, and comes back through the tracker's driver."""

from __future__ import annotations

import tempfile
import time
from typing import Protocol

import numpy as np

from vla_ros.drivers.address import Address
from vla_ros.drivers.registry import make_driver
from vla_ros.drivers.tracked import Tracker
from vla_ros.emulators.base import Emulator
from vla_ros.emulators.hand import EmulatedHand
from vla_ros.emulators.natnet import NatNetEmulator
from vla_ros.emulators.webxr import WebXrEmulator
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.tracked_hand import TrackedHand

DEADLINE = 10.0  # [s] for a sample: a busy machine is no broken cable
RATE = 250.0  # [Hz] of the emulators: what is waited for is a sample after each move


class Seeing(Protocol):
    """An emulator that sees a hand. number: of the last sample that was begun."""

    hand: EmulatedHand
    number: int


class TrackerHand:
    """An `vla_ros.teleop.hands.EmulatedHand` whose pose and pinch a tracker tells."""

    def __init__(self, kinematics: Kinematics) -> None:
        others = [i for i, name in enumerate(kinematics.joint_names) if name not in kinematics.tip_joints]
        ends = [(float(kinematics.lower[i]), float(kinematics.upper[i])) for i in others]
        self._gripper = ends[0] if ends else None
        self._emulator, self._seeing = self.make()
        self._device: TrackedHand | None = None
        self._after = 0

    def make(self) -> tuple[Emulator, Seeing]:
        """Return the emulator, twice: mypy knows no intersections."""
        raise NotImplementedError

    def address(self) -> str:
        """Return the address of the emulator once it has started."""
        return self._emulator.address

    def connect(self) -> None:
        """Start the tracker and open its driver, as often as it takes. Raises DeviceError."""
        self._seeing.hand.pose = self._seeing.hand.at(0)
        self._emulator.start()
        address = self.address()
        tracker: Tracker = make_driver("tracker", address)  # type: ignore[assignment]
        self._device = TrackedHand(tracker, Address.parse(address), self._gripper)
        end = time.monotonic() + DEADLINE
        while True:
            try:
                return self._device.open()
            except DeviceError:
                if time.monotonic() > end:
                    raise

    def move(self, wanted: TeleopSample) -> None:
        """Put the hand where the tip is to be, thumb and index finger as far apart as the gripper is to be open."""
        hand = self._seeing.hand
        hand.pose = None if wanted.pose is None else np.array(wanted.pose)
        if self._gripper is not None and wanted.gripper is not None:
            closed, opened = self._gripper
            hand.pinch = float(np.clip((opened - wanted.gripper) / (opened - closed), 0.0, 1.0))
        self._after = self._seeing.number

    def read(self) -> TeleopSample:
        """Return the first sample that the tracker began after the hand was moved. Raises DeviceError."""
        end = time.monotonic() + DEADLINE
        while self._device is not None and time.monotonic() < end:
            reading = self._device.read(0.1)
            if reading is not None and reading.sequence is not None and reading.sequence > self._after:
                return reading.value
        raise DeviceError(f"{self._emulator.address}: no sample within {DEADLINE:.0f} s")

    def close(self) -> None:
        """Let the driver go, then end the emulator."""
        if self._device is not None:
            self._device.close()
            self._device.end()
        self._emulator.stop()


class NatNetHand(TrackerHand):
    """A glove of rigid bodies that Motive streams."""

    def make(self) -> tuple[Emulator, Seeing]:
        """Return Motive."""
        motive = NatNetEmulator(rate=RATE)
        return motive, motive

    def address(self) -> str:
        """Return its address, with the distance of the emulated fingers."""
        return f"{self._emulator.address}&closed=0&open={self._seeing.hand.apart}"


class WebXrHand(TrackerHand):
    """A headset's controller."""

    def make(self) -> tuple[Emulator, Seeing]:
        """Return the headset."""
        self._folder = tempfile.TemporaryDirectory(prefix="vla_ros_certificate_")
        headset = WebXrEmulator(rate=RATE)
        return headset, headset

    def address(self) -> str:
        """Return its address; the certificate is for this time only."""
        return f"{self._emulator.address}&cert={self._folder.name}"

    def close(self) -> None:
        """Let go of all."""
        super().close()
        self._folder.cleanup()
