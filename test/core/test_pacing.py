"""The grid is exact, and a late tick does not delay the next."""

from __future__ import annotations

import pytest

from vla_ros.action import NANOSECONDS
from vla_ros.sim.pacing import CAMERA_EVERY, GATE_EVERY, LOST, Pacer, step_time


class HandClock:
    """A clock that moves when slept on, or when told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def pacer(clock: HandClock, period: float = 0.01) -> Pacer:
    return Pacer(period, now=lambda: clock.now, sleep=clock.sleep)


def test_camera_frames_lie_exactly_on_the_thirtieth_of_a_second_grid():
    assert [step_time(k * CAMERA_EVERY) for k in range(200)] == [round(k * NANOSECONDS / 30) for k in range(200)]


def test_gate_ticks_lie_exactly_on_ten_milliseconds():
    assert [step_time(k * GATE_EVERY) for k in range(200)] == [k * 10_000_000 for k in range(200)]


def test_deadlines_are_absolute():
    clock = HandClock()
    pace = pacer(clock)
    clock.now += 0.003  # work
    assert pace.wait() == 0.0
    clock.now += 0.014  # too much work
    assert pace.wait() == pytest.approx(0.004)
    assert pace.wait() == pytest.approx(0.0)
    assert clock.now == pytest.approx(100.03)


def test_the_report_tells_factor_and_lateness():
    clock = HandClock()
    pace = pacer(clock)
    for _ in range(9):
        pace.wait()
    clock.now += 0.02
    pace.wait()
    report = pace.report()
    assert report.factor == pytest.approx(0.1 / 0.11)
    assert report.late == pytest.approx(0.1)
    assert report.late_max == pytest.approx(0.01)
    assert report.lost == 0.0


def test_time_far_behind_is_given_up_and_not_raced_after():
    clock = HandClock()
    pace = pacer(clock)
    clock.now += 3 * LOST
    assert pace.wait() > LOST
    assert pace.wait() == pytest.approx(0.0)
    assert pace.report().lost == pytest.approx(3 * LOST - 0.01)
