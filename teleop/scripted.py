"""The simulator's scripted operator as a leader device: what teaches when nobody is there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS
from vla_ros.errors import SimulationError
from vla_ros.teleop.device import TeleopSample

KEEP = 64  # samples of each kind
FRESH = 0.1  # [s] older joints or objects are not acted on
ROUNDING = 1_000  # [ns]


class Operator(Protocol):
    """What this device needs of an operator; `vla_ros.sim.operator.ScriptedOperator` is one."""

    def reset(self, seed: int, instruction: str) -> None:
        """Begin anew."""

    def act(
        self, t: float, q: npt.NDArray[np.float64], objects: Mapping[str, npt.NDArray[np.float64]]
    ) -> npt.NDArray[np.float64]:
        """Return the joints wanted at `t` [s]."""
        ...


class ScriptedLeader:
    """Moves an imaginary leader arm with the joints `joint_names` as `operator` decides.

    It sees measured joints and object poses as of the asked time, so equal inputs give equal motion however
    the messages arrive. object_rate: of the object poses [Hz]. It begins by itself when it first has all it
    needs, and again after `restart`, a new instruction, or a clock that jumped back.
    """

    def __init__(
        self, operator: Operator, joint_names: tuple[str, ...], seed: int = 0, object_rate: float = 100.0
    ) -> None:
        self.joint_names = joint_names
        self.reason = "no instruction yet"  # why read() returns None or an open clutch; "" while it acts
        self._operator = operator
        self._seed = seed
        self._object_period = round(NANOSECONDS / object_rate)
        self._instruction = ""
        self._began: int | None = None
        self._joints = _History()
        self._objects = _History()

    def connect(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def see_joints(self, stamp: int, positions: Mapping[str, float]) -> None:
        """Take measured joint positions [rad, m]."""
        if self._joints.add(stamp, np.array([positions[name] for name in self.joint_names])):
            self._began = None
            self._objects.cut(stamp)

    def see_objects(self, stamp: int, poses: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Take the poses [7] of the objects."""
        if self._objects.add(stamp, dict(poses)):
            self._began = None
            self._joints.cut(stamp)

    def hear(self, instruction: str) -> None:
        """Take an instruction; a new one begins a new task."""
        if instruction != self._instruction:
            self._instruction, self._began = instruction, None

    def restart(self, seed: int) -> None:
        """Begin anew from where the arm is, with this seed."""
        self._seed, self._began = seed, None

    def informed(self, t: int) -> bool:
        """Return True once the joints of `t` [ns] and the objects due at it have arrived."""
        joints, objects = self._joints.newest, self._objects.newest
        return (
            joints is not None and objects is not None and joints >= t and objects > t - self._object_period + ROUNDING
        )

    def read(self, now: int) -> TeleopSample | None:
        """Return the leader's joints at `now` [ns]; None, with `reason`, while it cannot decide."""
        joints, objects = self._joints.at(now), self._objects.at(now)
        self.reason = self._missing(now, joints, objects)
        if self.reason or joints is None or objects is None:
            return None
        if self._began is None:
            self._operator.reset(self._seed, self._instruction)
            self._began = now
        try:
            wanted = self._operator.act((now - self._began) / NANOSECONDS, joints[1], objects[1])
        except SimulationError as error:
            self.reason = str(error)
            return None
        return TeleopSample(stamp=now, joints=dict(zip(self.joint_names, wanted.tolist(), strict=True)))

    def _missing(self, now: int, joints: tuple[int, Any] | None, objects: tuple[int, Any] | None) -> str:
        if not self._instruction:
            return "no instruction yet"
        for name, sample in (("joint states", joints), ("object poses", objects)):
            if sample is None or now - sample[0] > FRESH * NANOSECONDS:
                return f"no {name} within {FRESH} s"
        return ""


class _History:
    """The last samples of one kind by stamp."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._values: list[Any] = []

    @property
    def newest(self) -> int | None:
        return self._stamps[-1] if self._stamps else None

    def add(self, stamp: int, value: Any) -> bool:
        """Add a sample; return True if its stamp jumped back, which forgets the others."""
        jumped = self.cut(stamp)
        self._stamps.append(stamp)
        self._values.append(value)
        del self._stamps[:-KEEP], self._values[:-KEEP]
        return jumped

    def cut(self, stamp: int) -> bool:
        """Forget everything if it reaches past `stamp`, to which the clock came; return whether it did."""
        jumped = bool(self._stamps) and self._stamps[-1] > stamp
        if jumped:
            self._stamps.clear()
            self._values.clear()
        return jumped

    def at(self, t: int) -> tuple[int, Any] | None:
        index = bisect_right(self._stamps, t) - 1
        return (self._stamps[index], self._values[index]) if index >= 0 else None
