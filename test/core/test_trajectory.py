import numpy as np
import pytest

from vla_ros.errors import ActionError
from vla_ros.trajectory import Trajectory

S = 1_000_000_000


def test_without_velocities_points_are_joined_by_straight_lines() -> None:
    trajectory = Trajectory([S, 3 * S], [[0.0, 1.0], [2.0, 5.0]])
    position, velocity = trajectory.sample(2 * S)
    assert position == pytest.approx([1.0, 3.0])
    assert velocity == pytest.approx([1.0, 2.0])


def test_with_velocities_points_and_velocities_are_met_exactly() -> None:
    times, positions, velocities = [0, S, 3 * S], [[0.0], [1.0], [-1.0]], [[0.5], [-0.3], [0.0]]
    trajectory = Trajectory(times, positions, velocities)
    for t, p, v in zip(times[:-1], positions, velocities, strict=False):
        assert trajectory.sample(t)[0] == pytest.approx(p)
        assert trajectory.sample(t)[1] == pytest.approx(v)
        assert trajectory.sample(t - 1 if t else 0)[0] == pytest.approx(p, abs=1e-6)


def test_the_spline_reproduces_a_cubic() -> None:
    def cubic(t: float) -> float:
        return 0.3 * t**3 - t**2 + 0.2 * t + 1.0

    def slope(t: float) -> float:
        return 0.9 * t**2 - 2 * t + 0.2

    trajectory = Trajectory([0, 2 * S], [[cubic(0)], [cubic(2)]], [[slope(0)], [slope(2)]])
    for t in np.linspace(0, 1.99, 17):
        position, velocity = trajectory.sample(round(t * S))
        assert position[0] == pytest.approx(cubic(t), abs=1e-6)
        assert velocity[0] == pytest.approx(slope(t), abs=1e-6)


def test_ends_are_held_with_zero_velocity() -> None:
    trajectory = Trajectory([S, 2 * S], [[1.0], [2.0]], [[3.0], [3.0]])
    for t, want in ((0, 1.0), (2 * S, 2.0), (9 * S, 2.0)):
        position, velocity = trajectory.sample(t)
        assert position == pytest.approx([want])
        assert velocity == pytest.approx([0.0])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (([], [[]]), "N >= 1"),
        (([0, 1], [[0.0]]), "want"),
        (([0, 1], [[0.0], [1.0]], [[0.0]]), "velocities"),
        (([0, 0], [[0.0], [1.0]]), "point 1 is at 0 ns"),
        (([0], [[np.nan]]), "not a finite number"),
    ],
)
def test_what_is_not_a_trajectory_is_refused_with_the_reason(arguments: tuple, reason: str) -> None:
    with pytest.raises(ActionError, match=reason):
        Trajectory(*arguments)
