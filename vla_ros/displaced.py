"""Noticing that a resting arm is no longer where the gate left it: a hand moved it, a simulator was reset."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.limits import Setpoint

FloatArray = npt.NDArray[np.float64]
DISPLACED = 0.03  # [rad, m] from where it came to rest: nothing that a controller does by itself
SAG = 0.15  # [rad, m] farther from a setpoint at rest than a controller leaves a joint under load
STILL = 0.002  # [rad, m] moved less than this in a tick: at rest
STILL_TICKS = 5
RESTED, RESTED_TICKS = (
    0.003,
    50,
)  # [rad, m] within which the arm stayed for half a second: it has come to rest, nor does it creep


class DisplacementWatch:
    """Compares measurements with the setpoint, once a tick, while nobody moves the arm through the gate.

    A joint that sags under its load, and fingers that what they hold keeps apart, are where the gate left them, however far that
    is from the setpoint. So the place that counts is the one where the arm came to rest, once it has; before, a setpoint farther
    away than SAG tells that it is elsewhere.
    fingers [N]: which of the joints are no part of an arm, and may stop anywhere.
    """

    def __init__(self, fingers: npt.NDArray[np.bool_]) -> None:
        self._sag = np.where(fingers, np.inf, SAG)
        self._told: FloatArray | None  # the setpoint that the place belongs to
        self._place: FloatArray | None  # where the arm came to rest
        self._anchor: FloatArray | None
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._previous: FloatArray | None = None
        self._still, self._stamp, self._news = 0, -1, False
        self._forget_place(None)

    def displaced(self, setpoint: Setpoint, measured: FloatArray, stamp: int) -> bool:
        """Return whether the arm is elsewhere; then `settled` says whether it has come to rest there.

        stamp: of the measurement [ns]. The same one again is no news, and says nothing of where the arm is by now.
        """
        self._news, self._stamp = stamp != self._stamp, stamp
        if self._news:
            step = np.inf if self._previous is None else float(np.abs(measured - self._previous).max())
            self._previous = measured
            self._still = self._still + 1 if step < STILL else 0
        if not setpoint.at_rest:
            self._forget_place(None)
            return False
        if self._told is None or not np.array_equal(setpoint.position, self._told):
            self._forget_place(setpoint.position)
        if self._place is not None:
            return bool((np.abs(measured - self._place) > DISPLACED).any())
        if bool((np.abs(measured - setpoint.position) > self._sag).any()):
            self._anchor = None
            return True
        if self._news:
            self._find_place(measured)
        return False

    @property
    def settled(self) -> bool:
        """Whether the arm has been at rest for some ticks, and is now: not lagging behind, not one wrong measurement, and not
        one that has become old.
        """
        return self._news and self._still >= STILL_TICKS

    def _forget_place(self, told: FloatArray | None) -> None:
        self._told, self._place, self._anchor = told, None, None
        self._stayed = 0  # measurements near the anchor

    def _find_place(self, measured: FloatArray) -> None:
        if self._anchor is None or float(np.abs(measured - self._anchor).max()) > RESTED:
            self._anchor, self._stayed = measured, 0
        self._stayed += 1
        if self._stayed >= RESTED_TICKS:
            self._place = measured
