"""The simulation's time grid, and keeping physics in step with the wall clock."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla_ros.action import NANOSECONDS

STEPS_PER_SECOND = 600  # of physics; all periods below are whole numbers of steps
CONTROL_EVERY = 2  # 300 Hz: controllers, joint states, wrench
GATE_EVERY = 6  # 100 Hz: clock, taxels, object poses, and the gate's ticks in lockstep
CAMERA_EVERY = 20  # 30 Hz: cameras, task status
LOST = 0.1  # [s] physics that is later than this gives the time up instead of racing to catch up


def step_time(step: int) -> int:
    """Return the time of a physics step since the reset [ns]."""
    return round(step * NANOSECONDS / STEPS_PER_SECOND)


@dataclass(frozen=True)
class PacingReport:
    """How well real time was kept since the last report.

    factor: simulated seconds per wall second. late: fraction of ticks later than half a period. late_p99,
    late_max: lateness [s]. lost: simulated time given up [s].
    """

    factor: float
    late: float
    late_p99: float
    late_max: float
    lost: float


class Pacer:
    """Waits for absolute deadlines `period` seconds apart, so that one late tick does not delay the next."""

    def __init__(
        self,
        period: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._period, self._now, self._sleep = period, now, sleep
        self._late: deque[float] = deque(maxlen=round(2.0 / period))
        self.restart()

    def restart(self) -> None:
        """Let the first deadline be one period from now."""
        self._deadline = self._since = self._now()
        self._ticks, self._lost = 0, 0.0

    def wait(self) -> float:
        """Sleep until the next deadline and return how late it is [s]; past LOST, deadlines start anew."""
        self._deadline += self._period
        left = self._deadline - self._now()
        if left > 0.0:
            self._sleep(left)
        late = max(0.0, self._now() - self._deadline)
        self._ticks += 1
        self._late.append(late)
        if late > LOST:
            self._lost += late
            self._deadline += late
        return late

    def report(self) -> PacingReport:
        """Return how it went since the last report, and begin the next."""
        elapsed = self._now() - self._since
        late = np.array(self._late or [0.0])
        report = PacingReport(
            factor=self._ticks * self._period / elapsed if elapsed > 0.0 else 0.0,
            late=float((late > self._period / 2).mean()),
            late_p99=float(np.percentile(late, 99)),
            late_max=float(late.max()),
            lost=self._lost,
        )
        self._since, self._ticks, self._lost = self._now(), 0, 0.0
        self._late.clear()
        return report
