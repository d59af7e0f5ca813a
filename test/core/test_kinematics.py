import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_support import JOINTS, URDF

from vla_ros.contract import load_contract, parse_contract
from vla_ros.errors import ContractError, KinematicsError
from vla_ros.kinematics import Kinematics

KINEMATICS = Kinematics(URDF, JOINTS)
DOWN = [1.0, 0.0, 0.0, 0.0]
OVER_TABLE = [0.40, 0.05, 0.10, *DOWN]

configurations = st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7).map(
    lambda u: KINEMATICS.lower + np.array(u) * (KINEMATICS.upper - KINEMATICS.lower)
)


def distance(q: np.ndarray, pose: np.ndarray) -> float:
    return float(np.linalg.norm(KINEMATICS.pose(q)[:3] - np.asarray(pose)[:3]))


def test_at_zero_the_tool_points_straight_down_in_front_of_the_base() -> None:
    transform = KINEMATICS.forward(np.zeros(7))
    assert transform[:3, 2] == pytest.approx([0, 0, -1], abs=1e-9)
    assert transform[:3, 3] == pytest.approx([0.345, 0.075, 0.235], abs=1e-9)


def test_joints_keep_the_order_they_were_asked_for() -> None:
    backwards = Kinematics(URDF, JOINTS[::-1])
    q = np.array([0.1, 0.2, -0.3, 0.4, 0.5, -0.6, 0.01])
    assert backwards.forward(q[::-1]) == pytest.approx(KINEMATICS.forward(q))
    assert backwards.upper == pytest.approx(KINEMATICS.upper[::-1])
    assert backwards.solve(OVER_TABLE, q[::-1]) == pytest.approx(KINEMATICS.solve(OVER_TABLE, q)[::-1], abs=1e-3)


def test_the_gripper_does_not_move_the_tip_and_is_left_alone() -> None:
    q = np.zeros(7)
    q[6] = 0.03
    assert KINEMATICS.forward(q) == pytest.approx(KINEMATICS.forward(np.zeros(7)))
    assert KINEMATICS.solve(OVER_TABLE, q)[6] == 0.03
    assert KINEMATICS.step_towards(q, OVER_TABLE, 0.01)[6] == 0.03


@pytest.mark.parametrize("x", [0.27, 0.38, 0.49])
@pytest.mark.parametrize("y", [-0.17, 0.0, 0.26])
@pytest.mark.parametrize("yaw", [-0.7, 0.0, 0.7])
def test_top_down_grasps_are_reached_all_over_the_table(x: float, y: float, yaw: float) -> None:
    pose = np.array([x, y, 0.02, np.cos(yaw / 2), np.sin(yaw / 2), 0.0, 0.0])
    q = KINEMATICS.solve(pose, np.zeros(7))
    assert KINEMATICS.pose(q) == pytest.approx(pose, abs=2e-3)
    assert (q >= KINEMATICS.lower).all() and (q <= KINEMATICS.upper).all()


@settings(max_examples=60, deadline=None)
@given(configurations, st.floats(-0.35, 0.6), st.floats(-0.5, 0.5), st.floats(0.0, 0.5), st.floats(0.001, 0.1))
def test_a_step_is_bounded_and_inside_the_limits_wherever_the_goal_lies(
    q: np.ndarray, x: float, y: float, z: float, bound: float
) -> None:
    step = KINEMATICS.step_towards(q, [x, y, z, *DOWN], bound)
    assert np.abs(step - q).max() <= bound + 1e-12
    assert (step >= KINEMATICS.lower - 1e-12).all() and (step <= KINEMATICS.upper + 1e-12).all()


def test_repeated_steps_arrive_and_never_exceed_the_bound_of_any_joint() -> None:
    q, bound = np.zeros(7), np.array([0.02, 0.01, 0.01, 0.01, 0.02, 0.03, 0.001])
    for _ in range(200):
        new = KINEMATICS.step_towards(q, OVER_TABLE, bound)
        assert (np.abs(new - q) <= bound + 1e-12).all()
        q = new
    assert distance(q, OVER_TABLE) < 1e-4


def test_steps_towards_a_pose_out_of_reach_come_to_rest_near_it() -> None:
    q = np.zeros(7)
    for _ in range(400):
        last, q = q, KINEMATICS.step_towards(q, [0.9, 0.0, 0.1, *DOWN], 0.02)
    assert np.abs(q - last).max() < 5e-3
    assert KINEMATICS.pose(q)[0] > 0.5


def test_joints_outside_their_limits_are_brought_back_no_faster_than_the_bound() -> None:
    q = np.zeros(7)
    q[2] = KINEMATICS.upper[2] + 0.1
    step = KINEMATICS.step_towards(q, OVER_TABLE, 0.02)
    assert q[2] - 0.02 - 1e-12 <= step[2] < q[2]


@settings(max_examples=60, deadline=None)
@given(configurations)
def test_the_quaternion_has_length_one_and_lies_on_the_side_of_home(q: np.ndarray) -> None:
    quaternion = KINEMATICS.pose(q)[3:]
    assert np.linalg.norm(quaternion) == pytest.approx(1.0)
    assert quaternion @ KINEMATICS.pose(np.zeros(7))[3:] >= -1e-9


def test_the_quaternion_varies_continuously_along_a_motion_over_the_table() -> None:
    path = [KINEMATICS.pose([0.0, 0.3, 0.2, -0.5, 0.0, yaw, 0.0]) for yaw in np.linspace(-1.5, 1.5, 300)]
    assert np.abs(np.diff(path, axis=0)).max() < 0.02


def test_a_pose_out_of_reach_is_refused_with_the_distance_that_is_missing() -> None:
    with pytest.raises(KinematicsError, match=r"'tool0' cannot reach .*0\.9.* misses by .* mm"):
        KINEMATICS.solve([0.9, 0.0, 0.1, *DOWN], np.zeros(7))


def test_unknown_names_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(KinematicsError, match=r"unknown joint 'elbov'.*did you mean 'elbow'.*shoulder_pan"):
        Kinematics(URDF, ["shoulder_pan", "elbov"])
    with pytest.raises(KinematicsError, match=r"unknown tip frame 'tool1'.*did you mean 'tool0'"):
        Kinematics(URDF, JOINTS, tip="tool1")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KINEMATICS.forward([0.0] * 6), "must be 7 finite numbers"),
        (lambda: KINEMATICS.forward([np.nan] * 7), "must be 7 finite numbers"),
        (lambda: KINEMATICS.solve([0.4, 0, 0.1], np.zeros(7)), "x y z qx qy qz qw"),
        (lambda: KINEMATICS.solve([0.4, 0, 0.1, 0, 0, 0, 0], np.zeros(7)), "has length 0.000"),
        (lambda: KINEMATICS.step_towards(np.zeros(7), OVER_TABLE, 0.0), "must be positive"),
        (lambda: Kinematics("<robot", JOINTS), "cannot read the URDF"),
        (lambda: Kinematics(URDF, ["gripper"]), "none of the joints gripper moves 'tool0'"),
    ],
)
def test_malformed_input_is_refused(call, message: str) -> None:
    with pytest.raises(KinematicsError, match=message):
        call()


def test_a_joint_without_ends_is_refused_by_name() -> None:
    endless = URDF.replace('name="shoulder_pan" type="revolute"', 'name="shoulder_pan" type="continuous"')
    assert endless != URDF
    with pytest.raises(KinematicsError, match="joint 'shoulder_pan' is continuous"):
        Kinematics(endless, JOINTS)


def test_actions_in_another_frame_than_the_roots_are_refused() -> None:
    text = load_contract("tabletop_arm").text
    line = next(line for line in text.splitlines() if line.strip().startswith("space: joint_position"))
    text = text.replace(line, f"{line}\n  frame: world")
    with pytest.raises(
        ContractError, match=r"arm\.yaml: action\.frame is 'world', want 'base_link', the URDF's root link"
    ):
        Kinematics.of(parse_contract(text, "arm.yaml"))
