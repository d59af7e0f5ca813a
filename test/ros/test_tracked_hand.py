"""Emulated trackers on the running graph: the hand they see moves the simulated arm, and is lost and found again."""

from __future__ import annotations

from pathlib import Path

from hand_graph import AWAY, MILLIMETRE, leading
from ros_support import RosTest

from vla_ros.emulators.natnet import NatNetEmulator


def test_a_rigid_body_of_motive_moves_the_arm_and_one_out_of_sight_holds_it(ros: RosTest, tmp_path: Path) -> None:
    with NatNetEmulator() as motive:
        motive.hand.amplitude = motive.hand.swing = 0.0
        with leading(ros, motive.address, tmp_path) as operator:
            operator.says("teleop_node", "the clutch is open")
            operator.engage_without_a_jump()
            operator.follows(motive.hand, AWAY)

            motive.hand.seen = False
            operator.says("teleop_node", "'Hand' is not tracked; bring it into view")
            operator.says("gate_node", "hold: source 'teleop' asks to hold")
            held = operator.kinematics.pose(operator.commands[-1])
            motive.hand.rest = motive.hand.rest - AWAY
            motive.hand.seen = True
            operator.says("teleop_node", "take the clutch again")
            assert abs(operator.kinematics.pose(operator.commands[-1]) - held).max() < 2.0 * MILLIMETRE

            operator.engage_without_a_jump()
            operator.follows(motive.hand, -AWAY)
