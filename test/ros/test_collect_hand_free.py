"""The simulated arm stands in for a tracked hand: recorded without a robot, and given back to the robot as its own dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ros_support import own_domain

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")

from vla_ros.contract import load_contract
from vla_ros.data import Dataset
from vla_ros.data.tools.feasible import feasible, retarget
from vla_ros.feasible import Placement
from vla_ros.pose import distance
from vla_ros.ros.collect import collect

POSE, STATE, WRIST = "observation.pose.tool", "observation.state", "observation.images.wrist"


def test_a_demonstration_of_a_hand_becomes_one_of_the_arm(tmp_path: Path) -> None:
    with own_domain():
        outcome = collect("reach", 1, 3, tmp_path / "hand", record_as="tabletop_hand")
    assert outcome.saved == 1
    hand = Dataset(tmp_path / "hand")
    assert hand.contract.robot_free
    action, pose = hand.column("action"), hand.column(POSE)
    np.testing.assert_array_equal(action[:-1, :7], pose[1:])  # where the tool is taken next
    assert hand.frames(WRIST, 0).shape == (hand.num_frames, 240, 320, 3)
    far, _ = distance(pose[0], pose)
    assert far.max() > 0.05
    arm, where = load_contract("tabletop_arm_hand"), Placement(opening=0.04)
    (report,) = feasible(hand, arm, where)
    assert report.found.reached.all()
    assert retarget(hand, arm, where, tmp_path / "arm", least=0.5) == 1
    own = Dataset(tmp_path / "arm")
    assert own.num_frames == hand.num_frames
    assert own.column(STATE)[:, -1] == pytest.approx(hand.column(STATE).reshape(-1), abs=1e-4)
