"""Takes a calibration's pictures from a topic: each that shows the board elsewhere than those before."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rclpy
from sensor_msgs.msg import Image, JointState

from vla_ros.camera_calibration.board import Board, View
from vla_ros.camera_calibration.files import save_poses
from vla_ros.camera_calibration.intrinsic import ALIKE
from vla_ros.contract import load_contract
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics
from vla_ros.messages import JointReader, from_time, rgb_from_message
from vla_ros.ros import qos
from vla_ros.ros.environment import graph_environment
from vla_ros.ros.lifecycle import make_executor

SILENCE = 20.0  # [s] without a picture
STILL = 0.5  # [s] for which the joints must not have moved
MOVED = 2e-3  # [rad] that counts as moving
APART = 2 * ALIKE  # of the picture's width, that two views differ by


class _Arm:
    """Tells the tip's pose while the joints stand still."""

    def __init__(self, node: Any, contract: str) -> None:
        robot = load_contract(contract)
        self._kinematics = Kinematics.of(robot)
        self._read = JointReader(robot.joint_names, robot.state.topic)
        self._since = 0  # [ns] from when the joints are where they are
        self._newest = 0
        self._joints: npt.NDArray[np.float64] | None = None
        node.create_subscription(JointState, robot.state.topic, self._on_joints, qos.SENSOR)

    def tip(self, stamp: int) -> npt.NDArray[np.float64] | None:
        """Return T_base_tip [4, 4] at `stamp` [ns]; None where the arm moves or is not heard of."""
        still = self._joints is not None and self._since + STILL * 1e9 < stamp < self._newest + STILL * 1e9
        return self._kinematics.forward(self._joints) if still and self._joints is not None else None

    def _on_joints(self, message: JointState) -> None:
        joints, self._newest = self._read(message), from_time(message.header.stamp)
        if self._joints is None or np.abs(joints - self._joints).max() > MOVED:
            self._joints, self._since = joints, self._newest


class _Collector:
    """Keeps the pictures of the topic that are worth it."""

    def __init__(self, node: Any, topic: str, board: Board, folder: Path, contract: str, say: Callable[[str], None]):
        self.count, self.heard = 0, time.monotonic()
        self._board, self._folder, self._say = board, folder, say
        self._arm = _Arm(node, contract) if contract else None
        self._kept: list[View] = []
        self._poses: dict[str, npt.NDArray[np.float64]] = {}
        node.create_subscription(Image, topic, self._on_image, qos.sensor(1))

    def _on_image(self, message: Image) -> None:
        self.heard = time.monotonic()
        tip = self._arm.tip(from_time(message.header.stamp)) if self._arm else None
        if self._arm and tip is None:
            return
        picture = np.ascontiguousarray(rgb_from_message(message)[:, :, ::-1])
        name = f"{self.count:03d}.png"
        view = self._board.view(picture, name)
        if view is None or any(view.differs(other) <= APART for other in self._kept):
            return
        cv2.imwrite(str(self._folder / name), picture)
        if tip is not None:
            self._poses[name] = tip
            save_poses(self._poses, self._folder / "poses.yaml")
        self._kept.append(view)
        self.count += 1
        self._say(f"{name}: {len(view.ids)} corners; move on")


def collect_views(
    topic: str,
    board: Board,
    folder: Path,
    count: int,
    contract: str = "",
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> None:
    """Write `count` different pictures of the board to `folder`, and with a contract poses.yaml beside them.

    With a contract a picture counts only while the arm stands still. Raises DeviceError when no pictures come, or where
    the folder has some already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise DeviceError(f"{folder} is not empty: take the pictures into a new folder, or calibrate without --topic")
    os.environ.update(graph_environment())
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("calibrate", context=context)
    executor = make_executor(context)
    executor.add_node(node)
    try:
        collector = _Collector(node, topic, board, folder, contract, say)
        say(f"show the board to the camera of {topic}: {count} views, tilted, near and far, into all corners")
        while collector.count < count:
            executor.spin_once(timeout_sec=0.1)
            if time.monotonic() - collector.heard > SILENCE:
                raise DeviceError(
                    f"{topic}: no picture for {SILENCE:g} s; is its camera_node up, in this ROS_DOMAIN_ID?"
                )
    finally:
        executor.remove_node(node)
        node.destroy_node()
        executor.shutdown()
        context.try_shutdown()
