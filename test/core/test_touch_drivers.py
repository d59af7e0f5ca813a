"""Each skin's driver against its emulator: the right values, and samples again after whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ros_support import wait_until

from vla_ros.drivers import Reading, SensorStream, make_driver
from vla_ros.drivers.gelsight import find_camera
from vla_ros.emulators import FAULTS, make_emulator
from vla_ros.emulators.gel import Gel
from vla_ros.emulators.touching import DRAGGED, FREE, PRESSED, touch_at
from vla_ros.errors import DeviceError

SKINS = ("anyskin", "digit", "gelsight", "paxini", "xela")


@pytest.fixture
def emulator(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The emulator named by the parameter, pressed and standing still."""
    made: Any = make_emulator(request.param)
    made.touch = PRESSED
    with made:
        yield made


def expected(emulator: Any) -> tuple[npt.NDArray[np.floating], float]:
    """What the driver of a running emulator is to read, and to within what, on average."""
    if emulator.name == "anyskin":
        return emulator.fields()[None], 2.0
    if emulator.name == "paxini":
        return emulator.counts()[None] * 0.1, 1e-5
    if emulator.name == "xela":
        return emulator.forces(), 1e-5
    picture = Gel().picture(touch_at(emulator.touch))
    return (np.rot90(picture) if emulator.name == "digit" else picture).astype(float), 3.0


def read(driver: Any) -> Reading[Any]:
    return wait_until(lambda: driver.read(0.5), 20.0, "a sample")


@pytest.mark.parametrize("emulator", SKINS, indirect=True)
def test_a_driver_reads_what_its_device_feels_and_recovers_from_every_fault(emulator: Any) -> None:
    driver = make_driver("tactile", emulator.address)
    samples: list[Reading[Any]] = []
    problems: list[str] = []
    stream: SensorStream[Any] = SensorStream(
        driver, lambda reading, stamp: samples.append(reading), problems.append, silence=0.5
    )
    stream.start()
    try:
        wait_until(lambda: samples, 30.0, "the first sample")
        for fault in [*(fault for fault in FAULTS if fault != "none"), "silence"]:
            emulator.fault = fault
            wait_until(lambda: stream.statistics.problem, 30.0, f"a problem told with '{fault}'")
            emulator.fault = "none"
            wait_until(lambda: not stream.statistics.problem, 60.0, f"samples after '{fault}'")
        assert all(problem.startswith(driver.device) for problem in problems if problem)
        samples.clear()
        wait_until(lambda: len(samples) > 2, 30.0, "samples")
        value, tolerance = expected(emulator)
        assert samples[-1].value.shape == value.shape
        assert np.abs(samples[-1].value - value).mean() < tolerance
    finally:
        stream.stop()
    assert stream.failure is None
    assert stream.statistics.reconnections >= len(FAULTS) - 1


@pytest.mark.parametrize("emulator", ["xela"], indirect=True)
def test_xela_gives_counts_on_request_and_says_what_is_missing(emulator: Any) -> None:
    emulator.calibrated = False
    driver = make_driver("tactile", emulator.address)
    driver.open()
    with pytest.raises(DeviceError, match=r"no calibrated forces for sensor 1 \(uSPa44\).*field=data"):
        read(driver)
    driver.close()
    driver = make_driver("tactile", emulator.address + "?field=data")
    assert (driver.unit, make_driver("tactile", "xela").unit) == ("counts", "N")
    driver.open()
    reading = read(driver)
    np.testing.assert_allclose(reading.value, np.rint(33000 + 1000 * emulator.forces()), atol=1)
    assert reading.sequence and reading.device_time
    driver.close()
    driver = make_driver("tactile", emulator.address + "?sensor=3")
    driver.open()
    with pytest.raises(DeviceError, match="has no sensor 3; it has: 1"):
        read(driver)
    driver.close()


@pytest.mark.parametrize("emulator", ["anyskin"], indirect=True)
def test_a_serial_port_is_not_shared(emulator: Any) -> None:
    first, second = (make_driver("tactile", emulator.address) for _ in range(2))
    first.open()
    with pytest.raises(DeviceError, match="is in use by another program"):
        second.open()
    first.close()
    second.open()
    read(second)
    second.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("anyskin:///dev/ttyNOTHERE", r"/dev/ttyNOTHERE is not there; serial ports here: .*; plug the device in"),
        ("paxini:///dev/null", "/dev/null is no serial port"),
        ("xela://127.0.0.1:1", r"no server at ws://127.0.0.1:1 .*start xela_server"),
        ("xela://192.168..5", r"no server at ws://192.168..5:5000 .*start xela_server"),
        ("gelsight:///dev/video99", r"/dev/video99 is not there; cameras here: .*"),
        ("digit:///dev/null", "/dev/null is no camera or video that OpenCV opens"),
    ],
)
def test_a_device_that_is_not_there_is_named_with_what_to_do(address: str, message: str) -> None:
    driver = make_driver("tactile", address)
    with pytest.raises(DeviceError, match=message):
        driver.open()
    driver.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("anyskin", "names no serial port, want anyskin:///dev/ttyACM0"),
        ("anyskin:///dev/ttyACM0?baud=9600", "unknown option 'baud'; valid: magnetometers"),
        ("paxini:///dev/ttyUSB0?model=S2016", r"unknown model 'S2016' .*valid: L3530, .* S2015,"),
        ("xela://localhost?field=raw", "unknown field 'raw'.*valid: calibrated, data"),
        ("gelsight:///dev/video0?border=1", "border is '1', want a number from 0 to 0.45"),
        ("gelsigth:///dev/video0", r"unknown tactile device 'gelsigth' \(did you mean 'gelsight'\?\)"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused(address: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        make_driver("tactile", address)


def test_a_camera_is_found_by_what_its_usb_device_says(tmp_path: Path) -> None:
    for number, product, serial, index in ((0, "Webcam", "1", 0), (10, "DIGIT", "D20235", 0), (9, "DIGIT", "D1", 1)):
        interface = tmp_path / "usb" / f"{number}" / "1.0"
        interface.mkdir(parents=True)
        (interface.parent / "product").write_text(f"{product}\n")
        (interface.parent / "serial").write_text(f"{serial}\n")
        node = tmp_path / "class" / f"video{number}"
        node.mkdir(parents=True)
        (node / "device").symlink_to(interface)
        (node / "index").write_text(f"{index}\n")
        (node / "name").write_text(f"{product}: camera\n")
    root = tmp_path / "class"
    assert find_camera("digit", "DIGIT", root=root) == "/dev/video10"
    assert find_camera("digit", "DIGIT", "d20235", root) == "/dev/video10"
    with pytest.raises(
        DeviceError, match=r"no GelSight Mini is plugged in; cameras here: .*/dev/video0 \(Webcam: camera\)"
    ):
        find_camera("gelsight", "GelSight Mini", root=root)


class TestClientsByOthers:
    """An emulator and a driver by the same hand can agree and both be wrong."""

    def test_anyskin_reads_the_emulated_anyskin(self) -> None:
        client = pytest.importorskip("anyskin", reason="needs the package 'anyskin'")
        emulator: Any = make_emulator("anyskin")
        emulator.touch = DRAGGED
        with emulator:
            sensor = client.AnySkinBase(num_mags=5, port=emulator.path)
            samples = np.array(sensor.get_data(20))[:, 1:].reshape(-1, 5, 3)
            sensor.close()
            np.testing.assert_allclose(samples.mean(axis=0), emulator.fields(), atol=2.0)

    def test_paxini_sdk_reads_the_emulated_paxini(self) -> None:
        client = pytest.importorskip("paxini_sdk", reason="needs the package 'paxini-sdk'")
        emulator: Any = make_emulator("paxini")
        emulator.touch = DRAGGED
        with emulator, client.SingleSensorBoard(emulator.path, sensor="PXSR-STDDP03G", response_timeout=20.0) as board:
            board.calibrate()
            points = [point.as_tuple() for point in board.read_distributed_force()]
            np.testing.assert_array_equal(points, emulator.counts())
            assert board.read_resultant_force() == tuple(emulator.counts().sum(axis=0))

    def test_digit_interface_sees_what_our_driver_sees(self) -> None:
        client = pytest.importorskip("digit_interface", reason="needs the package 'digit-interface'")
        emulator: Any = make_emulator("digit")
        emulator.touch = FREE
        with emulator:
            digit, driver = client.Digit(), make_driver("tactile", emulator.address)
            digit.dev_name, digit.revision = emulator.path, 200
            digit.connect()
            driver.open()
            np.testing.assert_array_equal(digit.get_frame()[..., ::-1], read(driver).value)
            driver.close()
            digit.disconnect()
