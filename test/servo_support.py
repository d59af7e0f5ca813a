"""What the tests of servo buses share: a calibration for an emulated bus, and its driver's address."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_ros.emulators.servos import ServoBusEmulator
from vla_ros.teleop.calibration import Calibration, ServoJoint

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper")


def calibration(path: Path, names: Sequence[str] = JOINTS, **changes: Any) -> Path:
    """Write a calibration for servos 1, 2, ...: all turned alike, the gripper from 0 to 0.04 m."""
    joints = {}
    for servo, name in enumerate(names, 1):
        ends = (0.0, 0.04) if name == "gripper" else None
        joints[name] = ServoJoint(servo, 1000, 3000, ends=ends, **changes)
    Calibration(joints).save(path)
    return path


def address(emulator: ServoBusEmulator, file: Path, **options: object) -> str:
    """Return the address of an emulated bus, at a rate that leaves little to wait for."""
    given = {"calibration": file, "baud": 1000000, "rate": 200, **options}
    return emulator.address + "?" + "&".join(f"{name}={value}" for name, value in given.items())
