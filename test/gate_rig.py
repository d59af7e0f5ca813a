"""A gate on the tabletop arm with perfect motors: what is sent is measured at the next tick."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vla_ros.action import ActionChunk
from vla_ros.chunking import make_executor
from vla_ros.contract import Contract, load_contract
from vla_ros.gate import Gate
from vla_ros.gate_output import Command, GateOutput
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf

S = 1_000_000_000
PERIOD = S // 100
HOME = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.03])


@lru_cache(maxsize=2)
def robot(name: str = "tabletop_arm") -> tuple[Contract, Kinematics]:
    contract = load_contract(name)
    return contract, Kinematics(load_urdf(contract.urdf), contract.joint_names, contract.action.tip)


class GateRig:
    """Steps a gate and keeps everything it sent. `feed` False: the sensors fall silent.

    `follows` False: the motors do not obey.
    """

    def __init__(self, name: str = "tabletop_arm", executor: str = "latest", q: np.ndarray = HOME) -> None:
        self.contract, self.kinematics = robot(name)
        self.gate = Gate(self.contract, self.kinematics, 0.01, make_executor(executor))
        self.now = 0
        self.q = np.array(q)
        self.feed, self.follows = True, True
        self.output: GateOutput | None = None
        self.commands: list[Command] = []

    def tick(self, count: int = 1) -> GateOutput:
        for _ in range(count):
            self.now += PERIOD
            if self.feed:
                self.gate.joints(self.now, self.q)
                self.gate.wrench(self.now, np.zeros(6))
            self.output = self.gate.step(self.now)
            if self.output.command is not None:
                self.commands.append(self.output.command)
                self.q = self.output.command.positions[0] if self.follows else self.q
        assert self.output is not None
        return self.output

    def chunk(self, values: np.ndarray, dt: float = 1 / 30, age: float = 0.0, **changes: object) -> ActionChunk:
        """Return a chunk of the contract's names made `age` seconds ago; values [H, D] or one row [D]."""
        action = self.contract.action
        fields = {
            "values": np.atleast_2d(np.asarray(values, dtype=np.float64)),
            "names": action.names,
            "space": action.space,
            "frame": action.frame if action.space == "ee_pose" else "",
            "stamp": self.now - round(age * S),
            "dt": dt,
        }
        return ActionChunk(**{**fields, **changes})  # type: ignore[arg-type]

    def empty_chunk(self) -> ActionChunk:
        return self.chunk(np.zeros((0, len(self.contract.action.names))))

    def offer(self, values: np.ndarray, source: str = "policy", **changes: object) -> str | None:
        return self.gate.offer(source, self.chunk(values, **changes), self.now)  # type: ignore[arg-type]

    def drive(self, target: np.ndarray, ticks: int, source: str = "policy") -> GateOutput:
        """Tick on with a fresh constant chunk every third tick."""
        for k in range(ticks):
            if k % 3 == 0:
                assert self.offer(np.tile(target, (16, 1)), source) is None
            self.tick()
        assert self.output is not None
        return self.output

    @property
    def positions(self) -> np.ndarray:
        return np.array([command.positions[0] for command in self.commands])

    @property
    def velocities(self) -> np.ndarray:
        return np.array([command.velocities[0] for command in self.commands])


def moved(q: np.ndarray, **offsets: float) -> np.ndarray:
    """Return `q` with joints of the tabletop arm moved by name."""
    result = np.array(q)
    for joint, offset in offsets.items():
        result[robot()[0].joint_names.index(joint)] += offset
    return result


def moving(rig: GateRig) -> GateRig:
    """Drive the arm until it is in full motion."""
    rig.tick()
    rig.drive(moved(HOME, shoulder_pan=1.0, elbow=0.5), 20)
    assert np.abs(rig.velocities[-1]).max() > 0.5
    return rig


def assert_within_limits(rig: GateRig) -> None:
    """Check range, velocity and acceleration of everything sent, the braking paths included."""
    limits, period = rig.gate.limits, 0.01
    positions, velocities = rig.positions, rig.velocities
    assert (positions >= limits.lower - 1e-9).all() and (positions <= limits.upper + 1e-9).all()
    assert (np.abs(velocities) <= limits.velocity * (1 + 1e-6)).all()
    assert (np.abs(np.diff(positions, axis=0)) <= limits.velocity * period * (1 + 1e-6)).all()
    assert (np.abs(np.diff(velocities, axis=0)) <= limits.acceleration * period * (1 + 1e-6) + 1e-9).all()
    assert (np.abs(np.diff(positions, 2, axis=0)) <= limits.acceleration * period**2 * (1 + 1e-6) + 1e-9).all()
    for command in rig.commands:
        assert not command.velocities[-1].any()
        assert (np.diff(command.times) > 0).all()
        assert (command.positions >= limits.lower - 1e-9).all() and (command.positions <= limits.upper + 1e-9).all()
        durations = np.diff(command.times)[:, None] / S
        assert (
            np.abs(np.diff(command.velocities, axis=0)) <= limits.acceleration * durations * (1 + 1e-6) + 1e-9
        ).all()
