"""What the tests of the simulated arm share: its node, its parameters and service, commands for it."""

from __future__ import annotations

import json
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_support import RosTest
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.ros.convert import (
    to_duration,
    to_time,
)
from vla_ros.ros.graph import NodeSpec

MS = 1_000_000
JOINTS = ["shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper"]
COMMANDS = "/arm_controller/joint_trajectory"


def simulator(**parameters: Any) -> NodeSpec:
    given = {"contract": "tabletop_arm", "task": "reach"} | parameters
    return NodeSpec("mujoco_node", "vla_ros.ros.nodes.mujoco_node", given)


def set_parameters(ros: RosTest, **values: Any) -> list[Any]:
    request = SetParameters.Request()
    request.parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    return list(ros.call(SetParameters, "/mujoco_node/set_parameters", request).results)


def reset(ros: RosTest, **values: Any) -> dict[str, Any]:
    assert all(result.successful for result in set_parameters(ros, **values))
    answer = ros.call(Trigger, "/mujoco_node/reset")
    assert answer.success, answer.message
    return dict(json.loads(answer.message))


def trajectory(stamp: int, target: list[float], after: int, names: list[str] = JOINTS) -> JointTrajectory:
    message = JointTrajectory(joint_names=names)
    message.header.stamp = to_time(stamp)
    still = [0.0] * len(names)
    message.points = [JointTrajectoryPoint(positions=target, velocities=still, time_from_start=to_duration(after))]
    return message
