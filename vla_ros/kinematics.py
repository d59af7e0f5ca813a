"""Where the tip is, and how the joints must move to bring it elsewhere (on Pinocchio).

Damped least squares (Nakamura and Hanafusa 1986; Wampler 1986) on the body-frame pose error
log6(T_base_tip^-1 T_base_goal), as in Pinocchio's inverse kinematics example.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pinocchio as pin

from vla_ros.contract import Contract, check_joints
from vla_ros.errors import ContractError, KinematicsError, unknown_name
from vla_ros.robot import load_urdf, movable_joints

Array = npt.NDArray[np.float64]
DAMPING = 1e-3  # of the normal equations
ANGLE_WEIGHT = 0.3  # [m/rad] an orientation error of 1 rad weighs as much as 0.3 m
SUBSTEPS = 4  # least squares steps inside one bounded step


class Kinematics:
    """A chain from the URDF's root to `tip`, over the joints `joint_names` in that order.

    A joint that does not move the tip (a gripper) may be among them and is passed through unchanged.
    `lower`, `upper` [rad or m], `velocity` [rad/s or m/s] and `effort` [Nm or N] are the URDF's limits.
    Poses are [x y z qx qy qz qw] of the tip in the root frame. other_tips: of the robot's other arms; `arms` has a chain to each.
    """

    def __init__(
        self, urdf_xml: str, joint_names: Sequence[str], tip: str = "tool0", other_tips: Sequence[str] = ()
    ) -> None:
        try:
            full = pin.buildModelFromXML(urdf_xml)
        except (ValueError, RuntimeError) as error:
            raise KinematicsError(f"Pinocchio cannot read the URDF: {str(error).splitlines()[0]}") from error
        known = list(full.names)[1:]
        for name in joint_names:
            if name not in known:
                raise KinematicsError("URDF: " + unknown_name("joint", name, known))
            if full.joints[full.getJointId(name)].nq != 1:
                raise KinematicsError(
                    f"URDF: joint '{name}' is continuous, or of several degrees; want revolute with limits, or prismatic"
                )
        frames = [frame.name for frame in full.frames]
        if tip not in frames:
            raise KinematicsError("URDF: " + unknown_name("tip frame", tip, frames))
        self.joint_names, self.tip, self.root = tuple(joint_names), tip, frames[1]  # after Pinocchio's "universe"
        self._index = [full.joints[full.getJointId(name)].idx_q for name in joint_names]
        self.lower: Array = full.lowerPositionLimit[self._index].copy()
        self.upper: Array = full.upperPositionLimit[self._index].copy()
        self.velocity: Array = full.velocityLimit[self._index].copy()
        self.effort: Array = full.effortLimit[self._index].copy()
        self._keep_chain(full)
        home = np.clip(np.zeros(len(joint_names)), self.lower, self.upper)
        self._home_quaternion = self._quaternion(self.forward(home))
        self.arms: tuple[Kinematics, ...] = (self, *(Kinematics(urdf_xml, joint_names, other) for other in other_tips))

    @classmethod
    def of(cls, contract: Contract) -> Kinematics:
        """Return the kinematics of the contract's robot. Raises ContractError when the robot lacks one of its joints, or has
        another root than the frame of its actions.
        """
        if contract.robot_free:
            raise ContractError(f"{contract.source}: has no robot: its actions follow '{contract.action.follows}'")
        urdf = load_urdf(contract.urdf)
        check_joints(contract, movable_joints(urdf))
        made = cls(urdf, contract.joint_names, contract.action.tip, contract.action.other_tips)
        if contract.action.frame != made.root:
            raise ContractError(
                f"{contract.source}: action.frame is '{contract.action.frame}', want '{made.root}', the URDF's root link: poses "
                "and workspace are in it"
            )
        return made

    @property
    def tip_joints(self) -> tuple[str, ...]:
        """Those of `joint_names` that move a tip; the others are grippers and the like."""
        moving = {i for arm in self.arms for i in arm._chain}
        return tuple(self.joint_names[i] for i in sorted(moving))

    def forward(self, q: npt.ArrayLike) -> Array:
        """Return T_root_tip, 4 x 4, at the joint positions `q` [N]."""
        pin.forwardKinematics(self._model, self._data, self._chain_q(self._checked(q)))
        placement = pin.updateFramePlacement(self._model, self._data, self._frame)
        return np.array(placement.homogeneous)

    def pose(self, q: npt.ArrayLike) -> Array:
        """Return the tip's pose [7] at `q` [N].

        Of the two quaternions of a rotation it is the one on the side of the home pose (all joints zero), so
        it varies continuously unless the tip is turned by more than half a turn from there.
        """
        transform = self.forward(q)
        quaternion = self._quaternion(transform)
        if quaternion @ self._home_quaternion < 0:
            quaternion = -quaternion
        return np.concatenate([transform[:3, 3], quaternion])

    def torques(self, q: npt.ArrayLike, wrench: npt.ArrayLike) -> dict[str, float]:
        """Return the torques [Nm] by joint of the chain that a wrench [6] (N, Nm), in the tip's frame, exerts at `q` [N]."""
        at = self._chain_q(self._checked(q))
        jacobian = pin.computeFrameJacobian(self._model, self._data, at, self._frame, pin.LOCAL)[:, self._order]
        found = jacobian.T @ np.asarray(wrench, dtype=np.float64)
        return dict(zip((self.joint_names[i] for i in self._chain), found.tolist(), strict=True))

    def step_towards(self, q: npt.ArrayLike, pose: npt.ArrayLike, max_step: float | npt.ArrayLike) -> Array:
        """Return joints [N] nearer to `pose` [7], within `max_step` [rad] of `q` and inside the limits.

        The step keeps its direction when it is shortened, so that the tip moves towards the goal. Joints that
        start outside their limits are brought back no faster than that.
        """
        start = self._checked(q)
        goal = self._goal(pose)
        bound = np.broadcast_to(np.asarray(max_step, dtype=np.float64), start.shape)
        if not (bound > 0).all():
            raise KinematicsError(f"max_step {np.asarray(max_step).tolist()} must be positive")
        now = np.clip(start, self.lower, self.upper)
        for _ in range(SUBSTEPS):
            now = np.clip(now + self._least_squares(now, goal), self.lower, self.upper)
        excess = float(np.max(np.abs(now - start) / bound))
        if excess > 1:
            now = start + (now - start) / excess
        return np.clip(now, np.minimum(start, self.lower), np.maximum(start, self.upper))

    def solve(
        self,
        pose: npt.ArrayLike,
        q0: npt.ArrayLike,
        tolerance: float = 1e-4,
        angle_tolerance: float = 1e-3,
        iterations: int = 200,
    ) -> Array:
        """Return joint positions [N] near `q0` that bring the tip to `pose` [7].

        `tolerance` [m] and `angle_tolerance` [rad] bound what is left. Raises KinematicsError, saying by how
        much it misses, when the pose is out of reach.
        """
        q, goal = np.clip(self._checked(q0), self.lower, self.upper), self._goal(pose)
        error = self._error(q, goal)
        for _ in range(iterations):
            if np.linalg.norm(error[:3]) < tolerance and np.linalg.norm(error[3:]) < angle_tolerance:
                return q
            step = self._least_squares(q, goal)
            q = np.clip(q + step / max(1.0, float(np.abs(step).max()) / 0.3), self.lower, self.upper)
            error = self._error(q, goal)
        missing = f"{1000 * np.linalg.norm(error[:3]):.1f} mm and {np.linalg.norm(error[3:]):.3f} rad"
        where = np.round(np.asarray(pose, dtype=np.float64), 3).tolist()
        raise KinematicsError(f"'{self.tip}' cannot reach the pose {where}: the nearest try misses by {missing}")

    def _keep_chain(self, full: pin.Model) -> None:
        """Freeze every joint that is not in `joint_names` or does not move the tip."""
        supports = set(full.supports[full.frames[full.getFrameId(self.tip)].parentJoint])
        self._chain = [i for i, name in enumerate(self.joint_names) if full.getJointId(name) in supports]
        moving = {self.joint_names[i] for i in self._chain}
        if not moving:
            raise KinematicsError(f"none of the joints {', '.join(self.joint_names)} moves '{self.tip}'")
        frozen = [full.getJointId(name) for name in list(full.names)[1:] if name not in moving]
        self._model = pin.buildReducedModel(full, frozen, pin.neutral(full))
        self._data = self._model.createData()
        self._frame = self._model.getFrameId(self.tip)
        order = [self._model.joints[self._model.getJointId(self.joint_names[i])].idx_q for i in self._chain]
        self._order = np.array(order)  # position in Pinocchio's vector of each chain joint

    def _least_squares(self, q: Array, goal: pin.SE3) -> Array:
        """Return the damped step [N] towards the goal; joints that push against a limit take no part."""
        weights = np.array([1.0] * 3 + [ANGLE_WEIGHT] * 3)
        error = self._error(q, goal)
        jacobian = pin.computeFrameJacobian(self._model, self._data, self._chain_q(q), self._frame, pin.LOCAL)
        jacobian = (pin.Jlog6(self._error_placement.inverse()) @ jacobian)[:, self._order] * weights[:, None]
        chain, lower, upper = q[self._chain], self.lower[self._chain], self.upper[self._chain]
        free = np.ones(len(self._chain), dtype=bool)
        step = np.zeros(len(self._chain))
        for _ in range(len(self._chain)):
            active = jacobian[:, free]
            normal = active.T @ active + DAMPING * np.eye(int(free.sum())) * float(error @ error + 1e-6)
            step[:] = 0.0
            step[free] = np.linalg.solve(normal, active.T @ (weights * error))
            outward = ((chain <= lower) & (step < 0)) | ((chain >= upper) & (step > 0))
            blocked = free & outward
            if not blocked.any():
                break
            free &= ~blocked
        whole = np.zeros(len(self.joint_names))
        whole[self._chain] = step
        return whole

    def _error(self, q: Array, goal: pin.SE3) -> Array:
        """Return the twist [6] (m, rad) that brings the tip to the goal, in the tip's frame."""
        pin.forwardKinematics(self._model, self._data, self._chain_q(q))
        self._error_placement = pin.updateFramePlacement(self._model, self._data, self._frame).actInv(goal)
        return np.array(pin.log6(self._error_placement).vector)

    def _chain_q(self, q: Array) -> Array:
        chain = np.zeros(self._model.nq)
        chain[self._order] = q[self._chain]
        return chain

    def _goal(self, pose: npt.ArrayLike) -> pin.SE3:
        values = np.asarray(pose, dtype=np.float64)
        if values.shape != (7,) or not np.isfinite(values).all():
            raise KinematicsError(f"pose {values.tolist()} must be seven finite numbers: x y z qx qy qz qw")
        norm = np.linalg.norm(values[3:])
        if not 0.5 < norm < 2.0:
            raise KinematicsError(f"quaternion {values[3:].tolist()} has length {norm:.3f}; expected 1")
        return pin.SE3(pin.Quaternion(values[3:] / norm).matrix(), values[:3])

    def _checked(self, q: npt.ArrayLike) -> Array:
        values = np.array(q, dtype=np.float64)
        if values.shape != (len(self.joint_names),) or not np.isfinite(values).all():
            count = len(self.joint_names)
            raise KinematicsError(f"joint positions {values.tolist()} must be {count} finite numbers")
        return values

    @staticmethod
    def _quaternion(transform: Array) -> Array:
        return np.array(pin.Quaternion(transform[:3, :3]).coeffs())


def frame_poses(urdf_xml: str, joint_names: Sequence[str], frame: str, q: npt.ArrayLike) -> Array:
    """Return T_root_frame, [N, 4, 4], of any link at joint positions `q` [N, J]; one, [1, 4, 4], for a link that no joint moves.

    Joints that are not named stay at zero. Raises KinematicsError for a link or joint that the URDF does not have.
    """
    model = pin.buildModelFromXML(urdf_xml)
    frames = [one.name for one in model.frames]
    if frame not in frames:
        raise KinematicsError("URDF: " + unknown_name("frame", frame, frames))
    known = list(model.names)[1:]
    for name in joint_names:
        if name not in known:
            raise KinematicsError("URDF: " + unknown_name("joint", name, known))
    index = [model.joints[model.getJointId(name)].idx_q for name in joint_names]
    data, number = model.createData(), model.getFrameId(frame)
    rows = np.atleast_2d(np.asarray(q, dtype=np.float64))
    if model.frames[number].parentJoint == 0:
        rows = rows[:1]
    found = np.empty((len(rows), 4, 4))
    full = pin.neutral(model)
    for row, values in enumerate(rows):
        full[index] = values
        pin.forwardKinematics(model, data, full)
        found[row] = pin.updateFramePlacement(model, data, number).homogeneous
    return found
