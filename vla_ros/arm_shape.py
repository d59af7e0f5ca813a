"""Where an elbow points: the one thing about an arm's shape that shoulder and hand leave open.

With shoulder and hand in place the elbow of a person, and of an arm of seven joints, can still turn about the line from one
to the other: the swivel angle (Tolani, Goswami and Badler 2000). A person's arm and a robot's are not of one size, so what
counts is by how much the elbow has turned since some moment, not where it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vla_ros.errors import KinematicsError

Array = npt.NDArray[np.float64]
STRAIGHT = 0.02  # [m] an elbow nearer to the line from shoulder to hand points nowhere
OPPOSITE = -0.95  # cosine between two lines: one so far turned round cannot be compared with the first
FEWEST = 6  # joints of an arm of which the elbow's joint is known by its number


@dataclass(frozen=True)
class Elbow:
    """axis: from shoulder to hand, out: from that line to the elbow, both unit vectors [3]. away: how far [m]. share: how
    far along the line, from 0 at the shoulder to 1 at the hand.
    """

    axis: Array
    out: Array
    away: float
    share: float

    @classmethod
    def of(cls, shoulder: npt.ArrayLike, elbow: npt.ArrayLike, hand: npt.ArrayLike) -> Elbow | None:
        """Return where the elbow of an arm points, of positions [3] [m] in one frame; None for a straight one."""
        begin, joint, end = (np.asarray(point, np.float64) for point in (shoulder, elbow, hand))
        line, way = end - begin, joint - begin
        length = float(np.linalg.norm(line))
        if not length > STRAIGHT:
            return None
        axis = line / length
        along = float(way @ axis)
        out = way - along * axis
        away = float(np.linalg.norm(out))
        return cls(axis, out / away, away, along / length) if away > STRAIGHT else None

    def turned(self, now: Elbow) -> float | None:
        """Return by what angle [rad], from -pi to pi, it has turned about its line, that line having been brought along
        the shortest way; None where the line has been turned round.
        """
        before = _carried(self.out, self.axis, now.axis)
        if before is None:
            return None
        return math.atan2(float(np.cross(before, now.out) @ now.axis), float(before @ now.out))


def joints_of_arm(names: tuple[str, ...]) -> tuple[str, str, str]:
    """Return the joints at shoulder, elbow and wrist of an arm, by their number from the base: 2, 4 and 6 of seven, 2, 3 and
    5 of six. Raises KinematicsError for another number of joints.
    """
    if not FEWEST <= len(names) <= FEWEST + 1:
        raise KinematicsError(
            f"an arm of {len(names)} joints ({', '.join(names)}): which are shoulder, elbow and wrist? Say "
            "arm_joints=SHOULDER,ELBOW,WRIST"
        )
    return names[1], names[len(names) - 4 if len(names) == FEWEST + 1 else 2], names[-2]


def arm_joints(text: str) -> tuple[str, str, str] | None:
    """Read SHOULDER,ELBOW,WRIST; None of "". Raises KinematicsError."""
    if not text:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if len(names) != 3 or not all(names):
        raise KinematicsError(f"arm_joints is '{text}', want SHOULDER,ELBOW,WRIST")
    return names[0], names[1], names[2]


def _carried(vector: Array, start: Array, end: Array) -> Array | None:
    """Return the vector turned as `start` is when it is brought to `end` the shortest way."""
    cosine = float(start @ end)
    if cosine < OPPOSITE:
        return None
    turn = np.cross(start, end)
    once = np.cross(turn, vector)
    return np.asarray(vector + once + np.cross(turn, once) / (1.0 + cosine))
