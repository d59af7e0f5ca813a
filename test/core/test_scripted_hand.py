"""The scripted operator with an emulated leader arm in its hand: what it wants comes back over the servos' bus."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vla_ros.contract import Contract
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.hands import HANDS, make_hand
from vla_ros.teleop.registry import is_live, make_device
from vla_ros.teleop.scripted_hand import HandOperation, ScriptedHand

STEP, TICK = 33_333_333, 2.0 * np.pi / 4096
HOME = (-0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.04)
DISC = {"red_disc": np.array([0.35, 0.1, 0.0, 0.0, 0.0, 0.0, 1.0])}


@pytest.fixture(params=["dynamixel", "feetech"])
def hand(request: pytest.FixtureRequest, contract: Contract, kinematics: Kinematics) -> Iterator[ScriptedHand]:
    made = make_device(f"scripted://{request.param}", contract, kinematics, "reach", seed=3)
    assert isinstance(made, ScriptedHand)
    made.connect()
    yield made
    made.close()


def see(device: ScriptedHand, contract: Contract, t: int, q: tuple[float, ...] = HOME) -> None:
    device.see_joints(t, dict(zip(contract.joint_names, q, strict=True)))
    device.see_objects(t, DISC)


def test_what_the_operator_wants_comes_back_in_servo_ticks(
    hand: ScriptedHand, contract: Contract, kinematics: Kinematics
) -> None:
    plain = make_device("scripted", contract, kinematics, "reach", seed=3)
    for device in (hand, plain):
        device.hear("touch the red disc")
    moved = 0.0
    for k in range(20):
        for device in (hand, plain):
            see(device, contract, k * STEP)
        read, wanted = hand.read(k * STEP), plain.read(k * STEP)
        assert read is not None and wanted is not None and read.stamp == k * STEP
        for name in contract.joint_names[:-1]:
            assert abs(read.joints[name] - wanted.joints[name]) <= 0.5001 * TICK
        moved = max(moved, abs(read.joints["shoulder_lift"] - HOME[1]))
    assert moved > 0.05


def test_motion_counts_only_with_the_clutch_and_begins_where_the_arm_is(
    hand: ScriptedHand, contract: Contract, kinematics: Kinematics
) -> None:
    operation = HandOperation(contract, kinematics, hand, STEP / 1e9, points=3)
    hand.hear("touch the red disc")
    see(hand, contract, 0)
    assert operation.chunk(0, None, held=False).names == (), "the operator's hand is off"
    first = operation.chunk(STEP, hand.read(STEP), held=True)
    assert first.values[0] == pytest.approx(HOME, abs=2 * TICK)
    see(hand, contract, 2 * STEP)
    assert not operation.chunk(2 * STEP, hand.read(2 * STEP), held=True).empty
    operation.reset()
    assert operation.chunk(STEP, None, held=False).empty


def test_only_emulated_devices_can_be_held_and_they_need_no_person(contract: Contract, kinematics: Kinematics) -> None:
    assert not any(is_live(f"scripted://{name}") for name in HANDS)
    with pytest.raises(DeviceError, match="emulated device 'dynamixle'.*dynamixel"):
        make_hand("dynamixle", kinematics)


@pytest.mark.parametrize("device", ["natnet", "webxr"])
def test_what_the_operator_wants_comes_back_as_a_pose_and_a_pinch(
    device: str, contract: Contract, kinematics: Kinematics
) -> None:
    hand, plain = (
        make_device(name, contract, kinematics, "reach", seed=3) for name in (f"scripted://{device}", "scripted")
    )
    assert isinstance(hand, ScriptedHand)
    hand.connect()
    try:
        for one in (hand, plain):
            one.hear("touch the red disc")
        for k in range(10):
            for one in (hand, plain):
                see(one, contract, k * STEP)
            read, wanted = hand.read(k * STEP), plain.read(k * STEP)
            assert read is not None and read.pose is not None and read.stamp == k * STEP and wanted is not None
            pose = kinematics.pose([wanted.joints[name] for name in contract.joint_names])
            assert read.pose[:3] == pytest.approx(pose[:3], abs=1e-6)
            assert abs(read.pose[3:] @ pose[3:]) == pytest.approx(1.0)
            assert read.gripper == pytest.approx(wanted.joints["gripper"], abs=1e-6)
    finally:
        hand.close()
