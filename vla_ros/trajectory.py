"""Sampling a timed sequence of points, as a joint trajectory controller does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS
from vla_ros.errors import ActionError

FloatArray = npt.NDArray[np.float64]


class Trajectory:
    """N points of D values at strictly increasing times.

    times: absolute times [ns], int64 [N], N >= 1. positions: [N, D] in physical units (rad, m). velocities:
    [N, D] (rad/s, m/s) or None. With velocities the segments are cubic Hermite splines (continuous position
    and velocity, as ros2_controllers' joint_trajectory_controller interpolates); without, straight lines.
    Before the first and after the last point the end points are held with zero velocity.

    Raises ActionError for wrong shapes, values that are not finite, or times that do not increase.
    """

    def __init__(self, times: npt.ArrayLike, positions: npt.ArrayLike, velocities: npt.ArrayLike | None = None) -> None:
        self.times = np.array(times, dtype=np.int64)
        self.positions = np.array(positions, dtype=np.float64)
        self.velocities = None if velocities is None else np.array(velocities, dtype=np.float64)
        self._check()

    def _check(self) -> None:
        n = len(self.times)
        if self.times.ndim != 1 or n == 0 or self.positions.ndim != 2 or len(self.positions) != n:
            raise ActionError(
                f"trajectory has times {list(self.times.shape)} and positions {list(self.positions.shape)}, "
                "want [N] and [N, D], N >= 1"
            )
        if self.velocities is not None and self.velocities.shape != self.positions.shape:
            raise ActionError(
                f"trajectory has velocities {list(self.velocities.shape)}, want {list(self.positions.shape)}"
            )
        steps = np.diff(self.times)
        if n > 1 and steps.min() <= 0:
            index = int(np.argmax(steps <= 0)) + 1
            raise ActionError(f"trajectory point {index} is at {self.times[index]} ns, not after point {index - 1}")
        if not np.isfinite(self.positions).all() or not (self.velocities is None or np.isfinite(self.velocities).all()):
            raise ActionError("trajectory has a position or velocity that is not a finite number")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def end(self) -> int:
        """Time of the last point [ns]."""
        return int(self.times[-1])

    def sample(self, t: int) -> tuple[FloatArray, FloatArray]:
        """Return (position [D], velocity [D]) at time `t` [ns]."""
        after = int(np.searchsorted(self.times, t, side="right"))
        if after == 0:
            return self.positions[0].copy(), np.zeros_like(self.positions[0])
        if after == len(self.times):
            return self.positions[-1].copy(), np.zeros_like(self.positions[-1])
        duration = float(self.times[after] - self.times[after - 1]) / NANOSECONDS
        phase = float(t - self.times[after - 1]) / NANOSECONDS / duration
        p0, p1 = self.positions[after - 1], self.positions[after]
        if self.velocities is None:
            return p0 + phase * (p1 - p0), (p1 - p0) / duration
        return hermite(p0, self.velocities[after - 1], p1, self.velocities[after], duration, phase)


def hermite(
    p0: FloatArray, v0: FloatArray, p1: FloatArray, v1: FloatArray, duration: float, phase: float
) -> tuple[FloatArray, FloatArray]:
    """Return (position, velocity) of the cubic through (p0, v0) and (p1, v1) at `phase` in [0, 1] of
    `duration` [s].
    """
    m0, m1, step = v0 * duration, v1 * duration, p1 - p0
    c2, c3 = 3.0 * step - 2.0 * m0 - m1, m0 + m1 - 2.0 * step
    position = p0 + phase * (m0 + phase * (c2 + phase * c3))
    velocity = (m0 + phase * (2.0 * c2 + phase * 3.0 * c3)) / duration
    return position, velocity
