"""From a device's clock to the host's.

A packet is on its way for a while, never for less than some shortest time. So the smallest differences between
arrival and device time tell the clocks' offset (up to that shortest time), and how they change tells the drift: a
line is laid through the smallest difference of each second. What arrival adds beyond is delay, and is not stamped.
"""

from __future__ import annotations

from collections import deque

import numpy as np

NANOSECONDS = 1_000_000_000
BUCKET = 1.0  # [s] of which the smallest difference counts
BUCKETS = 20
JUMP = 1.0  # [s] between two differences: one of the clocks was set, or the device has restarted
FEWEST = 3  # buckets from which the drift is estimated


class DeviceClock:
    """Maps a device's time to host time. latency: the shortest way of a sample to this process, where known [s]."""

    def __init__(self, latency: float = 0.0) -> None:
        self._latency = latency
        self.reset()

    def reset(self) -> None:
        """Forget all, as after a reconnection."""
        self._least: deque[tuple[float, float]] = deque(maxlen=BUCKETS)  # device time and difference of each bucket
        self._last: tuple[float, int] | None = None  # device time, and its stamp
        self._bucket = -np.inf
        self._origin = 0  # [ns] host time from which differences are counted, so that they keep their digits
        self._excess: deque[float] = deque(maxlen=200)  # [s] of late differences over the line
        self.offset = self.uncertainty = float("nan")  # [s], of the last sample

    def stamp(self, device_time: float, arrival: int) -> int:
        """Return the host time [ns] at which a sample of `device_time` [s] was taken that arrived at `arrival` [ns].

        Never later than `arrival`, and never earlier than the stamp before for a later device time.
        """
        if self._last is None:
            self._origin = arrival
        difference = (arrival - self._origin) / NANOSECONDS - device_time
        if self._least and abs(difference - self._offset_at(device_time)) > JUMP:
            self.reset()
            return self.stamp(device_time, arrival)
        if device_time - self._bucket >= BUCKET or device_time < self._bucket:
            self._bucket = device_time
            self._least.append((device_time, difference))
        elif difference < self._least[-1][1]:
            self._least[-1] = (device_time, difference)
        offset = min(self._offset_at(device_time), difference)
        self._excess.append(difference - offset)
        self.uncertainty = float(np.median(self._excess))
        self.offset = self._origin / NANOSECONDS + offset - self._latency
        taken = self._origin + round((device_time + offset - self._latency) * NANOSECONDS)
        if self._last is not None and device_time >= self._last[0]:
            taken = max(taken, self._last[1])
        self._last = (device_time, min(taken, arrival))
        return self._last[1]

    def _offset_at(self, device_time: float) -> float:
        times, differences = np.array(self._least).T
        if len(times) < FEWEST:
            return float(differences.min())
        slope, level = np.polyfit(times - times[-1], differences, 1)
        return float(level + slope * (device_time - times[-1]))
