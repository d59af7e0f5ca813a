"""What holds whatever arrives: every setpoint sent is within range, velocity, acceleration and workspace."""

from __future__ import annotations

import numpy as np
import pytest
from gate_rig import HOME, PERIOD, GateRig, assert_within_limits, moved
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vla_ros.errors import GateError

WORKSPACE_TOLERANCE = 2e-3  # [m]
EVENTS = (
    "chunk",
    "chunk",
    "chunk",
    "jump",
    "nan",
    "huge",
    "empty",
    "quiet",
    "select",
    "none",
    "estop",
    "release",
    "deaf",
)
HARD = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

events = st.lists(
    st.tuples(st.sampled_from(EVENTS), st.integers(0, 2**31 - 1), st.integers(1, 40)), min_size=1, max_size=14
)


def random_chunk(rig: GateRig, rng: np.random.Generator, kind: str) -> np.ndarray:
    """Return targets [H, D]: a smooth motion from where the arm is, or for 'jump' anything in and out of
    range.
    """
    h, d = int(rng.integers(1, 20)), len(rig.contract.action.names)
    present = rig.commands[-1].action if rig.commands else np.zeros(d)
    if kind == "jump":
        values = present + rng.normal(0.0, rng.choice([0.01, 0.3, 3.0]), (h, d))
    else:
        values = present + np.cumsum(rng.normal(0.0, 0.03, (h, d)), axis=0)
    if d == 8:
        norms = np.linalg.norm(values[:, 3:7], axis=1, keepdims=True)
        values[:, 3:7] = np.where(norms > 1e-6, values[:, 3:7] / np.maximum(norms, 1e-6), [0, 0, 0, 1])
    if kind == "nan":
        values[rng.integers(h), rng.integers(d)] = rng.choice([np.nan, np.inf, -np.inf])
    if kind == "huge":
        values[:, : 3 if d == 8 else d] = rng.choice([-1e300, 1e300])
    return values


def play(rig: GateRig, script: list[tuple[str, int, int]]) -> None:
    rig.gate.select("policy")
    rig.tick(2)
    for kind, seed, ticks in script:
        rng = np.random.default_rng(seed)
        rig.feed = kind != "deaf"
        if kind in ("chunk", "jump", "nan", "huge"):
            for _ in range(max(1, ticks // 3)):
                source = rig.gate.source or "policy"
                refusal = rig.offer(random_chunk(rig, rng, kind), source, dt=float(rng.choice([0.01, 1 / 30, 0.1])))
                assert refusal is None or kind == "nan" or not rig.gate.source
                rig.tick(3)
            continue
        if kind == "empty" and rig.gate.source:
            rig.gate.offer(rig.gate.source, rig.empty_chunk(), rig.now)
        elif kind == "select":
            try:
                rig.gate.select(str(rng.choice(rig.gate.sources)))
            except GateError:
                assert rig.output is not None and rig.output.state == "estop"
        elif kind == "none":
            rig.gate.select(None)
        elif kind == "estop":
            rig.gate.estop("test")
        elif kind == "release":
            rig.gate.release()
        rig.tick(ticks)


def assert_inside_workspace(rig: GateRig) -> None:
    assert rig.contract.limits.workspace is not None
    lower, upper = np.array(rig.contract.limits.workspace).T
    for command in rig.commands:
        path = command.trajectory()
        for t in np.linspace(command.times[0], command.times[-1], 4).astype(np.int64):
            tip = rig.kinematics.forward(path.sample(int(t))[0])[:3, 3]
            assert (tip >= lower - WORKSPACE_TOLERANCE).all() and (tip <= upper + WORKSPACE_TOLERANCE).all()


@given(script=events, executor=st.sampled_from(["latest", "ensemble"]))
@example(  # joints that come to rest one after the other do not brake along a line
    script=[("jump", 440827, 15), ("jump", 589, 27), ("jump", 0, 36), ("jump", 13751, 12)], executor="latest"
)
@settings(HARD, max_examples=40)
def test_in_joint_space_whatever_arrives_every_setpoint_keeps_all_limits(script: list, executor: str) -> None:
    rig = GateRig(executor=executor)
    play(rig, script)
    assert_within_limits(rig)
    assert_inside_workspace(rig)


@given(script=events)
@example(  # joint states that fall silent while the arm comes to rest do not say that it rests where they were last
    script=[("chunk", 0, 1), ("chunk", 0, 21), ("select", 0, 1), ("deaf", 0, 10)]
)
@settings(HARD, max_examples=15)
def test_with_tool_poses_whatever_arrives_every_setpoint_keeps_all_limits(script: list) -> None:
    rig = GateRig("tabletop_arm_ee")
    play(rig, script)
    assert_within_limits(rig)
    assert_inside_workspace(rig)


@given(seed=st.integers(0, 2**31 - 1))
@settings(HARD, max_examples=25)
def test_an_estop_at_any_moment_is_at_rest_after_the_fewest_periods(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rig = GateRig()
    rig.gate.select("policy")
    rig.tick()
    for _ in range(int(rng.integers(1, 20))):
        rig.offer(random_chunk(rig, rng, "jump"))
        rig.tick(3)
    slowest = np.ceil(np.abs(rig.velocities[-1]) / (rig.gate.limits.acceleration * 0.01) - 1e-6).max()
    rig.gate.estop("test")
    rig.tick(max(1, int(slowest)))
    assert not rig.velocities[-1].any()
    assert_within_limits(rig)


def test_a_tip_that_starts_outside_the_workspace_may_return_but_not_leave_further() -> None:
    rig = GateRig()
    pose = rig.kinematics.pose(HOME)
    pose[2] = -0.05
    rig.q = rig.kinematics.solve(pose, HOME)
    rig.gate.select("policy")
    rig.tick()
    pose[2] = -0.15
    rig.drive(rig.kinematics.solve(pose, HOME), 30)
    assert min(rig.kinematics.forward(q)[2, 3] for q in rig.positions) >= -0.052
    rig.drive(HOME, 150)
    assert rig.q == pytest.approx(HOME)


def test_following_a_pose_chunk_the_tip_goes_there() -> None:
    rig = GateRig("tabletop_arm_ee")
    rig.gate.select("policy")
    rig.tick()
    start = rig.commands[-1].action
    goal = start.copy()
    goal[:3] += [0.05, -0.08, 0.04]
    goal[7] = 0.01
    for k in range(100):
        if k % 3 == 0:
            share = np.clip((k + np.arange(1, 17) * 10 / 3) / 90, 0, 1)[:, None]
            rig.offer(start + (3 * share**2 - 2 * share**3) * (goal - start))
        rig.tick()
        s = min(1.0, (k + 3) / 90)  # what was asked for at the setpoint's time
        wanted = start + (3 * s**2 - 2 * s**3) * (goal - start)
        assert rig.commands[-1].action[:3] == pytest.approx(wanted[:3], abs=2e-3)
    assert rig.commands[-1].action == pytest.approx(goal, abs=1e-4)
    assert_within_limits(rig)


def test_an_opposite_quaternion_is_the_same_rotation() -> None:
    rig = GateRig("tabletop_arm_ee")
    rig.gate.select("policy")
    rig.tick()
    flipped = rig.commands[-1].action.copy()
    flipped[3:7] *= -1
    rig.drive(flipped, 60)
    assert rig.q == pytest.approx(HOME, abs=1e-5)


def test_a_target_out_of_reach_is_approached_and_held_still() -> None:
    rig = GateRig("tabletop_arm_ee")
    rig.gate.select("policy")
    rig.tick()
    far = rig.commands[-1].action.copy()
    far[:3] = [0.79, 0.5, 0.3]
    rig.drive(far, 400)
    assert np.abs(rig.velocities[-20:]).max() < 0.02
    assert_within_limits(rig)


def test_noisy_chunks_at_thirty_hertz_are_followed_with_less_than_two_periods_of_lag() -> None:
    rig, rng = GateRig(), np.random.default_rng(0)
    rig.gate.select("policy")
    rig.tick()
    start, errors = rig.now, []

    def wanted(t: np.ndarray) -> np.ndarray:
        return np.tile(HOME, (len(t), 1)) + np.outer(0.3 * (1 - np.cos(2.5 * t)), [1, 0.5, -0.5, 0.5, 0, 1, 0])

    for k in range(300):
        if k % 3 == 0:
            t = (rig.now - start) / 1e9 + np.arange(1, 21) / 30
            rig.offer(wanted(t) + rng.normal(0, 5e-4, (20, 7)) * [1, 1, 1, 1, 1, 1, 0])
        rig.tick()
        at = (rig.now + 2 * PERIOD - start) / 1e9
        errors.append(rig.commands[-1].positions[0] - wanted(np.array([at]))[0])
    assert np.abs(errors).max() < 0.75 * 0.02  # the fastest joint moves 0.75 rad/s
    assert_within_limits(rig)
    assert moved(HOME) == pytest.approx(HOME)
