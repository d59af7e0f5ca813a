"""Keeping the tip inside the workspace box, in joint space."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.kinematics import Kinematics
from vla_ros.limits import MotionLimits, Setpoint

FloatArray = npt.NDArray[np.float64]
TOLERANCE = 1e-3  # [m] how far outside a checked point may lie; between checked points 1 mm more is possible
CHECKED = 4  # points of a braking path, besides its start


class WorkspaceGuard:
    """Decides whether a setpoint may be sent: the tip must be inside the box there and all along its braking
    path.

    box: ((x_lo, x_hi), (y_lo, y_hi), (z_lo, z_hi)) in the kinematics' root frame [m]; None permits
    everything. A tip that starts outside may move, but not further out. Of a robot of several arms all tips are watched.
    """

    def __init__(
        self, kinematics: Kinematics, limits: MotionLimits, box: tuple[tuple[float, float], ...] | None
    ) -> None:
        self._kinematics, self._limits = kinematics, limits
        self._box: FloatArray | None = None if box is None else np.array(box, dtype=np.float64)  # [3, 2]

    def outside(self, q: FloatArray) -> float:
        """Return how far outside the box the tip is [m], 0 inside; of several, the one that is furthest out."""
        return max(self._tip_outside(arm, q) for arm in self._kinematics.arms)

    def permits(self, before: Setpoint, after: Setpoint) -> bool:
        """Return whether the setpoint `after` may follow `before`."""
        if self._box is None:
            return True
        path = [after.position, *self._limits.braking_positions(after, CHECKED)]
        for arm in self._kinematics.arms:  # each by itself: one that is outside does not let another out
            worst = max(self._tip_outside(arm, q) for q in path)
            if worst > TOLERANCE and worst > self._tip_outside(arm, before.position):
                return False
        return True

    def clamp(self, pose: FloatArray) -> FloatArray:
        """Return `pose` [7] with its position moved into the box."""
        if self._box is None:
            return pose
        return np.concatenate([np.clip(pose[:3], self._box[:, 0], self._box[:, 1]), pose[3:]])

    def pull_in(self, q: FloatArray) -> FloatArray:
        """Return the target `q` [N], changed so that the tip is at the nearest point of the box if it was
        outside.
        """
        for arm in self._kinematics.arms:
            if self._tip_outside(arm, q) > 0.0:
                q = arm.step_towards(q, self.clamp(arm.pose(q)), 1.0)
        return q

    def _tip_outside(self, arm: Kinematics, q: FloatArray) -> float:
        if self._box is None:
            return 0.0
        tip = arm.forward(q)[:3, 3]
        return max(0.0, float(np.maximum(self._box[:, 0] - tip, tip - self._box[:, 1]).max()))
