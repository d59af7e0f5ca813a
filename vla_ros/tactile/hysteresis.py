"""A decision that does not flicker."""

from __future__ import annotations

from vla_ros.action import NANOSECONDS
from vla_ros.errors import DeviceError


class Hysteresis:
    """True from a level of at least `on`, until it falls below `off`.

    confirm: samples in a row that it takes to change, so a change shows confirm - 1 samples late. hold: [s] that it
    stays true at least.
    """

    def __init__(self, on: float, off: float, confirm: int = 1, hold: float = 0.0) -> None:
        if not 0 <= off <= on or confirm < 1:
            raise DeviceError(
                f"on at {on:g}, off below {off:g}, after {confirm} samples: want 0 <= off <= on, 1 or more"
            )
        self._on, self._off, self._confirm, self._hold = on, off, confirm, round(hold * NANOSECONDS)
        self.state = False
        self._against = 0  # samples in a row that speak for a change
        self._since = 0

    def update(self, stamp: int, level: float) -> bool:
        """Take the level at `stamp` [ns] and return the state."""
        change = level < self._off and stamp - self._since >= self._hold if self.state else level >= self._on
        self._against = self._against + 1 if change else 0
        if self.state and level >= self._on:
            self._since = stamp
        if self._against >= self._confirm:
            self.state, self._against, self._since = not self.state, 0, stamp
        return self.state

    def reset(self) -> None:
        """Be false again."""
        self.state, self._against = False, 0
