"""Two controllers of ros2_control for a simulated arm, without ROS: joint trajectory and forward command.

They refuse what the real ones refuse, with a reason, and match joints by name. Time is the caller's, in ns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vla_ros.trajectory import Trajectory

Array = npt.NDArray[np.float64]
REST = 1e-6  # [rad/s, m/s] a final velocity below this is a stop


@dataclass(frozen=True)
class TrajectoryPoint:
    """One point of a trajectory command: positions and, if given, velocities in the command's joint order.

    time_from_start: after the command's start [ns].
    """

    time_from_start: int
    positions: Sequence[float]
    velocities: Sequence[float] = ()


class TrajectoryController:
    """joint_trajectory_controller with ``interpolate_from_desired_state``.

    A command starts at its stamp, or now when the stamp is 0. It replaces the one before: the arm moves
    from what is desired at that moment (position and velocity) along a cubic spline through the points
    still ahead, and holds the last one. Points without velocities are joined by straight lines.
    """

    def __init__(self, joints: Sequence[str], positions: npt.ArrayLike) -> None:
        self.joints = tuple(joints)
        self.reset(positions)

    def reset(self, positions: npt.ArrayLike) -> None:
        """Forget the trajectory and hold ``positions`` [N] (rad, m), in the order of ``joints``."""
        self._trajectory = Trajectory([0], [np.asarray(positions, dtype=np.float64)])

    def desired(self, now: int) -> tuple[Array, Array]:
        """Return the positions [N] and velocities [N] wanted at ``now`` [ns]."""
        return self._trajectory.sample(now)

    def command(self, names: Sequence[str], stamp: int, points: Sequence[TrajectoryPoint], now: int) -> str | None:
        """Take a trajectory over, or return the reason why not (the one before then goes on).

        names: all of ``joints``, in any order. stamp: the start [ns], 0 for now. Every point needs a
        positive and increasing time; the last one must be a stop, as Jazzy's controller demands by default.
        """
        start = stamp or now
        reason = self._refusal(names, start, points, now)
        if reason:
            return reason
        order = [list(names).index(joint) for joint in self.joints]
        times = start + np.array([point.time_from_start for point in points], dtype=np.int64)
        ahead = times > now
        position, velocity = self.desired(now)
        positions = np.array([point.positions for point in points], dtype=np.float64)[ahead][:, order]
        velocities = None
        if points[0].velocities:
            given = np.array([point.velocities for point in points], dtype=np.float64)[ahead][:, order]
            velocities = np.vstack([velocity, given])
        self._trajectory = Trajectory([now, *times[ahead]], np.vstack([position, positions]), velocities)
        return None

    def _refusal(self, names: Sequence[str], start: int, points: Sequence[TrajectoryPoint], now: int) -> str | None:
        reason = _name_refusal(names, self.joints)
        if reason or not points:
            return reason or "the trajectory has no points"
        with_velocities = len(points[0].velocities) > 0
        before = 0
        for i, point in enumerate(points):
            if point.time_from_start <= before:
                least = "a positive time" if i == 0 else f"a time after point {i - 1}"
                return f"point {i} is at {point.time_from_start / 1e9} s from the start, want {least}"
            before = point.time_from_start
            for what, values, wanted in (
                ("positions", point.positions, len(names)),
                ("velocities", point.velocities, len(names) if with_velocities else 0),
            ):
                if len(values) != wanted:
                    return f"point {i} has {len(values)} {what}, want {wanted}"
                if not np.isfinite(values).all():
                    return f"point {i} has {what} that are not finite: {list(values)}"
        if with_velocities and np.abs(points[-1].velocities).max() > REST:
            return f"the last point's velocities are {list(points[-1].velocities)}, want zeros"
        if start + before <= now:
            return f"the trajectory ended {(now - start - before) / 1e9:.3f} s ago"
        return None


class ForwardController:
    """forward_command_controller: positions in the configured order, held until the next command."""

    def __init__(self, joints: Sequence[str], positions: npt.ArrayLike) -> None:
        self.joints = tuple(joints)
        self.reset(positions)

    def reset(self, positions: npt.ArrayLike) -> None:
        """Hold ``positions`` [N] (rad, m)."""
        self._positions = np.array(positions, dtype=np.float64)

    def desired(self, now: int) -> tuple[Array, Array]:
        """Return the positions [N] last commanded, with zero velocities [N]."""
        return self._positions.copy(), np.zeros(len(self.joints))

    def command(self, values: Sequence[float]) -> str | None:
        """Take positions [N] over, or return the reason why not."""
        if len(values) != len(self.joints):
            return f"{len(values)} values for {len(self.joints)} joints {', '.join(self.joints)}"
        if not np.isfinite(values).all():
            return f"values are not finite: {list(values)}"
        self._positions = np.array(values, dtype=np.float64)
        return None


def _name_refusal(names: Sequence[str], joints: tuple[str, ...]) -> str | None:
    if len(set(names)) != len(names):
        return f"a joint is named twice in {', '.join(names)}"
    missing = [joint for joint in joints if joint not in names]
    unknown = [name for name in names if name not in joints]
    if missing or unknown:
        what = f"joint '{missing[0]}' is missing" if missing else f"joint '{unknown[0]}' is unknown"
        return f"{what}; the controller has {', '.join(joints)}"
    return None
