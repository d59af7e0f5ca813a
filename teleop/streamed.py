"""A device that is read in a thread of its own and comes back by itself: the newest sample is always at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from vla_ros.action import NANOSECONDS
from vla_ros.drivers.base import Driver, Reading
from vla_ros.drivers.stream import SensorStream, StreamStatistics
from vla_ros.errors import DeviceError
from vla_ros.teleop.device import TeleopSample

STALE = 0.1  # [s] an older sample moves nothing
LOST = 1.0  # [s] without a sample: the device is gone


class StreamedLeader:
    """A LeaderDevice around a driver. Connecting never fails: a device that is not there is looked for until it is.

    on_sample: called with each sample in the reading thread. on_change: called there with why the device is lost, "" when
    it is back.
    """

    def __init__(self, driver: Driver[TeleopSample], stale: float = STALE) -> None:
        self.driver = driver
        self.on_sample: Callable[[TeleopSample], None] = lambda sample: None
        self.on_change: Callable[[str], None] = lambda problem: None
        self._stale = round(stale * NANOSECONDS)
        self._newest: TeleopSample | None = None
        self._stream: SensorStream[TeleopSample] = SensorStream(driver, self._take, self._change)

    @property
    def statistics(self) -> StreamStatistics:
        """How the device is doing."""
        return self._stream.statistics

    @property
    def lost(self) -> bool:
        """Whether the device is gone, and not merely late."""
        return bool(self.statistics.problem)

    def connect(self) -> None:
        """Start looking for the device and reading it."""
        self._stream.start()

    def close(self) -> None:
        """Stop reading."""
        self._stream.stop()

    def read(self, now: int | None = None) -> TeleopSample | None:
        """Return the newest sample; None before the first. now: time [ns], the host's by default.

        Raises DeviceError, saying why, when it is too old.
        """
        newest = self._newest
        problem = self.statistics.problem
        if newest is None:
            if problem:
                raise DeviceError(problem)
            return None
        age = (time.time_ns() if now is None else now) - newest.stamp
        if age > self._stale:
            raise DeviceError(problem or f"{self.driver.device}: no sample for {age / NANOSECONDS:.1f} s")
        return newest

    def _take(self, reading: Reading[TeleopSample], stamp: int) -> None:
        self._newest = sample = replace(reading.value, stamp=stamp)
        self.on_sample(sample)

    def _change(self, problem: str) -> None:
        self.on_change(problem)
