"""From a hand that an emulated tracker sees to the joints: how truly, and what is told of it."""

from __future__ import annotations

import numpy as np
import pytest

from vla_ros.contract import load_contract
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.hands import make_hand
from vla_ros.teleop.operation import Operation
from vla_ros.teleop.retargeting import LASTING, Retargeting
from vla_ros.teleop.retargeting_bench import follow

STEP = 10_000_000  # [ns]
START = {"shoulder_pan": -0.2, "shoulder_lift": 0.1, "elbow": 0.2, "wrist_1": -0.1, "wrist_2": 0.1}
STILL = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])


class Arm:
    """An arm that is always where it was last sent, led by a hand on an emulated tracker."""

    def __init__(self, device: str) -> None:
        contract = load_contract("tabletop_arm")
        self.kinematics = Kinematics.of(contract)
        self.operation = Operation(contract, self.kinematics)
        self.hand = make_hand(device, self.kinematics)
        self.names = contract.joint_names
        self.joints = {name: START.get(name, 0.0) for name in self.names}
        self.stamp = 0

    @property
    def tip(self) -> np.ndarray:
        return self.kinematics.pose([self.joints[name] for name in self.names])

    def lead(self, pose: np.ndarray, gripper: float = 0.02) -> None:
        self.stamp += STEP
        self.operation.see(self.stamp, self.joints)
        self.hand.move(TeleopSample(self.stamp, pose=pose, gripper=gripper))
        sample = self.hand.read()
        chunk = self.operation.act(TeleopSample(self.stamp, pose=sample.pose, gripper=sample.gripper))
        if not chunk.empty:
            self.joints = dict(zip(self.names, chunk.values[0].tolist(), strict=True))


@pytest.mark.parametrize("device", ["natnet", "webxr"])
def test_the_tip_does_what_the_hand_does_within_5_mm(device: str) -> None:
    arm = Arm(device)
    arm.hand.connect()
    try:
        arm.operation.clutch.take()
        arm.lead(STILL)
        begun, errors = arm.tip, []
        for k in range(1, 161):
            phase = 2.0 * np.pi * k / 200.0  # 0.5 Hz
            away = 0.04 * np.array([-np.sin(phase), 1.0 - np.cos(phase), np.sin(2 * phase) / 2])
            arm.lead(np.concatenate([away, STILL[3:]]))
            errors.append(np.linalg.norm(arm.tip[:3] - begun[:3] - away))
        for _ in range(60):
            arm.lead(np.concatenate([away, STILL[3:]]))
        assert np.linalg.norm(arm.tip[:3] - begun[:3] - away) < 1e-4, "at rest"
        assert arm.tip[3:] == pytest.approx(begun[3:], abs=1e-3)
        assert max(errors) < 0.005, f"in motion: {1e3 * max(errors):.1f} mm"
        assert float(arm.operation.retargeting.summary()["retargeting_error_mm"].split()[1].rstrip(",")) < 0.1
        assert arm.operation.retargeting.problem == ""
    finally:
        arm.hand.close()


def test_in_physics_the_tip_is_within_5_mm_of_the_hand_and_taking_the_clutch_moves_nothing() -> None:
    followed = follow("natnet", seconds=3.0)
    assert followed.errors.max() < 0.005
    assert np.degrees(followed.angles.max()) < 1.0
    assert followed.step < 0.002
    assert float(followed.told.split()[1].rstrip(",")) < 0.1
    assert followed.good and "want 5 mm at most" in followed.text("natnet", 0.2)


def test_a_hand_out_of_the_arms_reach_is_told_with_how_far() -> None:
    arm = Arm("natnet")
    arm.hand.connect()
    try:
        arm.operation.clutch.take()
        for k in range(400):
            arm.lead(np.concatenate([[0.0, 0.0, 0.004 * min(k, 300)], STILL[3:]]))  # 1.2 m up
            if arm.operation.retargeting.problem:
                break
        assert "mm away from where the arm can be" in arm.operation.retargeting.problem
        assert arm.operation.clutch.engaged
    finally:
        arm.hand.close()


def test_an_error_is_told_only_once_it_lasts_and_not_for_lag() -> None:
    retargeting, away = Retargeting(), STILL + [0.034, 0, 0, 0, 0, 0, 0]
    assert retargeting.summary() == {} and retargeting.problem == ""
    for _ in range(LASTING - 1):
        retargeting.take(away, STILL)
    assert retargeting.problem == ""
    retargeting.take(away, STILL)
    assert retargeting.problem == "the hand is 34 mm away from where the arm can be"
    assert retargeting.summary()["retargeting_error_mm"] == "p50 34.00, max 34.00"
    retargeting.take(STILL, STILL)
    assert retargeting.problem == "", "the arm has caught up"
    retargeting.clear()
    assert retargeting.summary() == {}
