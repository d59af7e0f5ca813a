"""A recorded tool path on the simulated arm: through the gate in lockstep, and how far the tool was from the path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import Contract
from vla_ros.errors import SimulationError
from vla_ros.gate import ACTIVE, Gate
from vla_ros.kinematics import Kinematics
from vla_ros.pose import between, distance
from vla_ros.robot import load_urdf
from vla_ros.sim.arm import Arm
from vla_ros.sim.controllers import TrajectoryPoint
from vla_ros.sim.pacing import CONTROL_EVERY, GATE_EVERY, step_time
from vla_ros.sim.tasks import get_task
from vla_ros.sim.world import World

Array = npt.NDArray[np.float64]
BRING, SETTLE = 3.0, 1.0  # [s] in which the arm is brought to the first pose, and stands there before it begins
THERE = 0.02  # [rad, m] of every joint
AHEAD = 16  # poses of a chunk
RUN_UP = 30  # steps in which a motion that begins at full speed is got into, evenly: an arm cannot start with a jerk
SOURCE = "teleop"


@dataclass(frozen=True)
class Replayed:
    """How far the tool was from the path when it should have been at each pose.

    far [m], turned [rad], of the path's poses and of those in the run-up. stopped: what the gate said when it did not go
    on, "" if it did.
    """

    far: Array
    turned: Array
    stopped: str

    def summary(self) -> str:
        """Return the figures as text."""
        mm, degrees = 1e3 * self.far, np.degrees(self.turned)
        rms = [float(np.sqrt(np.mean(values**2))) for values in (mm, degrees)]
        text = (
            f"tool path error rms {rms[0]:.2f} mm, max {mm.max():.2f} mm; {rms[1]:.2f}, max {degrees.max():.2f} degrees"
        )
        return text + (f"; the gate: {self.stopped}" if self.stopped else "")


class Replay:
    """The simulated arm of a contract, on which motions are replayed one after the other."""

    def __init__(self, contract: Contract) -> None:
        self.contract, self.kinematics = contract, Kinematics.of(contract)
        self._world = World(load_urdf(contract.urdf), get_task("reach"), tip=contract.action.tip)
        self._order = [self._world.joint_names.index(name) for name in contract.joint_names]

    def run(self, joints: Array, goals: Array, rate: float) -> Replayed:
        """Replay a motion through n + 1 poses of the tip, `goals` [n + 1, 7] in the robot's root, at `rate` [Hz].

        The arm is brought to the first pose and runs up to the motion's speed along its path.

        joints [n + 1, N]: what reaches them, in the contract's order. Raises SimulationError if the arm cannot be
        brought to the first pose.
        """
        joints, goals = with_run_up(joints, goals)
        self._world.reset(0)
        self._bring_to(joints[0])
        contract, world, dt = self.contract, self._world, 1.0 / rate
        gate = Gate(contract, self.kinematics, GATE_EVERY * world.dt)
        gate.select(SOURCE)
        arm = Arm(world.joint_names, contract.joint_names, world.joint_state()[0])
        begun, offered, stopped = world.steps, -1, ""
        last = round(NANOSECONDS * dt * (len(goals) - 1))
        seen: list[tuple[int, Array]] = []
        values = self._values(joints, goals)
        while not seen or seen[-1][0] < last:
            now = step_time(world.steps - begun)
            seen.append((now, world.tip_pose()))
            if (world.steps - begun) % GATE_EVERY == 0:
                gate.joints(now, world.joint_state()[0][self._order])
                gate.wrench(now, world.wrench())
                row = int(now / NANOSECONDS / dt + 1e-6)
                if row > offered and row + 1 < len(values):
                    gate.offer(SOURCE, self._chunk(values, row, dt), now)
                    offered = row
                stopped = self._command(gate, arm, now) or stopped
            world.set_joint_targets(*arm.desired(now))
            world.step(CONTROL_EVERY)
        return self._compared(seen, goals, dt, stopped)

    def _command(self, gate: Gate, arm: Arm, now: int) -> str:
        """Pass on what the gate sends at `now` [ns]; return why it does not follow, "" when it does."""
        output = gate.step(now)
        if output.command is not None:
            sent = zip(output.command.times, output.command.positions, output.command.velocities, strict=True)
            points = [TrajectoryPoint(int(t) - now, q.tolist(), v.tolist()) for t, q, v in sent]
            refusal = arm.follow(self.contract.joint_names, now, points, now)
            if refusal:
                raise SimulationError(f"the simulated controller refuses a command of the gate: {refusal}")
        return "" if output.state == ACTIVE else f"{output.state}: {output.reason}"

    def _values(self, joints: Array, goals: Array) -> Array:
        """Return the targets [n + 1, D] in the contract's action space."""
        action, states = self.contract.action, self.contract.state.names
        if action.space == "joint_position":
            return joints[:, [states.index(name) for name in action.names]]
        rest = joints[:, [states.index(name) for name in action.names[7:]]]
        return np.concatenate([goals, rest], axis=1)

    def _chunk(self, values: Array, row: int, dt: float) -> ActionChunk:
        action = self.contract.action
        frame = action.frame if action.space == "ee_pose" else ""
        part = values[row + 1 : row + 1 + AHEAD]
        return ActionChunk(part, action.names, action.space, round(row * dt * NANOSECONDS), dt, frame, sequence=row + 1)

    def _bring_to(self, joints: Array) -> None:
        world = self._world
        start, goal = world.joint_state()[0], np.empty(len(self._order))
        goal[self._order] = joints
        steps = round(BRING / world.dt)
        for step in range(0, steps + round(SETTLE / world.dt), CONTROL_EVERY):
            share = min(1.0, step / steps)
            world.set_joint_targets(start + share * (goal - start))
            world.step(CONTROL_EVERY)
        off = np.abs(world.joint_state()[0] - goal)
        if off.max() > THERE:
            joint = world.joint_names[int(off.argmax())]
            raise SimulationError(
                f"the arm does not get to the first pose: '{joint}' stays {off.max():.3f} away from it"
            )

    @staticmethod
    def _compared(seen: list[tuple[int, Array]], goals: Array, dt: float, stopped: str) -> Replayed:
        times = np.array([t for t, _ in seen])
        tips = []
        for row in range(len(goals)):
            t = round(row * dt * NANOSECONDS)
            after = min(max(1, int(np.searchsorted(times, t))), len(seen) - 1)
            (t0, before), (t1, later) = seen[after - 1], seen[after]
            tips.append(between(before, later, min(1.0, max(0.0, (t - t0) / (t1 - t0)))))
        far, turned = distance(np.array(tips), goals)
        return Replayed(far, turned, stopped)


def with_run_up(joints: Array, goals: Array) -> tuple[Array, Array]:
    """Return joints and poses on the same path whose first `RUN_UP` steps lead evenly from rest to its speed."""
    steps = np.arange(len(goals) + RUN_UP // 2)
    at = np.where(steps < RUN_UP, steps**2 / (2.0 * RUN_UP), steps - RUN_UP / 2.0).clip(0, len(goals) - 1)
    low = np.minimum(at.astype(int), max(0, len(goals) - 2))
    weights = at - low
    poses = np.array(
        [between(goals[k], goals[min(k + 1, len(goals) - 1)], w) for k, w in zip(low, weights, strict=True)]
    )
    high = np.minimum(low + 1, len(joints) - 1)
    return (1.0 - weights[:, None]) * joints[low] + weights[:, None] * joints[high], poses
