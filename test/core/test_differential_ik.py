"""The tip follows poses: near singularities, at the limits, and never so that links touch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.contract import Contract
from vla_ros.differential_ik import DifferentialIk
from vla_ros.kinematics import Kinematics
from vla_ros.self_collision import FLOOR
from vla_ros.teleop.clutch import ClutchSettings
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.operation import Operation, OperationSettings

PERIOD = 0.01
DOWN = [1.0, 0.0, 0.0, 0.0]
HOME = np.zeros(7)
MILLIMETRE, DEGREE = 0.001, np.pi / 180.0

poses = st.tuples(
    st.floats(-0.6, 0.7),
    st.floats(-0.6, 0.6),
    st.floats(-0.1, 0.9),
    st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4),
).map(lambda p: np.array([*p[:3], *(np.array(p[3]) / n if (n := np.linalg.norm(p[3])) > 0.1 else np.array(DOWN))]))


@pytest.fixture(scope="module")
def velocity(contract: Contract, kinematics: Kinematics) -> np.ndarray:
    return np.minimum(contract.limits.velocity_for(contract.joint_names), kinematics.velocity)


@pytest.fixture(scope="module")
def ik(contract: Contract, kinematics: Kinematics, velocity: np.ndarray) -> DifferentialIk:
    return DifferentialIk.of(contract, kinematics, velocity)


def track(
    ik: DifferentialIk, kinematics: Kinematics, q: np.ndarray, path: list[np.ndarray]
) -> tuple[np.ndarray, list[float]]:
    """Follow the poses, one a period; return where it ends, and the tip's distance [m] from each."""
    ik.begin()
    away = []
    for pose in path:
        q = ik.step(q, pose, PERIOD)
        away.append(float(np.linalg.norm(kinematics.pose(q)[:3] - pose[:3])))
    return q, away


def test_a_reachable_motion_is_followed_closely(ik: DifferentialIk, kinematics: Kinematics) -> None:
    start = kinematics.solve([0.40, 0.0, 0.15, *DOWN], HOME)
    angles = np.linspace(0.0, 2.0 * np.pi, 200)
    path = [
        np.array([0.40 + 0.05 * np.sin(a), 0.08 * (1 - np.cos(a)), 0.15 + 0.03 * np.sin(2 * a), *DOWN]) for a in angles
    ]
    _, away = track(ik, kinematics, start, path)
    assert max(away) < 0.1 * MILLIMETRE


def test_where_the_arm_cannot_reach_it_stretches_towards_the_goal_and_comes_to_rest(
    ik: DifferentialIk, kinematics: Kinematics
) -> None:
    start = kinematics.solve([0.40, 0.0, 0.15, *DOWN], HOME)
    far = np.array([1.2, 0.0, 0.15, *DOWN])
    q, away = track(ik, kinematics, start, [far] * 250)
    assert away[-1] < away[0] - 0.1
    rest, _ = track(ik, kinematics, q, [far] * 20)
    assert np.abs(rest - q).max() < 20 * PERIOD * 0.01, "no shaking at the singularity"
    _, away = track(ik, kinematics, rest, [np.array([0.40, 0.0, 0.15, *DOWN])] * 200)
    assert away[-1] < 0.5 * MILLIMETRE, "and back"


def test_at_an_aligned_wrist_the_tip_stays_near_its_path(ik: DifferentialIk, kinematics: Kinematics) -> None:
    """wrist_2 turned by a quarter puts the axes of wrist_1 and wrist_3 in line: a rotation is lost there."""
    q0 = np.array([0.0, 0.3, 0.2, 0.3, np.pi / 2 - 0.02, 0.0, 0.0])
    centre = kinematics.pose(q0)
    circle = [np.array([np.sin(a), np.sin(2 * a), np.cos(a) - 1]) for a in np.linspace(0, 2 * np.pi, 300)]
    _, away = track(ik, kinematics, q0, [centre + np.append(0.03 * p, np.zeros(4)) for p in circle])
    assert max(away) < 10.0 * MILLIMETRE and away[-1] < 1.0 * MILLIMETRE


def test_at_a_joints_end_the_others_go_on(ik: DifferentialIk, kinematics: Kinematics) -> None:
    q0 = np.array([0.0, 0.2, 0.2, 0.0, 0.0, kinematics.upper[5] - 0.02, 0.0])
    centre = kinematics.pose(q0)
    path = [centre + np.array([0, 0, 0.0005 * k, 0, 0, 0, 0]) for k in range(100)]
    q, away = track(ik, kinematics, q0, path)
    assert max(away) < MILLIMETRE and (q <= kinematics.upper).all()


@settings(max_examples=15, deadline=None)
@given(st.lists(poses, min_size=1, max_size=2), st.sampled_from([0.005, 0.01, 0.05]))
def test_whatever_is_asked_for_limits_are_kept_and_links_never_touch(
    ik: DifferentialIk, kinematics: Kinematics, velocity: np.ndarray, goals: list[np.ndarray], period: float
) -> None:
    q = HOME
    ik.begin()
    for goal in goals:
        for _ in range(round(0.3 / period)):
            after = ik.step(q, goal, period)
            assert (np.abs(after - q) <= velocity * period + 1e-9).all()
            assert (after >= kinematics.lower).all() and (after <= kinematics.upper).all()
            assert ik.clear(after)
            q = after


def test_a_hand_that_asks_for_touching_links_gets_none_in_the_chunks(
    contract: Contract, kinematics: Kinematics
) -> None:
    """The tip is led into the base at twice what the joints can do; the chunks reach 80 ms ahead."""
    operation = Operation(
        contract, kinematics, OperationSettings(ClutchSettings(), cutoff=0.0), period=PERIOD, points=8
    )
    names, q = contract.joint_names, HOME.copy()
    watch = DifferentialIk.of(contract, kinematics, np.full(7, 1.0))
    operation.clutch.take()
    start, nearest = kinematics.pose(q), np.inf
    for k in range(140):
        operation.see(k * 10_000_000, dict(zip(names, q.tolist(), strict=True)))
        pose = start + np.array([-0.005 * k, -0.0008 * k, -0.0013 * k, 0, 0, 0, 0])
        chunk = operation.act(TeleopSample(k * 10_000_000, pose=pose, gripper=0.02))
        for row in chunk.values:
            nearest = min(nearest, watch.collision.distance(row[:6]))
        if not chunk.empty:
            q = chunk.values[0].copy()
    assert FLOOR <= nearest < 0.01, "it came near, and no nearer"


def test_distances_change_with_the_joints_as_their_slopes_say(ik: DifferentialIk, kinematics: Kinematics) -> None:
    q, step = np.array([0.3, 1.2, 0.9, 0.4, 0.5, 0.2]), 1e-5
    ik.step(np.append(q, 0.0), kinematics.pose(np.append(q, 0.0)), PERIOD)  # leaves the Jacobians of q
    distances, slopes = ik.collision.rows(q, ik._configuration.data)
    nearest = int(np.argmin(distances))
    for joint in range(6):
        moved = q.copy()
        moved[joint] += step
        change = (ik.collision.distance(moved) - ik.collision.distance(q)) / step
        assert change == pytest.approx(slopes[nearest][joint], abs=1e-2)
