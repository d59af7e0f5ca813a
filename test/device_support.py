"""A driver kept running in a test, with what it passed on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ros_support import wait_until

from vla_ros.drivers import Reading, SensorStream, make_driver


class Running:
    """A `SensorStream` on a device, and what it told."""

    def __init__(self, kind: str, address: str, **settings: Any) -> None:
        self.readings: list[Reading[Any]] = []
        self.stamps: list[int] = []
        self.problems: list[str] = []
        self.stream: SensorStream[Any] = SensorStream(
            make_driver(kind, address), self._take, self.problems.append, **settings
        )
        self.statistics = self.stream.statistics

    def _take(self, reading: Reading[Any], stamp: int) -> None:
        self.readings.append(reading)
        self.stamps.append(stamp)

    def more(self, count: int = 5) -> Reading[Any]:
        """Wait for `count` further samples and return the last."""
        goal = len(self.readings) + count
        wait_until(lambda: len(self.readings) >= goal, what=f"{count} more samples (problems: {self.problems})")
        return self.readings[-1]

    def problem(self, *words: str) -> str:
        """Wait until the stream is in trouble and says so in `words`; return what it says."""
        wait_until(
            lambda: all(word in self.statistics.problem for word in words),
            what=f"a problem with {words} (problems: {self.problems})",
        )
        return self.statistics.problem

    def recovered(self) -> None:
        """Wait until samples come again."""
        wait_until(lambda: self.statistics.problem == "", what=f"recovery (problems: {self.problems})")


@contextmanager
def running(kind: str, address: str, **settings: Any) -> Iterator[Running]:
    """Yield a stream that has been started; it is stopped at the end, and must not have ended by a defect."""
    device = Running(kind, address, **settings)
    device.stream.start()
    try:
        yield device
    finally:
        device.stream.stop()
    assert device.stream.failure is None
