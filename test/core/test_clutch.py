"""The clutch and the filters: engaging never makes the arm jump, whatever the device shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_ros.contract import load_contract
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.clutch import Clutch, ClutchSettings
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.filters import OneEuro, Slack, dead_zone
from vla_ros.teleop.operation import Operation

MS = 1_000_000
NAMES = ("shoulder", "elbow", "gripper")
angle = st.floats(-6.0, 6.0)
joints = st.fixed_dictionaries(dict.fromkeys(NAMES, angle))
step = st.fixed_dictionaries(dict.fromkeys(NAMES, st.floats(-0.2, 0.2)))
modes = st.sampled_from(["lead", "relative"])


def shown(k: int, at: dict[str, float], clutch: bool = True) -> TeleopSample:
    return TeleopSample(k * 10 * MS, at, clutch=clutch)


def taken(**changes: object) -> Clutch:
    clutch = Clutch(ClutchSettings(led=frozenset({"gripper"}), **changes))  # type: ignore[arg-type]
    clutch.take()
    return clutch


@settings(deadline=None)
@given(modes, joints, joints, st.lists(step, max_size=30), st.floats(0.2, 3.0))
def test_engaging_does_not_step_and_the_arm_moves_no_more_than_hand_and_approach(
    mode: str, leader: dict[str, float], arm: dict[str, float], motion: list[dict[str, float]], scale: float
) -> None:
    clutch = taken(mode=mode, scale=scale, approach=0.3, grip=0.1)
    first = clutch(shown(0, leader), arm)
    assert first.clutch and clutch.engaged
    assert {name: pytest.approx(value, abs=1e-12) for name, value in arm.items()} == first.joints
    before = dict(first.joints)
    for k, move in enumerate(motion, 1):
        leader = {name: leader[name] + move[name] for name in NAMES}
        after = clutch(shown(k, leader), arm).joints
        for name in NAMES:
            counts = scale if mode == "relative" and name != "gripper" else 1.0
            towards = {"gripper": 0.1}.get(name, 0.3 if mode == "lead" else 0.0) * 0.01
            assert abs(after[name] - before[name]) <= counts * abs(move[name]) + towards + 1e-9
        before = dict(after)


@settings(deadline=None)
@given(joints, joints)
def test_leader_and_follower_are_led_together_until_they_are_one(
    leader: dict[str, float], arm: dict[str, float]
) -> None:
    clutch = taken(approach=0.5, grip=0.5)
    ticks = math.ceil(max(abs(leader[name] - arm[name]) for name in NAMES) / 0.005) + 2
    for k in range(ticks):
        asked = clutch(shown(k, leader), arm)
    assert {name: pytest.approx(value, abs=1e-9) for name, value in leader.items()} == asked.joints


def test_in_relative_mode_the_offset_stays_and_a_grippers_goes() -> None:
    clutch, arm = taken(mode="relative"), dict(zip(NAMES, (1.0, 2.0, 0.04), strict=True))
    for k in range(100):
        asked = clutch(shown(k, dict(zip(NAMES, (0.1, 0.0, 0.0), strict=True))), arm)
    assert asked.joints == {"shoulder": pytest.approx(1.0), "elbow": pytest.approx(2.0), "gripper": 0.0}


def test_motion_counts_only_while_the_clutch_is_held() -> None:
    clutch, arm = Clutch(), dict.fromkeys(NAMES, 0.0)
    assert not clutch(shown(0, arm), arm).clutch and clutch.reason == "the clutch is open"
    clutch.take()
    assert clutch(shown(1, arm), arm).clutch and clutch.reason == ""
    clutch.release()
    assert not clutch(shown(2, arm), arm).clutch


def test_a_lost_device_opens_the_clutch_until_it_is_taken_again() -> None:
    clutch, arm = taken(mode="relative"), dict.fromkeys(NAMES, 0.0)
    clutch(shown(0, arm), arm)
    clutch.lose("cable pulled")
    moved = dict.fromkeys(NAMES, 1.0)
    assert not clutch(shown(1, moved), arm).clutch and clutch.reason == "cable pulled; take the clutch again"
    clutch.take()
    assert clutch(shown(2, moved), arm).joints == {name: pytest.approx(0.0) for name in NAMES}


def test_a_device_with_a_clutch_of_its_own_takes_it_again_there() -> None:
    clutch, arm = taken(), dict.fromkeys(NAMES, 0.0)
    clutch(shown(0, arm), arm)
    clutch.lose("silent")
    assert not clutch(shown(1, arm), arm).clutch
    assert not clutch(shown(2, arm, clutch=False), arm).clutch
    assert clutch(shown(3, arm), arm).clutch


def test_a_device_that_comes_back_with_its_clutch_open_has_not_been_let_go() -> None:
    clutch, arm = taken(), dict.fromkeys(NAMES, 0.0)
    clutch(shown(0, arm), arm)
    clutch.lose("unplugged")
    for k in (1, 2):
        assert not clutch(shown(k, arm, clutch=False), arm).clutch and clutch.lost
    assert clutch.reason == "unplugged; take the clutch again"
    assert clutch(shown(3, arm), arm).clutch and not clutch.lost, "taken again there"
    clutch.lose("unplugged")
    assert not clutch(shown(4, arm), arm).clutch and clutch.lost, "still held, or stuck"
    clutch.lose("unplugged again")
    assert not clutch(shown(5, arm, clutch=False), arm).clutch and clutch.lost, "nobody saw it let go"
    clutch.lose("silent")
    clutch(shown(6, arm), arm)
    clutch(shown(7, arm, clutch=False), arm)
    assert not clutch.lost and clutch.reason == "the clutch is open", "seen held, and then let go"


def test_the_nodes_clutch_taken_while_the_device_is_gone_leads_once_the_devices_own_is_held() -> None:
    clutch, arm = taken(), dict.fromkeys(NAMES, 0.0)
    clutch(shown(0, arm), arm)
    clutch.lose("unplugged")
    assert not clutch.held
    clutch.take()
    assert clutch.held and not clutch.let_go, "the next toggle releases it"
    assert not clutch(shown(1, arm, clutch=False), arm).clutch and clutch.lost
    assert clutch(shown(2, arm), arm).clutch and not clutch.lost
    clutch.lose("unplugged")
    clutch.release()
    assert clutch.let_go and not clutch.lost


def test_while_it_slips_it_stays_where_the_arm_is() -> None:
    clutch = taken(mode="relative")
    leader = dict.fromkeys(NAMES, 0.0)
    for k in range(5):
        clutch.slip()
        arm = dict.fromkeys(NAMES, 0.1 * k)
        assert clutch(shown(k, leader), arm).joints == {name: pytest.approx(0.1 * k) for name in NAMES}


def test_a_joint_that_the_device_lacks_is_named() -> None:
    with pytest.raises(DeviceError, match=r"unknown joint 'elbow'; valid: shoulder"):
        taken()(shown(0, {"shoulder": 0.0}), {"shoulder": 0.0, "elbow": 0.0})


@pytest.mark.parametrize("wrong", [{"mode": "led"}, {"approach": 0.0}, {"scale": -1.0}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DeviceError, match=next(iter(wrong))):
        ClutchSettings(**wrong)  # type: ignore[arg-type]


# Poses and velocities

HOME = np.array([0.3, 0.1, 0.2, 0.0, 1.0, 0.0, 0.0])
ARM = {"x": 0.0, "gripper": 0.02}
unit = st.floats(-1.0, 1.0)


def posed(**changes: object) -> Clutch:
    settings = ClutchSettings(led=frozenset({"gripper"}), **changes)  # type: ignore[arg-type]
    clutch = Clutch(settings, lambda joints: HOME + joints["x"] * np.eye(7)[0])
    clutch.take()
    return clutch


@settings(deadline=None)
@given(st.tuples(unit, unit, unit), st.tuples(unit, unit, unit), st.floats(0.0, 3.0), st.floats(0.2, 3.0))
def test_a_pose_counts_from_the_moment_of_engagement(
    start: tuple[float, ...], move: tuple[float, ...], angle: float, scale: float
) -> None:
    hand = Rotation.from_rotvec([0.3, -0.2, angle])
    clutch = posed(scale=scale)
    first = clutch(TeleopSample(0, pose=np.array([*start, *hand.as_quat()]), gripper=0.0), ARM)
    assert first.pose == pytest.approx(HOME) and first.gripper == 0.02
    turn = Rotation.from_rotvec([0.0, 0.0, 0.4])
    pose = np.array([*np.add(start, move), *(turn * hand).as_quat()])
    asked = clutch(TeleopSample(10 * MS, pose=pose, gripper=0.0), ARM)
    assert asked.pose is not None and asked.gripper == pytest.approx(0.019)
    assert asked.pose[:3] == pytest.approx(HOME[:3] + scale * np.array(move))
    turned = Rotation.from_quat(asked.pose[3:]) * Rotation.from_quat(HOME[3:]).inv()
    assert turned.as_rotvec() == pytest.approx([0.0, 0.0, 0.4])


def test_a_velocity_is_summed_up_no_further_ahead_than_the_leash() -> None:
    clutch, twist = posed(leash=0.05, swing=0.2), np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.5])
    assert clutch(TeleopSample(0, twist=twist), ARM).pose == pytest.approx(HOME)
    for k in range(1, 101):
        asked = clutch(TeleopSample(k * 10 * MS, twist=twist), ARM)
        assert asked.pose is not None
        assert asked.pose[0] == pytest.approx(HOME[0] + min(0.001 * k, 0.05))
        turned = Rotation.from_quat(asked.pose[3:]) * Rotation.from_quat(HOME[3:]).inv()
        assert turned.as_rotvec() == pytest.approx([0.0, 0.0, min(0.005 * k, 0.2)], abs=1e-6)
    rest = clutch(TeleopSample(2000 * MS, twist=np.zeros(6)), {"x": 0.02, "gripper": 0.02})
    assert rest.pose == pytest.approx(asked.pose), "at rest the goal stays"


@pytest.mark.parametrize("q", [(0.0, -0.2, 0.9, 0.4, 0.3, 2.9), (0.1, -0.2, 0.3, 0.2, 0.1, 2.9)])
def test_turned_against_a_joints_limit_the_arm_comes_to_rest_with_its_tip_near_its_place(q: tuple[float, ...]) -> None:
    contract = load_contract("tabletop_arm")
    kinematics = Kinematics.of(contract)
    made = Operation(contract, kinematics, period=0.01)
    at = np.array([*q, 0.02])
    home = kinematics.pose(at)
    twist = np.concatenate([np.zeros(3), 0.8 * Rotation.from_quat(home[3:]).apply([0.0, 0.0, 1.0])])
    made.clutch.take()
    for k in range(700):
        made.see(k * 10 * MS, dict(zip(contract.joint_names, at.tolist(), strict=True)))
        before, at = at, made.act(TeleopSample(k * 10 * MS, twist=twist)).values[0]
        assert np.linalg.norm(kinematics.pose(at)[:3] - home[:3]) < 0.05, f"it has wandered by {k / 100} s"
        assert k < 600 or (np.abs(at - before) < 0.1 * 0.01).all(), f"it moves at {k / 100} s"


def gripped(clutch: Clutch, k: int, opening: float | None, arm: dict[str, float] = ARM) -> float:
    asked = clutch(TeleopSample(k * 100 * MS, twist=np.zeros(6), gripper=opening), arm).gripper
    assert asked is not None
    return asked


def test_a_trigger_takes_hold_of_the_gripper_as_it_passes_the_present_opening() -> None:
    clutch = posed()  # at an opening of 20 mm, as the policy left it
    openings = (0.04, 0.04, 0.03, 0.025, 0.018, 0.015, 0.04)
    told = [gripped(clutch, k, opening) for k, opening in enumerate(openings)]
    assert told == pytest.approx([0.02, 0.02, 0.02, 0.02, 0.018, 0.015, 0.025])


def test_a_key_pressed_after_engaging_counts_at_once_and_goes_on_after_a_pause() -> None:
    clutch = posed()
    assert gripped(clutch, 0, None) == 0.02
    assert gripped(clutch, 1, 0.0) == pytest.approx(0.01)
    clutch.slip()  # the device was late
    blocked = ARM | {"gripper": 0.01}
    assert [gripped(clutch, k, 0.0, blocked) for k in (5, 6)] == pytest.approx([0.01, 0.0])


def test_a_gripper_that_somebody_else_had_meanwhile_is_not_dropped() -> None:
    clutch = posed()
    gripped(clutch, 0, None)
    assert gripped(clutch, 1, 0.04) == pytest.approx(0.03)
    for k in range(2, 5):
        clutch.slip()  # before each sample: the gate follows somebody else
        gripped(clutch, k, 0.04)
    holding = ARM | {"gripper": 0.005}
    clutch.slip()
    assert [gripped(clutch, k, 0.04, holding) for k in (5, 6, 7)] == [0.005] * 3


# Filters


def test_the_one_euro_filter_begins_at_the_first_value_and_comes_to_rest_at_the_last() -> None:
    euro = OneEuro()
    assert euro(0, [1.0, -2.0]) == pytest.approx([1.0, -2.0])
    for k in range(1, 300):
        out = euro(k * 10 * MS, [2.0, -2.0])
    assert out == pytest.approx([2.0, -2.0], abs=1e-6)
    assert euro(299 * 10 * MS, [9.0, 9.0]) == pytest.approx(out), "a stamp that is not later changes nothing"
    assert euro(299 * 10 * MS + 600 * MS, [9.0, 9.0]) == pytest.approx([9.0, 9.0]), "after a gap it begins anew"


def test_the_one_euro_filter_steadies_a_trembling_hand_and_follows_a_fast_one() -> None:
    euro, trembling = OneEuro(cutoff=1.0, beta=20.0), np.random.default_rng(0).normal(0.0, 1e-3, 500)
    rest = [float(euro(k * 10 * MS, [value])[0]) for k, value in enumerate(trembling)]
    assert np.std(rest[100:]) < 0.5 * np.std(trembling[100:])
    euro.reset()
    for k in range(200):
        out = euro(k * 10 * MS, [0.015 * k])  # 1.5 rad/s
    assert 0.015 * 199 - out[0] < 1.5 * 0.02, "less than 20 ms behind"


@given(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=50), st.floats(0.001, 0.5))
def test_slack_follows_within_its_width_and_stands_still_inside(values: list[float], width: float) -> None:
    slack, before = Slack(width), None
    for value in values:
        out = float(slack([value])[0])
        assert abs(out - value) <= width + 1e-9
        if before is not None and abs(value - before) <= width:
            assert out == pytest.approx(before)
        before = out


def test_a_dead_zone_is_continuous_and_keeps_the_ends() -> None:
    assert dead_zone([0.0, 0.1, -0.1, 1.0, -1.0], 0.1) == pytest.approx([0.0, 0.0, 0.0, 1.0, -1.0])
    assert dead_zone(0.1 + 1e-9, 0.1) == pytest.approx(0.0, abs=1e-8)
