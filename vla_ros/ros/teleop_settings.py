"""Parameters of teleop_node that say how a person's device leads."""

from __future__ import annotations

from rclpy.node import Node

from vla_ros.arm_shape import arm_joints
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf, movable_joints
from vla_ros.ros.params import declare
from vla_ros.teleop.clutch import ClutchSettings
from vla_ros.teleop.operation import OperationSettings
from vla_ros.teleop.options import ARM_JOINTS, LEADER_TIP, LEADER_URDF, MODE, SCALE


def operation_settings(node: Node) -> OperationSettings:
    """Declare how samples are smoothed and tied to the arm, and return it."""
    mode = declare(node, "mode", MODE.default, MODE.what, read_only=True)
    approach = declare(node, "approach", 0.3, "[rad/s] of leading together", (0.01, 2.0), read_only=True)
    scale = declare(node, "scale", SCALE.default, SCALE.what, (0.05, 5.0), read_only=True)
    cutoff = declare(node, "cutoff", 4.0, "[Hz] of the One-Euro filter at rest; 0: none", (0.0, 100.0), read_only=True)
    beta = declare(node, "beta", 20.0, "[Hz per rad/s] by which motion raises it", (0.0, 1000.0), read_only=True)
    slack = declare(node, "slack", 0.0, "[rad, m] of motion that counts as trembling", (0.0, 0.2), read_only=True)
    joints = declare(node, "arm_joints", ARM_JOINTS.default, ARM_JOINTS.what, read_only=True)
    return OperationSettings(ClutchSettings(mode, approach, scale), cutoff, beta, slack, arm_joints(joints))


def leader_kinematics(node: Node) -> Kinematics | None:
    """Return the leader arm's own kinematics where the node is given its URDF, else None."""
    urdf = declare(node, "leader_urdf", LEADER_URDF.default, LEADER_URDF.what, read_only=True)
    tip = declare(node, "leader_tip", LEADER_TIP.default, LEADER_TIP.what, read_only=True)
    if not urdf:
        return None
    text = load_urdf(urdf)
    whole = Kinematics(text, movable_joints(text), tip)
    return Kinematics(text, whole.tip_joints, tip)
