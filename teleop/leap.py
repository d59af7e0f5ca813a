"""Leaps that no hand makes: markers mistaken for others, a rigid body seen from the wrong side, a headset that has got lost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Array = npt.NDArray[np.float64]
FASTEST, QUICKEST = 5.0, 30.0  # [m/s], [rad/s] of a hand
SLACK, TURN_SLACK = 0.02, 0.35  # [m], [rad] that are no leap in however short a time
LONGEST = 0.1  # [s] after a gap the hand may have gone this long at full speed
SETTLING = 0.3  # [s] after which the new place is believed: by then the arm holds, and the clutch is tied anew
ARM = 0.2  # [m/rad] to compare places


class LeapFilter:
    """Passes poses on, but for those after a leap.

    settling: how long [s] a new place must last, without another leap, before it is believed. slack: what is no leap in
    however short a time [m]. leapt: how far the last one was [m], None before any.
    """

    def __init__(self, settling: float = SETTLING, slack: float = SLACK) -> None:
        self.settling = settling
        self.slack = slack
        self.leapt: float | None = None
        self.reset()

    def reset(self) -> None:
        """Believe the next pose."""
        self._last: tuple[float, Array] | None = None
        self._other: tuple[float, Array] | None = None  # the newest pose elsewhere
        self._since = 0.0  # [s] when it got there

    def __call__(self, time: float, pose: Array) -> bool:
        """Return whether the pose [7] of `time` [s] is to be believed."""
        if self._last is None:
            self._last = (time, pose)
            return True
        if self._other is None:
            if self._possible(self._last, time, pose):
                self._last = (time, pose)
                return True
            self._other, self._since = (time, pose), time
            return False
        there = self._other
        back = _apart(pose, self._last[1]) < _apart(pose, there[1]) and self._possible(self._last, time, pose)
        if not back:
            if not self._possible(there, time, pose):
                self._since = time
            if time - self._since < self.settling:
                self._other = (time, pose)
                return False
            self.leapt = float(np.linalg.norm(pose[:3] - self._last[1][:3]))
        self._last, self._other = (time, pose), None
        return True

    def away(self, time: float, pose: Array) -> tuple[float, float]:
        """Return how far [m] a pose that was passed over is from the last that was believed, and for how long [s] it has been."""
        assert self._last is not None
        return float(np.linalg.norm(pose[:3] - self._last[1][:3])), time - self._since

    def _possible(self, last: tuple[float, Array], time: float, pose: Array) -> bool:
        passed = min(max(time - last[0], 0.0), LONGEST)
        if np.linalg.norm(pose[:3] - last[1][:3]) > self.slack + FASTEST * passed:
            return False
        return _angle(pose, last[1]) <= TURN_SLACK + QUICKEST * passed


def _angle(a: Array, b: Array) -> float:
    return float((Rotation.from_quat(a[3:]) * Rotation.from_quat(b[3:]).inv()).magnitude())


def _apart(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a[:3] - b[:3])) + ARM * _angle(a, b)
