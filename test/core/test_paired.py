"""Two leaders for two arms: addresses, whose joints are whose, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from servo_support import JOINTS, address, calibration

from vla_ros.contract import Contract, ContractError, load_contract, parse_contract
from vla_ros.emulators.dynamixel import DynamixelEmulator
from vla_ros.emulators.feetech import FeetechEmulator
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics
from vla_ros.limits import MotionLimits, Setpoint, motion_limits
from vla_ros.robot import load_urdf
from vla_ros.sim.tasks import get_task
from vla_ros.sim.world import World
from vla_ros.teleop.paired import PairedLeaders, parse_sides
from vla_ros.teleop.registry import clutch_of, is_live, make_device
from vla_ros.workspace import WorkspaceGuard


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contract("two_arms")


@pytest.fixture
def buses() -> Iterator[tuple[DynamixelEmulator, FeetechEmulator]]:
    with DynamixelEmulator(amplitude=0.0) as left, FeetechEmulator(amplitude=0.0) as right:
        yield left, right


def test_an_address_for_each_arm_may_hold_options_and_one_device_is_no_pair() -> None:
    two = "left=dynamixel:///dev/a?calibration=l.yaml&joints=a:b,c:d,right=topic:///right/joint_states"
    assert parse_sides(two) == {
        "left": "dynamixel:///dev/a?calibration=l.yaml&joints=a:b,c:d",
        "right": "topic:///right/joint_states",
    }
    assert parse_sides("dynamixel:///dev/a?calibration=l.yaml&joints=a:b,c:d") == {} == parse_sides("scripted")
    assert is_live(two) and clutch_of(two) == ""


def test_two_leaders_at_one_port_are_refused_also_by_another_name_of_it(tmp_path: Path) -> None:
    port, link = tmp_path / "tty", tmp_path / "by-id"
    port.touch()
    os.symlink(port, link)
    with pytest.raises(DeviceError, match=f"'left' and 'right' are both at {link}"):
        parse_sides(f"left=dynamixel://{port}?calibration=a,right=dynamixel://{link}?calibration=b")
    with pytest.raises(DeviceError, match="two leaders for the arm 'left'"):
        parse_sides("left=topic:///a,left=topic:///b")


def test_every_arm_is_led_and_no_other(contract: Contract, kinematics: Kinematics) -> None:
    def made(device: str) -> object:
        return make_device(device, contract, kinematics, "reach", 0)

    with pytest.raises(DeviceError, match="nobody leads joint 'right_shoulder_pan'; leaders are given for left"):
        made("left=topic:///a")
    with pytest.raises(DeviceError, match="arm 'link'.*left, right"):
        made("link=topic:///a,right=topic:///b")
    with pytest.raises(DeviceError, match="joint by joint, which a gamepad cannot; valid: dynamixel, feetech, topic"):
        made("left=topic:///a,right=gamepad:///dev/input/event5")


def test_joints_of_two_buses_come_as_one_sample(
    contract: Contract, kinematics: Kinematics, buses: tuple[DynamixelEmulator, FeetechEmulator], tmp_path: Path
) -> None:
    import threading

    left, right = buses
    left.rest[3], right.rest[3] = 2048 + 200, 2048 - 300
    file = calibration(tmp_path / "leader.yaml")
    device = make_device(f"left={address(left, file)},right={address(right, file)}", contract, kinematics, "reach", 0)
    assert isinstance(device, PairedLeaders)
    came, changed, problems = threading.Event(), threading.Event(), []
    samples = []

    def keep(sample: object) -> None:
        samples.append(sample)
        came.set()

    def note(problem: str) -> None:
        problems.append(problem)
        changed.set()

    device.on_sample, device.on_change = keep, note
    device.connect()
    try:
        assert came.wait(30.0)
        joints = samples[-1].joints
        assert set(joints) == {f"{side}_{name}" for side in ("left", "right") for name in JOINTS}
        tick = 2 * np.pi / 4096
        assert joints["left_elbow"] == pytest.approx(200 * tick) and joints["right_elbow"] == pytest.approx(-300 * tick)
        changed.clear()
        right.fault = "unplug"
        while not (problems and "right: " in problems[-1]):
            assert changed.wait(30.0)
            changed.clear()
        assert device.lost
        with pytest.raises(DeviceError, match="^left: |^right: "):
            device.read(samples[-1].stamp + 10_000_000_000)
    finally:
        device.close()


def test_the_gates_guard_watches_both_tips(contract: Contract, kinematics: Kinematics) -> None:
    limits: MotionLimits = motion_limits(contract, kinematics, 0.01)
    guard = WorkspaceGuard(kinematics, limits, ((-0.8, 0.8), (-1.1, 1.1), (0.1, 0.9)))
    home, rest = np.zeros(14), np.zeros(14)
    for side in (0, 7):
        low = home.copy()
        low[side + 1], low[side + 2] = 1.0, 0.3  # shoulder and elbow down
        assert guard.outside(home) == 0.0 < guard.outside(low)
        assert not guard.permits(Setpoint(home, rest), Setpoint(low, rest))
        pulled = guard.pull_in(low)
        assert guard.outside(pulled) < guard.outside(low)
        other = slice(7, 14) if side == 0 else slice(0, 7)
        assert (pulled[other] == low[other]).all()
        both = low.copy()
        both[other] = low[side : side + 7]
        assert guard.permits(Setpoint(low, rest), Setpoint(low, rest))  # who is outside may stay
        assert not guard.permits(Setpoint(low, rest), Setpoint(both, rest))  # and lets nobody else out


def test_a_pose_cannot_be_the_action_of_two_arms(contract: Contract) -> None:
    pose = "[ee.x, ee.y, ee.z, ee.qx, ee.qy, ee.qz, ee.qw]"
    text = contract.text.replace("space: joint_position", "space: ee_pose").replace("names: *names", f"names: {pose}")
    with pytest.raises(ContractError, match="other_tips: a pose moves one tip"):
        parse_contract(text, "two.yaml")


def test_the_simulated_table_has_two_arms_that_move_apart(contract: Contract) -> None:
    world = World(load_urdf(contract.urdf), get_task("reach"), 64, 48, contract.action.tip)
    assert world.joint_names == contract.joint_names
    target = world.joint_state()[0]
    target[2] += 0.2
    before = world.joint_state()[0]
    world.set_joint_targets(target)
    world.step(600)
    moved = np.abs(world.joint_state()[0] - before)
    assert moved[2] > 0.15 and np.delete(moved, 2).max() < 0.02
