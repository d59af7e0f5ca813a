import threading
import time

import numpy as np
import pytest

from vla_ros.ros.realtime import PeriodicThread, PeriodStatistics, period_report

MS = 1_000_000


def test_periods_are_reported_around_the_nominal_one() -> None:
    statistics = PeriodStatistics(0.01)
    for now in (0, 10, 20, 33, 40):
        statistics.tick(now * MS)
    report = statistics.report()
    assert report.count == 4
    assert report.p50 == pytest.approx(0.010)
    assert report.jitter_max == pytest.approx(0.003)


def test_without_ticks_the_report_is_zero() -> None:
    assert period_report(np.zeros(0), 0.01).count == 0


def test_work_is_called_on_evenly_spaced_deadlines() -> None:
    deadlines: list[int] = []
    enough = threading.Event()

    def work(deadline: int) -> None:
        deadlines.append(deadline)
        if len(deadlines) == 20:
            enough.set()

    thread = PeriodicThread(0.002, work, pytest.fail)
    thread.start()
    assert enough.wait(20.0)
    thread.stop()
    assert (np.diff(deadlines) % (2 * MS) == 0).all()
    assert thread.statistics.report().count >= 19


def test_deadlines_that_pass_during_long_work_are_skipped_and_counted() -> None:
    deadlines: list[int] = []
    enough = threading.Event()

    def work(deadline: int) -> None:
        deadlines.append(deadline)
        if len(deadlines) == 1:
            end = time.monotonic_ns() + 11 * MS
            while time.monotonic_ns() < end:
                pass
        elif len(deadlines) == 3:
            enough.set()

    thread = PeriodicThread(0.002, work, pytest.fail)
    thread.start()
    assert enough.wait(20.0)
    thread.stop()
    assert thread.statistics.missed >= 5
    assert deadlines[1] - deadlines[0] >= 12 * MS
    assert (deadlines[1] - deadlines[0]) % (2 * MS) == 0


def test_an_error_in_the_work_is_passed_on() -> None:
    failures: list[BaseException] = []
    failed = threading.Event()

    def work(deadline: int) -> None:
        raise ValueError("no kinematics")

    def on_failure(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    PeriodicThread(0.002, work, on_failure).start()
    assert failed.wait(20.0)
    assert str(failures[0]) == "no kinematics"
