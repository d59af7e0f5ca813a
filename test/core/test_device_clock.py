"""The mapping of a device's clock to the host's: what holds for any device, and how near it comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.drivers import DeviceClock

SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND  # [ns] host time at which a device begins


@dataclass(frozen=True)
class Device:
    """Samples of a device whose clock runs `drift` too fast, on their way for `shortest` and an exponential rest [s]."""

    rate: float
    drift: float
    jitter: float
    shortest: float = 0.002
    power_on: float = 12_345.678  # [s] that its clock shows at the first sample

    def samples(
        self, seconds: float, seed: int, begin: int = START
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return when they were taken [ns], by the device's clock [s], and when they arrived [ns], in that order."""
        random = np.random.default_rng(seed)
        true = np.arange(int(seconds * self.rate)) / self.rate
        way = self.shortest + random.exponential(self.jitter, len(true))
        arrivals = np.maximum.accumulate(true + way)  # a line keeps the order
        device = self.power_on + true * (1 + self.drift)
        return begin + np.rint(true * SECOND).astype(int), device, begin + np.rint(arrivals * SECOND).astype(int)


devices = st.builds(
    Device,
    rate=st.sampled_from([10.0, 30.0, 100.0, 500.0]),
    drift=st.floats(-2e-4, 2e-4),
    jitter=st.sampled_from([0.0, 1e-4, 1e-3, 5e-3]),
    power_on=st.sampled_from([0.0, 1.0, 1e6]),
)


def stamps(clock: DeviceClock, device: npt.NDArray[np.float64], arrivals: npt.NDArray[np.int64]) -> npt.NDArray:
    return np.array([clock.stamp(float(t), int(a)) for t, a in zip(device, arrivals, strict=True)])


@settings(max_examples=40, deadline=None)
@given(device=devices, seed=st.integers(0, 2**16))
def test_stamps_never_go_back_nor_come_after_the_arrival(device: Device, seed: int) -> None:
    _, times, arrivals = device.samples(8.0, seed)
    result = stamps(DeviceClock(), times, arrivals)
    assert (np.diff(result) >= 0).all()
    assert (result <= arrivals).all()


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(-1e3, 1e3, allow_nan=False), st.integers(0, 20 * SECOND)), min_size=1, max_size=60
    ),
    latency=st.sampled_from([0.0, 0.01]),
)
def test_whatever_a_device_claims_stamps_never_go_back_nor_come_after_the_arrival(
    steps: list[tuple[float, int]], latency: float
) -> None:
    clock, device_time, arrival, last = DeviceClock(latency), 0.0, START, 0
    for forward, later in steps:
        device_time, arrival = device_time + forward, arrival + later
        stamp = clock.stamp(device_time, arrival)
        assert last <= stamp <= arrival
        last = stamp


@settings(max_examples=30, deadline=None, derandomize=True)
@given(device=devices, seed=st.integers(0, 2**16))
def test_a_drifting_clock_and_late_packets_leave_an_error_far_below_the_lateness(device: Device, seed: int) -> None:
    true, times, arrivals = device.samples(30.0, seed)
    clock = DeviceClock()
    error = (stamps(clock, times, arrivals) - true) / SECOND - device.shortest
    settled = error[len(error) // 3 :]
    independent = min(device.rate, 0.2 / max(device.jitter, 1e-6))  # packets a second; one waits for the one before
    least = device.jitter / independent  # the smallest of n delays is 1/n of their mean
    assert np.abs(settled).max() <= 6 * least + 3e-5
    assert clock.uncertainty <= 3 * least + 3e-5
    assert clock.offset == pytest.approx((START / SECOND) - device.power_on, abs=0.02)


def test_a_clock_whose_rate_is_known_to_half_a_percent_only_is_followed_too() -> None:
    device = Device(rate=500.0, drift=5e-3, jitter=5e-4)
    true, times, arrivals = device.samples(30.0, 1)
    error = (stamps(DeviceClock(), times, arrivals) - true) / SECOND - device.shortest
    assert np.abs(error[-5000:]).max() < 1e-3


def test_the_known_shortest_way_is_taken_off() -> None:
    device = Device(rate=100.0, drift=0.0, jitter=1e-3)
    true, times, arrivals = device.samples(10.0, 2)
    error = (stamps(DeviceClock(latency=device.shortest), times, arrivals) - true) / SECOND
    assert np.abs(error[-200:]).max() < 2e-4


def test_a_restarted_device_is_stamped_rightly_at_once() -> None:
    before = Device(rate=100.0, drift=1e-4, jitter=1e-3)
    after = Device(rate=100.0, drift=1e-4, jitter=1e-3, power_on=0.0)
    clock = DeviceClock()
    _, times, arrivals = before.samples(10.0, 3)
    last = stamps(clock, times, arrivals)[-1]
    true, times, arrivals = after.samples(10.0, 4, begin=START + 13 * SECOND)
    result = stamps(clock, times, arrivals)
    assert result[0] > last
    assert np.abs((result - true) / SECOND).max() < 0.012  # late as its packets at first, not by the pause
    assert np.abs((result - true)[-200:] / SECOND - after.shortest).max() < 2e-4


def test_a_backlog_read_at_once_keeps_its_capture_times() -> None:
    device = Device(rate=100.0, drift=1e-4, jitter=1e-4)
    true, times, arrivals = device.samples(12.0, 5)
    stopped = slice(1000, 1150)  # the process did not run for 1.5 s
    arrivals[stopped] = arrivals[stopped.stop]
    error = (stamps(DeviceClock(), times, arrivals) - true) / SECOND - device.shortest
    assert np.abs(error[300:]).max() < 1e-3


@pytest.mark.parametrize("step", [0.3, -0.3, 40.0])
def test_a_host_clock_that_was_set_is_followed_within_seconds(step: float) -> None:
    device = Device(rate=100.0, drift=1e-4, jitter=1e-4)
    true, times, arrivals = device.samples(20.0, 6)
    true[1000:] += round(step * SECOND)
    arrivals[1000:] += round(step * SECOND)
    result = stamps(DeviceClock(), times, arrivals)
    assert (result <= arrivals).all()
    assert np.abs((result - true)[1200:] / SECOND - device.shortest).max() < 1e-3
