"""From a leader's samples to the follower's action chunks: joints are matched by name, never by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import POSITION_SUFFIX, Contract
from vla_ros.errors import DeviceError, unknown_name
from vla_ros.teleop.device import TeleopSample

POSE_VALUES = 7
CONTINUOUS = 2.5  # samples further apart than this many periods say nothing about the leader's velocity


class Forward(Protocol):
    """Forward kinematics; `vla_ros.kinematics.Kinematics` is one."""

    joint_names: tuple[str, ...]

    def pose(self, q: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the tip's pose [7] at joints [N]."""
        ...


class LeaderFollower:
    """Makes a chunk of `points` targets, `period` [s] apart, from each sample.

    The first target is where the leader is, to be reached one period later; the others go on with the
    leader's velocity, so that the gate has a velocity to feed forward and a late next chunk does not stop the
    arm. fastest [rad/s, m/s by joint]: where given, the first target is where the leader will be by then at its
    velocity, which is taken for no more than this, and so are the others.
    kinematics: needed when the contract's actions are poses and the device gives joints. Raises DeviceError
    when the device cannot serve the contract.
    """

    def __init__(
        self,
        contract: Contract,
        kinematics: Forward | None = None,
        period: float | None = None,
        points: int = 3,
        fastest: Mapping[str, float] | None = None,
    ) -> None:
        self._fastest, self._first = fastest or {}, 0 if fastest is None else 1
        self.contract = contract
        self.period = period or 1.0 / contract.rate
        self.points = points
        self._kinematics = kinematics
        self._sequence = 0
        self._last: tuple[int, Mapping[str, float]] | None = None

    def reset(self) -> None:
        """Forget the last sample: the next one has no velocity."""
        self._last = None

    def chunk(self, stamp: int, sample: TeleopSample | None, task: str = "") -> ActionChunk:
        """Return the chunk for `stamp` [ns]; an empty one ("hold") without a sample or with an open clutch.

        Raises DeviceError naming a joint that the device lacks.
        """
        action = self.contract.action
        values = np.zeros((0, len(action.names)))
        if sample is None or not sample.clutch:
            self.reset()
        else:
            values = np.array(self._targets(sample))
        self._sequence += 1
        frame = action.frame if action.space == "ee_pose" else ""
        return ActionChunk(
            values, action.names, action.space, stamp, self.period, frame, task=task, sequence=self._sequence
        )

    def released(self, stamp: int) -> ActionChunk:
        """Return the empty chunk without names for `stamp` [ns]: the operator has let the clutch go."""
        self.reset()
        return ActionChunk(np.zeros((0, 0)), (), self.contract.action.space, stamp, self.period)

    def _targets(self, sample: TeleopSample) -> list[npt.NDArray[np.float64]]:
        if sample.joints:
            return [self._from_joints(joints) for joints in self._ahead(sample)]
        if self.contract.action.space != "ee_pose" or sample.pose is None:
            raise DeviceError(f"the device gives a pose, the contract {self.contract.source} wants joint positions")
        others = {"gripper": sample.gripper} if sample.gripper is not None else {}
        tail = self._by_name(self.contract.action.names[POSE_VALUES:], others)
        return [np.concatenate([sample.pose, tail])] * self.points

    def _ahead(self, sample: TeleopSample) -> list[dict[str, float]]:
        velocity = dict.fromkeys(sample.joints, 0.0)
        if self._last is not None:
            since = (sample.stamp - self._last[0]) / NANOSECONDS
            if 0.0 < since < CONTINUOUS * self.period:
                before = self._last[1]
                velocity = {name: (now - before.get(name, now)) / since for name, now in sample.joints.items()}
        for name, most in self._fastest.items():
            if name in velocity:
                velocity[name] = min(max(velocity[name], -most), most)
        self._last = (sample.stamp, dict(sample.joints))
        return [
            {name: now + velocity[name] * step * self.period for name, now in sample.joints.items()}
            for step in range(self._first, self._first + self.points)
        ]

    def _from_joints(self, joints: Mapping[str, float]) -> npt.NDArray[np.float64]:
        names = self.contract.action.names
        if self.contract.action.space == "joint_position":
            return self._by_name(names, joints)
        if self._kinematics is None:
            raise DeviceError(f"the contract {self.contract.source} wants poses: give the kinematics that make them")
        q = self._by_name([name + POSITION_SUFFIX for name in self._kinematics.joint_names], joints)
        return np.concatenate([self._kinematics.pose(q), self._by_name(names[POSE_VALUES:], joints)])

    def _by_name(self, names: Sequence[str], joints: Mapping[str, float]) -> npt.NDArray[np.float64]:
        wanted = [name.removesuffix(POSITION_SUFFIX) for name in names]
        missing = [name for name in wanted if name not in joints]
        if missing:
            raise DeviceError("the device's sample: " + unknown_name("joint", missing[0], joints))
        return np.array([joints[name] for name in wanted])
