"""A driver kept running: a thread that opens it, reads it, and opens it again when it is lost."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vla_ros.drivers.base import Driver, Reading, Served
from vla_ros.drivers.clock import DeviceClock
from vla_ros.errors import DeviceError

T = TypeVar("T")
POLL = 0.1  # [s] the longest that a stop waits for a quiet device
SILENCE = 1.0  # [s] without a sample: the device is taken for lost
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # [s] between two attempts to open it
WINDOW = 200  # samples over which the rate is told


@dataclass
class StreamStatistics:
    """What /diagnostics tells of a sensor. lost: samples that the device counted and that never came."""

    received: int = 0
    lost: int = 0
    rejected: int = 0
    reconnections: int = 0
    rate: float = 0.0  # [Hz]
    offset: float = float("nan")  # [s] of the device's clock to the host's
    uncertainty: float = float("nan")  # [s] of that
    flags: tuple[str, ...] = ()  # of the newest sample
    problem: str = "not started"  # why nothing comes; "" while samples come
    _arrivals: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def summary(self) -> dict[str, str]:
        """Return the figures as text for diagnostics."""
        clock = "arrival" if self.offset != self.offset else f"device, +-{self.uncertainty * 1e3:.2f} ms"
        return {
            "rate_hz": f"{self.rate:.1f}",
            "received": str(self.received),
            "lost": str(self.lost),
            "rejected": str(self.rejected),
            "reconnections": str(self.reconnections),
            "stamps": clock,
            "clock_offset_s": f"{self.offset:.6f}",
            "flags": ", ".join(self.flags),
        }


class SensorStream(Generic[T]):
    """Reads `driver` in a thread of its own and passes each sample on with its capture stamp.

    on_sample(reading, stamp [ns]): called in that thread; the stamp is of the device's clock where it has one (mapped
    by `DeviceClock`), else the arrival, minus `latency` [s]. on_change(problem): when the device is lost, for what
    reason, and "" when samples come again. silence: [s] without a sample after which it counts as lost. counter:
    where the device's sequence numbers begin again, 0 if never.
    """

    def __init__(
        self,
        driver: Driver[T],
        on_sample: Callable[[Reading[T], int], None],
        on_change: Callable[[str], None] = lambda problem: None,
        latency: float = 0.0,
        silence: float = SILENCE,
        counter: int = 0,
    ) -> None:
        self.driver = driver
        self.statistics = StreamStatistics()
        self._on_sample, self._on_change = on_sample, on_change
        self._latency, self._silence, self._counter = latency, silence, counter
        self._clock = DeviceClock(latency)
        self._sequence: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None  # a defect that ended the thread

    def start(self) -> None:
        """Start reading."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._guarded, name=f"read {self.driver.device}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and close the device."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10.0)
            self._thread = None
        if isinstance(self.driver, Served):
            self.driver.end()

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - a thread must not die unseen
            self.failure = error
            self._say(f"{self.driver.device}: defect in its driver: {type(error).__name__}: {error}")
        finally:
            self.driver.close()

    def _run(self) -> None:
        pause, opened_before = FIRST_PAUSE, False
        while not self._stop.is_set():
            try:
                self.driver.open()
                self._clock.reset()
                self._sequence = None
                self.statistics.reconnections += opened_before
                opened_before = True
                before = self.statistics.received
                try:
                    self._read_on()
                finally:
                    if self.statistics.received > before:
                        pause = FIRST_PAUSE
            except DeviceError as error:
                self._say(str(error))
            self.driver.close()
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _read_on(self) -> None:
        """Pass samples on until stopped; raise DeviceError when the device is lost or silent."""
        heard, rejected = time.monotonic(), self.driver.rejected
        while not self._stop.is_set():
            reading = self.driver.read(min(POLL, self._silence))
            self.statistics.rejected = self.driver.rejected
            if reading is not None:
                heard, rejected = time.monotonic(), self.driver.rejected
                self._take(reading)
            elif (quiet := time.monotonic() - heard) > self._silence:
                invalid = self.driver.rejected - rejected
                what = f"sends, but nothing valid ({invalid} rejected)" if invalid else "silent"
                raise DeviceError(f"{self.driver.device}: {what} for {quiet:.1f} s")

    def _take(self, reading: Reading[T]) -> None:
        statistics = self.statistics
        if reading.device_time is None:
            stamp = reading.arrival - round(self._latency * 1e9)
        else:
            stamp = self._clock.stamp(reading.device_time, reading.arrival)
            statistics.offset, statistics.uncertainty = self._clock.offset, self._clock.uncertainty
        if reading.sequence is not None and self._sequence is not None:
            statistics.lost += self._missed(reading.sequence - self._sequence)
        self._sequence = reading.sequence
        statistics.received += 1
        statistics.flags = reading.flags
        arrivals = statistics._arrivals
        arrivals.append(reading.arrival)
        if len(arrivals) > 1 and arrivals[-1] > arrivals[0]:
            statistics.rate = (len(arrivals) - 1) * 1e9 / (arrivals[-1] - arrivals[0])
        self._on_sample(reading, stamp)
        if statistics.problem:
            self._say("")

    def _missed(self, step: int) -> int:
        """Return how many samples are missing where the counter went on by `step`; none where it went back."""
        if self._counter:
            step %= self._counter
            if step > self._counter // 2:
                return 0
        return max(0, step - 1)

    def _say(self, problem: str) -> None:
        if problem:
            self.statistics.rate = 0.0
            self.statistics._arrivals.clear()
        if problem != self.statistics.problem:
            self.statistics.problem = problem
            self._on_change(problem)
