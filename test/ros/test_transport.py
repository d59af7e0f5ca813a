"""Images between two processes: what a receiver misses that is not scheduled for a while."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from ros_support import RosTest, wait_until

from vla_ros.ros import lifeline

CAMERAS, PICTURES = 3, 16  # as much as three cameras at 30 Hz send in half a second
RECEIVER = f"""
import sys, rclpy
from sensor_msgs.msg import Image
from vla_ros.ros import lifeline, qos
lifeline.hold()
rclpy.init()
node = rclpy.create_node("receiver")
def hear(message):
    print(message.header.frame_id, message.header.stamp.sec, flush=True)
for camera in range({CAMERAS}):
    node.create_subscription(Image, f"/camera_{{camera}}", hear, qos.sensor(100))
rclpy.spin(node)
"""


@pytest.fixture
def receiver(ros_domain: int) -> Iterator[tuple[subprocess.Popen[str], list[tuple[str, int]]]]:
    process = lifeline.start([sys.executable, "-c", RECEIVER], os.environ, stdout=subprocess.PIPE, text=True)
    heard: list[tuple[str, int]] = []

    def read() -> None:
        for line in process.stdout:
            camera, number = line.split()
            heard.append((camera, int(number)))

    reader = threading.Thread(target=read)
    reader.start()
    yield process, heard
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    reader.join()


def test_a_receiver_that_is_stopped_for_half_a_second_of_three_cameras_gets_every_picture(
    ros: RosTest, receiver: tuple[subprocess.Popen[str], list[tuple[str, int]]]
) -> None:
    from sensor_msgs.msg import Image

    from vla_ros.ros import qos
    from vla_ros.ros.convert import image_to_message

    process, heard = receiver
    publishers = [
        ros.node.create_publisher(Image, f"/camera_{camera}", qos.reliable(PICTURES)) for camera in range(CAMERAS)
    ]
    pixels = np.zeros((480, 640, 3), np.uint8)
    messages = [image_to_message(0, str(camera), pixels, "rgb8") for camera in range(CAMERAS)]

    def send(number: int) -> None:
        for publisher, message in zip(publishers, messages, strict=True):
            message.header.stamp.sec = number
            publisher.publish(message)

    def all_heard() -> bool:
        send(0)
        ros.spin_for(0.1)
        return len({camera for camera, _ in heard}) == CAMERAS

    ros.wait_for(all_heard, 60, "pictures of every camera at the receiver")
    process.send_signal(signal.SIGSTOP)
    for number in range(1, PICTURES + 1):
        send(number)
    process.send_signal(signal.SIGCONT)
    wanted = {(str(camera), number) for camera in range(CAMERAS) for number in range(1, PICTURES + 1)}
    wait_until(lambda: wanted <= set(heard), 60, "the pictures that were sent meanwhile")
