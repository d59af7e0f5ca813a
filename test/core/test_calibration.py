"""Calibrations of leader arms: ours and LeRobot's, what is wrong with one, and the guided way to make one."""

from __future__ import annotations

import io
import json
import math
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ros_support import wait_until

from vla_ros.contract import load_contract
from vla_ros.emulators import make_emulator
from vla_ros.emulators.dynamixel import DynamixelEmulator
from vla_ros.emulators.feetech import FeetechEmulator
from vla_ros.emulators.servos import ServoBusEmulator
from vla_ros.errors import DeviceError
from vla_ros.ros import lifeline
from vla_ros.teleop.calibrate import TABLES, Guide, calibrate_leader
from vla_ros.teleop.calibration import Calibration, ServoJoint, load_calibration, parse_renaming
from vla_ros.teleop.servo_bus import ServoBus

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
    assert calibration.joints["shoulder_pan"] == ServoJoint(1, 758, 3292, 2025, homing_offset=-1470, drive_mode=0)
    positions = calibration.positions({1: 2025 + 1024, 6: 2031})
    assert positions["shoulder_pan"] == pytest.approx(math.pi / 2)


def test_lerobots_drive_mode_does_not_turn_a_joint_a_second_time(tmp_path: Path) -> None:
    """LeRobot, ``MotorsBus._normalize``: degrees are (ticks - middle) * 360 / 4095, whatever drive_mode says."""
    elbow = {"id": 3, "drive_mode": 1, "homing_offset": 12, "range_min": 1000, "range_max": 3000}  # of a Koch leader
    joint = load_calibration(written(tmp_path, {"elbow_flex": elbow})).joints["elbow_flex"]
    assert math.degrees(joint.position(2500)) == pytest.approx((2500 - 2000) * 360 / 4095, abs=0.02)
    assert joint.drive_mode == 1


def test_a_position_is_the_same_whatever_turn_the_servo_counts() -> None:
    joint = ServoJoint(2, 3300, 4900, zero=4200)  # its range goes over the seam from 4095 to 0
    for turns in (-4096, 0, 4096, 5 * 4096):
        assert joint.position(404 + turns) == joint.position(4500) == pytest.approx(300 * math.tau / 4096)
    assert joint.position(4095) == pytest.approx(-105 * math.tau / 4096)
    gripper = ServoJoint(7, 4000, 4200, ends=(0.0, 0.04))
    assert gripper.position(4096 + 4) == gripper.position(4) == pytest.approx(0.02)
    whole = ServoJoint(5, 0, 4095)  # LeRobot's of a joint that turns all round
    assert [whole.ticks(whole.position(ticks)) for ticks in (0, 1, 4095)] == [0, 1, 4095]


def test_a_range_of_more_than_a_turn_is_refused() -> None:
    with pytest.raises(DeviceError, match="range_min -100 and range_max 4000 are more than a turn apart"):
        ServoJoint(1, -100, 4000)


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


@pytest.mark.parametrize("name", ["nowhere/leader.yaml", "folder", "/proc/leader.yaml", "/dev/null"])
def test_where_nothing_can_be_saved_is_said_before_the_bus_is_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    output = tmp_path / name
    with pytest.raises(DeviceError, match=f"calibration cannot be saved as '{output}': .*; want a file in a folder"):
        calibrate_leader("feetech:///dev/none", ["elbow"], {}, output, io.StringIO(), print)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_calibration_replaces_another_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "leader.yaml"
    path.write_text("the old one", encoding="utf-8")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(DeviceError, match="leader.yaml': No space left on device"):
        patched.setattr(Path, "write_text", full)
        Calibration({"elbow": ServoJoint(3, 100, 4000)}).save(path)
    assert path.read_text(encoding="utf-8") == "the old one"
    Calibration({"elbow": ServoJoint(3, 100, 4000)}).save(path)
    assert [each.name for each in tmp_path.iterdir()] == ["leader.yaml"]
    with pytest.raises(DeviceError, match="calibration cannot be saved as '.*nowhere/leader.yaml': No such file"):
        Calibration({"elbow": ServoJoint(3, 100, 4000)}).save(tmp_path / "nowhere" / "leader.yaml")


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


class Mover:
    """Moves the first servo of an emulated bus while a `Guide` asks. moves: where to, question by question [ticks]."""

    def __init__(self, bus: ServoBusEmulator, moves: list[list[int]]) -> None:
        self.bus, self.moves = bus, moves
        read, write = os.pipe()
        self.lines, self.answers = open(read), open(write, "w")  # noqa: SIM115 - both are closed by `calibrate`
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()

    def calibrate(self) -> Calibration:
        servos = ServoBus(TABLES[self.bus.name], self.bus.path, 1_000_000)
        servos.open()
        mover = threading.Thread(target=self._move)
        mover.start()
        try:
            return Guide(servos, self.lines, self.asked.put).calibrate({"wrist": 1}, {}, {})
        finally:
            self.answers.close()
            mover.join()
            servos.close()
            self.lines.close()

    def _move(self) -> None:
        for places in self.moves:
            self.asked.get(timeout=60.0)
            for ticks in places:
                self.bus.rest[1] = ticks
                looks = len(self.bus.answered)
                wait_until(lambda seen=looks: len(self.bus.answered) > seen + 2)
            with suppress(ValueError):  # the guide has given up, and `calibrate` closed it
                self.answers.write("\n")
                self.answers.flush()


@pytest.fixture(params=sorted(TABLES))
def wrist(request: pytest.FixtureRequest) -> Iterator[ServoBusEmulator]:
    kind = {"dynamixel": DynamixelEmulator, "feetech": FeetechEmulator}[request.param]
    with kind(ids=(1,), amplitude=0.0) as bus:
        yield bus


def test_a_range_over_the_seam_is_counted_on(wrist: ServoBusEmulator, tmp_path: Path) -> None:
    wrist.rest[1] = 4050
    made = Mover(wrist, [[4050], [4200, 4320], [3500, 4100, 4700]]).calibrate()
    joint = made.joints["wrist"]
    assert (joint.range_min, joint.range_max, joint.zero, joint.direction) == (3500, 4700, 4050, 1)
    made.save(tmp_path / "leader.yaml")
    again = load_calibration(str(tmp_path / "leader.yaml")).joints["wrist"]
    assert again.position(4095) == pytest.approx(45 * math.tau / 4096)
    assert again.position(0) == pytest.approx(46 * math.tau / 4096)


def test_a_joint_that_turns_all_round_is_refused(wrist: ServoBusEmulator) -> None:
    wrist.rest[1] = 100
    with pytest.raises(DeviceError, match=r"joint 'wrist' \(servo 1\) went from 200 to 4300 ticks, .* a turn \(4096"):
        Mover(wrist, [[100], [200], list(range(300, 4400, 1000))]).calibrate()


def test_a_servo_that_is_suddenly_elsewhere_may_have_gone_either_way_round(wrist: ServoBusEmulator) -> None:
    with pytest.raises(DeviceError, match="servo 1 is [0-9]+ ticks from where it just was: turn it slower"):
        Mover(wrist, [[2048], [2148], [2148 + 2000]]).calibrate()


def test_a_dynamixels_drive_mode_is_kept(wrist: ServoBusEmulator) -> None:
    wrist.servos[1].table[10] = 1
    joint = Mover(wrist, [[2048], [2148], [1800, 2300]]).calibrate().joints["wrist"]
    expected = {"dynamixel": (1, -1), "feetech": (None, 1)}[wrist.name]
    assert (joint.drive_mode, joint.direction) == expected


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
