"""The elbow as a task of the differential inverse kinematics: it turns about the line from shoulder to wrist, and the tip stays.

Its Jacobian is that of the swivel angle, projected into the null space of the tip's (Siciliano and Slotine 1991), so that it has
no say in what moves the tip: an arm of six joints follows it only where a singularity leaves it something to follow with.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pinocchio as pin
from pink import Configuration
from pink.tasks import Task

from vla_ros.arm_shape import Elbow
from vla_ros.errors import KinematicsError, unknown_name

Array = npt.NDArray[np.float64]
COST = 0.05  # [1/rad]
SETTLING = 0.05  # [s] in which it comes 63% nearer
MOST = 0.3  # [rad] of error that counts at once
RANK = 1e-3  # of the largest singular value: smaller ones move the tip by nothing


class ElbowTask(Task):  # type: ignore[misc]
    """joints: names of those at shoulder, elbow and wrist. tip: the frame that must not be disturbed.

    error: what is left of the angle [rad] after the last `compute_error`; None while there is none: nothing is asked for, or
    the arm is straight. Raises KinematicsError for a joint that the model lacks.
    """

    def __init__(self, model: pin.Model, joints: tuple[str, str, str], tip: str) -> None:
        super().__init__(cost=COST)
        names = list(model.names)[1:]
        for name in joints:
            if name not in names:
                raise KinematicsError("arm_joints: " + unknown_name("joint of the arm", name, names))
        self._joints, self._tip = [model.getJointId(name) for name in joints], tip
        self._wanted: float | None = None
        self._start: Elbow | None = None
        self.error: float | None = None

    def begin(self) -> None:
        """Count angles from the next configuration."""
        self._start = self.error = None

    def ask(self, angle: float | None, period: float) -> None:
        """Want the elbow turned by `angle` [rad] since the beginning, `period` [s] after the last time; None: anywhere."""
        self._wanted, self.gain = angle, 1.0 - math.exp(-period / SETTLING)

    def compute_error(self, configuration: Configuration) -> Array:
        """Return by how much the elbow is turned too far [1] [rad]."""
        elbow = self._elbow(configuration)
        if self._start is None:
            self._start = elbow
        if self._start is None or elbow is None or self._wanted is None:
            self.error = None
            return np.zeros(1)
        turned = self._start.turned(elbow)
        self.error = None if turned is None else math.remainder(turned - self._wanted, 2.0 * math.pi)
        return np.clip([self.error or 0.0], -MOST, MOST)

    def compute_jacobian(self, configuration: Configuration) -> Array:
        """Return how the error changes with the joints [1, n], as far as these do not move the tip."""
        elbow, model, data = self._elbow(configuration), configuration.model, configuration.data
        if elbow is None:
            return np.zeros((1, model.nv))
        shoulder, middle, wrist = (
            pin.getJointJacobian(model, data, joint, pin.LOCAL_WORLD_ALIGNED)[:3] for joint in self._joints
        )
        across = np.cross(elbow.axis, elbow.out) / elbow.away
        row = across @ (middle - (1.0 - elbow.share) * shoulder - elbow.share * wrist)
        _, sizes, axes = np.linalg.svd(configuration.get_frame_jacobian(self._tip))
        free = axes[int((sizes > RANK * sizes[0]).sum()) :]
        return np.asarray((row @ free.T) @ free)[None]

    def __repr__(self) -> str:
        """Return it for messages."""
        return f"ElbowTask({self._joints})"

    def _elbow(self, configuration: Configuration) -> Elbow | None:
        return Elbow.of(*(configuration.data.oMi[joint].translation for joint in self._joints))
