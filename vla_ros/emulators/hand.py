"""The hand that emulated trackers see: it moves by itself, or as it is told."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Array = npt.NDArray[np.float64]
REST = (0.1, -0.2, 1.1)  # [m]
SHOULDER = np.array([0.0, -0.19, 1.41])  # [m] of the person whose hand it is
UPPER, LOWER = 0.29, 0.27  # [m] of the arm


@dataclass
class EmulatedHand:
    """Where a hand is, in axes with z up: around `rest` [m], `amplitude` [m] and `swing` [rad] at `frequency` [Hz].

    pinch: from 0, open, to 1, closed. apart: of thumb and index finger when open [m]. swivel: of its arm's elbow [rad], see
    `elbow_at`. seen: by the cameras. held: its clutch, where it has one. All may be set while it runs; `pose`, where set, is
    where it is instead.
    """

    rest: Array = field(default_factory=lambda: np.array(REST))
    amplitude: float = 0.05
    swing: float = 0.15
    frequency: float = 0.2
    pinch: float = 0.0
    apart: float = 0.09
    swivel: float = 0.0
    seen: bool = True
    held: bool = True
    pose: Array | None = None
    began: int = field(default_factory=time.time_ns)

    def at(self, stamp: int) -> Array:
        """Return its pose [x y z qx qy qz qw] at the host time `stamp` [ns]."""
        if self.pose is not None:
            return np.array(self.pose)
        phase = 2.0 * math.pi * self.frequency * (stamp - self.began) / 1e9
        way = np.array([math.sin(phase), math.sin(2.0 * phase) / 2.0, 1.0 - math.cos(phase)])
        turn = Rotation.from_rotvec(self.swing * np.array([math.sin(phase), 0.0, math.sin(phase)]))
        return np.concatenate([self.rest + self.amplitude * way, turn.as_quat()])

    def tips(self, stamp: int) -> tuple[Array, Array]:
        """Return where thumb and index finger are [m] at the host time `stamp` [ns]."""
        pose = self.at(stamp)
        half = Rotation.from_quat(pose[3:]).apply([0.0, self.apart * (1.0 - self.pinch) / 2.0, 0.0])
        return pose[:3] - half, pose[:3] + half

    def elbow(self, stamp: int) -> Array:
        """Return where its arm's elbow is [m] at the host time `stamp` [ns]; the shoulder is at SHOULDER."""
        return elbow_at(self.at(stamp)[:3], self.swivel)


def elbow_at(wrist: npt.ArrayLike, swivel: float) -> Array:
    """Return where the elbow is [3] [m] of an arm whose wrist is there: below the line from the shoulder, turned out of it by
    `swivel` [rad] about that line. Too far a wrist has it on the line.
    """
    way = np.asarray(wrist, np.float64) - SHOULDER
    length = float(np.linalg.norm(way))
    axis = way / length
    share = (UPPER**2 - LOWER**2 + length**2) / (2.0 * length)
    away = math.sqrt(max(0.0, UPPER**2 - share**2))
    down = np.array([0.0, 0.0, -1.0]) + axis[2] * axis
    down /= np.linalg.norm(down)
    out = math.cos(swivel) * down + math.sin(swivel) * np.cross(axis, down)
    return np.asarray(SHOULDER + share * axis + away * out)
