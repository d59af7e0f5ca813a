"""camera_node as a process, before an emulated camera that speaks MJPEG over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_support import RosTest

from vla_ros.drivers import Intrinsics
from vla_ros.drivers.intrinsics import save_intrinsics
from vla_ros.emulators.mjpeg import MjpegCamera
from vla_ros.emulators.pattern import number_in, paint
from vla_ros.messages import from_time, rgb_from_message
from vla_ros.ros import lifeline

ROOT = Path(__file__).resolve().parents[2]
LENS = Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
Start = Callable[..., None]


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    with MjpegCamera(width=320, height=240) as emulator:
        yield emulator


@pytest.fixture
def start(ros: RosTest) -> Iterator[Start]:
    processes = []

    def start_node(**parameters: str) -> None:
        command = [sys.executable, "-m", "vla_ros.ros.nodes.camera_node", "--ros-args", "-r", "__node:=front_camera"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        processes.append(lifeline.start(command, os.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True))

    yield start_node
    for process in processes:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def statuses(ros: RosTest) -> list[Any]:
    """Return the list that the statuses of the camera will be appended to."""
    from diagnostic_msgs.msg import DiagnosticArray

    found: list[Any] = []
    ros.node.create_subscription(DiagnosticArray, "/diagnostics", lambda array: found.extend(array.status), 10)
    return found


def picture_of(message: Any, camera: MjpegCamera, size: tuple[int, int]) -> int:
    """Return the number of the picture in an Image, having checked pixels, header and stamp."""
    pixels = rgb_from_message(message)
    number = number_in(pixels)
    taken, stamp = camera.sent[number], from_time(message.header.stamp)
    assert (message.width, message.height, message.encoding) == (*size, "rgb8")
    assert message.header.frame_id == "front_camera_optical"
    assert np.abs(pixels.astype(int) - paint(number, *size)).mean() < 6.0
    assert taken <= stamp <= time.time_ns(), "the stamp is of the arrival"
    return number


def test_frames_come_until_the_camera_is_unplugged_and_again_when_it_is_back(
    ros: RosTest, camera: MjpegCamera, start: Start
) -> None:
    from sensor_msgs.msg import Image

    from vla_ros.ros import qos

    said = statuses(ros)
    images = ros.collect(Image, "/front_camera/color/image_raw", qos.SENSOR)
    start(device=camera.address)
    ros.wait_for(lambda: len(images) >= 5, what="pictures")
    numbers = [picture_of(image, camera, (320, 240)) for image in images]
    assert numbers == sorted(set(numbers))
    ros.wait_for(lambda: any(s.level == b"\0" and s.name == "front_camera" for s in said), what="an OK status")

    camera.fault = "unplug"
    lost = f"mjpeg://127.0.0.1:{camera.port}/stream: no stream"
    ros.wait_for(lambda: any(s.level == b"\2" and lost in s.message for s in said), what="a status that names it")
    last = max(camera.sent)

    camera.fault = "none"
    ros.wait_for(lambda: images and number_in(rgb_from_message(images[-1])) > last, what="pictures again")
    assert picture_of(images[-1], camera, (320, 240)) > last
    said.clear()
    ros.wait_for(lambda: any(s.level == b"\0" for s in said), what="an OK status again")
    reconnections = {pair.key: pair.value for pair in said[-1].values}["reconnections"]
    assert int(reconnections) >= 1


def test_pictures_are_resized_with_their_camera_info_and_compressed_for_who_wants_them(
    ros: RosTest, camera: MjpegCamera, start: Start, tmp_path: Path
) -> None:
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image

    save_intrinsics(LENS, tmp_path / "front.yaml", "front")
    start(device=camera.address, resize="[160, 120]", camera_info=str(tmp_path / "front.yaml"))
    picture_of(ros.message(Image, "/front_camera/color/image_raw"), camera, (160, 120))
    info = ros.message(CameraInfo, "/front_camera/color/camera_info")
    assert (info.width, info.height, info.k[0], info.k[2]) == (160, 120, 150.0, 79.5)
    jpeg = ros.message(CompressedImage, "/front_camera/color/image_raw/compressed")
    pixels = rgb_from_message(jpeg)
    assert pixels.shape == (120, 160, 3)
    assert np.abs(pixels.astype(int) - paint(number_in(pixels), 160, 120)).mean() < 6.0


def test_a_calibration_of_another_size_is_named_in_diagnostics(
    ros: RosTest, camera: MjpegCamera, start: Start, tmp_path: Path
) -> None:
    save_intrinsics(LENS.resized(640, 480), tmp_path / "front.yaml", "front")
    said = statuses(ros)
    start(device=camera.address, camera_info=str(tmp_path / "front.yaml"))
    wrong = "camera_info is of 640x480, but the camera gives 320x240"
    ros.wait_for(lambda: any(s.level == b"\1" and wrong in s.message for s in said), what="a warning")


def test_a_cloud_has_every_pixel_s_point_and_colour() -> None:
    from vla_ros.ros.camera_messages import PointCloud

    depth = np.full((240, 320), 2000, np.uint16)
    depth[0, 0] = 0
    colour = np.zeros((240, 320, 3), np.uint8)
    colour[100, 50] = (10, 20, 30)
    message = PointCloud(LENS).message(5_000_000_001, "front_camera_optical", depth, colour)
    assert (message.height, message.width, message.point_step, message.row_step) == (240, 320, 16, 5120)
    assert [field.name for field in message.fields] == ["x", "y", "z", "rgb"]
    points = np.frombuffer(message.data, np.float32).reshape(240, 320, 4)
    assert np.isnan(points[0, 0, :3]).all()
    np.testing.assert_allclose(LENS.project([points[100, 50, :3]])[0], (50, 100), atol=1e-3)
    assert points[100, 50, 2] == 2.0
    assert points[100, 50, 3:].view(np.uint32)[0] == 0x0A141E
