"""From a device's clock to the host's.

A packet is on its way for a while, never for less than some shortest time. So the smallest differences between
arrival and device time tell the clocks' offset (up to that shortest time), and how they change tells the drift: a
line is laid through the smallest difference of each second. What arrival adds beyond is delay, and is not stamped.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from vla_ros.action import NANOSECONDS

BUCKET = 1.0  # [s] by both clocks, so that what was read late all at once is not taken for a bucket of its own
BUCKETS = 20
FEWEST = 3  # buckets from which the drift is estimated
JUMP = 0.1  # [s] by which a whole bucket lies off the line: one of the clocks was set


class DeviceClock:
    """Maps a device's time to host time. latency: the shortest way of a sample to this process, where known [s].

    offset: host time minus device time at the last sample [s]. uncertainty: how far the smallest differences scatter
    about the line through them [s], or how late a sample usually is, while there are too few for a line. What the
    shortest way takes beyond `latency` is in neither.
    """

    def __init__(self, latency: float = 0.0) -> None:
        self._latency = latency
        self.reset()

    def reset(self) -> None:
        """Forget all, as after a reconnection."""
        self._last: tuple[float, int] | None = None  # device time, and its stamp
        self._origin = 0  # [ns] host time from which differences are counted, so that they keep their digits
        self.offset = self.uncertainty = float("nan")  # [s], of the last sample
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._least: deque[tuple[float, float]] = deque(maxlen=BUCKETS)  # device time and difference of each bucket
        self._started: tuple[float, float] | None = None  # device time and difference at the start of the present one
        self._best = (0.0, math.inf)  # device time and difference of its least
        self._line: tuple[float, float, float] | None = None  # slope, level at, device time
        self._excess: deque[float] = deque(maxlen=200)  # [s] of late differences, while there is no line

    def stamp(self, device_time: float, arrival: int) -> int:
        """Return the host time [ns] at which a sample of `device_time` [s] was taken that arrived at `arrival` [ns].

        Never later than `arrival`, and never earlier than the stamp before, unless the host's clock was set back. A
        device time before the last one is taken for a restart of the device.
        """
        if self._last is None:
            self._origin = arrival
        if self._last is None or device_time < self._last[0]:
            self._begin_anew()
        difference = (arrival - self._origin) / NANOSECONDS - device_time
        self._collect(device_time, difference)
        offset = min(self._expected(device_time), difference)
        if self._line is None:
            self._excess.append(difference - offset)
            self.uncertainty = float(np.median(self._excess))
        self.offset = self._origin / NANOSECONDS + offset - self._latency
        taken = self._origin + round((device_time + offset - self._latency) * NANOSECONDS)
        if self._last is not None:
            taken = max(taken, self._last[1])
        self._last = (device_time, min(taken, arrival))
        return self._last[1]

    def _collect(self, device_time: float, difference: float) -> None:
        if self._started is not None:
            passed = device_time - self._started[0]
            if min(passed, passed + difference - self._started[1]) >= BUCKET:
                self._finish(*self._best)
                self._started = None
        if self._started is None:
            self._started = self._best = (device_time, difference)
        elif difference < self._best[1]:
            self._best = (device_time, difference)

    def _finish(self, at: float, least: float) -> None:
        """Take in the smallest difference of a second that is over, and lay the line anew."""
        if self._line is not None and abs(least - self._expected(at)) > JUMP:
            self._begin_anew()
        self._least.append((at, least))
        if len(self._least) < FEWEST:
            return
        times, differences = np.array(self._least).T
        slope, level = np.polyfit(times - at, differences, 1)
        self._line = (float(slope), float(level), at)
        scatter = differences - level - slope * (times - at)
        self.uncertainty = float(np.sqrt(np.mean(scatter**2)))

    def _expected(self, device_time: float) -> float:
        if self._line is None:
            return min(self._best[1], *(difference for _, difference in self._least), math.inf)
        slope, level, at = self._line
        return level + slope * (device_time - at)
