"""Static poses with the wrench measured in each: read, written, and made into a calibration."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from vla_ros.errors import CalibrationError
from vla_ros.kinematics import Kinematics
from vla_ros.wrench.calibration import WrenchCalibration
from vla_ros.wrench.load import STANDARD_GRAVITY, identify

AXES = ("fx", "fy", "fz", "tx", "ty", "tz")


@dataclass(frozen=True)
class RecordedPose:
    """The arm at rest. joints: positions by name [rad, m]. wrench: [6], the sensor's mean there [N, Nm]."""

    joints: Mapping[str, float]
    wrench: tuple[float, ...]


def calibrate(
    poses: Sequence[RecordedPose],
    kinematics: Kinematics,
    gravity: npt.ArrayLike = (0.0, 0.0, -STANDARD_GRAVITY),
) -> WrenchCalibration:
    """Return the calibration of the sensor at the tip of `kinematics`. Raises CalibrationError."""
    rotations = []
    for number, pose in enumerate(poses, 1):
        missing = [name for name in kinematics.joint_names if name not in pose.joints]
        if missing:
            known = ", ".join(sorted(pose.joints)) or "none"
            raise CalibrationError(f"pose {number} lacks the joint '{missing[0]}'; it has {known}")
        rotations.append(kinematics.forward([pose.joints[name] for name in kinematics.joint_names])[:3, :3])
    return identify(
        np.reshape(rotations, (-1, 3, 3)),
        np.reshape([pose.wrench for pose in poses], (-1, 6)),
        kinematics.tip,
        gravity,
    )


def read_poses(path: Path) -> list[RecordedPose]:
    """Read a CSV file, a row a pose, columns fx fy fz tx ty tz and one a joint; or YAML, a list of joints and wrench.

    Raises CalibrationError naming the row.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: {getattr(error, 'strerror', None) or 'is not text'}") from None
    rows = _yaml_rows(path, text) if path.suffix in (".yaml", ".yml") else _csv_rows(path, text)
    return [_pose(f"{path}: pose {number}", joints, wrench) for number, (joints, wrench) in enumerate(rows, 1)]


def write_poses(path: Path, poses: Sequence[RecordedPose]) -> None:
    """Write a CSV file that `read_poses` reads. Raises CalibrationError."""
    names = sorted({name for pose in poses for name in pose.joints})
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*names, *AXES])
            writer.writerows([*(pose.joints[name] for name in names), *pose.wrench] for pose in poses)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written: {error.strerror}") from None


def _csv_rows(path: Path, text: str) -> list[tuple[Any, Any]]:
    rows = list(csv.DictReader(text.splitlines()))
    header = list(rows[0]) if rows else []
    missing = [axis for axis in AXES if axis not in header]
    if missing:
        raise CalibrationError(f"{path}: no column '{missing[0]}'; want fx fy fz tx ty tz and one for each joint")
    return [
        ({name: value for name, value in row.items() if name not in AXES}, [row[axis] for axis in AXES]) for row in rows
    ]


def _yaml_rows(path: Path, text: str) -> list[tuple[Any, Any]]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CalibrationError(f"{path}: is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise CalibrationError(f"{path}: want a list of poses, each with joints and wrench")
    return [(row.get("joints"), row.get("wrench")) for row in content]


def _pose(where: str, joints: Any, wrench: Any) -> RecordedPose:
    if not isinstance(joints, dict) or not isinstance(wrench, list) or len(wrench) != 6:
        raise CalibrationError(f"{where}: want joints (name: position) and wrench (six numbers)")
    return RecordedPose(
        {str(name): _number(where, str(name), value) for name, value in joints.items()},
        tuple(_number(where, axis, value) for axis, value in zip(AXES, wrench, strict=True)),
    )


def _number(where: str, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise CalibrationError(f"{where}: {name} is '{value}', want a number")
    return number
