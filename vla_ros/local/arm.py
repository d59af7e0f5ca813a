"""The simulated arm behind its gate, advanced tick by tick, and what its sensors say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import Contract, StreamSpec
from vla_ros.errors import ContractError
from vla_ros.gate import ESTOP, Gate
from vla_ros.gate_output import GateOutput
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.sim.arm import Arm
from vla_ros.sim.controllers import TrajectoryPoint
from vla_ros.sim.pacing import CAMERA_EVERY, CONTROL_EVERY, GATE_EVERY, step_time
from vla_ros.sim.tasks import Scene, get_task
from vla_ros.sim.world import World

Sample = Callable[[str, int, Any], object]  # key of a stream, stamp [ns], value as an aligner takes it
PICTURE = (240, 320)  # [px] height and width, for a contract without cameras


class GatedArm:
    """A world of `task`, its controllers, and the gate before them. Times are [ns] since the reset.

    sample: gets each sample of the contract's streams when it is due. looks: whether somebody looks at the cameras at an
    instant [ns]; pictures are drawn only then. Raises ContractError for a stream that the simulated arm does not have.
    """

    def __init__(self, contract: Contract, task: str, sample: Sample, looks: Callable[[int], bool]) -> None:
        self.contract, self._sample, self._looks = contract, sample, looks
        shapes = [stream.shape[:2] for stream in contract.streams("image", "depth")]
        height, width = shapes[0] if shapes else PICTURE
        self.world = World(load_urdf(contract.urdf), get_task(task), width, height, contract.action.tip)
        self.kinematics = Kinematics.of(contract)
        self._order = [self.world.joint_names.index(name) for name in contract.joint_names]
        readers = {spec.key: self._reader(spec) for spec in contract.streams() if spec.kind != "text"}
        every = {"image": CAMERA_EVERY, "depth": CAMERA_EVERY, "taxels": GATE_EVERY, "pose": GATE_EVERY}
        self._body = [
            (key, every.get(contract.observation[key].kind, CONTROL_EVERY), read) for key, read in readers.items()
        ]
        self._limited = contract.limits.wrench is not None

    def reset(self, seed: int, instruction: str | None = None) -> Scene:
        """Begin the trial of `seed`, with no source selected: publish what is seen at time 0, and let the gate tick once."""
        scene = self.world.reset(seed, instruction)
        self.gate = Gate(self.contract, self.kinematics)
        self._said = -1  # [ns] stamp of what the source said last
        self._arm = Arm(self.world.joint_names, self.contract.joint_names, self.world.joint_state()[0])
        text = next((spec.key for spec in self.contract.streams("text")), None)
        if text is not None:
            self._sample(text, 0, scene.instruction)
        self._publish()
        self._tick()
        return scene

    @property
    def now(self) -> int:
        """Time since the reset [ns]."""
        return step_time(self.world.steps)

    def positions(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the measured joints [N] in the contract's order."""
        return self.world.joint_state()[0][self._order]

    def advance(self, chunk: Callable[[int], ActionChunk | None]) -> GateOutput:
        """Go on to the gate's next tick; return what it says there. The command of the last tick acts meanwhile.

        chunk: returns what the selected source says of this tick [ns], None where it says nothing new.
        """
        for _ in range(GATE_EVERY // CONTROL_EVERY):
            position, velocity = self._arm.desired(self.now)
            self.world.set_joint_targets(position, velocity)
            self.world.step(CONTROL_EVERY)
            self._publish()
        self.hear(chunk(self.now))
        self.gate.confirm(self._said, self.now)
        return self._tick()

    def hear(self, chunk: ActionChunk | None) -> None:
        """Offer the gate what the selected source says now, if it says anything."""
        if chunk is not None:
            self._said = chunk.stamp
            self.gate.offer(self.gate.source, _as_received(chunk), self.now)

    def _tick(self) -> GateOutput:
        now = self.now
        output = self.gate.step(now)
        if output.command is not None:
            self._obey(output)
        return output

    def _obey(self, output: GateOutput) -> None:
        command = output.command
        assert command is not None
        if self.contract.action.command.interface == "forward":
            self._arm.forward(command.positions[0].tolist())
            return
        points = [
            TrajectoryPoint(int(t - output.stamp), p.tolist(), v.tolist())
            for t, p, v in zip(command.times, command.positions, command.velocities, strict=True)
        ]
        self._arm.follow(self.contract.joint_names, output.stamp, points, output.stamp)

    def _publish(self) -> None:
        """Give the gate and the streams what is due at the world's present step."""
        step, now = self.world.steps, self.now
        self.gate.joints(now, self.positions())
        if self._limited:
            self.gate.wrench(now, self.world.wrench().astype(np.float32))
        seen = step % CAMERA_EVERY == 0 and self._looks(now)
        for key, every, read in self._body:
            if step % every == 0 and (every != CAMERA_EVERY or seen):
                self._sample(key, now, read())

    def _reader(self, spec: StreamSpec) -> Callable[[], Any]:
        """Return the function that reads a stream as its message would be decoded."""
        world, name = self.world, spec.key.rsplit(".", 1)[-1]
        if spec.kind == "joints":
            order = [world.joint_names.index(joint.removesuffix(".pos")) for joint in spec.names]
            return lambda: world.joint_state()[0][order]
        if spec.kind == "wrench":
            return lambda: world.wrench().astype(np.float32)
        if spec.kind == "pose":
            return world.tip_pose
        if spec.kind == "taxels" and name in world.pads:
            return lambda: world.taxels(name)
        if spec.kind == "image" and name in world.cameras and not spec.is_tokens:
            return lambda: world.frame(name, depth=False).rgb
        if spec.kind == "depth" and name in world.cameras:
            return lambda: world.frame(name).depth
        raise ContractError(f"{self.contract.source}: the simulated arm has no stream '{spec.key}' of kind {spec.kind}")


def _as_received(chunk: ActionChunk) -> ActionChunk:
    """Return what the gate makes of the chunk's message, whose times are whole nanoseconds and which has no number."""
    if chunk.empty:
        return chunk
    whole = round(len(chunk) * chunk.dt * NANOSECONDS)
    return replace(chunk, dt=float(whole) / len(chunk) / NANOSECONDS, base_state=None, sequence=0)


def stopped(output: GateOutput) -> str:
    """Return why the gate has latched its stop, as its diagnostics tell it; "" when it has not."""
    return f"{output.state}: {output.reason}" if output.state == ESTOP else ""
