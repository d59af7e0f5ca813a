"""What a benchmark puts in the place of an arm and of a policy, so that only the rest is measured."""

from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import Contract
from vla_ros.errors import GraphError, VlaRosError
from vla_ros.inference import ObservationFeed
from vla_ros.kinematics import Kinematics
from vla_ros.observation import Aligner, Observation
from vla_ros.ros import qos
from vla_ros.ros.chunks import chunk_to_message
from vla_ros.ros.convert import joints_to_message, wrench_to_message
from vla_ros.ros.subscribe import observe

# Observations between two moves of the gripper, so that it has come to rest; 7/30 s are no multiple of the gate's 10 ms, so
# that moves meet its ticks at all phases.
TOGGLE_EVERY = 7
TOGGLE = 0.002  # [m]
STAGES = ("the last picture", "observation", "published chunk", "command")


class StandInArm:
    """Joint states and wrench at 300 Hz, and a policy's chunks at its rate."""

    def __init__(self, node: Node, contract: Contract) -> None:
        self._contract, self._node = contract, node
        self._values: dict[str, str] = {}
        self._reports = 0
        kinematics = Kinematics.of(contract)
        self._q = np.clip(np.zeros(len(contract.joint_names)), kinematics.lower, kinematics.upper)
        self._action = kinematics.pose(self._q) if contract.action.space == "ee_pose" else np.zeros(0)
        self._joints = node.create_publisher(JointState, contract.state.topic, qos.COMMAND)
        self._wrenches = [
            node.create_publisher(WrenchStamped, s.topic, qos.COMMAND) for s in contract.streams("wrench")
        ]
        self._chunks = node.create_publisher(JointTrajectory, "/policy/chunk", qos.COMMAND)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND)
        node.create_timer(1.0 / 300.0, self._publish_sensors)
        node.create_timer(1.0 / contract.rate, self._publish_chunk)

    @property
    def gate_values(self) -> dict[str, str]:
        """What the gate last said on /diagnostics."""
        return self._values

    @property
    def reports(self) -> int:
        """How often it has said something."""
        return self._reports

    def _publish_sensors(self) -> None:
        stamp = self._node.get_clock().now().nanoseconds
        values = dict(zip(self._contract.joint_names, self._q.tolist(), strict=True))
        zeros = dict.fromkeys(values, 0.0)
        self._joints.publish(joints_to_message(stamp, values, zeros, zeros))
        for wrench in self._wrenches:
            wrench.publish(wrench_to_message(stamp, self._contract.action.tip, [0.0] * 6))

    def _publish_chunk(self) -> None:
        stamp = self._node.get_clock().now().nanoseconds
        t = stamp / NANOSECONDS + np.arange(1, 17) / self._contract.rate
        values = np.tile(np.concatenate([self._action, self._joint_values()]), (16, 1))
        values[:, 0] += 0.05 * np.sin(t)
        self._chunks.publish(chunk_to_message(_chunk(self._contract, values, stamp)))

    def _joint_values(self) -> npt.NDArray[np.float64]:
        names = self._contract.action.names[len(self._action) :]
        return self._q[[self._contract.state.names.index(name) for name in names]]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith("gate_node"):
                self._values = {pair.key: pair.value for pair in status.values}
                self._reports += 1


class StandInPolicy:
    """Aligns the streams as a policy does and answers at once: every seventh observation moves the gripper a
    little.

    As policy_node it acts when every stream has reached the newest pictures' instant: before, they are not in the observation.
    """

    def __init__(self, node: Node, contract: Contract) -> None:
        if contract.action.space != "joint_position":
            raise VlaRosError(
                f"{contract.source}: bench transport needs space joint_position, not {contract.action.space}"
            )
        self._node, self._contract = node, contract
        self._arrived = threading.Condition()
        self._feed = ObservationFeed(Aligner(contract))
        self._images = {stream.key: 0 for stream in contract.streams("image", "depth")}
        self._pictured = 0  # when the last of them came [ns]
        kinematics = Kinematics.of(contract)
        self._middle = float(kinematics.lower[-1] + kinematics.upper[-1]) / 2.0  # of the gripper's range
        self._inwards = TOGGLE
        self._base: npt.NDArray[np.float64] | None = None
        self._last, self._count = 0, 0
        self._toggled: int | None = None  # capture stamp of the observation that moved the gripper, until it moves
        self.latencies: dict[str, list[float]] = {stage: [] for stage in STAGES}  # [s] since the capture stamp
        self.commands, self.reason = 0, ""  # how many there were, and why the last observation is of no use
        self._chunks = node.create_publisher(JointTrajectory, "/policy/chunk", qos.COMMAND)
        node.create_subscription(JointTrajectory, contract.action.command.topic, self._on_command, qos.COMMAND)
        observe(node, contract, self._feed, on_sample=self._on_sample)  # type: ignore[arg-type]

    def act(self, deadline: float) -> None:
        """Wait until every camera has a new image, and answer the observation."""
        with self._arrived:
            while min(self._images.values()) <= self._last:
                if not self._arrived.wait(timeout=max(0.0, deadline - time.monotonic())):
                    raise GraphError("no new image from " + ", ".join(self._images))
            self._last, pictured = min(self._images.values()), self._pictured
        self._feed.wait_pictures()
        now = self._now()
        observation = self._feed.latest(now)
        self.reason = "; ".join(f"{key}: {why}" for key, why in observation.invalid.items())
        if not observation.valid:
            return
        self._count += 1
        chunk = self._predict(observation)
        moves = self._count % TOGGLE_EVERY == 0
        if moves:
            self._toggled = captured = min(observation.stamps[key] for key in self._images)
        self._chunks.publish(chunk_to_message(chunk))
        if moves:
            for stage, t in zip(STAGES, (pictured, now, self._now()), strict=False):
                self.latencies[stage].append((t - captured) / NANOSECONDS)

    def _predict(self, observation: Observation) -> ActionChunk:
        if self._base is None:
            state = np.asarray(observation.values[self._contract.state.key], dtype=np.float64)
            self._base = state[[self._contract.state.names.index(name) for name in self._contract.action.names]]
            if self._base[-1] > self._middle:  # at the end of its range it could not go further
                self._inwards = -TOGGLE
            self._base[-1] += 2 * self._inwards
        values = np.tile(self._base, (16, 1))
        values[:, -1] += self._inwards * (self._count // TOGGLE_EVERY % 2)
        return _chunk(self._contract, values, observation.stamp)

    def _on_sample(self, key: str, stamp: int) -> None:
        if key in self._images:
            with self._arrived:
                self._images[key] = stamp
                self._pictured = self._now()
                self._arrived.notify_all()

    def _on_command(self, message: JointTrajectory) -> None:
        self.commands += 1
        if self._toggled is not None and any(message.points[0].velocities):
            self.latencies["command"].append((self._now() - self._toggled) / NANOSECONDS)
            self._toggled = None

    def _now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _chunk(contract: Contract, values: npt.NDArray[np.float64], stamp: int) -> ActionChunk:
    action = contract.action
    frame = action.frame if action.space == "ee_pose" else ""
    return ActionChunk(values, action.names, action.space, stamp, 1.0 / contract.rate, frame)
