"""The contract's frozen parts: what one robot's streams, action and limits are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vla_ros.errors import ContractError

POSITION_SUFFIX = ".pos"
TAXEL_UNITS = ("N", "uT", "counts")  # what skins measure: force, magnetic field, what their converter gives
TOKENS = "/tokens"  # a topic that ends so carries what an encoder beside the sensor made of its stream
POSE_AXES = ("x", "y", "z", "qx", "qy", "qz", "qw")  # of a stream of kind pose [m], a unit quaternion


@dataclass(frozen=True)
class StreamSpec:
    """One stream of the observation.

    shape: of one sample: image [H, W, 3], depth [H, W], joints [N], wrench [6], taxels [h, w, 3], pose [7]; empty for text.
    rate: nominal rate of the stream [Hz]. latency: capture to stamp [s], for drivers that stamp on arrival.
    max_age: the oldest sample a policy may act on [s]. history: how many samples a value holds, oldest first.
    unit: of taxels, one of TAXEL_UNITS; "" where it is not said.
    """

    key: str
    topic: str
    kind: str
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    frame: str = ""
    rate: float = 30.0
    latency: float = 0.0
    max_age: float = 0.1
    align: str = "asof"
    history: int = 1
    unit: str = ""

    @property
    def is_tokens(self) -> bool:
        """True for a stream that comes as tokens; its shape is that of what was encoded."""
        return self.topic.endswith(TOKENS)

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of the stream's value in an observation: the sample's, with the history in front if there is one."""
        return (self.history, *self.shape) if self.history > 1 else self.shape


@dataclass(frozen=True)
class CommandSpec:
    """Where the gate sends its commands: a controller's interface and topic.

    joints: with interface `pose`, the topic of the controller of those joints that do not move the tip, such as a gripper; "" for
    none.
    """

    interface: str
    topic: str
    joints: str = ""


@dataclass(frozen=True)
class ActionSpec:
    """The action: its space, names, the frame of poses and the tip they belong to.

    follows: the pose stream whose next value is the action, where a hand moves the tool and no robot does; "" with one.
    other_tips: of a robot's other arms.
    """

    space: str
    names: tuple[str, ...]
    command: CommandSpec
    frame: str = "base_link"
    tip: str = "tool0"
    follows: str = ""
    other_tips: tuple[str, ...] = ()


NO_COMMAND = CommandSpec("none", "")  # of a contract without a robot


@dataclass(frozen=True)
class Limits:
    """Bounds that the gate keeps.

    velocity [rad/s, m/s] and acceleration [rad/s^2, m/s^2]: one number, or one per joint name.
    workspace: ((x_lo, x_hi), (y_lo, y_hi), (z_lo, z_hi)) of each tip in the action's frame [m].
    wrench: largest force at the wrist [N]. quiet: hold after this long without a chunk [s].
    chunk_age: refuse chunks whose observation is older than this on arrival [s].
    """

    velocity: float | Mapping[str, float]
    acceleration: float | Mapping[str, float]
    workspace: tuple[tuple[float, float], ...] | None = None
    wrench: float | None = None
    quiet: float = 0.3
    chunk_age: float = 0.3

    def velocity_for(self, joints: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Return the velocity limits [rad/s, m/s] of `joints`, float64 [N]."""
        return per_joint(self.velocity, joints, "velocity")

    def acceleration_for(self, joints: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Return the acceleration limits [rad/s^2, m/s^2] of `joints`, float64 [N]."""
        return per_joint(self.acceleration, joints, "acceleration")


NO_LIMITS = Limits(math.inf, math.inf)


@dataclass(frozen=True)
class Contract:
    """One robot as training and deployment see it. `text` is the file as read, for copies into datasets."""

    robot: str
    urdf: str
    rate: float
    observation: Mapping[str, StreamSpec]
    action: ActionSpec
    limits: Limits
    source: str
    text: str

    @property
    def state(self) -> StreamSpec:
        """The joint-state stream; every contract has exactly one."""
        return next(stream for stream in self.observation.values() if stream.kind == "joints")

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The robot's joints, in the order of the state stream, without the ``.pos`` suffix."""
        return tuple(name.removesuffix(POSITION_SUFFIX) for name in self.state.names)

    @property
    def robot_free(self) -> bool:
        """True when no robot takes part: a tracked hand-held tool is what is recorded."""
        return bool(self.action.follows)

    def streams(self, *kinds: str) -> tuple[StreamSpec, ...]:
        """Return the streams of the given kinds, in the contract's order; all of them without arguments."""
        return tuple(s for s in self.observation.values() if not kinds or s.kind in kinds)

    def differences(self, other: Contract) -> list[str]:
        """Return, one line each, where `other` disagrees on what a trained policy depends on.

        Topics, latencies, ages, limits and the command interface may differ between training and robot;
        the robot, rate, streams (kind, shape, names, history, order), the taxels' unit where both say it, and the action's
        space, names and frames may not.
        """
        mine, theirs = self._signature(), other._signature()
        for key in self.observation.keys() & other.observation.keys():
            units = [contract.observation[key].unit for contract in (self, other)]
            if all(units):
                mine[f"{key}.unit"], theirs[f"{key}.unit"] = units
        return [
            f"{key}: {mine.get(key, 'absent')} in {self.source}, {theirs.get(key, 'absent')} in {other.source}"
            for key in dict.fromkeys((*mine, *theirs))
            if mine.get(key) != theirs.get(key)
        ]

    def _signature(self) -> dict[str, object]:
        signature: dict[str, object] = {"robot": self.robot, "rate": self.rate}
        for key, s in self.observation.items():
            signature[key] = {
                "kind": s.kind,
                "shape": list(s.shape),
                "names": list(s.names),
                "history": s.history,
            }
        a = self.action
        signature |= {"action.space": a.space, "action.names": list(a.names), "action.tip": a.tip}
        if a.other_tips:
            signature["action.other_tips"] = list(a.other_tips)
        if a.space == "ee_pose":
            signature["action.frame"] = a.frame
        if a.follows:
            signature["action.follows"] = a.follows
        return signature


def per_joint(value: float | Mapping[str, float], joints: tuple[str, ...], what: str) -> npt.NDArray[np.float64]:
    """Return one limit per joint, float64 [N]; `what` names them in the ContractError for a missing one."""
    if not isinstance(value, Mapping):
        return np.full(len(joints), float(value))
    missing = [j for j in joints if j not in value]
    if missing:
        raise ContractError(f"{what}: no limit for joint '{missing[0]}'; given: {', '.join(value)}")
    return np.array([float(value[j]) for j in joints])
