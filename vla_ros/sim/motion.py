"""Smooth reference motion of the tip: minimum-jerk moves that overlap without stopping.

Each move adds its displacement over its own time (Flash and Henis 1991, superposition of minimum-jerk moves),
so a new goal may be given at any moment and position, velocity and acceleration stay continuous.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Move:
    """A displacement [D] carried out between `start` and `start + duration` [s]."""

    delta: Array
    start: float
    duration: float

    def at(self, t: float) -> Array:
        """Return the part of the displacement done at `t`."""
        s = min(max((t - self.start) / self.duration, 0.0), 1.0)
        return self.delta * (s**3 * (10 + s * (6 * s - 15)))


@dataclass
class Motion:
    """A reference of D coordinates that follows its moves."""

    origin: Array
    moves: list[Move] = field(default_factory=list)

    def at(self, t: float) -> Array:
        """Return the reference [D] at time `t` [s]."""
        return self.origin + sum((move.at(t) for move in self.moves), np.zeros_like(self.origin))

    @property
    def goal(self) -> Array:
        """Where the reference comes to rest [D]."""
        return self.origin + sum((move.delta for move in self.moves), np.zeros_like(self.origin))

    def move_to(self, goal: Array, t: float, duration: float) -> None:
        """Add a move that, from `t` on, takes the reference to `goal` [D] in `duration` [s]."""
        self.moves.append(Move(goal - self.goal, t, duration))

    def progress(self, t: float) -> float:
        """Return how much of the newest move's time has passed, 0 to 1 (1 without moves)."""
        if not self.moves:
            return 1.0
        last = self.moves[-1]
        return min(max((t - last.start) / last.duration, 0.0), 1.0)


def rotation_vector(quaternion: Array) -> Array:
    """Return the rotation vector [rad] of a quaternion [x y z w], shorter than half a turn."""
    xyz, w = quaternion[:3] * np.sign(quaternion[3] or 1.0), abs(quaternion[3])
    length = float(np.linalg.norm(xyz))
    return xyz * (2 * np.arctan2(length, w) / length) if length > 1e-12 else np.zeros(3)


def quaternion(rotation: Array) -> Array:
    """Return the quaternion [x y z w] of a rotation vector [rad]."""
    angle = float(np.linalg.norm(rotation))
    return np.array([*(rotation * (0.5 * np.sinc(angle / (2 * np.pi)))), np.cos(angle / 2)])


def multiply(a: Array, b: Array) -> Array:
    """Return the quaternion product a b ([x y z w])."""
    vector = a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3])
    return np.array([*vector, a[3] * b[3] - a[:3] @ b[:3]])
