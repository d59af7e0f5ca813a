"""``vla-ros calibrate wrench`` on recorded poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.errors import CalibrationError
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.wrench import RecordedPose, WrenchCalibration, load_calibration, write_poses

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper")
TRUE = WrenchCalibration("ft_frame", 0.85, (0.0, 0.01, 0.05), (4.0, -2.0, 1.0), (0.05, 0.1, -0.2))


def recorded(count: int, noise: float = 0.02) -> list[RecordedPose]:
    kinematics = Kinematics(load_urdf("urdf/tabletop_arm.urdf.xacro"), JOINTS, TRUE.frame)
    random, poses = np.random.default_rng(1), []
    for _ in range(count):
        joints = dict(zip(JOINTS, [*random.uniform(-1.0, 1.0, 6), 0.02], strict=True))
        wrench = TRUE.without_contact(kinematics.forward(list(joints.values()))[:3, :3])
        poses.append(RecordedPose(joints, tuple(wrench + noise * random.standard_normal(6) * ([1] * 3 + [0.05] * 3))))
    return poses


def test_recorded_poses_become_a_calibration_file(tmp_path: Path) -> None:
    write_poses(tmp_path / "poses.csv", recorded(8))
    arguments = ["calibrate", "wrench", "--poses", tmp_path / "poses.csv", "--output", tmp_path / "wrench.yaml"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--frame", "ft_frame"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("mass 0.8")
    assert "8 poses; left unexplained: 0.0" in result.output
    found = load_calibration(tmp_path / "wrench.yaml")
    assert found.mass == pytest.approx(TRUE.mass, abs=0.01)
    assert found.centre == pytest.approx(TRUE.centre, abs=0.002)
    assert found.frame == "ft_frame"


def test_too_few_poses_write_no_file(tmp_path: Path) -> None:
    write_poses(tmp_path / "poses.csv", recorded(2))
    arguments = ["calibrate", "wrench", "--poses", tmp_path / "poses.csv", "--output", tmp_path / "wrench.yaml"]
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(result.exception, CalibrationError)
    assert "2 poses; at least 3 are needed" in str(result.exception)
    assert not (tmp_path / "wrench.yaml").exists()
