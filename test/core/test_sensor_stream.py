"""A driver kept running: what its statistics tell, and what ends it."""

from __future__ import annotations

import pytest
from device_support import Running, running
from hypothesis import given
from hypothesis import strategies as st
from ros_support import wait_until

from vla_ros.drivers import SensorStream, make_driver
from vla_ros.emulators import make_emulator
from vla_ros.emulators.netft import NetFtEmulator


def idle(counter: int = 0) -> SensorStream:
    """A stream that is not started."""
    driver = make_driver("force_torque", "onrobot://127.0.0.1")
    return SensorStream(driver, lambda reading, stamp: None, counter=counter)


@given(step=st.integers(1, 2**31), before=st.integers(0, 2**32 - 1))
def test_missing_numbers_are_counted_over_the_wrap(step: int, before: int) -> None:
    after = (before + step) % 2**32
    assert idle(2**32)._missed(after - before) == step - 1


@given(back=st.integers(0, 1000))
def test_a_counter_that_stands_or_goes_back_loses_nothing(back: int) -> None:
    assert idle(2**32)._missed(-back) == 0
    assert idle()._missed(-back) == 0


def test_the_rate_is_that_of_the_samples_and_none_while_none_come() -> None:
    with NetFtEmulator(rate=100.0) as device, running("force_torque", device.address, silence=0.4) as sensor:
        wait_until(lambda: 50.0 < sensor.statistics.rate < 200.0, what="the rate")
        assert sensor.statistics.summary()["stamps"].startswith("device, +-")
        device.fault = "unplug"
        sensor.problem("netft")
        assert sensor.statistics.rate == 0.0


def test_a_device_without_a_clock_is_stamped_by_its_arrival_less_the_latency() -> None:
    with make_emulator("onrobot") as device, running("force_torque", device.address, latency=0.25) as sensor:
        sensor.more()
        assert sensor.stamps[0] == sensor.readings[0].arrival - 250_000_000
        assert sensor.statistics.summary()["stamps"] == "arrival"


def test_a_device_that_comes_later_is_found() -> None:
    device = make_emulator("ft300")
    with device:
        path = device.address
    with running("force_torque", path) as sensor:
        sensor.problem("is not there", "plug the device in")
    with make_emulator("ft300") as device:
        device.fault = "unplug"
        wait_until(lambda: device._port.descriptor < 0, what="the unplugging")
        with running("force_torque", device.address) as sensor:
            sensor.problem("is not there")
            device.fault = "none"
            sensor.more()
            assert sensor.statistics.reconnections == 0, "it was never there before"


def test_problems_are_told_once_and_their_end_too() -> None:
    with make_emulator("netft") as device, running("force_torque", device.address, silence=0.4) as sensor:
        sensor.more()
        device.fault = "garbage"
        sensor.problem("netft", "nothing valid")
        device.fault = "none"
        sensor.more(20)
        assert sensor.problems[0] == sensor.problems[-1] == ""
        assert all(a != b for a, b in zip(sensor.problems, sensor.problems[1:], strict=False))


def test_a_defect_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    with make_emulator("netft") as device:
        sensor = Running("force_torque", device.address)
        monkeypatch.setattr(sensor.stream.driver, "take", lambda packet, arrival: 1 / 0)
        sensor.stream.start()
        assert sensor.problem("defect") == "netft: defect in its driver: ZeroDivisionError: division by zero"
        sensor.stream.stop()
        assert isinstance(sensor.stream.failure, ZeroDivisionError)


def test_a_stopped_stream_can_be_started_again() -> None:
    with make_emulator("netft") as device:
        sensor = Running("force_torque", device.address)
        for _ in range(2):
            sensor.stream.start()
            sensor.more()
            sensor.stream.stop()
            count = len(sensor.readings)
        assert len(sensor.readings) == count
