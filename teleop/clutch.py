"""The clutch: motion counts only while it is held, and engaging it never makes the arm jump.

On engaging, what the device shows is tied to where the arm is at that moment. Poses and, in mode `relative`, joints go on from
there by as much as the hand moves. In mode `lead` the joints' offset to the device shrinks at a bounded speed until it is
gone: leader and follower are led together, and from then on the arm is where the leader is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vla_ros.action import NANOSECONDS
from vla_ros.arm_shape import Elbow
from vla_ros.errors import DeviceError, unknown_name
from vla_ros.teleop.device import TeleopSample

Array = npt.NDArray[np.float64]
Joints = Mapping[str, float]
MODES = ("lead", "relative")
LONGEST_STEP = 0.1  # [s] that one sample of a velocity may count for
PICKED_UP = 0.002  # [m] from the gripper's present opening, at which a trigger takes hold of it


@dataclass(frozen=True)
class ClutchSettings:
    """mode: of joints, one of MODES. approach: speed of leading together [rad/s]. scale: of the hand's motion, of poses,
    velocities and relative joints. led: joints that are led together in either mode, grippers, at the speed grip [m/s].
    leash, swing: how far the goal of a velocity device may be ahead of the arm [m], and turned away from it [rad].
    """

    mode: str = "lead"
    approach: float = 0.3
    scale: float = 1.0
    led: frozenset[str] = frozenset()
    grip: float = 0.1
    leash: float = 0.05
    swing: float = 0.2

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise DeviceError(unknown_name("clutch mode", self.mode, MODES))
        for name in ("approach", "scale", "grip", "leash", "swing"):
            if not getattr(self, name) > 0:
                raise DeviceError(f"clutch: {name} is {getattr(self, name)}, want more than 0")


class Clutch:
    """Turns a device's samples into what the arm is to do. It is open at first; `take` and `release` are the operator's.

    pose_of: the tip's pose [7] at the arm's joints, needed for devices of poses or velocities.
    """

    def __init__(
        self, settings: ClutchSettings | None = None, pose_of: Callable[[Joints], Array] | None = None
    ) -> None:
        self.settings = settings or ClutchSettings()
        self._pose_of = pose_of
        self._held = False
        self._lost = ""  # why it has opened by itself
        self._retaken = False  # by `take`, since it has
        self._shown: bool | None = None  # the device's own clutch, as last seen since the device was lost
        self._tie: _Tie | None = None
        self._slipping = False  # it was tied, and will be again
        self._gripping = False  # before it slipped the gripper's command counted

    @property
    def engaged(self) -> bool:
        """Whether motion counts."""
        return self._tie is not None

    @property
    def held(self) -> bool:
        """Whether the operator holds it and it has not opened by itself since."""
        return self._held and (not self._lost or self._retaken)

    @property
    def let_go(self) -> bool:
        """Whether the operator has it open, whatever the device's own says."""
        return not self._held

    @property
    def lost(self) -> bool:
        """Whether it has opened by itself and has neither been let go nor led again since."""
        return bool(self._lost)

    @property
    def reason(self) -> str:
        """Why motion does not count, '' while it does."""
        if self.engaged or self._slipping:
            return ""
        return f"{self._lost}; take the clutch again" if self._lost else "the clutch is open"

    def slip(self) -> None:
        """Tie device and arm anew with the next sample: somebody else moves the arm, or the device was late."""
        if self._tie is not None:
            self._slipping, self._gripping = True, self._tie.gripping
        self._tie = None

    def take(self) -> None:
        """Hold the clutch; it engages with the next sample in which the device's own is held."""
        self._held, self._retaken = True, True

    def release(self) -> None:
        """Open the clutch."""
        self._held, self._tie, self._lost, self._slipping = False, None, "", False

    def lose(self, why: str) -> None:
        """Open it because the device, or the arm's state, is gone: it has to be taken again, by `take` or on the device."""
        if self._tie is not None or self._slipping:
            self._lost, self._retaken = why, False
        self._tie, self._slipping, self._shown = None, False, None

    def __call__(self, sample: TeleopSample, arm: Joints) -> TeleopSample:
        """Return what the arm is to do, tied to the joints `arm` at which it engages; an open one says "hold".

        A lost device often comes back with its own clutch open: it counts as let go only after it was seen held, and as taken
        again only after it was seen open. Raises DeviceError naming a joint of `arm` that the sample lacks.
        """
        before, self._shown = self._shown, sample.clutch
        if not sample.clutch:
            self._tie, self._slipping = None, False
            self._lost = "" if before else self._lost
        elif self._tie is None and (self.held or (self._held and before is False)):
            self._tie = self._engage(sample, arm)
            self._lost, self._slipping = "", False
        if self._tie is None:
            return replace(sample, clutch=False)
        return self._tie.follow(sample, arm)

    def _engage(self, sample: TeleopSample, arm: Joints) -> _Tie:
        if sample.joints:
            missing = [name for name in arm if name not in sample.joints]
            if missing:
                raise DeviceError("the device's sample: " + unknown_name("joint", missing[0], sample.joints))
            return _JointTie(self.settings, sample, arm)
        if self._pose_of is None:
            raise DeviceError("the device gives no joints: the clutch needs the arm's kinematics")
        return _PoseTie(self.settings, sample, arm, self._pose_of, self._slipping and self._gripping)


class _Tie:
    """What ties device and arm while the clutch is engaged. gripping: whether a command of the gripper counts, if it slips."""

    gripping = False

    def follow(self, sample: TeleopSample, arm: Joints) -> TeleopSample:
        raise NotImplementedError


class _JointTie(_Tie):
    def __init__(self, settings: ClutchSettings, sample: TeleopSample, arm: Joints) -> None:
        self._stamp = sample.stamp
        self._speed = {name: settings.grip if name in settings.led else settings.approach for name in arm}
        led = set(arm) if settings.mode == "lead" else settings.led
        self._scale = {name: 1.0 if name in led else settings.scale for name in arm}
        self._offset = {name: arm[name] - self._scale[name] * sample.joints[name] for name in arm}
        self._led = [name for name in arm if name in led]

    def follow(self, sample: TeleopSample, arm: Joints) -> TeleopSample:
        period = float(np.clip((sample.stamp - self._stamp) / NANOSECONDS, 0.0, LONGEST_STEP))
        self._stamp = sample.stamp
        for name in self._led:
            offset = self._offset[name]
            self._offset[name] = float(np.sign(offset)) * max(abs(offset) - self._speed[name] * period, 0.0)
        return replace(
            sample, joints={name: self._scale[name] * sample.joints[name] + self._offset[name] for name in self._offset}
        )


class _PoseTie(_Tie):
    """Poses relative to the moment of engagement, or velocities summed up from there; the gripper [m] is led together.

    With velocities a command that the gripper already has on engagement counts once it passes the present opening, which keeps
    what the gripper holds. picked: it counts at once.
    """

    def __init__(
        self,
        settings: ClutchSettings,
        sample: TeleopSample,
        arm: Joints,
        pose_of: Callable[[Joints], Array],
        picked: bool,
    ) -> None:
        self._settings, self._pose_of, self._stamp = settings, pose_of, sample.stamp
        self._start = sample.pose
        self._goal = self._arm = pose_of(arm)
        self._gripper = next((arm[name] for name in arm if name in settings.led), None)
        self._told = sample.gripper
        self._picked = picked or sample.twist is None or sample.gripper is None
        self._elbow: Elbow | None = None  # the operator's, when it was first seen
        self._swivel: float | None = None

    def follow(self, sample: TeleopSample, arm: Joints) -> TeleopSample:
        period = float(np.clip((sample.stamp - self._stamp) / NANOSECONDS, 0.0, LONGEST_STEP))
        self._stamp = sample.stamp
        self.gripping = self._picked and (self.gripping or period > 0.0)  # a tie of one sample: another has the arm
        if sample.pose is not None and self._start is not None:
            self._goal = self._moved(sample.pose, self._start)
        elif sample.twist is not None:
            self._goal = self._driven(sample.twist, period, self._pose_of(arm))
        if self._gripper is not None and sample.gripper is not None:
            self._gripper += self._gripped(self._gripper, sample.gripper, self._settings.grip * period)
        swivel = self._swivelled(sample.arm)
        return replace(sample, pose=self._goal.copy(), gripper=self._gripper, twist=None, swivel=swivel)

    def _gripped(self, opening: float, told: float, step: float) -> float:
        """Return by how much the gripper goes from `opening` towards `told`, `step` at the most [m]."""
        if not self._picked:
            before = told if self._told is None else self._told
            self._picked = abs(told - opening) <= PICKED_UP or (told - opening) * (before - opening) < 0.0
        return float(np.clip(told - opening, -step, step)) if self._picked else 0.0

    def _swivelled(self, arm: Array | None) -> float | None:
        """Return by how much the elbow has turned [rad], in whole turns too; that of the last time where it is not seen."""
        elbow = None if arm is None else Elbow.of(*arm)
        if elbow is None:
            return self._swivel
        if self._elbow is None:
            self._elbow, self._swivel = elbow, 0.0
        turned = self._elbow.turned(elbow)
        if turned is not None and self._swivel is not None:
            self._swivel += math.remainder(turned - self._swivel, 2.0 * math.pi)
        return self._swivel

    def _moved(self, pose: Array, start: Array) -> Array:
        position = self._arm[:3] + self._settings.scale * (pose[:3] - start[:3])
        turn = Rotation.from_quat(pose[3:]) * Rotation.from_quat(start[3:]).inv()
        return np.concatenate([position, _turned(turn, self._arm[3:])])

    def _driven(self, twist: Array, period: float, at: Array) -> Array:
        scale, leash, swing = self._settings.scale, self._settings.leash, self._settings.swing
        ahead = self._goal[:3] + scale * twist[:3] * period - at[:3]
        distance = float(np.linalg.norm(ahead))
        position = at[:3] + ahead * min(1.0, leash / max(distance, 1e-12))
        if not twist[:3].any():
            position = self._goal[:3]  # at rest the goal stays, however the arm trembles
        if not twist[3:].any():
            return np.concatenate([position, self._goal[3:]])
        if not twist[:3].any():  # a tip that leaves its place cannot turn further
            swing *= max(0.0, 1.0 - float(np.linalg.norm(ahead)) / leash)
        goal, here = Rotation.from_quat(self._goal[3:]), Rotation.from_quat(at[3:])
        away = (Rotation.from_rotvec(twist[3:] * period) * goal * here.inv()).as_rotvec()
        away *= min(1.0, swing / max(float(np.linalg.norm(away)), 1e-12))
        return np.concatenate([position, _turned(Rotation.from_rotvec(away) * here * goal.inv(), self._goal[3:])])


def _turned(turn: Rotation, quaternion: Array) -> Array:
    """Return `turn` after `quaternion`, on the side of `quaternion`."""
    turned = np.asarray((turn * Rotation.from_quat(quaternion)).as_quat())
    return turned if turned @ quaternion >= 0 else -turned
