"""How the joints follow a pose of the tip: one quadratic program a step (pink, on Pinocchio).

Tasks are the tip's pose and, weakly, the posture in which the motion began; constraints are the joints' ranges and velocities and
the distances between the links. A distance may shrink by no more than a share of what is left above MARGIN (Faverjon and
Tournassoud 1987), and a step after which links would touch all the same is not made. An arm whose elbow is to follow an
operator's has a third task, which the tip does not feel (`elbow_task`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pinocchio as pin
from pink import Configuration, solve_ik
from pink.exceptions import NoSolutionFound
from pink.limits import ConfigurationLimit, Limit, VelocityLimit
from pink.tasks import FrameTask, PostureTask

from vla_ros.arm_shape import joints_of_arm
from vla_ros.contract import Contract
from vla_ros.elbow_task import ElbowTask
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.self_collision import FLOOR, SelfCollision

Array = npt.NDArray[np.float64]
MARGIN = 0.004  # [m] that links are kept apart
NEARING = 20.0  # [1/s] of the distance above MARGIN
POSITION_COST, ANGLE_COST, POSTURE_COST = 1.0, 0.3, 1e-3  # [1/m], [1/rad], [1/rad]
DAMPING = 1e-3  # Levenberg-Marquardt, grows with the error
SHORTER = (1.0, 0.5, 0.25)  # of a step, tried until no links touch


class DifferentialIk:
    """Steps of the joints of `kinematics` towards poses of its tip.

    urdf_xml: the robot. velocity: bounds [N] (rad/s, m/s). arm: names of the joints at shoulder, elbow and wrist, where
    the elbow is to be led and they are not those of `joints_of_arm`. Raises KinematicsError when the URDF's geometry cannot be
    read, or it has no such joint.
    """

    def __init__(
        self, kinematics: Kinematics, urdf_xml: str, velocity: npt.ArrayLike, arm: tuple[str, str, str] | None = None
    ) -> None:
        names = kinematics.joint_names
        model, geometry = SelfCollision.chain(urdf_xml, kinematics.tip_joints)
        self._chain = np.array([names.index(name) for name in list(model.names)[1:]])  # of each of Pinocchio's joints
        self._lower, self._upper = kinematics.lower, kinematics.upper
        self._velocity = np.asarray(velocity, dtype=np.float64)
        model.velocityLimit = self._velocity[self._chain]
        self.collision = SelfCollision(model, geometry)
        self._configuration = Configuration(model, model.createData(), pin.neutral(model))
        self._tip = FrameTask(kinematics.tip, POSITION_COST, ANGLE_COST, lm_damping=DAMPING)
        self._posture = PostureTask(POSTURE_COST)
        self._model, self._elbow = model, None if arm is None else ElbowTask(model, arm, kinematics.tip)
        self._limits = [ConfigurationLimit(model, 1.0), VelocityLimit(model), _Apart(self.collision)]
        self._begun = False

    @classmethod
    def of(
        cls,
        contract: Contract,
        kinematics: Kinematics,
        velocity: npt.ArrayLike,
        arm: tuple[str, str, str] | None = None,
    ) -> DifferentialIk:
        """Return the one of the contract's robot."""
        return cls(kinematics, load_urdf(contract.urdf), velocity, arm)

    @property
    def elbow_error(self) -> float | None:
        """By how much the elbow was turned too far before the last step [rad]; None where nothing was asked of it."""
        return None if self._elbow is None else self._elbow.error

    def begin(self) -> None:
        """Take the posture of the next step for the one to stay near."""
        self._begun = False

    def step(self, q: npt.ArrayLike, pose: npt.ArrayLike, period: float, swivel: float | None = None) -> Array:
        """Return joints [N] one `period` [s] later, nearer to `pose` [x y z qx qy qz qw] of the tip.

        swivel: by how much the elbow is to be turned since `begin` about the line from shoulder to wrist [rad], as far as the
        tip's pose leaves it free; None: it is not led. Joints that do not move the tip stay. Joints outside their ranges are
        first brought back. Raises KinematicsError for a swivel of an arm of which it is not known which joint is the elbow.
        """
        start = np.array(q, dtype=np.float64)
        most = self._velocity * period
        inside = np.clip(start, self._lower, self._upper)
        back = start + np.clip(inside - start, -most, most)
        if (back != inside).any():
            return back
        goal = np.asarray(pose, dtype=np.float64)
        self._configuration.update(inside[self._chain])
        self._tip.set_target(pin.SE3(pin.Quaternion(goal[3:] / np.linalg.norm(goal[3:])).matrix(), goal[:3]))
        if swivel is not None and self._elbow is None:
            self._elbow = ElbowTask(self._model, joints_of_arm(tuple(self._model.names)[1:]), self._tip.frame)
        if not self._begun:
            self._posture.set_target(inside[self._chain])
            if self._elbow is not None:
                self._elbow.begin()
            self._begun = True
        tasks = [self._tip, self._posture]
        if self._elbow is not None:
            self._elbow.ask(swivel, period)
            tasks.append(self._elbow)
        try:
            moved = solve_ik(self._configuration, tasks, period, "daqp", limits=self._limits, safety_break=False)
        except NoSolutionFound:  # numerically at a corner of the constraints
            return back
        most = most[self._chain]  # which the solver keeps to within its tolerance
        return self._untouched(back, np.clip(moved * period, -most, most))

    def clear(self, q: npt.ArrayLike) -> bool:
        """Return whether no links touch at the joints `q` [N]."""
        return self.collision.distance(np.asarray(q, dtype=np.float64)[self._chain]) >= FLOOR

    def _untouched(self, start: Array, step: Array) -> Array:
        """Return the longest part of the step after which no links touch, or are at least no nearer than before."""
        before: float | None = None
        for share in SHORTER:
            reached = start.copy()
            reached[self._chain] += share * step
            reached = np.clip(reached, self._lower, self._upper)
            after = self.collision.distance(reached[self._chain])
            if after >= FLOOR:
                return reached
            before = self.collision.distance(start[self._chain]) if before is None else before
            if after > before:
                return reached
        return start


class _Apart(Limit):  # type: ignore[misc]
    """Links come near each other no faster than the distance that is left allows."""

    def __init__(self, collision: SelfCollision) -> None:
        self._collision = collision

    def compute_qp_inequalities(self, q: Configuration, dt: float) -> tuple[Array, Array] | None:
        """Return G and h of G dq <= h."""
        distances, slopes = self._collision.rows(q.q, q.data)
        if not len(distances):
            return None
        return -slopes, min(1.0, NEARING * dt) * np.maximum(distances - MARGIN, 0.0)
