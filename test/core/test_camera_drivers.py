"""Video files, cameras on the network and USB cameras: what their drivers give, and what they say when they cannot."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from vla_ros.drivers import Address, Reading, make_driver
from vla_ros.drivers.uvc import UvcCamera, video_devices
from vla_ros.emulators.mjpeg import MjpegCamera
from vla_ros.emulators.pattern import number_in, paint
from vla_ros.emulators.rtsp import RtspCamera
from vla_ros.errors import DeviceError

RATE = 50


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(paint(number, 320, 240), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    with MjpegCamera(width=320, height=240) as emulator:
        yield emulator


def readings(driver: Any, count: int, deadline: int = 3000) -> list[Reading[Any]]:
    """The next `count` readings, within `deadline` polls of 10 ms."""
    got: list[Reading[Any]] = []
    for _ in range(deadline):
        if (reading := driver.read(0.01)) is not None:
            got.append(reading)
        if len(got) == count:
            return got
    raise AssertionError(f"{len(got)} of {count} readings came")


def lost(driver: Any, deadline: int = 3000) -> str:
    """Read until the driver says that the device is lost, and return what it says."""
    with pytest.raises(DeviceError) as error:
        for _ in range(deadline):
            driver.read(0.01)
    return str(error.value)


def test_a_picture_tells_its_number() -> None:
    assert [number_in(paint(number)) for number in (0, 1, 255, 40000)] == [0, 1, 255, 40000]


@pytest.mark.parametrize("pace", ["real", "fast"])
def test_a_file_is_played_to_its_end(clip: Path, pace: str) -> None:
    driver = make_driver("camera", f"video://{clip}?pace={pace}")
    driver.open()
    got = readings(driver, 10)
    assert [number_in(reading.value.colour) for reading in got] == list(range(10))
    assert [reading.sequence for reading in got] == list(range(10))
    assert "has come to its end; loop=1" in lost(driver)
    driver.close()
    with pytest.raises(DeviceError, match="has been played to its end"):
        driver.open()


def test_at_its_own_pace_no_frame_of_a_file_comes_before_it_is_due(clip: Path) -> None:
    driver = make_driver("camera", f"video://{clip}")
    driver.open()
    got = readings(driver, 10)
    assert [reading.device_time for reading in got] == pytest.approx([k / RATE for k in range(10)])
    assert got[-1].arrival - got[0].arrival > 0.8e9 * 9 / RATE
    driver.close()


def test_a_looping_file_goes_on_in_time(clip: Path) -> None:
    driver = make_driver("camera", f"video://{clip}?loop=1")
    driver.open()
    got = readings(driver, 25)
    assert [number_in(reading.value.colour) for reading in got] == [k % 10 for k in range(25)]
    assert [reading.device_time for reading in got] == pytest.approx([k / RATE for k in range(25)])
    driver.close()


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"no video at all")
    for name in ("noise.mp4", "missing.mp4"):
        with pytest.raises(DeviceError, match=f"{name} is no video that can be read"):
            make_driver("camera", f"video://{tmp_path}/{name}").open()


def test_a_network_camera_s_pictures_come_whole_and_soon_after_they_were_taken(camera: MjpegCamera) -> None:
    driver = make_driver("camera", camera.address)
    driver.open()
    got = readings(driver, 5)
    numbers = [number_in(reading.value.colour) for reading in got]
    assert numbers == sorted(set(numbers))
    for number, reading in zip(numbers, got, strict=True):
        assert reading.value.colour.shape == (240, 320, 3)
        assert camera.sent[number] <= reading.arrival
        assert np.abs(reading.value.colour.astype(int) - paint(number, 320, 240)).mean() < 3.0
    driver.close()


def test_opencv_reads_the_emulated_camera_too(camera: MjpegCamera) -> None:
    capture = cv2.VideoCapture(camera.address.replace("mjpeg://", "http://"))
    assert [capture.read()[0] for _ in range(3)] == [True] * 3
    number = number_in(capture.read()[1])
    capture.release()
    assert number in camera.sent


def test_pictures_that_were_cut_short_are_counted_and_not_shown(camera: MjpegCamera) -> None:
    driver = make_driver("camera", camera.address)
    driver.open()
    readings(driver, 1)
    camera.fault = "partial"
    for _ in range(3000):
        driver.read(0.01)
        if driver.rejected >= 3:
            break
    assert driver.rejected >= 3
    camera.fault = "none"
    for reading in readings(driver, 3):
        assert (reading.value.colour[-1] != 128).any(), "its lower half is there"
    driver.close()


def test_random_bytes_end_the_connection_and_the_next_one_is_good(camera: MjpegCamera) -> None:
    driver = make_driver("camera", camera.address)
    driver.open()
    readings(driver, 1)
    camera.fault = "garbage"
    assert "lost" in lost(driver)
    driver.close()
    camera.fault = "none"
    driver.open()
    readings(driver, 2)
    driver.close()


def test_an_unplugged_network_camera_is_lost_refuses_and_comes_back(camera: MjpegCamera) -> None:
    driver = make_driver("camera", camera.address)
    driver.open()
    readings(driver, 1)
    camera.fault = "unplug"
    assert lost(driver).startswith(f"mjpeg://127.0.0.1:{camera.port}/stream: ")
    driver.close()
    with pytest.raises(DeviceError, match=r"no stream: Connection refused; is the address right"):
        driver.open()
    camera.fault = "none"
    driver.open()
    readings(driver, 2)
    driver.close()


def test_a_silent_network_camera_is_lost(camera: MjpegCamera) -> None:
    driver = make_driver("camera", camera.address)
    driver.open()
    readings(driver, 1)
    camera.fault = "silence"
    assert "silent for 3 s" in lost(driver)
    driver.close()


def test_rtsp_pictures_come_with_the_camera_s_own_time() -> None:
    with RtspCamera(width=320, height=240, rate=15.0) as camera:
        driver = make_driver("camera", camera.address)
        driver.open()
        got = readings(driver, 6)
        driver.close()
    numbers = [number_in(reading.value.colour) for reading in got]
    assert numbers == sorted(set(numbers))
    apart = [reading.device_time - got[0].device_time for reading in got]
    assert apart == pytest.approx([(number - numbers[0]) / 15.0 for number in numbers], abs=1e-3)
    for number, reading in zip(numbers, got, strict=True):
        assert camera.sent[number] <= reading.arrival
        assert np.abs(reading.value.colour.astype(int) - paint(number, 320, 240)).mean() < 5.0


def test_rtsp_pictures_that_lost_packets_are_not_shown_nor_those_made_from_them() -> None:
    with RtspCamera(rate=15.0) as camera:
        driver = make_driver("camera", camera.address)
        driver.open()
        readings(driver, 1)
        camera.fault = "partial"
        got, rejected = [], driver.rejected
        for _ in range(3000):
            if (reading := driver.read(0.01)) is not None:
                got.append(reading)
            if driver.rejected >= rejected + 5:
                break
        camera.fault = "none"
        got += readings(driver, 5)
        driver.close()
    assert driver.rejected >= rejected + 5
    for reading in got:
        number = number_in(reading.value.colour)
        assert np.abs(reading.value.colour.astype(int) - paint(number)).mean() < 5.0


def test_an_rtsp_camera_that_is_gone_is_lost_and_comes_back() -> None:
    with RtspCamera(width=320, height=240) as camera:
        driver = make_driver("camera", camera.address)
        driver.open()
        readings(driver, 1)
        camera.fault = "unplug"
        lost(driver)
        driver.close()
        camera.fault = "none"
        driver.open()
        readings(driver, 1)
        driver.close()
        over_udp = make_driver("camera", camera.address + "#transport=udp")
        with pytest.raises(DeviceError, match="no stream"):  # the emulator refuses it
            over_udp.open()


def test_a_password_is_not_repeated() -> None:
    driver = make_driver("camera", "rtsp://root:secret@127.0.0.1:9/axis#transport=udp")
    with pytest.raises(DeviceError) as error:
        driver.open()
    assert "secret" not in str(error.value) + driver.device
    assert "rtsp://127.0.0.1:9/axis" in str(error.value)


def test_a_usb_camera_that_is_not_there_is_told_beside_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"/dev/video987 is not there; found"):
        make_driver("camera", "uvc:///dev/video987").open()
    assert "is the camera plugged in" in video_devices(str(tmp_path))
    (tmp_path / "video0").touch()
    assert video_devices(str(tmp_path)) == f"found {tmp_path}/video0"


def test_a_device_that_gives_no_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    with pytest.raises(DeviceError, match="is there but gives no pictures"):
        make_driver("camera", f"uvc://{tmp_path}/video0").open()


def test_what_opencv_grabs_becomes_rgb_with_the_buffers_time(clip: Path) -> None:
    """A file in the place of /dev/video0: both are a VideoCapture."""
    driver, capture = UvcCamera(Address.parse("uvc:///dev/video0")), cv2.VideoCapture(str(clip))
    got = [driver._grab(capture) for _ in range(10)]
    assert [number_in(reading.value.colour) for reading in got] == list(range(10))
    disc = paint(9, 320, 240)
    assert np.abs(got[9].value.colour.astype(int) - disc).mean() < 4.0, "red is red"
    assert [reading.device_time for reading in got[1:]] == pytest.approx([k / RATE for k in range(1, 10)], abs=1e-3)
    with pytest.raises(DeviceError, match="no more pictures"):
        driver._grab(capture)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("uvc:///dev/video0?fourcc=MJPEG", "want four letters"),
        ("uvc:///dev/video0?widht=640", "did you mean 'width'"),
        ("uvc", "names no device"),
        ("webcam:///dev/video0", "unknown camera device 'webcam'"),
        ("video:///a.mp4?pace=slow", "unknown pace 'slow'"),
        ("rtsp://host/path#transport=carrier", "only transport=tcp or udp"),
        ("http:///path", "names no host"),
        ("realsense://1?depth=deep", "unknown depth 'deep'"),
    ],
)
def test_a_wrong_address_is_refused_in_one_line(address: str, said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        make_driver("camera", address)
