"""The elbow follows the operator's, and the tip does not feel it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from seven_joints import NAMES, elbow_of, seven_contract, urdf

from vla_ros.arm_shape import Elbow, arm_joints, joints_of_arm
from vla_ros.contract import load_contract
from vla_ros.differential_ik import DifferentialIk
from vla_ros.errors import DeviceError, KinematicsError
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.clutch import Clutch
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.operation import Operation, OperationSettings
from vla_ros.teleop.registry import make_device
from vla_ros.teleop.retargeting import Retargeting

PERIOD, MS = 0.01, 1_000_000
BENT = np.array([0.2, 0.7, 0.1, 1.2, -0.1, 0.8, 0.0])
DEGREE = math.pi / 180.0
SHOULDER, HAND = np.array([0.0, -0.2, 1.4]), np.array([0.4, -0.2, 1.2])


@pytest.fixture(scope="module")
def seven() -> Kinematics:
    return Kinematics(urdf(), NAMES)


def solver(seven: Kinematics) -> DifferentialIk:
    return DifferentialIk(seven, urdf(), np.full(7, 2.5))


def operators(angle: float, hand: np.ndarray = HAND) -> np.ndarray:
    """Shoulder, elbow and hand of an arm whose elbow hangs down, turned by `angle` about the line between the others."""
    line = (hand - SHOULDER) / np.linalg.norm(hand - SHOULDER)
    down = np.array([0.0, 0.0, -1.0])
    out = down - (down @ line) * line
    out = Rotation.from_rotvec(angle * line).apply(out / np.linalg.norm(out))
    return np.array([SHOULDER, (SHOULDER + hand) / 2 + 0.2 * out, hand])


def test_an_elbow_points_away_from_the_line_between_shoulder_and_hand() -> None:
    elbow = Elbow.of([0, 0, 0], [0.1, 0, -0.3], [0.4, 0, 0])
    assert elbow is not None
    assert elbow.axis.tolist() == [1, 0, 0] and elbow.out.tolist() == [0, 0, -1]
    assert elbow.away == pytest.approx(0.3) and elbow.share == pytest.approx(0.25)


@pytest.mark.parametrize("elbow", [[0.2, 0.0, 0.0], [0.2, 0.01, 0.0]])
def test_the_elbow_of_a_straight_arm_points_nowhere(elbow: list[float]) -> None:
    assert Elbow.of([0, 0, 0], elbow, [0.4, 0, 0]) is None
    assert Elbow.of([0, 0, 0], [0.2, 0.2, 0.0], [0.01, 0, 0]) is None, "a hand at its shoulder"


@settings(max_examples=60, deadline=None)
@given(st.floats(-3.0, 3.0), st.tuples(*[st.floats(-1.0, 1.0)] * 3), st.floats(0.3, 3.0))
def test_the_angle_it_turned_depends_on_neither_frame_nor_size(
    angle: float, turn: tuple[float, ...], size: float
) -> None:
    first, now = operators(0.0), operators(angle)
    frame = Rotation.from_rotvec(turn)
    before, after = Elbow.of(*(frame.apply(first) * size)), Elbow.of(*(frame.apply(now) * size))
    assert before is not None and after is not None
    assert before.turned(after) == pytest.approx(angle, abs=1e-9)
    assert Elbow.of(*first).turned(Elbow.of(*now)) == pytest.approx(angle, abs=1e-9)  # type: ignore[union-attr]


def test_an_arm_whose_hand_went_to_the_other_side_cannot_be_compared() -> None:
    ahead, behind = Elbow.of([0, 0, 0], [0.2, 0, 0.2], [0.4, 0, 0]), Elbow.of([0, 0, 0], [-0.2, 0, 0.2], [-0.4, 0, 0])
    assert ahead is not None and behind is not None and ahead.turned(behind) is None


def test_the_elbow_turns_as_asked_while_the_tip_stays_exact(seven: Kinematics) -> None:
    ik, q, tip, start = solver(seven), BENT, seven.pose(BENT), elbow_of(BENT)
    ik.begin()
    worst = turned = 0.0
    for k in range(200):
        wanted = 0.6 * math.sin(2.0 * math.pi * k / 200.0)
        q = ik.step(q, tip, PERIOD, wanted)
        at = seven.pose(q)
        worst = max(worst, float(np.linalg.norm(at[:3] - tip[:3])))
        assert (Rotation.from_quat(at[3:]) * Rotation.from_quat(tip[3:]).inv()).magnitude() < 0.1 * DEGREE
        turned = max(turned, abs(start.turned(elbow_of(q)) or 0.0))
        assert abs((start.turned(elbow_of(q)) or 0.0) - wanted) < 8 * DEGREE, "in motion it lags"
    assert worst < 1e-4 and turned > 0.5
    for _ in range(60):
        q = ik.step(q, tip, PERIOD, 0.5)
    assert start.turned(elbow_of(q)) == pytest.approx(0.5, abs=0.5 * DEGREE)
    assert ik.elbow_error == pytest.approx(0.0, abs=0.5 * DEGREE)
    assert np.linalg.norm(seven.pose(q)[:3] - tip[:3]) < 1e-5


def test_a_moving_tip_is_as_exact_with_the_elbow_led_as_without(seven: Kinematics) -> None:
    def follow(led: bool) -> tuple[float, np.ndarray]:
        ik, q, tip = solver(seven), BENT, seven.pose(BENT)
        ik.begin()
        worst = 0.0
        for k in range(150):
            a = 2.0 * math.pi * k / 150.0
            goal = tip + [0.06 * math.sin(a), 0.05 * (1 - math.cos(a)), 0.03 * math.sin(2 * a), 0, 0, 0, 0]
            q = ik.step(q, goal, PERIOD, 0.5 * math.sin(a / 2) if led else None)
            worst = max(worst, float(np.linalg.norm(seven.pose(q)[:3] - goal[:3])))
        return worst, q

    (alone, before), (together, after) = follow(False), follow(True)
    assert together < max(2.0 * alone, 2e-4)
    assert np.abs(before - after).max() < 0.2, "the elbow is back where it was"


def test_an_elbow_that_nobody_leads_stays_where_it_is(seven: Kinematics) -> None:
    ik, q, tip = solver(seven), BENT, seven.pose(BENT)
    ik.begin()
    for _ in range(20):
        q = ik.step(q, tip, PERIOD)
    assert np.abs(q - BENT).max() < 1e-6 and ik.elbow_error is None


def test_six_joints_have_nothing_to_turn_the_elbow_with_and_keep_the_tip() -> None:
    contract = load_contract("tabletop_arm")
    six = Kinematics.of(contract)
    ik = DifferentialIk.of(contract, six, np.full(7, 1.5))
    q = np.array([0.1, 0.4, 0.6, 0.2, 0.3, 0.0, 0.0])
    tip = six.pose(q)
    ik.begin()
    for _ in range(60):
        q = ik.step(q, tip, PERIOD, 0.5)
    assert np.linalg.norm(six.pose(q)[:3] - tip[:3]) < 1e-5
    assert ik.elbow_error == pytest.approx(-0.5, abs=0.01), "and the error says so"


def test_the_joints_of_an_arm_are_known_by_their_number_or_are_told() -> None:
    assert joints_of_arm(NAMES) == ("joint_2", "joint_4", "joint_6")
    assert joints_of_arm(NAMES[:6]) == ("joint_2", "joint_3", "joint_5")
    with pytest.raises(KinematicsError, match=r"an arm of 5 joints .* arm_joints=SHOULDER,ELBOW,WRIST"):
        joints_of_arm(NAMES[:5])
    assert arm_joints("") is None and arm_joints("a, b,c") == ("a", "b", "c")
    with pytest.raises(KinematicsError, match="arm_joints is 'a,b', want SHOULDER,ELBOW,WRIST"):
        arm_joints("a,b")
    with pytest.raises(KinematicsError, match="joint_9"):
        DifferentialIk(Kinematics(urdf(), NAMES), urdf(), np.ones(7), ("joint_2", "joint_9", "joint_6"))


def shaped(k: int, arm: np.ndarray | None) -> TeleopSample:
    hand = HAND if arm is None else arm[2]
    return TeleopSample(k * 10 * MS, pose=np.array([*hand, 0, 0, 0, 1.0]), gripper=0.02, arm=arm)


def test_the_clutch_counts_the_elbows_angle_from_the_moment_of_engagement() -> None:
    clutch = Clutch(pose_of=lambda joints: np.array([0.4, 0, 0.2, 0, 0, 0, 1.0]))
    clutch.take()
    swivels = [clutch(shaped(k, operators(a)), {"j": 0.0}).swivel for k, a in enumerate((0.7, 1.0, 2.5, 3.5, 4.2))]
    assert swivels == pytest.approx([0.0, 0.3, 1.8, 2.8, 3.5]), "further than half a turn"
    assert clutch(shaped(9, None), {"j": 0.0}).swivel == pytest.approx(3.5), "out of sight it stays as it was"
    clutch.slip()
    assert clutch(shaped(10, operators(1.0)), {"j": 0.0}).swivel == 0.0


def test_a_hand_without_an_elbow_asks_nothing_of_the_arms() -> None:
    clutch = Clutch(pose_of=lambda joints: np.array([0.4, 0, 0.2, 0, 0, 0, 1.0]))
    clutch.take()
    assert clutch(shaped(0, None), {"j": 0.0}).swivel is None


def test_how_far_the_elbow_is_off_is_told() -> None:
    told, still = Retargeting(), np.array([0, 0, 0, 0, 0, 0, 1.0])
    told.take(still, still)
    assert "retargeting_error_elbow_deg" not in told.summary()
    told.take(still, still, -0.5)
    assert told.summary()["retargeting_error_elbow_deg"] == "p50 28.65, max 28.65"
    told.clear()
    assert told.summary() == {}


def test_on_the_whole_path_a_redundant_arm_does_what_the_operators_elbow_does(
    tmp_path: Path, seven: Kinematics
) -> None:
    operation = Operation(seven_contract(tmp_path), seven, period=PERIOD)
    q, tip, start = BENT, seven.pose(BENT), elbow_of(BENT)
    operation.clutch.take()
    worst = 0.0
    for k in range(200):
        operation.see(k * 10 * MS, dict(zip(NAMES, q.tolist(), strict=True)))
        chunk = operation.act(shaped(k, operators(0.2 + 0.6 * min(1.0, k / 100.0))))
        if k == 0:
            assert np.abs(chunk.values[0] - q).max() < 0.01 * DEGREE, "engaging moves nothing"
        q = chunk.values[0].copy()
        worst = max(worst, float(np.linalg.norm(seven.pose(q)[:3] - tip[:3])))
    assert worst < 0.2e-3, f"the tip was {1e3 * worst:.2f} mm away"
    assert start.turned(elbow_of(q)) == pytest.approx(0.6, abs=1.0 * DEGREE)
    told = operation.retargeting.summary()
    assert float(told["retargeting_error_elbow_deg"].split()[1].rstrip(",")) < 1.0
    assert float(told["retargeting_error_mm"].split()[1].rstrip(",")) < 0.1


def test_on_the_whole_path_engaging_moves_nothing_and_the_elbow_is_reported() -> None:
    contract = load_contract("tabletop_arm")
    six = Kinematics.of(contract)
    operation, names = Operation(contract, six, period=PERIOD), contract.joint_names
    arm = dict(zip(names, [0.1, 0.4, 0.6, 0.2, 0.3, 0.0, 0.02], strict=True))
    begun = np.array(list(arm.values()))
    operation.clutch.take()
    for k in range(40):
        operation.see(k * 10 * MS, arm)
        chunk = operation.act(shaped(k, operators(0.3 + 0.02 * k)))
        assert np.abs(chunk.values[0] - begun).max() < 0.3 * DEGREE
        arm = dict(zip(names, chunk.values[0].tolist(), strict=True))
    assert operation.retargeting.summary()["retargeting_error_elbow_deg"].startswith("p50 ")


def test_an_arm_of_which_the_elbow_is_not_known_says_so() -> None:
    contract = load_contract("tabletop_arm")
    made = Operation(contract, Kinematics.of(contract), OperationSettings(arm=("shoulder_lift", "elbow", "knee")))
    made.clutch.take()
    made.see(0, dict.fromkeys(contract.joint_names, 0.0))
    with pytest.raises((DeviceError, KinematicsError), match="knee"):
        made.act(shaped(0, operators(0.0)))


def test_a_contract_of_poses_cannot_have_its_elbow_led() -> None:
    contract = load_contract("tabletop_arm_ee")
    with pytest.raises(DeviceError, match="follow=arm leads joints, and .* is of ee_pose; valid: pose, position"):
        make_device("natnet://127.0.0.1?body=Hand&follow=arm", contract, Kinematics.of(contract), "reach", 0)
