"""A thread that keeps its period on a loaded machine, and how well it did."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla_ros.action import NANOSECONDS
from vla_ros.beat import next_tick

FIFO_PRIORITY = 20
NICE = -11
SWITCH_INTERVAL = (
    5e-4  # [s] how long one Python thread may keep the interpreter from another that has work (CPython: 5 ms)
)


def raise_priority() -> str:
    """Give this process, and every thread it starts from now on, real-time priority; return what was
    granted.

    Call it before ROS is initialised, so that the middleware's threads inherit it. SCHED_FIFO where
    permitted, else a negative nice value, else nothing.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
        return f"SCHED_FIFO priority {FIFO_PRIORITY}"
    except (AttributeError, PermissionError, OSError):
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        return f"nice {NICE} (SCHED_FIFO is not permitted: grant CAP_SYS_NICE or an rtprio limit)"
    except (AttributeError, PermissionError, OSError):
        return "normal priority (grant CAP_SYS_NICE or an rtprio limit for a steady period)"


@dataclass(frozen=True)
class PeriodReport:
    """Periods between ticks [s]: median, 99th percentile, and how far off the nominal period [s]."""

    count: int
    p50: float
    p99: float
    jitter_p99: float
    jitter_max: float
    missed: int

    def summary(self) -> dict[str, str]:
        """Return the numbers as text for diagnostics, in ms."""
        return {
            "period p50 [ms]": f"{1e3 * self.p50:.3f}",
            "period p99 [ms]": f"{1e3 * self.p99:.3f}",
            "jitter p99 [ms]": f"{1e3 * self.jitter_p99:.3f}",
            "jitter max [ms]": f"{1e3 * self.jitter_max:.3f}",
            "missed ticks": str(self.missed),
        }


class PeriodStatistics:
    """The last `window` periods of a loop with nominal period `period` [s]."""

    def __init__(self, period: float, window: int = 1000) -> None:
        self.missed = 0
        self._period = period
        self._periods: deque[float] = deque(maxlen=window)
        self._last: int | None = None

    def tick(self, now: int) -> None:
        """Say that a tick was done at monotonic time `now` [ns]."""
        if self._last is not None:
            self._periods.append((now - self._last) / NANOSECONDS)
        self._last = now

    def report(self) -> PeriodReport:
        """Return the statistics; zeros before the second tick."""
        return period_report(np.array(self._periods, dtype=np.float64), self._period, self.missed)


def period_report(periods: np.ndarray, nominal: float, missed: int = 0) -> PeriodReport:
    """Return the statistics of `periods` [s] around the `nominal` one [s]."""
    if len(periods) == 0:
        return PeriodReport(0, 0.0, 0.0, 0.0, 0.0, missed)
    jitter = np.abs(periods - nominal)
    return PeriodReport(
        count=len(periods),
        p50=float(np.percentile(periods, 50)),
        p99=float(np.percentile(periods, 99)),
        jitter_p99=float(np.percentile(jitter, 99)),
        jitter_max=float(jitter.max()),
        missed=missed,
    )


class PeriodicThread:
    """Calls `work(deadline)` every `period` seconds on absolute deadlines [ns, monotonic], multiples of the period (see
    `vla_ros.beat`); missed ones are skipped.

    An exception in `work` ends the process by `failed`, since an arm without its gate must not go unnoticed.
    """

    def __init__(self, period: float, work: Callable[[int], None], failed: Callable[[BaseException], None]) -> None:
        self.statistics = PeriodStatistics(period)
        self._period = round(period * NANOSECONDS)
        self._work, self._failed = work, failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the present tick and wait for it."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        deadline = next_tick(time.monotonic_ns(), self._period)
        try:
            while not self._stop.is_set():
                time.sleep(max(0, deadline - time.monotonic_ns()) / NANOSECONDS)
                self._work(deadline)
                now = time.monotonic_ns()
                self.statistics.tick(now)
                deadline += self._period
                if now >= deadline:
                    late = (now - deadline) // self._period + 1
                    self.statistics.missed += late
                    deadline += late * self._period
        except BaseException as error:  # noqa: BLE001 - reported, never swallowed
            self._failed(error)
