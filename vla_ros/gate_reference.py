"""From targets in the contract's action space to joint targets, and back from joints to recorded actions."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from vla_ros.chunking import Target
from vla_ros.contract import Contract
from vla_ros.kinematics import Kinematics
from vla_ros.limits import Setpoint
from vla_ros.workspace import WorkspaceGuard

FloatArray = npt.NDArray[np.float64]
REACHED = 1e-3  # [m] the pose is met closely enough to feed its velocity forward
GAIN = 1e-4  # [m] smaller improvements are not worth a move
ANGLE_WEIGHT = 0.3  # [m/rad]
IK_STEP = 0.25  # [rad] how far from the present setpoint the joint target of a pose may lie


class Reference(Protocol):
    """One action space."""

    def prepare(self, values: FloatArray, setpoint: Setpoint | None) -> FloatArray:
        """Return a chunk's checked values [H, D] brought into the bounds and made continuous with the
        setpoint.
        """

    def joints(self, target: Target, q: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the joint target [N] and its velocity [N], seen from the setpoint's positions `q` [N]."""

    def action(self, q: FloatArray) -> FloatArray:
        """Return joint positions `q` [N] as an action [D]."""


def make_reference(contract: Contract, kinematics: Kinematics, guard: WorkspaceGuard, period: float) -> Reference:
    """Return the reference of the contract's action space."""
    if contract.action.space == "ee_pose":
        return PoseReference(contract, kinematics, guard, period)
    return JointReference(contract, kinematics, guard)


class JointReference:
    """Space ``joint_position``: joints that the action does not name stay where they are."""

    def __init__(self, contract: Contract, kinematics: Kinematics, guard: WorkspaceGuard) -> None:
        self._columns = [contract.state.names.index(name) for name in contract.action.names]
        self._lower, self._upper = kinematics.lower[self._columns], kinematics.upper[self._columns]
        self._guard = guard

    def prepare(self, values: FloatArray, setpoint: Setpoint | None) -> FloatArray:
        """Return `values` inside the joint ranges, so that a target at a limit has no velocity into it."""
        return np.clip(values, self._lower, self._upper)

    def joints(self, target: Target, q: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the target itself, pulled into the workspace when its tip is outside."""
        position, velocity = q.copy(), np.zeros_like(q)
        position[self._columns], velocity[self._columns] = target.values, target.velocities
        inside = self._guard.pull_in(position)
        return inside, velocity if inside is position else np.zeros_like(velocity)

    def action(self, q: FloatArray) -> FloatArray:
        """Return the named joints' positions."""
        return q[self._columns]


class PoseReference:
    """Space ``ee_pose``: the tip's pose by bounded inverse kinematics from the setpoint; other names are
    joints.
    """

    def __init__(self, contract: Contract, kinematics: Kinematics, guard: WorkspaceGuard, period: float) -> None:
        self._kinematics, self._guard, self._period = kinematics, guard, period
        self._columns = [contract.state.names.index(name) for name in contract.action.names[7:]]
        self._lower, self._upper = kinematics.lower[self._columns], kinematics.upper[self._columns]

    def prepare(self, values: FloatArray, setpoint: Setpoint | None) -> FloatArray:
        """Return `values` inside the workspace and ranges, with quaternions on the side of the setpoint's."""
        values = np.array(values)
        values[:, :7] = [self._guard.clamp(pose) for pose in values[:, :7]]
        values[:, 7:] = np.clip(values[:, 7:], self._lower, self._upper)
        if setpoint is not None and values[0, 3:7] @ self._kinematics.pose(setpoint.position)[3:] < 0:
            values[:, 3:7] *= -1.0
        return values

    def joints(self, target: Target, q: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return joints that bring the tip to, or towards, the pose; the velocity by solving for a period
        later too.
        """
        pose = self._bounded(target.values[:7])
        later = self._bounded(target.values[:7] + self._period * target.velocities[:7])
        position, velocity = self._kinematics.step_towards(q, pose, IK_STEP), np.zeros_like(q)
        if self._miss(position, pose) < REACHED:
            velocity = (self._kinematics.step_towards(position, later, IK_STEP) - position) / self._period
        else:
            position = self._descend(q, position, pose)
        position[self._columns], velocity[self._columns] = target.values[7:], target.velocities[7:]
        return position, velocity

    def action(self, q: FloatArray) -> FloatArray:
        """Return the tip's pose at `q` and the other named joints."""
        return np.concatenate([self._kinematics.pose(q), q[self._columns]])

    def _descend(self, q: FloatArray, goal: FloatArray, pose: FloatArray) -> FloatArray:
        """Return the part of the way from `q` to `goal` that brings the tip nearest to `pose`; `q` if none
        helps.

        Least squares steps to a pose that is far or out of reach overshoot, and would swing about for ever.
        """
        candidates = [q + share * (goal - q) for share in (1.0, 0.5, 0.25, 0.125)]
        misses = [self._miss(candidate, pose) for candidate in candidates]
        best = int(np.argmin(misses))
        return candidates[best] if misses[best] < self._miss(q, pose) - GAIN else q.copy()

    def _miss(self, q: FloatArray, pose: FloatArray) -> float:
        """Return how far the tip at `q` is from `pose` [m]; a rad of rotation counts `ANGLE_WEIGHT` m."""
        transform = self._kinematics.forward(q)
        x, y, z, w = pose[3:]
        goal_z = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
        goal_x = np.array([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)])
        turned = np.linalg.norm(transform[:3, 2] - goal_z) + np.linalg.norm(transform[:3, 0] - goal_x)
        return float(np.linalg.norm(transform[:3, 3] - pose[:3]) + ANGLE_WEIGHT * turned)

    def _bounded(self, pose: FloatArray) -> FloatArray:
        norm = float(np.linalg.norm(pose[3:]))
        # Between opposite quaternions no direction is right; any unit one keeps the numbers finite.
        unit = pose[3:] / norm if norm > 0.01 else np.array([0.0, 0.0, 0.0, 1.0])
        return self._guard.clamp(np.concatenate([pose[:3], unit]))
