"""How truly the simulated arm does what a tracked hand does, at the simulation's own times, so on however busy a machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vla_ros.contract import load_contract
from vla_ros.emulators.hand import EmulatedHand
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.hands import make_hand
from vla_ros.teleop.operation import Operation

Array = npt.NDArray[np.float64]
AMPLITUDE, SWING = 0.05, 0.15  # [m], [rad] of the hand
PERIOD = 0.01  # [s] between two samples
RESTING = 0.5  # [s] before the hand begins to move
WANTED = 0.005  # [m]


@dataclass(frozen=True)
class Followed:
    """What became of a motion. errors [m] and angles [rad] [N]: of the tip from where the hand is at that instant, both since
    the clutch was taken. told: the error that the operator is told live. step [m]: the largest of the tip while the clutch
    was taken and the hand at rest.
    """

    errors: Array
    angles: Array
    told: str
    step: float

    def text(self, device: str, frequency: float) -> str:
        """Return it for reading."""
        lines = [f"{device}: 100 mm and {math.degrees(2 * SWING):.0f} degrees at {frequency:g} Hz, physics in lockstep"]
        lines.append(f"largest step of the tip while the clutch is taken: {1e3 * self.step:.3f} mm")
        lines.append(f"tip from the hand: {figures(1e3 * self.errors)} mm (want {1e3 * WANTED:g} mm at most)")
        lines.append(f"in angle:          {figures(np.degrees(self.angles))} degrees")
        lines.append(f"told the operator: {self.told} mm between what is asked for and what the joints give")
        return "\n".join(lines)

    @property
    def good(self) -> bool:
        """Whether it is as truly as is wanted."""
        return bool(self.errors.max() < WANTED)


def follow(device: str, contract: str = "tabletop_arm", seconds: float = 10.0, frequency: float = 0.2) -> Followed:
    """Lead the physics with an emulated tracker (`vla_ros.teleop.hands`): wire protocol, driver, filter, clutch, inverse
    kinematics, servos. The gate has no part in it. frequency: of the hand [Hz]. Raises DeviceError for an unknown device.
    """
    from vla_ros.sim.tasks import get_task
    from vla_ros.sim.world import World

    bound = load_contract(contract)
    kinematics, hand = (
        Kinematics.of(bound),
        EmulatedHand(began=0, amplitude=AMPLITUDE, swing=SWING, frequency=frequency),
    )
    world = World(load_urdf(bound.urdf), get_task("reach"), tip=bound.action.tip)
    world.reset(0)
    order = [bound.joint_names.index(name) for name in world.joint_names]
    names, period = bound.joint_names, round(PERIOD * 1e9)
    operation, tracker = Operation(bound, kinematics, period=PERIOD), make_hand(device, kinematics)
    tracker.connect()
    try:
        operation.clutch.take()
        poses: list[Array] = []
        wanted: list[Array] = []
        sent = dict(zip(world.joint_names, world.joint_state()[0].tolist(), strict=True))
        steps = round(PERIOD / world.dt)
        for tick in range(math.ceil((RESTING + seconds) / PERIOD)):
            now = (tick + 1) * period
            at = hand.at(max(0, now - round(RESTING * 1e9)))
            operation.see(now, sent)
            tracker.move(TeleopSample(now, pose=at, gripper=sent[names[-1]]))
            said = tracker.read()
            chunk = operation.act(TeleopSample(now, pose=said.pose, gripper=said.gripper))
            sent = dict(zip(names, chunk.values[0].tolist(), strict=True))
            speed = (chunk.values[1] - chunk.values[0]) / PERIOD
            world.set_joint_targets(chunk.values[0][order], speed[order])
            world.step(steps)
            joints = dict(zip(world.joint_names, world.joint_state()[0].tolist(), strict=True))
            poses.append(kinematics.pose([joints[name] for name in kinematics.joint_names]))
            wanted.append(hand.at(max(0, now + period - round(RESTING * 1e9))))  # physics has gone on by a period
    finally:
        tracker.close()
    return _judged(np.array(poses), np.array(wanted), operation.retargeting.summary()["retargeting_error_mm"])


def figures(values: Array) -> str:
    """Return p50, p99 and maximum of errors [N]."""
    return f"p50 {np.percentile(values, 50):.2f}, p99 {np.percentile(values, 99):.2f}, max {values.max():.2f}"


def _judged(poses: Array, wanted: Array, told: str) -> Followed:
    rest = round(RESTING / PERIOD) - 1
    moved, asked = poses[:, :3] - poses[rest, :3], wanted[:, :3] - wanted[rest, :3]
    errors = np.linalg.norm(moved - asked, axis=1)[rest:]
    turned = Rotation.from_quat(poses[:, 3:]) * Rotation.from_quat(poses[rest, 3:]).inv()
    meant = Rotation.from_quat(wanted[:, 3:]) * Rotation.from_quat(wanted[rest, 3:]).inv()
    angles = (meant.inv() * turned).magnitude()[rest:]
    step = np.linalg.norm(np.diff(poses[: rest + 1, :3], axis=0), axis=1).max()
    return Followed(errors, angles, told, float(step))
