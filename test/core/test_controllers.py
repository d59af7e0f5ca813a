"""The simulated controllers take, splice, hold and refuse as ros2_control's do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.sim.controllers import ForwardController, TrajectoryController, TrajectoryPoint

MS = 1_000_000
JOINTS = ("pan", "lift")


def controller() -> TrajectoryController:
    return TrajectoryController(JOINTS, [0.0, 1.0])


def point(time: int, positions: list[float], velocities: list[float] | None = None) -> TrajectoryPoint:
    return TrajectoryPoint(time, positions, velocities or [])


def test_it_holds_where_it_was_reset():
    position, velocity = controller().desired(12345)
    assert position.tolist() == [0.0, 1.0]
    assert velocity.tolist() == [0.0, 0.0]


def test_stamp_zero_starts_now_and_a_stamp_is_absolute():
    now, later = controller(), controller()
    assert now.command(JOINTS, 0, [point(100 * MS, [1.0, 2.0])], 50 * MS) is None
    assert later.command(JOINTS, 100 * MS, [point(100 * MS, [1.0, 2.0])], 50 * MS) is None
    assert now.desired(100 * MS)[0] == pytest.approx([0.5, 1.5])
    assert later.desired(100 * MS)[0] == pytest.approx([1 / 3, 4 / 3])
    assert later.desired(200 * MS)[0] == pytest.approx([1.0, 2.0])


def test_names_in_another_order_reach_the_right_joints():
    jtc = controller()
    assert jtc.command(["lift", "pan"], 0, [point(10 * MS, [5.0, 7.0], [0.0, 0.0])], 0) is None
    assert jtc.desired(10 * MS)[0].tolist() == [7.0, 5.0]


def test_it_holds_the_last_point_after_the_end():
    jtc = controller()
    jtc.command(JOINTS, 0, [point(10 * MS, [1.0, 1.0], [2.0, 0.0]), point(20 * MS, [1.1, 1.0], [0.0, 0.0])], 0)
    position, velocity = jtc.desired(10_000 * MS)
    assert position.tolist() == [1.1, 1.0]
    assert velocity.tolist() == [0.0, 0.0]


def test_velocities_of_the_points_are_met():
    jtc = controller()
    jtc.command(JOINTS, 0, [point(10 * MS, [0.1, 1.0], [3.0, -1.0]), point(20 * MS, [0.2, 1.0], [0.0, 0.0])], 0)
    _, before = jtc.desired(10 * MS - 1)
    _, after = jtc.desired(10 * MS)
    assert before == pytest.approx([3.0, -1.0], abs=1e-3)
    assert after == pytest.approx([3.0, -1.0], abs=1e-3)


def test_a_replacement_goes_on_from_the_desired_state_without_a_jump():
    jtc = controller()
    jtc.command(JOINTS, 0, [point(50 * MS, [0.1, 1.0], [2.0, 0.0]), point(100 * MS, [0.2, 1.0], [0.0, 0.0])], 0)
    position, velocity = jtc.desired(40 * MS)
    jtc.command(JOINTS, 0, [point(50 * MS, [-0.3, 1.2], [0.0, 0.0])], 40 * MS)
    assert jtc.desired(40 * MS)[0] == pytest.approx(position)
    assert jtc.desired(40 * MS)[1] == pytest.approx(velocity)
    assert jtc.desired(90 * MS)[0] == pytest.approx([-0.3, 1.2])


def test_points_already_past_are_skipped():
    jtc = controller()
    assert jtc.command(JOINTS, 10 * MS, [point(10 * MS, [9.0, 9.0]), point(40 * MS, [1.0, 1.0])], 30 * MS) is None
    assert jtc.desired(30 * MS)[0].tolist() == [0.0, 1.0]
    assert jtc.desired(50 * MS)[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("names", "stamp", "points", "reason"),
    [
        (["pan"], 0, [point(1, [0.0])], "joint 'lift' is missing; the controller has pan, lift"),
        (["pan", "lift", "toe"], 0, [point(1, [0.0] * 3)], "joint 'toe' is unknown"),
        (["pan", "pan"], 0, [point(1, [0.0] * 2)], "named twice"),
        (JOINTS, 0, [], "no points"),
        (JOINTS, 0, [point(0, [0.0, 0.0])], "point 0 is at 0.0 s from the start, want a positive time"),
        (JOINTS, 0, [point(5, [0.0, 0.0]), point(5, [0.0, 0.0])], "want a time after point 0"),
        (JOINTS, 0, [point(5, [0.0])], "point 0 has 1 positions, want 2"),
        (JOINTS, 0, [point(5, [0.0, float("nan")])], "not finite"),
        (JOINTS, 0, [point(5, [0.0, 0.0], [0.0, float("inf")])], "not finite"),
        (
            JOINTS,
            0,
            [point(5, [0.0, 0.0], [0.0, 0.0]), point(6, [0.0, 0.0])],
            "point 1 has 0 velocities, want 2",
        ),
        (
            JOINTS,
            0,
            [point(5, [0.0, 0.0], [1.0, 0.0])],
            "the last point's velocities are [1.0, 0.0], want zeros",
        ),
        (JOINTS, 5 * MS, [point(5 * MS, [0.0, 0.0])], "the trajectory ended 0.010 s ago"),
    ],
)
def test_a_bad_trajectory_is_refused_with_its_reason_and_the_old_one_goes_on(names, stamp, points, reason):
    jtc = controller()
    refusal = jtc.command(names, stamp, points, 20 * MS)
    assert refusal is not None
    assert reason in refusal
    assert jtc.desired(30 * MS)[0].tolist() == [0.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.floats(-2, 2), st.floats(-3, 3), st.integers(0, 30)),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_replaces_what_position_and_velocity_never_jump(commands):
    jtc, now = controller(), 0
    for lead, target, speed, wait in commands:
        before = jtc.desired(now)
        points = [
            point(lead * MS, [target, 1.0], [speed, 0.0]),
            point((lead + 20) * MS, [target + 0.1, 1.0], [0.0, 0.0]),
        ]
        assert jtc.command(JOINTS, now, points, now) is None
        after = jtc.desired(now)
        np.testing.assert_allclose(after, before, atol=1e-9)
        now += wait * MS


def test_forward_commands_are_positions_in_the_configured_order():
    forward = ForwardController(JOINTS, [0.0, 1.0])
    assert forward.command([0.5, 0.25]) is None
    assert forward.desired(0)[0].tolist() == [0.5, 0.25]


@pytest.mark.parametrize(("values", "reason"), [([1.0], "1 values for 2 joints"), ([float("nan"), 0.0], "not finite")])
def test_a_bad_forward_command_is_refused_and_the_old_one_held(values, reason):
    forward = ForwardController(JOINTS, [0.0, 1.0])
    refusal = forward.command(values)
    assert refusal is not None
    assert reason in refusal
    assert forward.desired(0)[0].tolist() == [0.0, 1.0]
