"""Calibrations of leader arms: ours and LeRobot's, what is wrong with one, and the guided way to make one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.contract import load_contract
from vla_ros.emulators import make_emulator
from vla_ros.emulators.servos import ServoBusEmulator
from vla_ros.errors import DeviceError
from vla_ros.ros import lifeline
from vla_ros.teleop.calibration import Calibration, ServoJoint, load_calibration, parse_renaming

ROOT = Path(__file__).resolve().parents[2]
LEROBOT = {  # as lerobot-calibrate writes it for a leader arm
    "shoulder_pan": {"id": 1, "drive_mode": 0, "homing_offset": -1470, "range_min": 758, "range_max": 3292},
    "gripper": {"id": 6, "drive_mode": 1, "homing_offset": 1407, "range_min": 2031, "range_max": 3476},
}


def written(tmp_path: Path, content: Any, name: str = "leader.json") -> str:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def test_lerobots_calibration_has_its_zero_in_the_middle(tmp_path: Path) -> None:
    calibration = load_calibration(written(tmp_path, LEROBOT))
    assert calibration.joints["shoulder_pan"] == ServoJoint(1, 758, 3292, zero=2025, homing_offset=-1470)
    assert calibration.joints["gripper"].direction == -1
    positions = calibration.positions({1: 2025 + 1024, 6: 2031})
    assert positions["shoulder_pan"] == pytest.approx(math.pi / 2)


def test_a_calibration_is_read_as_it_was_saved(tmp_path: Path) -> None:
    joints = {
        "elbow": ServoJoint(3, 100, 4000, zero=2100, at=-0.5, direction=-1, homing_offset=12),
        "gripper": ServoJoint(7, 1900, 2600, ends=(0.04, 0.0)),
    }
    path = tmp_path / "leader.yaml"
    Calibration(joints).save(path)
    assert load_calibration(str(path)).joints == joints
    positions = load_calibration(str(path)).positions({3: 2100 + 1024, 7: 2250})
    assert positions == {"elbow": pytest.approx(-0.5 - math.pi / 2), "gripper": pytest.approx(0.02)}


def test_the_emulated_arms_calibration_comes_with_the_package() -> None:
    calibration = load_calibration("emulated")
    assert list(calibration.joints) == list(load_contract("tabletop_arm").joint_names)
    with pytest.raises(DeviceError, match="calibration 'nobodys': No such file"):
        load_calibration("nobodys")


def test_joints_are_renamed_to_the_followers(tmp_path: Path) -> None:
    renamed = parse_renaming("shoulder_pan:base,gripper:jaw")
    assert list(load_calibration(written(tmp_path, LEROBOT), renamed).joints) == ["base", "jaw"]
    with pytest.raises(DeviceError, match=r"unknown joint 'elbow'.*valid: gripper, shoulder_pan"):
        load_calibration(written(tmp_path, LEROBOT), {"elbow": "x"})
    with pytest.raises(DeviceError, match="called the same"):
        load_calibration(written(tmp_path, LEROBOT), {"gripper": "shoulder_pan"})
    with pytest.raises(DeviceError, match="want leader:follower"):
        parse_renaming("shoulder_pan=base")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 300}, "joint 'gripper': id is 300, want 0 to 252"),
        ({"id": 1}, "joints 'shoulder_pan' and 'gripper' have the same id 1"),
        ({"range_max": 2031}, "range_min 2031 is not below range_max 2031"),
        ({"drive_mode": 2}, "drive_mode is 2, want 0 or 1"),
        ({"range_min": "2031"}, "range_min is '2031', want a whole number"),
        ({"range": 1}, "unknown key 'range' .*valid: drive_mode, homing_offset, id, range_max, range_min"),
    ],
)
def test_a_wrong_calibration_is_answered_with_what_is_wrong(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    wrong = LEROBOT | {"gripper": LEROBOT["gripper"] | change}
    with pytest.raises(DeviceError, match=message) as caught:
        load_calibration(written(tmp_path, wrong))
    assert "leader.json" in str(caught.value)


KEYS = st.sampled_from(["joints", "id", "range_min", "range_max", "ends", "a"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
CONTENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)).map(json.dumps)


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=200) | CONTENTS, st.sampled_from(["a.json", "a.yaml"]))
def test_any_file_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert load_calibration(str(path)).joints
    except DeviceError as error:
        assert "\n" not in str(error)


class Person:
    """Answers ``vla-ros calibrate leader`` through its pipes, moving an emulated arm."""

    def __init__(self, bus: ServoBusEmulator, output: Path) -> None:
        command = [sys.executable, "-m", "vla_ros.cli", "calibrate", "leader", f"{bus.address}?baud=1000000"]
        self.bus = bus
        self.process = lifeline.start(
            [*command, "--output", str(output)],
            os.environ,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def asked(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def enter(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> str:
        return self.process.communicate(timeout=60)[0]


def test_a_person_is_guided_through_a_calibration(tmp_path: Path) -> None:
    bus = make_emulator("feetech")
    assert isinstance(bus, ServoBusEmulator)
    bus.amplitude, bus.rest = 0.0, {servo: 2000 + servo for servo in bus.rest}
    with bus:
        person = Person(bus, tmp_path / "leader.yaml")
        assert "into the pose in which the follower is at shoulder_pan 0.00" in person.asked()
        person.enter()
        for servo in range(1, 7):
            assert person.asked().startswith("Turn '")
            bus.rest[servo] += 100 if servo % 2 else -100
            person.enter()
        assert "whole range" in person.asked()
        bus.rest |= dict.fromkeys(range(1, 7), 3000)
        person.enter()
        assert "Close 'gripper'" in person.asked()
        bus.rest[7] = 2600
        person.enter()
        assert "Open 'gripper'" in person.asked()
        bus.rest[7] = 1900
        person.enter()
        said = person.finish()
    assert person.process.returncode == 0 and "saved" in said
    joints = load_calibration(str(tmp_path / "leader.yaml")).joints
    assert [joint.zero for joint in joints.values()][:6] == [2001, 2002, 2003, 2004, 2005, 2006]
    assert [joint.direction for joint in joints.values()][:6] == [1, -1, 1, -1, 1, -1]
    assert (joints["elbow"].range_min, joints["elbow"].range_max) == (2103, 3000)
    assert (joints["gripper"].range_min, joints["gripper"].range_max) == (1900, 2600)
    assert joints["gripper"].position(2600) == 0.0 and joints["gripper"].position(1900) > 0.0
    assert joints["elbow"].homing_offset == 0


def test_a_joint_that_was_not_turned_is_named_and_nothing_is_saved(tmp_path: Path) -> None:
    bus = make_emulator("dynamixel")
    assert isinstance(bus, ServoBusEmulator)
    bus.amplitude = 0.0
    with bus:
        person = Person(bus, tmp_path / "leader.yaml")
        for _ in range(2):
            person.asked()
            person.enter()
        said = person.finish()
    assert person.process.returncode == 1 and not (tmp_path / "leader.yaml").exists()
    assert "joint 'shoulder_pan' (servo 1) was turned by 0 ticks, want 40 or more" in said
