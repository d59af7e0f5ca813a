"""A gate_node in its own process on a real graph, and an arm with perfect motors in the test's process."""

from __future__ import annotations

import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_support import RosTest
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.contract import load_contract
from vla_ros.ros import qos
from vla_ros.ros.convert import from_time, joints_to_message, to_duration, to_time, wrench_to_message
from vla_ros.ros.graph import NodeSpec
from vla_ros.ros.up import Graph

HOME = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.03])


class GateGraph:
    """The gate, and what a robot's driver does: joint states and wrench at 100 Hz, following the commands.

    beside: further nodes.
    """

    def __init__(
        self,
        ros: RosTest,
        contract: str | Path = "tabletop_arm",
        home: np.ndarray = HOME,
        beside: Sequence[NodeSpec] = (),
        **parameters: Any,
    ) -> None:
        self.ros, self.contract = ros, load_contract(contract)
        self.names = list(self.contract.joint_names)
        self.q, self.force, self.feed = home.copy(), 0.0, True
        self.commands: list[Any] = []
        self.statuses: list[DiagnosticStatus] = []
        self.sources: list[str] = []
        gate = NodeSpec("gate_node", "vla_ros.ros.nodes.gate_node", {"contract": str(contract), **parameters})
        self.graph = Graph([gate, *beside])
        node, command = ros.node, self.contract.action.command
        profile = qos.exchanged(10, bool(parameters.get("lockstep")))
        self._joints = node.create_publisher(JointState, self.contract.state.topic, profile)
        self._wrench = node.create_publisher(WrenchStamped, "/tool/wrench", profile)
        self._chunks = {s: node.create_publisher(JointTrajectory, f"/{s}/chunk", profile) for s in ("policy", "teleop")}
        kind = {"forward": Float64MultiArray, "pose": PoseStamped}.get(command.interface, JointTrajectory)
        node.create_subscription(kind, command.topic, self._on_command, qos.reliable(100))
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND)
        node.create_subscription(String, "/gate/source", lambda m: self.sources.append(m.data), qos.LATCHED)

    def __enter__(self) -> GateGraph:
        self.graph.__enter__()
        self.graph.wait_ready()
        return self

    def __exit__(self, *error: Any) -> None:
        self.graph.__exit__(*error)

    def start_feeding(self) -> None:
        self.ros.node.create_timer(0.01, self._publish_sensors)
        self.ros.wait_for(lambda: self.commands, what="a first command")

    def _publish_sensors(self) -> None:
        if self.feed:
            self.publish_sensors(self.ros.node.get_clock().now().nanoseconds)

    def publish_sensors(self, stamp: int) -> None:
        values, zeros = dict(zip(self.names, self.q.tolist(), strict=True)), dict.fromkeys(self.names, 0.0)
        self._joints.publish(joints_to_message(stamp, values, zeros, zeros))
        self._wrench.publish(wrench_to_message(stamp, "tool0", [0.0, 0.0, self.force, 0.0, 0.0, 0.0]))

    def _on_command(self, message: Any) -> None:
        self.commands.append(message)
        if isinstance(message, PoseStamped):
            return  # the test follows it
        self.q = np.array(message.data if isinstance(message, Float64MultiArray) else message.points[0].positions)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.statuses += [status for status in message.status if status.name.startswith("gate_node")]

    @property
    def state(self) -> str:
        return self.statuses[-1].message if self.statuses else ""

    @property
    def values(self) -> dict[str, str]:
        return {pair.key: pair.value for pair in self.statuses[-1].values} if self.statuses else {}

    def wait_state(self, text: str) -> None:
        try:
            self.ros.wait_for(lambda: text in self.state)
        except AssertionError:
            raise AssertionError(f"the gate did not say '{text}', it says '{self.state}'") from None

    def wait_at_rest(self) -> None:
        """Wait until ten commands in a row repeat the same setpoint."""

        def at_rest() -> bool:
            last = [tuple(c.points[0].positions) for c in self.commands[-10:]]
            return len(last) == 10 and len(set(last)) == 1

        self.commands.clear()
        self.ros.wait_for(at_rest, what="the arm at rest")

    def wait_motion(self) -> None:
        """Wait for a command from now on that moves."""
        start = len(self.commands)
        self.ros.wait_for(lambda: any(any(c.points[0].velocities) for c in self.commands[start:]), what="motion")

    def farther(self, *targets: np.ndarray) -> np.ndarray:
        """Return the target that is farther from where the arm is."""
        return max(targets, key=lambda target: float(np.abs(target - self.q).max()))

    def set_source(self, source: str) -> Any:
        request = SetParameters.Request(parameters=[Parameter("source", value=source).to_parameter_msg()])
        return self.ros.call(SetParameters, "/gate_node/set_parameters", request).results[0]

    def send_chunk(self, values: np.ndarray, source: str = "policy", stamp: int | None = None, **changes: Any) -> None:
        now = self.ros.node.get_clock().now().nanoseconds if stamp is None else stamp
        self._chunks[source].publish(chunk_message(list(self.contract.action.names), now, values, **changes))

    def last_stamp(self) -> int:
        return from_time(self.commands[-1].header.stamp)


def chunk_message(names: list[str], stamp: int, values: np.ndarray, dt: float = 1 / 30) -> JointTrajectory:
    message = JointTrajectory(joint_names=names)
    message.header.stamp = to_time(stamp)
    message.points = [
        JointTrajectoryPoint(positions=array.array("d", row), time_from_start=to_duration(round((i + 1) * dt * 1e9)))
        for i, row in enumerate(np.atleast_2d(values).tolist())
    ]
    return message


SOURCE_PROCESS = """
import sys
from vla_ros.ros import lifeline
lifeline.hold()
import numpy as np, rclpy
from gate_graph import chunk_message
from trajectory_msgs.msg import JointTrajectory
from vla_ros.contract import load_contract
rclpy.init()
node = rclpy.create_node("policy_stand_in")
publisher = node.create_publisher(JointTrajectory, "/policy/chunk", 10)
names = list(load_contract("tabletop_arm").action.names)
target = np.tile([float(word) for word in sys.argv[1:]], (30, 1))
def send():
    publisher.publish(chunk_message(names, node.get_clock().now().nanoseconds, target))
node.create_timer(1 / 30, send)
rclpy.spin(node)
"""
