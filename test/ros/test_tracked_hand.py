"""Emulated trackers on the running graph: the hand they see moves the simulated arm, and is lost and found again."""

from __future__ import annotations

from pathlib import Path

from hand_graph import AWAY, MILLIMETRE, HandOperator, leading
from keypoint_support import model_or_skip
from ros_support import RosTest
from vive_support import steamvr_or_skip

from vla_ros.emulators.hand import EmulatedHand
from vla_ros.emulators.keypoints import KeypointEmulator
from vla_ros.emulators.natnet import NatNetEmulator
from vla_ros.emulators.vive import CONTROLLER, TRACKER, ViveEmulator
from vla_ros.emulators.vrpn import VrpnEmulator
from vla_ros.emulators.webxr import WebXrEmulator
from vla_ros.keypoints.models import HAND


def lost_and_found(operator: HandOperator, hand: EmulatedHand, words: str) -> None:
    """A hand that goes out of sight, moves and comes back: the arm holds, and follows again once the clutch is taken again."""
    hand.seen = False
    operator.says("teleop_node", words)
    operator.says("gate_node", "hold: source 'teleop' asks to hold")
    held = operator.kinematics.pose(operator.commands[-1])
    hand.rest = hand.rest - AWAY
    hand.seen = True
    operator.says("teleop_node", "take the clutch again")
    assert abs(operator.kinematics.pose(operator.commands[-1]) - held).max() < 2.0 * MILLIMETRE

    operator.engage_without_a_jump()
    operator.follows(hand, -AWAY)


def test_a_rigid_body_of_motive_moves_the_arm_and_one_out_of_sight_holds_it(ros: RosTest, tmp_path: Path) -> None:
    with NatNetEmulator() as motive:
        motive.hand.amplitude = motive.hand.swing = 0.0
        with leading(ros, motive.address, tmp_path) as operator:
            operator.says("teleop_node", "the clutch is open")
            operator.engage_without_a_jump()
            operator.follows(motive.hand, AWAY)

            lost_and_found(operator, motive.hand, "'Hand' is not tracked; bring it into view")


def test_a_headsets_controller_moves_the_arm_and_a_closed_tab_holds_it(ros: RosTest, tmp_path: Path) -> None:
    with WebXrEmulator() as headset:
        hand = headset.hand
        hand.amplitude = hand.swing = 0.0
        hand.held = False
        with leading(ros, f"{headset.address}&cert={tmp_path}", tmp_path) as operator:
            operator.says("teleop_node", "the clutch is open")
            operator.engage_without_a_jump(hand)
            operator.follows(hand, AWAY, own_clutch=True)

            headset.fault = "unplug"
            hand.rest = hand.rest - AWAY  # in the middle of a motion
            operator.says("teleop_node", "the page was closed; open https://127.0.0.1:")
            operator.says("gate_node", "hold: source 'teleop' asks to hold")
            held = operator.kinematics.pose(operator.commands[-1])
            headset.fault = "none"
            operator.says("teleop_node", "take the clutch again")
            assert abs(operator.kinematics.pose(operator.commands[-1]) - held).max() < 2.0 * MILLIMETRE

            hand.held = False
            operator.says("teleop_node", "the clutch is open")
            operator.engage_without_a_jump(hand)
            operator.follows(hand, -AWAY, own_clutch=True)


def test_a_tracker_behind_a_vrpn_server_moves_the_arm(ros: RosTest, tmp_path: Path) -> None:
    with VrpnEmulator() as server:
        server.hand.amplitude = server.hand.swing = 0.0
        with leading(ros, server.address, tmp_path) as operator:
            operator.says("teleop_node", "the clutch is open")
            operator.engage_without_a_jump()
            operator.follows(server.hand, AWAY)
            server.hand.seen = False
            operator.says("teleop_node", "'Hand' is not tracked; bring it into view")
            operator.says("gate_node", "hold: source 'teleop' asks to hold")


def test_a_vive_tracker_moves_the_arm_and_the_end_of_steamvr_holds_it(ros: RosTest, tmp_path: Path) -> None:
    steamvr_or_skip()
    with ViveEmulator() as steamvr:
        steamvr.hand.amplitude = steamvr.hand.swing = 0.0
        with leading(ros, steamvr.address, tmp_path) as operator:
            operator.says("teleop_node", "the clutch is open")
            operator.engage_without_a_jump()
            operator.follows(steamvr.hand, AWAY)

            lost_and_found(operator, steamvr.hand, f"'{TRACKER}' is not tracked: out of sight")
            steamvr.fault = "unplug"
            operator.says("teleop_node", "SteamVR is not running")
            operator.says("gate_node", "hold: source 'teleop' asks to hold")
            steamvr.fault = "none"
            operator.says("teleop_node", "take the clutch again")


def test_a_controllers_grip_button_and_the_nodes_clutch_are_both_to_be_held(ros: RosTest, tmp_path: Path) -> None:
    steamvr_or_skip()
    with ViveEmulator() as steamvr:
        steamvr.hand.amplitude = steamvr.hand.swing = 0.0
        steamvr.hand.held = False
        with leading(ros, steamvr.address.replace(TRACKER, CONTROLLER), tmp_path) as operator:
            operator.clutch(True)
            operator.says("teleop_node", "the clutch is open")
            operator.engage_without_a_jump(steamvr.hand)
            operator.follows(steamvr.hand, AWAY, own_clutch=True)
            steamvr.hand.held = False
            operator.says("teleop_node", "the clutch is open")


def test_a_bare_hand_that_two_cameras_see_moves_the_arm_and_out_of_sight_holds_it(ros: RosTest, tmp_path: Path) -> None:
    model_or_skip(HAND)
    with KeypointEmulator() as cameras:
        cameras.hand.amplitude = cameras.hand.swing = 0.0
        with leading(ros, cameras.address, tmp_path) as operator:
            operator.says("teleop_node", "the clutch is open")
            operator.engage_without_a_jump()
            operator.follows(cameras.hand, AWAY, trembling=4e-3)
            cameras.hand.seen = False
            operator.says("teleop_node", "'hand' is not tracked; bring it into view")
            operator.says("gate_node", "hold: source 'teleop' asks to hold")
