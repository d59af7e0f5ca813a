"""The gate's commands on the wire, for each interface of a controller."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Protocol

from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.contract import Contract
from vla_ros.errors import ContractError
from vla_ros.gate_output import Command
from vla_ros.kinematics import Kinematics
from vla_ros.ros import qos
from vla_ros.ros.convert import to_duration, to_time


class CommandWriter(Protocol):
    """Publishes one command."""

    publisher: Publisher

    def write(self, stamp: int, command: Command) -> None:
        """Publish `command` of the tick `stamp` [ns]."""


class TrajectoryWriter:
    """For a joint_trajectory_controller: positive times, velocities, and zero velocity at the end.

    The setpoint comes first, then the path that brakes from it: a gate that dies leaves the arm coming to a
    hold.
    """

    def __init__(self, node: Node, contract: Contract, lockstep: bool) -> None:
        profile = qos.exchanged(10, lockstep)
        self.publisher = node.create_publisher(JointTrajectory, contract.action.command.topic, profile)
        self._joints = list(contract.joint_names)

    def write(self, stamp: int, command: Command) -> None:
        """Publish the setpoint and its braking path."""
        message = JointTrajectory(joint_names=self._joints)
        message.header.stamp = to_time(stamp)
        message.points = [
            JointTrajectoryPoint(
                positions=array.array("d", p),
                velocities=array.array("d", v),
                time_from_start=to_duration(t - stamp),
            )
            for t, p, v in zip(
                command.times.tolist(), command.positions.tolist(), command.velocities.tolist(), strict=True
            )
        ]
        self.publisher.publish(message)


class ForwardWriter:
    """For a forward_command_controller: the setpoint's positions in the contract's joint order."""

    def __init__(self, node: Node, contract: Contract, lockstep: bool) -> None:
        profile = qos.exchanged(10, lockstep)
        self.publisher = node.create_publisher(Float64MultiArray, contract.action.command.topic, profile)

    def write(self, stamp: int, command: Command) -> None:
        """Publish the setpoint."""
        self.publisher.publish(Float64MultiArray(data=array.array("d", command.positions[0].tolist())))


class PoseWriter:
    """For a Cartesian controller or MoveIt Servo: the tip's pose at the setpoint (geometry_msgs/PoseStamped).

    Joints that do not move the tip are a forward command of their own, in the contract's order.
    """

    def __init__(self, node: Node, contract: Contract, lockstep: bool) -> None:
        command, profile = contract.action.command, qos.exchanged(10, lockstep)
        self.publisher = node.create_publisher(PoseStamped, command.topic, profile)
        self._kinematics, self._frame = Kinematics.of(contract), contract.action.frame
        names = contract.joint_names
        self._others = [i for i, name in enumerate(names) if name not in self._kinematics.tip_joints]
        if self._others and not command.joints:
            moves = ", ".join(names[i] for i in self._others)
            raise ContractError(
                f"{contract.source}: action.command.joints: want a topic for {moves}, which a pose does not move"
            )
        self._joints = node.create_publisher(Float64MultiArray, command.joints, profile) if self._others else None

    def write(self, stamp: int, command: Command) -> None:
        """Publish the setpoint."""
        x, y, z, qx, qy, qz, qw = self._kinematics.pose(command.positions[0]).tolist()
        message = PoseStamped()
        message.header.stamp, message.header.frame_id = to_time(stamp), self._frame
        message.pose = Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))
        self.publisher.publish(message)
        if self._joints is not None:
            self._joints.publish(Float64MultiArray(data=array.array("d", command.positions[0][self._others].tolist())))


WRITERS: dict[str, Callable[[Node, Contract, bool], CommandWriter]] = {
    "joint_trajectory": TrajectoryWriter,
    "forward": ForwardWriter,
    "pose": PoseWriter,
}


def make_writer(node: Node, contract: Contract, lockstep: bool) -> CommandWriter:
    """Return the writer for the contract's command interface."""
    return WRITERS[contract.action.command.interface](node, contract, lockstep)


class ActionWriter:
    """Publishes on /gate/action what was sent, in the contract's action space: what a recorder keeps."""

    def __init__(self, node: Node, contract: Contract, lockstep: bool) -> None:
        self._publisher = node.create_publisher(JointTrajectory, "/gate/action", qos.exchanged(100, lockstep))
        self._names = list(contract.action.names)
        self._frame = contract.action.frame if contract.action.space == "ee_pose" else ""

    def write(self, stamp: int, command: Command) -> None:
        """Publish one point: the setpoint and how long after `stamp` [ns] it is for."""
        message = JointTrajectory(joint_names=self._names)
        message.header.stamp = to_time(stamp)
        message.header.frame_id = self._frame
        message.points = [
            JointTrajectoryPoint(
                positions=array.array("d", command.action.tolist()),
                time_from_start=to_duration(int(command.times[0]) - stamp),
            )
        ]
        self._publisher.publish(message)


def rivals(node: Node, *topics: str) -> str:
    """Return which nodes publish on `topics` beside `node`, which publishes once on each; '' when none does."""
    own = node.get_fully_qualified_name()
    for topic in topics:
        infos = node.get_publishers_info_by_topic(topic)
        names = [f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos]
        if own in names:
            names.remove(own)
        if names:
            return f"another node publishes commands on {topic}: {', '.join(sorted(names))}"
    return ""
