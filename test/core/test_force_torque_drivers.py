"""The force/torque drivers on their emulators: right values, and what they make of loss, rubbish and unplugging."""

from __future__ import annotations

import gc
import random
import socket
import sys

import numpy as np
import pytest
from device_support import running
from ros_support import wait_until

from vla_ros.drivers import Address, make_driver
from vla_ros.drivers.netft import AXIA_FAULTS, NETFT_FAULTS, parse_settings
from vla_ros.drivers.rdt import status_flags
from vla_ros.emulators import make_emulator
from vla_ros.emulators.netft import NetFtEmulator
from vla_ros.emulators.onrobot import OnRobotEmulator
from vla_ros.errors import DeviceError

DEVICES = ("axia", "ft300", "netft", "onrobot")
COUNTED = ("axia", "netft", "onrobot")
WRENCH = (12.34, -5.6, 78.9, 0.123, -4.56, 0.789)


@pytest.mark.parametrize("name", DEVICES)
def test_the_wrench_comes_in_newton_and_newton_metre(name: str) -> None:
    with make_emulator(name) as device, running("force_torque", device.address) as sensor:
        sensor.more()
        device.wrench = WRENCH
        wait_until(lambda: np.allclose(sensor.readings[-1].value, WRENCH, atol=1e-5), what="the new wrench")
        assert (np.diff(sensor.stamps) >= 0).all()
        assert all(stamp <= r.arrival for stamp, r in zip(sensor.stamps, sensor.readings, strict=False))


@pytest.mark.parametrize("name", DEVICES)
def test_rubbish_is_counted_and_the_sensor_comes_back(name: str) -> None:
    with make_emulator(name) as device, running("force_torque", device.address, silence=0.4) as sensor:
        sensor.more()
        for fault in ("garbage", "partial"):
            device.fault, before = fault, sensor.statistics.rejected
            sensor.problem(name)
            wait_until(lambda before=before: sensor.statistics.rejected > before, what="rejected packets")
            device.fault = "none"
            sensor.recovered()
            assert np.allclose(sensor.more().value, device.wrench, atol=1e-5)
        assert all(np.allclose(reading.value, device.wrench, atol=1e-5) for reading in sensor.readings)


@pytest.mark.parametrize("name", DEVICES)
def test_a_silent_or_unplugged_sensor_is_named_and_comes_back(name: str) -> None:
    with make_emulator(name) as device, running("force_torque", device.address, silence=0.4) as sensor:
        sensor.more()
        for fault in ("silence", "unplug"):
            device.fault = fault
            assert sensor.problem(name).startswith(name)
            device.fault = "none"
            sensor.recovered()
            sensor.more()
        assert sensor.statistics.reconnections >= 2


@pytest.mark.parametrize("name", COUNTED)
def test_records_that_the_box_counted_and_that_never_came_are_lost(name: str) -> None:
    with make_emulator(name) as device, running("force_torque", device.address, counter=2**32, silence=30.0) as sensor:
        sensor.more()
        assert sensor.statistics.lost == 0
        device.drop = 7
        wait_until(lambda: device.drop == 0, what="the loss")
        sensor.more()
        assert sensor.statistics.lost == 7
        assert sensor.statistics.rejected == 0


def test_the_samples_time_is_the_boxs_own() -> None:
    with NetFtEmulator(rate=200.0) as device, running("force_torque", device.address) as sensor:
        sensor.more(20)
        steps = np.diff([reading.device_time for reading in sensor.readings])
        assert steps == pytest.approx(np.full(len(steps), 1 / 200), abs=2 / 7000)
        assert sensor.statistics.uncertainty >= 0


def test_status_bits_are_told_as_what_they_mean() -> None:
    assert status_flags(0, NETFT_FAULTS) == ()
    assert status_flags(0x80020000, NETFT_FAULTS) == ("saturated: transducer saturation or A/D error",)
    assert status_flags(0xC0000000, AXIA_FAULTS) == ("saturated: sensing range exceeded",)
    assert status_flags(0x80000000, AXIA_FAULTS) == ("error",)
    assert status_flags(0x40, {}) == ("status bit 6",)


def test_a_saturated_sensor_says_so_with_each_sample() -> None:
    with make_emulator("axia") as device, running("force_torque", device.address) as sensor:
        device.status = 0x88000000
        wait_until(lambda: sensor.statistics.flags == ("saturated: gage out of range",), what="the flag")


def test_the_hex_obeys_rate_and_filter() -> None:
    with OnRobotEmulator() as device:
        with running("force_torque", f"{device.address}?rate=250&filter=3") as sensor:
            sensor.more()
            assert (device.rate, device.filter) == (250.0, 3)


@pytest.mark.parametrize(
    ("units", "force", "torque"),
    [(("N", "Nm"), 1000.0, 1000.0), (("kN", "N-mm"), 1.0, 1e6), (("lbf", "lbf-in"), 224.809, 8850.746)],
)
def test_the_boxs_units_become_newton_and_newton_metre(units: tuple[str, str], force: float, torque: float) -> None:
    page = "<netft><cfgcpf>1000</cfgcpf><cfgcpt>1000</cfgcpt><scfgfu>{}</scfgfu><scfgtu>{}</scfgtu></netft>"
    scale = parse_settings(page.format(*units).encode())
    assert (scale.force, scale.torque) == pytest.approx((force, torque), rel=1e-5)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"<html>", "is not XML"),
        (b"<netft><cfgcpf>0</cfgcpf></netft>", "cfgcpf '0', want counts a unit"),
        (b"<netft><cfgcpf>9</cfgcpf><scfgfu>stone</scfgfu></netft>", "scfgfu 'stone'; known: n, kn, lbf"),
    ],
)
def test_a_page_that_does_not_tell_the_scale_is_refused(page: bytes, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        parse_settings(page)


def test_a_scale_in_the_address_needs_no_page() -> None:
    with OnRobotEmulator() as device:  # speaks RDT, has no web page
        address = f"netft://127.0.0.1:{device.port}?cpf=10000&cpt=100000&rate=0"
        driver = make_driver("force_torque", address)
        driver.open()
        reading = driver.read(10.0)
        driver.close()
    assert reading is not None and reading.device_time is None
    assert reading.value == pytest.approx(device.wrench)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("netft", "no host, want netft://192.168.1.1"),
        ("netft://box?cpf=1", "gives cpf only"),
        ("netft://box?cpff=1", "did you mean 'cpf'"),
        ("onrobot://box?rate=300", "rate is 300 Hz; valid: 500, 250"),
        ("ft300", "no serial port, want ft300:///dev/ttyUSB0"),
    ],
)
def test_a_wrong_address_is_refused_at_once(address: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        make_driver("force_torque", address)


def test_a_missing_device_is_named_with_what_to_do() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        driver = make_driver("force_torque", f"netft://127.0.0.1?http={held.getsockname()[1]}")
        with pytest.raises(DeviceError, match="no settings from http://127.0.0.1.*refused.*check power"):
            driver.open()
    for host in ("192.168..5", "b\u00f6x..5"):
        with pytest.raises(DeviceError, match=f"onrobot at {host}:49152: .*; check the compute box"):
            make_driver("force_torque", f"onrobot://{host}").open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quiet:
        quiet.bind(("127.0.0.1", 0))
        driver = make_driver("force_torque", f"onrobot://127.0.0.1:{quiet.getsockname()[1]}")
        with pytest.raises(DeviceError, match="no answer to 3 requests; check the compute box"):
            driver.open()
    with pytest.raises(DeviceError, match="/dev/no_such_port is not there.*serial ports here: .*plug the device in"):
        make_driver("force_torque", "ft300:///dev/no_such_port").open()
    with pytest.raises(DeviceError, match="onrobot at .*; check the compute box"):
        make_driver("force_torque", f"onrobot://{'x' * 70}.local").open()
    with pytest.raises(DeviceError, match="/dev/null is no serial port"):
        make_driver("force_torque", "ft300:///dev/null").open()
    driver.close()


def test_a_sensor_that_streams_already_is_begun_anew() -> None:
    with make_emulator("ft300") as device:
        for _ in range(2):
            driver = make_driver("force_torque", device.address)
            driver.open()
            assert driver.read(10.0) is not None
            assert driver.rejected == 0
            driver._line.close()  # as when its process is killed: nobody ends the stream


@pytest.mark.skipif(sys.platform != "linux", reason="needs the whole of 127.0.0.0/8 as loopback")
def test_the_emulated_net_ft_serves_an_independent_client() -> None:
    """NetFT of PyPI, by C. Devine: it asks at the fixed port 49152."""
    netft = pytest.importorskip("NetFT", reason="needs the Python package 'NetFT': pip install NetFT")
    host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
    with NetFtEmulator(host, 49152) as device:
        device.wrench = WRENCH
        sensor = netft.Sensor(host)
        sensor.sock.settimeout(30.0)
        expected = np.round(np.array(WRENCH) * 1e6)
        assert np.array_equal(sensor.getMeasurement(), expected)
        assert np.array_equal(sensor.tare(10), expected)
        assert np.array_equal(sensor.getMeasurement(), np.zeros(6))
        sensor.zero()
        sensor.startStreaming(handler=False)
        assert [list(sensor.receive()) for _ in range(20)] == [list(expected)] * 20
        sensor.send(0)
        sensor.sock.close()


def test_the_emulated_ft300_serves_an_independent_client() -> None:
    """ft300python of PyPI, by hygradme: registers by Modbus RTU, then the stream."""
    ft300 = pytest.importorskip("ft300python", reason="needs pip install ft300python 'pymodbus<3'")
    with make_emulator("ft300") as device:
        device.wrench = WRENCH
        expected = np.array([12.34, -5.6, 78.9, 0.123, -4.56, 0.789])
        port = Address.parse(device.address).path
        registers = ft300.FT300ModbusRTU(port, timeout=10, zero_reset=False)
        assert registers.get_force_torque_raw() == pytest.approx(expected)
        assert registers.get_production_year() == 2026
        registers.disconnect()
        stream = ft300.FT300Stream(port, timeout=10, zero_reset=False)
        for _ in range(20):
            assert stream.get_force_torque_raw() == pytest.approx(expected)
        del stream  # its way of ending the stream
        gc.collect()
        wait_until(lambda: not device._streaming, what="the end of the stream")


def test_addresses_of_emulators_are_those_of_their_drivers() -> None:
    for name in DEVICES:
        with make_emulator(name) as device:
            assert Address.parse(device.address).device == name
