"""The one path from a device to the gate: a sample is smoothed, tied to the arm by the clutch, mapped, and made a chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import POSITION_SUFFIX, Contract
from vla_ros.errors import DeviceError, KinematicsError, unknown_name
from vla_ros.kinematics import Kinematics
from vla_ros.limits import motion_limits
from vla_ros.pose import IDENTITY, distance, same_side
from vla_ros.teleop.clutch import Clutch, ClutchSettings
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.filters import BACK, OneEuro, Slack
from vla_ros.teleop.leader_follower import LeaderFollower
from vla_ros.teleop.retargeting import Retargeting

if TYPE_CHECKING:
    from vla_ros.differential_ik import DifferentialIk

Array = npt.NDArray[np.float64]
FARTHEST = 0.6  # [rad, m] that joints, or [rad] the tip, may be behind the leader before the clutch opens
FARTHEST_TIP = 0.15  # [m] that its tip may be, where the contract wants poses
ARM_STALE = 1.0  # [s] an older state of the arm is none; the gate holds the arm long before


@dataclass(frozen=True)
class OperationSettings:
    """clutch: see there. cutoff [Hz] and beta: of the One-Euro filter, cutoff 0 for none. slack: joint motion [rad, m] that is
    taken for trembling. arm: the robot's joints at shoulder, elbow and wrist, for an elbow that is led; None: by their number.
    """

    clutch: ClutchSettings = field(default_factory=ClutchSettings)
    cutoff: float = 4.0
    beta: float = 20.0
    slack: float = 0.0
    arm: tuple[str, str, str] | None = None


class Operation:
    """Makes chunks of a device's samples. Call `see` with the arm's state, `act` with each sample, `hold` when there is none.

    leader: the leader arm's own kinematics where they are not the follower's; then its tip leads the follower's tip.
    period: between the points of a chunk [s].
    """

    def __init__(
        self,
        contract: Contract,
        kinematics: Kinematics,
        settings: OperationSettings | None = None,
        leader: Kinematics | None = None,
        period: float | None = None,
        points: int = 3,
    ) -> None:
        given = settings or OperationSettings()
        self._contract, self._kinematics, self._leader, self._joints = contract, kinematics, leader, given.arm
        self._poses = contract.action.space == "ee_pose"
        actions = [name.removesuffix(POSITION_SUFFIX) for name in contract.action.names]
        self._moved = contract.joint_names if self._poses else tuple(actions)
        self._led = frozenset(name for name in contract.joint_names if name not in kinematics.tip_joints)
        self.clutch = Clutch(replace(given.clutch, led=self._led), self._pose_of)
        self._most = motion_limits(contract, kinematics, 0.01).velocity
        fastest = dict(zip(contract.joint_names, self._most.tolist(), strict=True))
        self._follower = LeaderFollower(contract, kinematics, period, points, fastest)
        self._euro = OneEuro(given.cutoff, given.beta) if given.cutoff > 0 else None
        self._slack = Slack(given.slack) if given.slack > 0 else None
        self._arm: dict[str, float] = {}
        self._seen = 0
        self._missing = ""  # why no sample can move the arm
        self._stamp: int | None = None  # of the last sample
        self._pose = IDENTITY  # of the last sample of a pose
        self._q: Array | None = None  # the joints last asked for by way of a pose
        self._solved = 0
        self._ik: DifferentialIk | None = None
        self.retargeting = Retargeting()

    def see(self, stamp: int, positions: Mapping[str, float]) -> None:
        """Take where the arm is, or is sent by the gate, at `stamp` [ns]: joints [rad, m] by name."""
        self._arm, self._seen = dict(positions), stamp

    def arm(self, names: Sequence[str]) -> Array | None:
        """Return where these joints are [N] (rad, m); None before the arm was seen."""
        return np.array([self._arm[name] for name in names]) if self._arm else None

    @property
    def reason(self) -> str:
        """Why motion does not count, '' while it does."""
        return self._missing if self._missing and self.clutch.held else self.clutch.reason

    def act(self, sample: TeleopSample, stamp: int | None = None, task: str = "") -> ActionChunk:
        """Return the chunk for a sample: empty ("hold") while the clutch is open, and without names when it is the operator
        who has opened it. stamp: of the chunk [ns], by default the sample's. Raises DeviceError when the device cannot
        serve the contract.
        """
        at = sample.stamp if stamp is None else stamp
        known = bool(self._arm) and at - self._seen <= ARM_STALE * NANOSECONDS
        self._missing = "" if known else f"no joint states on {self._contract.state.topic}"
        if self._missing:
            return self.hold(at, self._missing)
        self._check_usable(sample)
        if self._stamp is not None and self._stamp - sample.stamp > BACK * NANOSECONDS:
            self.clutch.slip()  # the clock was set back
        self._stamp = sample.stamp
        tied = self.clutch.engaged
        asked = self.clutch(self._smoothed(self._as_pose(sample)), self._arm)
        if not tied:
            self._q = None
        if not asked.clutch:
            self._q = None
            self.retargeting.clear()
            return self._follower.chunk(at, None, task) if self.clutch.lost else self._follower.released(at)
        solved = not asked.joints and not self._poses
        if solved:
            asked = self._solve(asked)
        self._check_distance(asked)
        chunk = self._follower.chunk(at, asked if self.clutch.engaged else None, task)
        return self._untouched(chunk, asked) if solved else chunk

    def pause(self, stamp: int) -> ActionChunk:
        """Return an empty chunk, the device being late: it goes on from where the arm is then. Without names once the operator
        has let the node's clutch go, which needs no device.
        """
        self.clutch.slip()
        rest = self._rest(stamp)
        return self._follower.released(stamp) if self.clutch.let_go else rest

    def hold(self, stamp: int, why: str) -> ActionChunk:
        """Return an empty chunk, as `pause` does, the device or the arm being lost: the clutch has to be taken again."""
        self.clutch.lose(why)
        return self.pause(stamp)

    def released(self, stamp: int) -> ActionChunk:
        """Return the empty chunk without names, the operator having let the clutch go."""
        self.clutch.release()
        return self.pause(stamp)

    def _rest(self, stamp: int) -> ActionChunk:
        self._q = None
        self.retargeting.clear()
        for part in (self._euro, self._slack):
            if part is not None:
                part.reset()
        return self._follower.chunk(stamp, None)

    def _check_usable(self, sample: TeleopSample) -> None:
        """Raise DeviceError naming what is no number, or a joint that has gone since the clutch engaged."""
        numbers = {**sample.joints, "pose": sample.pose, "twist": sample.twist, "gripper": sample.gripper}
        for name, value in numbers.items():
            if value is not None and not np.isfinite(value).all():
                odd = next(number for number in np.ravel(value) if not np.isfinite(number))
                raise DeviceError(f"the device's sample: '{name}' is {odd:g}")
        if sample.joints and self._leader is None and self.clutch.engaged:
            gone = next((name for name in self._arm if name not in sample.joints), None)
            if gone is not None:
                raise DeviceError("the device's sample: " + unknown_name("joint", gone, sample.joints))

    def _as_pose(self, sample: TeleopSample) -> TeleopSample:
        """Return a leader arm of other kinematics as the pose of its tip."""
        if self._leader is None or not sample.joints:
            return sample
        names = self._leader.joint_names
        for name in names:
            if name not in sample.joints:
                raise DeviceError("the device's sample: " + unknown_name("joint", name, sample.joints))
        gripper = next((sample.joints[name] for name in sorted(self._led) if name in sample.joints), None)
        pose = self._leader.pose([sample.joints[name] for name in names])
        return replace(sample, joints={}, pose=pose, gripper=gripper)

    def _smoothed(self, sample: TeleopSample) -> TeleopSample:
        if sample.joints:
            names = list(sample.joints)
            values = np.array([sample.joints[name] for name in names])
            if self._slack is not None:
                values = self._slack(values)
            if self._euro is not None:
                values = self._euro(sample.stamp, values)
            return replace(sample, joints=dict(zip(names, values.tolist(), strict=True)))
        if sample.pose is not None and self._euro is not None:
            self._pose = same_side(sample.pose, self._pose)
            pose = self._euro(sample.stamp, self._pose)
            return replace(sample, pose=np.concatenate([pose[:3], pose[3:] / np.linalg.norm(pose[3:])]))
        return sample

    def _pose_of(self, joints: Mapping[str, float]) -> Array:
        return self._kinematics.pose([joints[name] for name in self._kinematics.joint_names])

    def expect_poses(self) -> None:
        """Prepare for a device of poses or velocities now, not at its first sample: that takes seconds."""
        self._inverse()

    def _inverse(self) -> DifferentialIk:
        if len(self._kinematics.arms) > 1:
            raise DeviceError("the device gives a pose of one tip, the robot has several arms: lead it joint by joint")
        if self._ik is None:
            from vla_ros.differential_ik import DifferentialIk

            self._ik = DifferentialIk.of(self._contract, self._kinematics, self._most, self._joints)
        return self._ik

    def _solve(self, asked: TeleopSample) -> TeleopSample:
        """Return the joints that bring the tip nearer to the asked pose, no faster than the contract allows."""
        names, ik = self._kinematics.joint_names, self._inverse()
        if self._q is None:
            self._q, self._solved = np.array([self._arm[name] for name in names]), asked.stamp
            ik.begin()
        period = float(np.clip((asked.stamp - self._solved) / NANOSECONDS, 1e-3, 0.1))
        self._solved = asked.stamp
        try:
            self._q = ik.step(self._q, np.asarray(asked.pose), period, asked.swivel)
        except KinematicsError as error:
            raise DeviceError(f"the elbow cannot be led: {error}") from None
        self.retargeting.take(np.asarray(asked.pose), self._kinematics.pose(self._q), ik.elbow_error)
        joints = dict(zip(names, self._q.tolist(), strict=True))
        if asked.gripper is not None:
            joints |= dict.fromkeys(self._led, asked.gripper)
        return replace(asked, joints=joints, pose=None)

    def _untouched(self, chunk: ActionChunk, asked: TeleopSample) -> ActionChunk:
        """Return the chunk with the arm standing still before links would touch: its targets go on with the last velocity."""
        values, ik, names = chunk.values.copy(), self._inverse(), self._kinematics.joint_names
        columns = [names.index(name) for name in self._moved]
        joints = np.array([asked.joints[name] for name in names])
        last = joints[columns]
        for row, target in enumerate(values):
            joints[columns] = target
            if not ik.clear(joints):
                values[row:] = last
                return replace(chunk, values=values)
            last = target
        return chunk

    def _check_distance(self, asked: TeleopSample) -> None:
        """Open the clutch when the arm does not come along: it would dash after its leader once it could."""
        if self._poses and not asked.joints and asked.pose is not None:
            far, turned = map(float, distance(self._pose_of(self._arm), asked.pose))
            if far > FARTHEST_TIP or turned > FARTHEST:
                away_by = f"{far:.2f} m" if far > FARTHEST_TIP else f"{turned:.2f} rad"
                self.clutch.lose(f"the arm is {away_by} behind its leader")
            return
        for name in self._moved:
            if name in asked.joints and (away := abs(asked.joints[name] - self._arm[name])) > FARTHEST:
                self.clutch.lose(f"the arm is {away:.2f} behind its leader at '{name}'")
                return
