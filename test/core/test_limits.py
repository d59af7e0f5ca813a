import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.errors import GateError
from vla_ros.limits import MotionLimits, Setpoint
from vla_ros.trajectory import Trajectory

T = 0.01
LIMITS = MotionLimits([-2.0], [2.0], [1.5], [8.0], T)


def at_rest(position: float) -> Setpoint:
    return Setpoint(np.array([position]), np.zeros(1))


def follow(
    start: Setpoint, reference: object, ticks: int, limits: MotionLimits = LIMITS
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and velocities [ticks + 1] of following reference(t) -> (position, velocity)."""
    setpoints = [start]
    for k in range(1, ticks + 1):
        position, velocity = reference(k * T)  # type: ignore[operator]
        setpoints.append(limits.follow(setpoints[-1], np.array([position]), np.array([velocity])))
    return np.array([s.position[0] for s in setpoints]), np.array([s.velocity[0] for s in setpoints])


def test_a_distant_target_is_reached_without_overshoot_and_then_kept() -> None:
    positions, _ = follow(at_rest(0.0), lambda t: (1.0, 0.0), 120)
    assert positions.max() <= 1.0 + 1e-12
    assert positions[-20:] == pytest.approx(1.0, abs=1e-12)


def test_a_distant_target_is_approached_at_the_velocity_limit() -> None:
    _, velocities = follow(at_rest(-1.5), lambda t: (1.5, 0.0), 120)
    assert velocities.max() == pytest.approx(1.5)


def test_a_target_within_the_limits_is_followed_exactly() -> None:
    amplitude, omega = 0.15, 2 * np.pi

    def reference(t: float) -> tuple[float, float]:
        return amplitude * (1 - np.cos(omega * t)), amplitude * omega * np.sin(omega * t)

    positions, velocities = follow(at_rest(0.0), reference, 300)
    times = np.arange(301) * T
    assert positions == pytest.approx(reference(times)[0], abs=1e-9)
    assert velocities == pytest.approx(reference(times)[1], abs=1e-9)


def test_a_target_that_already_moves_is_caught_up_with_and_not_overtaken() -> None:
    positions, _ = follow(at_rest(0.0), lambda t: (0.1 + 0.8 * t, 0.8), 200)
    error = positions[1:] - (0.1 + 0.8 * T * np.arange(1, 201))
    assert error.max() < 1e-9
    assert error[100:] == pytest.approx(0.0, abs=1e-9)


def test_a_target_beyond_the_range_ends_at_its_edge() -> None:
    positions, velocities = follow(at_rest(1.0), lambda t: (1.0 + 3.0 * t, 3.0), 150)
    assert positions.max() <= 2.0
    assert positions[-1] == pytest.approx(2.0)
    assert velocities[-1] == 0.0


@given(
    velocity=st.floats(-1.5, 1.5),
    reference=st.lists(st.tuples(st.floats(-4, 4), st.floats(-4, 4)), min_size=1, max_size=80),
)
@settings(max_examples=200, deadline=None)
def test_any_target_keeps_range_velocity_and_acceleration(
    velocity: float, reference: list[tuple[float, float]]
) -> None:
    start = Setpoint(np.zeros(1), np.array([velocity]))
    samples = iter(reference)
    positions, velocities = follow(start, lambda t: next(samples), len(reference))
    assert np.abs(positions).max() <= 2.0 + 1e-9
    assert np.abs(velocities).max() <= 1.5 + 1e-9
    assert np.abs(np.diff(velocities)).max() <= 8.0 * T + 1e-9
    assert np.abs(np.diff(positions)).max() <= 1.5 * T + 1e-9
    if len(positions) > 2:
        assert np.abs(np.diff(positions, 2)).max() <= 8.0 * T**2 + 1e-9


@given(position=st.floats(-0.1, 0.1), velocity=st.floats(-1.5, 1.5))
def test_braking_ends_in_the_fewest_whole_periods_where_the_stop_position_says(
    position: float, velocity: float
) -> None:
    setpoint = Setpoint(np.array([position]), np.array([velocity]))
    stop = LIMITS.stop_position(setpoint)
    knots, _, _ = LIMITS.braking_path(setpoint)
    for _ in range(int(knots[-1])):
        setpoint = LIMITS.brake(setpoint)
    assert abs(setpoint.velocity[0]) < 1e-12
    assert setpoint.position == pytest.approx(stop, abs=1e-12)
    assert knots[-1] <= max(1, np.ceil(abs(velocity) / (8.0 * T)))


def test_the_braking_path_interpolated_is_what_repeated_braking_gives() -> None:
    limits = MotionLimits([-9.0] * 3, [9.0] * 3, [2.0] * 3, [8.0, 4.0, 2.0], T)
    setpoint = Setpoint(np.array([0.1, 0.2, -0.3]), np.array([0.5, -1.3, 0.0]))
    knots, positions, velocities = limits.braking_path(setpoint)
    times = np.concatenate([[0], knots]) * round(T * 1e9)
    path = Trajectory(times, np.vstack([setpoint.position, positions]), np.vstack([setpoint.velocity, velocities]))
    assert not velocities[-1].any()
    for k in range(int(knots[-1]) + 3):
        position, velocity = path.sample(k * round(T * 1e9))
        assert position == pytest.approx(setpoint.position, abs=1e-9)
        assert velocity == pytest.approx(setpoint.velocity, abs=1e-9)
        setpoint = limits.brake(setpoint)


@pytest.mark.parametrize(
    "bad", [([1.0], [1.0], [1.0], [1.0]), ([0.0], [1.0], [0.0], [1.0]), ([0.0], [1.0], [1.0], [-1.0])]
)
def test_limits_that_allow_nothing_are_refused(bad: tuple[list[float], ...]) -> None:
    with pytest.raises(GateError):
        MotionLimits(*bad, T)
