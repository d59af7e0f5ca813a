"""Taking a calibration's pictures from a topic."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from ros_support import RosTest

from vla_ros.camera_calibration import Board
from vla_ros.camera_calibration.board import views_in
from vla_ros.camera_calibration.files import load_poses
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics

BOARD = Board()
HOME = (-0.2, 0.4, 0.5, 0.3, 0.0, 0.1)


def picture(shift: int) -> np.ndarray:
    grey = np.full((480, 640), 128, np.uint8)
    grey[100:350, 20 + shift : 370 + shift] = BOARD.picture(50)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))


def test_only_views_that_differ_are_taken_and_only_while_the_arm_stands_still(ros: RosTest, tmp_path: Path) -> None:
    from sensor_msgs.msg import Image, JointState

    from vla_ros.contract import load_contract
    from vla_ros.ros import qos
    from vla_ros.ros.convert import image_to_message, joints_to_message
    from vla_ros.ros.view_collector import collect_views

    robot = load_contract("tabletop_arm")
    images = ros.node.create_publisher(Image, "/camera/image", qos.COMMAND)
    joints = ros.node.create_publisher(JointState, robot.state.topic, qos.COMMAND)
    folder, lines = tmp_path / "views", list[str]()
    thread = threading.Thread(
        target=collect_views, args=("/camera/image", BOARD, folder, 3, "tabletop_arm", lines.append), daemon=True
    )
    thread.start()
    position = dict(zip(robot.joint_names, (*HOME, 0.04), strict=False))
    zero = dict.fromkeys(position, 0.0)

    def show(shift: int) -> None:
        stamp = time.time_ns()
        joints.publish(joints_to_message(stamp, position, zero, zero))
        images.publish(image_to_message(stamp, "camera", picture(shift), "bgr8"))

    def taken() -> int:
        return len(lines) - 1

    for number, shift in enumerate((0, 100, 200), start=1):
        for _ in range(3):  # the same again is not taken
            show(shift)
        ros.wait_for(lambda shift=shift, number=number: show(shift) or taken() >= number, what=f"view {number}")
        assert taken() == number
    thread.join(60.0)
    assert not thread.is_alive()
    assert [view is not None for _, view in views_in(folder, BOARD)] == [True] * 3
    poses = load_poses(folder / "poses.yaml")
    assert sorted(poses) == ["000.png", "001.png", "002.png"]
    expected = Kinematics.of(robot).forward([position[name] for name in robot.joint_names])
    np.testing.assert_allclose(poses["001.png"], expected, atol=1e-9)


def test_a_folder_with_pictures_is_not_written_to(tmp_path: Path) -> None:
    from vla_ros.ros.view_collector import collect_views

    (tmp_path / "000.png").touch()
    with pytest.raises(DeviceError, match="is not empty"):
        collect_views("/camera/image", BOARD, tmp_path, 3)
