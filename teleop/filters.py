"""Smoothing of what a hand does: the One-Euro filter, and zones in which nothing moves."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS

Array = npt.NDArray[np.float64]
GAP = 0.5  # [s] between two samples: the filter begins anew
BACK = 0.1  # [s] by which a stamp is before the last: not a late sample, the clock was set back


class OneEuro:
    """The filter of Casiez, Roussel and Vogel (CHI 2012): steady at rest, without much lag in fast motion.

    cutoff: at rest [Hz]. beta: by how much the cutoff rises with the speed [Hz per unit/s]. speed_cutoff: of the speed's own
    low pass [Hz].
    """

    def __init__(self, cutoff: float = 4.0, beta: float = 20.0, speed_cutoff: float = 1.0) -> None:
        self._cutoff, self._beta, self._speed_cutoff = cutoff, beta, speed_cutoff
        self.reset()

    def reset(self) -> None:
        """Begin anew with the next sample."""
        self._last: tuple[int, Array, Array] | None = None  # stamp, value, speed

    def __call__(self, stamp: int, value: npt.ArrayLike) -> Array:
        """Return the filtered `value` [N] of time `stamp` [ns]; a stamp that is not later changes nothing.

        After a gap, and with a clock that was set back, it begins anew.
        """
        new = np.array(value, dtype=np.float64)
        since = 0.0 if self._last is None else (stamp - self._last[0]) / NANOSECONDS
        if self._last is None or self._last[1].shape != new.shape or not -BACK <= since <= GAP:
            self._last = (stamp, new, np.zeros_like(new))
            return new.copy()
        _, old, speed = self._last
        if since <= 0.0:
            return old.copy()
        speed = speed + _share(self._speed_cutoff, since) * ((new - old) / since - speed)
        cutoff = self._cutoff + self._beta * np.abs(speed)
        filtered = old + _share(cutoff, since) * (new - old)
        self._last = (stamp, filtered, speed)
        return filtered.copy()


class Slack:
    """Follows a value like a cart on a slack rope: it stands still until the value is more than `width` away."""

    def __init__(self, width: float) -> None:
        self._width = width
        self.reset()

    def reset(self) -> None:
        """Begin anew with the next value."""
        self._at: Array | None = None

    def __call__(self, value: npt.ArrayLike) -> Array:
        """Return where the cart is after `value` [N]."""
        new = np.array(value, dtype=np.float64)
        if self._at is None or self._at.shape != new.shape:
            self._at = new
        else:
            self._at = new - np.clip(new - self._at, -self._width, self._width)
        return self._at.copy()


def dead_zone(value: npt.ArrayLike, width: float) -> Array:
    """Return deflections [N] in [-1, 1] with none below `width`, growing from 0 there to 1 at the end."""
    deflection = np.asarray(value, dtype=np.float64)
    return np.sign(deflection) * np.maximum(np.abs(deflection) - width, 0.0) / (1.0 - width)


def _share(cutoff: float | Array, period: float) -> float | Array:
    """Return how much of a new value a first-order low pass of `cutoff` [Hz] takes over in `period` [s]."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff * period))
