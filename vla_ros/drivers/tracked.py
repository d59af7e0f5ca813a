"""Poses of tracked things, from motion capture, headsets and phones: what a tracker's driver yields, whoever uses it.

Trackers have a y axis that points up as often as a z axis. What leaves a driver has z up, as REP 103 has it; `yaw` turns
it about that axis, from the room's x axis to the robot's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Driver

Array = npt.NDArray[np.float64]
FARTHEST = 100.0  # [m] from the origin: what is further away is no room
UPRIGHT = {  # R_up_tracker: from a tracker's axes to axes with z up
    "z": Rotation.identity(),
    "y": Rotation.from_matrix([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
    "-z forward": Rotation.from_matrix([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),  # WebXR: x right, y up
}


@dataclass(frozen=True)
class Tracked:
    """What a tracker saw at one instant.

    poses: [x y z qx qy qz qw] of each thing that was tracked, by name, in the room's frame; what was not seen is not in
    it. values: triggers from 0 to 1, buttons 0 or 1, by name.
    """

    poses: Mapping[str, Array]
    values: Mapping[str, float] = field(default_factory=dict)


class Tracker(Driver[Tracked], Protocol):
    """A source of poses. options: those of its address. bodies: names it knows once open, () where it cannot say.

    hand: the body that is the hand where the address does not say, "" for the only one.
    """

    options: tuple[str, ...]
    bodies: tuple[str, ...]
    hand: str


class Axes:
    """Turns a tracker's poses to z up, and by `yaw` [degrees] about it."""

    def __init__(self, up: str, yaw: float = 0.0) -> None:
        turn = Rotation.from_euler("z", yaw, degrees=True) * UPRIGHT[up]
        self._matrix, self._quaternion = turn.as_matrix(), turn.as_quat()

    @classmethod
    def of(cls, address: Address, up: str = "", valid: tuple[str, ...] = ("y", "z")) -> Axes:
        """Read the options yaw and, unless `up` says it, up."""
        return cls(up or address.text_of("up", "y", valid), address.number("yaw", 0.0, -360.0, 360.0))

    def __call__(self, position: npt.ArrayLike, quaternion: npt.ArrayLike) -> Array:
        """Return a pose [7] of a position [m] and a quaternion xyzw. Raises ValueError if they are none."""
        place, turn = np.asarray(position, np.float64), np.asarray(quaternion, np.float64)
        fits = (np.abs(place) < FARTHEST).all() and (np.abs(turn) < 2.0).all()  # not so for NaN
        length = math.sqrt(float(turn @ turn)) if fits else 0.0
        if not 0.9 < length < 1.1:
            raise ValueError(f"no pose: {place.tolist()}, {turn.tolist()}")
        return np.concatenate([self._matrix @ place, _product(self._quaternion, turn / length)])

    def back(self, pose: npt.ArrayLike) -> Array:
        """Return a pose [7] as the tracker itself would say it."""
        values = np.asarray(pose, np.float64)
        inverse = self._quaternion * (-1.0, -1.0, -1.0, 1.0)
        return np.concatenate([self._matrix.T @ values[:3], _product(inverse, values[3:])])


def _product(a: Array, b: Array) -> Array:
    """Return the product of two quaternions xyzw."""
    ax, ay, az, aw = a.tolist()
    bx, by, bz, bw = b.tolist()
    return np.array(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ]
    )
