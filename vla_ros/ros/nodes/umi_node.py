"""umi_node: a hand-held gripper as the streams of a contract without a robot.

Of the gripper camera's full pictures (topic `image`, any colour encoding) it publishes the picture in the contract's size and
the opening that two tags tell (JointState); of a tracker's poses (topic `tracker`, PoseStamped) the tool's pose (PoseStamped).
The topics are the contract's, the stamps those of what came in. What is not seen or not to be believed is not published:
recorder_node then stops the episode and says why, and ``/diagnostics`` tells at once.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState

from vla_ros.contract import POSITION_SUFFIX
from vla_ros.drivers.intrinsics import load_intrinsics
from vla_ros.errors import CalibrationError, ContractError, ObservationError
from vla_ros.messages import pose_from_message, rgb_from_message
from vla_ros.ros import qos
from vla_ros.ros.convert import from_time, image_to_message, joints_to_message, msg_type_for, pose_to_message
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics
from vla_ros.ros.entities import Entities
from vla_ros.ros.lifecycle import ManagedNode, run_node
from vla_ros.ros.params import declare, declared_contract
from vla_ros.teleop.umi_opening import BOTH, OpeningReader, load_gripper
from vla_ros.teleop.umi_tracker import ToolTracker

REPORT_PERIOD = 1.0  # [s]
NONE = "no tag"
POSES = 200  # messages that wait while a picture is looked at


class UmiNode(ManagedNode):
    """Turns pictures and a tracker's poses into picture, opening and tool pose."""

    def __init__(self) -> None:
        super().__init__("umi_node")

    def configure(self) -> None:
        """Read contract and calibrations, and create the entities."""
        self._inherited = Entities(self)
        contract = declared_contract(self)
        if not contract.robot_free:
            raise ContractError(
                f"{contract.source}: has a robot; umi_node wants a contract whose action follows a pose"
            )
        image = declare(self, "image", "/gripper_camera/color/image_raw", "the camera's topic", read_only=True)
        tracker = declare(self, "tracker", "/tracker/pose", "topic of the tracker's poses", read_only=True)
        lens = declare(self, "camera_info", "", "calibration file of the camera", read_only=True)
        gripper = declare(self, "gripper", "", "file of vla-ros calibrate gripper", read_only=True)
        self._one_tag = declare(self, "one_tag", True, "take the opening from one tag where only one is seen")
        if not lens or not gripper:
            raise CalibrationError(
                "umi_node needs the parameters 'camera_info' and 'gripper': files of vla-ros calibrate"
            )
        if contract.state.names != ("gripper" + POSITION_SUFFIX,):
            raise ContractError(f"{contract.source}: observation.state.names: want [gripper.pos] alone")
        tags = load_gripper(gripper)
        self._pose_spec = contract.observation[contract.action.follows]
        self._reader = OpeningReader(tags, load_intrinsics(lens))
        self._tracker = ToolTracker(tags.tool, self._pose_spec.max_age)
        pictures = contract.streams("image")
        self._size = (pictures[0].shape[1], pictures[0].shape[0]) if pictures else None
        self._told: Counter[str] = Counter()  # pictures since the last report, by the tags that were seen
        self._picture = (
            self.create_publisher(msg_type_for("image"), pictures[0].topic, qos.COMMAND) if pictures else None
        )
        self._opening = self.create_publisher(JointState, contract.state.topic, qos.COMMAND)
        self._pose = self.create_publisher(PoseStamped, self._pose_spec.topic, qos.COMMAND)
        simulated = bool(self.get_parameter("use_sim_time").value)
        self.create_subscription(msg_type_for("image", image), image, self._on_picture, qos.sensor(5, simulated))
        self.create_subscription(PoseStamped, tracker, self._on_pose, qos.sensor(POSES, simulated))
        self._diagnostics = Diagnostics(self)
        self.create_timer(REPORT_PERIOD, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._poses = 0

    def cleanup(self) -> None:
        """Destroy what `configure` created."""
        self._inherited.destroy_newer()

    def _on_picture(self, message: Any) -> None:
        if not self.active:
            return
        try:
            picture = rgb_from_message(message)
            opening = self._reader.read(picture)
        except (ObservationError, CalibrationError) as error:
            self.get_logger().warning(str(error), throttle_duration_sec=2.0)
            return
        stamp = from_time(message.header.stamp)
        self._told[opening.tags if opening else NONE] += 1
        if self._picture is not None and self._size is not None:
            small = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
            self._picture.publish(image_to_message(stamp, message.header.frame_id, np.asarray(small), "rgb8"))
        if opening is not None and (opening.tags == BOTH or self.get_parameter("one_tag").value):
            zero = {"gripper": 0.0}
            self._opening.publish(joints_to_message(stamp, {"gripper": opening.width}, zero, zero))

    def _on_pose(self, message: PoseStamped) -> None:
        if not self.active:
            return
        stamp, frame = from_time(message.header.stamp), str(message.header.frame_id)
        self._poses += 1
        pose = self._tracker.update(stamp, pose_from_message(message), frame)
        if pose is not None:
            self._pose.publish(pose_to_message(stamp, self._pose_spec.frame or frame, pose))

    def _report(self) -> None:
        told, poses = self._told, self._poses
        self._told, self._poses = Counter(), 0
        seen = sum(told.values()) - told[NONE]
        problems = [
            text
            for text, wrong in (
                ("no pictures", not told),
                ("no tag is seen", bool(told) and not seen),
                ("no poses of the tracker", not poses),
                (f"tracker: {self._tracker.problem}", bool(poses and self._tracker.problem)),
            )
            if wrong
        ]
        level = ERROR if problems else WARN if told[BOTH] < seen or told[NONE] else OK
        text = "; ".join(problems) or f"{told[BOTH]} of {sum(told.values())} pictures show both tags"
        values = {**{f"pictures with {key}": count for key, count in told.items()}, "poses": poses}
        self._diagnostics.publish(level, text, {**values, "poses passed over": self._tracker.passed_over})


def main() -> None:
    """Run the node until it is told to stop."""
    sys.exit(run_node(UmiNode))


if __name__ == "__main__":
    main()
