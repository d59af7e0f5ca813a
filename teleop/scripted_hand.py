"""The scripted operator with a device in its hand: an emulated one, read by the driver of the real one.

What the operator wants goes through the device's wire protocol, its driver, the filter, the clutch and the mapping, as a
person's motion does; but at the simulation's times, so that it works in lockstep and a seed gives the same motion again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vla_ros.action import ActionChunk
from vla_ros.contract import Contract
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.hands import EmulatedHand
from vla_ros.teleop.operation import Operation
from vla_ros.teleop.scripted import Operator, ScriptedLeader


class ScriptedHand(ScriptedLeader):
    """A `ScriptedLeader` whose samples are what `hand`'s driver says after the hand was moved."""

    def __init__(self, operator: Operator, kinematics: Kinematics, hand: EmulatedHand, seed: int = 0) -> None:
        super().__init__(operator, kinematics.joint_names, seed)
        self._kinematics, self._hand = kinematics, hand

    def connect(self) -> None:
        """Start the emulated device and its driver."""
        self._hand.connect()

    def close(self) -> None:
        """Let the device go."""
        self._hand.close()

    def arm(self, t: int) -> tuple[int, Mapping[str, float]] | None:
        """Return the arm's measured joints [rad, m] as of `t` [ns], and their stamp; None without any."""
        seen = self._joints.at(t)
        return None if seen is None else (seen[0], dict(zip(self.joint_names, seen[1].tolist(), strict=True)))

    def read(self, now: int) -> TeleopSample | None:
        """Return what the device says at `now` [ns]; None, with `reason`, while the operator cannot decide."""
        wanted = super().read(now)
        if wanted is None:
            return None
        pose = self._kinematics.pose([wanted.joints[name] for name in self.joint_names])
        others = [name for name in self.joint_names if name not in self._kinematics.tip_joints]
        self._hand.move(replace(wanted, pose=pose, gripper=wanted.joints[others[0]] if others else None))
        return replace(self._hand.read(), stamp=now)


class HandOperation:
    """Makes the chunks of a `ScriptedHand` by the path of a person's device."""

    def __init__(
        self, contract: Contract, kinematics: Kinematics, hand: ScriptedHand, period: float, points: int
    ) -> None:
        self._operation = Operation(contract, kinematics, period=period, points=points)
        self._hand, self._held = hand, False

    def chunk(self, t: int, sample: TeleopSample | None, held: bool) -> ActionChunk:
        """Return the chunk for `t` [ns]. sample: what the device says. held: whether the operator has the clutch."""
        taken, self._held = held and not self._held, held
        if not held:
            return self._operation.released(t)
        if taken:
            self._operation.clutch.take()
        if (seen := self._hand.arm(t)) is not None:
            self._operation.see(*seen)
        if sample is None:
            return self._operation.pause(t)
        return self._operation.act(sample, t)

    def reset(self) -> None:
        """Begin anew: time has jumped, or another trial begins."""
        self._operation.released(0)
        self._held = False
