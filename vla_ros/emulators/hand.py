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


@dataclass
class EmulatedHand:
    """Where a hand is, in axes with z up: around `rest` [m], `amplitude` [m] and `swing` [rad] at `frequency` [Hz].

    pinch: from 0, open, to 1, closed. apart: of thumb and index finger when open [m]. seen: by the cameras. held: its
    clutch, where it has one. All may be set while it runs; `pose`, where set, is where it is instead.
    """

    rest: Array = field(default_factory=lambda: np.array(REST))
    amplitude: float = 0.05
    swing: float = 0.15
    frequency: float = 0.2
    pinch: float = 0.0
    apart: float = 0.09
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
