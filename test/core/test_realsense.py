"""The RealSense driver, through librealsense's own software device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vla_ros.drivers import Address, Reading
from vla_ros.drivers.realsense import RealSense, plugged_in
from vla_ros.errors import DeviceError

try:
    from software_realsense import RATE, SoftwareCamera
except ImportError as missing:
    pytest.skip(f"pyrealsense2 does not load: {missing}", allow_module_level=True)

WIDTH, HEIGHT = 64, 48


def driver(camera: SoftwareCamera, options: str = "", serial: str = "") -> RealSense:
    text = f"realsense://{serial}?width={WIDTH}&height={HEIGHT}&fps={RATE}{options}"
    return RealSense(Address.parse(text), lambda: [camera.device])


def readings(camera: SoftwareCamera, realsense: RealSense, count: int = 5) -> list[Reading[Any]]:
    """Send frames of colour (n, 2n, 3n) and 1000 steps of depth, and return what comes out."""
    realsense.open()
    try:
        got = []
        for number in range(1, count + 1):
            colour = np.zeros((HEIGHT, WIDTH, 3)) + np.array([number, 2 * number, 3 * number])
            camera.send_depth(number, 100.0 + number / RATE, np.full((HEIGHT, WIDTH), 1000))
            camera.send_colour(number, 100.0 + number / RATE, colour)
            if (reading := realsense.read(5.0)) is not None:
                got.append(reading)
        return got
    finally:
        realsense.close()


def test_frames_come_with_pixels_lens_number_and_the_cameras_own_time() -> None:
    camera = SoftwareCamera()
    got = readings(camera, driver(camera, "&depth=raw"))
    assert [reading.sequence for reading in got] == [1, 2, 3, 4, 5]
    for reading in got:
        number = reading.sequence
        assert reading.value.colour[5, 7].tolist() == [number, 2 * number, 3 * number]
        assert (reading.value.depth == 1000).all()
        assert reading.device_time == pytest.approx(100.0 + number / RATE)
        assert (reading.value.intrinsics.fx, reading.value.depth_intrinsics.cx) == (50.0, 31.5)


def test_aligned_depth_lies_where_the_colour_camera_sees_it() -> None:
    """1 m away a camera 0.1 m to the side sees everything shifted by f * 0.1 / 1 = 5 pixels."""
    camera = SoftwareCamera()
    got = readings(camera, driver(camera))
    depth = got[-1].value.depth
    assert got[-1].value.depth_intrinsics is None
    assert (depth[:, :5] == 0).all()
    assert np.isin(depth, (0, 1000)).all()
    assert (depth[:, 6:] == 1000).mean() > 0.9, "librealsense leaves holes where its rounding does"


def test_depth_is_in_millimetres_whatever_the_cameras_unit() -> None:
    camera = SoftwareCamera(unit=0.0001)
    got = readings(camera, driver(camera, "&depth=raw"))
    assert (got[-1].value.depth == 100).all()


def test_depth_of_another_instant_is_not_taken_for_that_of_the_picture() -> None:
    camera = SoftwareCamera()
    realsense = driver(camera, "&depth=raw")
    realsense.open()
    grey, deep = np.zeros((HEIGHT, WIDTH, 3)), np.full((HEIGHT, WIDTH), 1000)
    camera.send_colour(1, 100.0, grey)
    camera.send_depth(2, 100.0 + 1 / RATE, deep)
    assert realsense.read(0.2) is None
    camera.send_colour(2, 100.0 + 1.1 / RATE, grey)
    assert realsense.read(5.0).sequence == 2
    assert realsense.rejected == 1
    realsense.close()


def test_an_unplugged_camera_is_told_and_comes_back() -> None:
    camera = SoftwareCamera()
    plugged = [camera.device]
    realsense = RealSense(
        Address.parse(f"realsense://012345?width={WIDTH}&height={HEIGHT}&fps={RATE}&depth=none"), lambda: plugged
    )
    realsense.open()
    assert realsense.read(0.05) is None
    plugged.clear()
    with pytest.raises(DeviceError, match="realsense 012345: unplugged; found none"):
        realsense.read(0.05)
    realsense.close()
    with pytest.raises(DeviceError, match="no camera of serial 012345"):
        realsense.open()
    plugged.append(camera.device)
    realsense.open()
    camera.send_colour(1, 100.0, np.full((HEIGHT, WIDTH, 3), 7))
    reading = realsense.read(5.0)
    assert reading is not None and (reading.value.colour == 7).all() and reading.value.depth is None
    realsense.close()


def test_a_camera_that_is_not_there_is_named_beside_those_that_are() -> None:
    camera = SoftwareCamera("777")
    with pytest.raises(DeviceError, match=r"no camera of serial 42; found 777 \(Software D435\)"):
        driver(camera, serial="42").open()


def test_without_a_camera_the_udev_rules_are_pointed_at() -> None:
    if plugged_in():
        pytest.skip("there is a RealSense here")
    with pytest.raises(DeviceError, match="found none; is it plugged in, and are librealsense's udev rules there"):
        RealSense(Address.parse("realsense")).open()


def test_a_size_that_the_camera_has_not_is_answered_by_those_it_has() -> None:
    camera = SoftwareCamera()
    wrong = RealSense(Address.parse("realsense://?width=99&height=48&fps=30"), lambda: [camera.device])
    with pytest.raises(DeviceError, match="no color and depth of 99x48 at 30 Hz; it has 64x48 at 30 Hz"):
        wrong.open()
