"""Noticing that a resting arm is no longer where the gate left it: a hand moved it, a simulator was reset."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.limits import Setpoint

FloatArray = npt.NDArray[np.float64]
DISPLACED = 0.03  # [rad, m] farther from a setpoint at rest than any controller leaves a joint
STILL = 0.002  # [rad, m] moved less than this in a tick: at rest
STILL_TICKS = 5


class DisplacementWatch:
    """Compares measurements with the setpoint, once a tick, while nobody moves the arm through the gate."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._previous: FloatArray | None = None
        self._still, self._stamp, self._news = 0, -1, False

    def displaced(self, setpoint: Setpoint, measured: FloatArray, stamp: int) -> bool:
        """Return whether the arm is elsewhere; then `settled` says whether it has come to rest there.

        stamp: of the measurement [ns]. The same one again is no news, and says nothing of where the arm is by now.
        """
        self._news, self._stamp = stamp != self._stamp, stamp
        if self._news:
            step = np.inf if self._previous is None else float(np.abs(measured - self._previous).max())
            self._previous = measured
            self._still = self._still + 1 if step < STILL else 0
        return setpoint.at_rest and float(np.abs(measured - setpoint.position).max()) > DISPLACED

    @property
    def settled(self) -> bool:
        """Whether the arm has been at rest for some ticks, and is now: not lagging behind, not one wrong measurement, and not
        one that has become old.
        """
        return self._news and self._still >= STILL_TICKS
