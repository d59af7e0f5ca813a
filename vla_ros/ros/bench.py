"""Measuring this machine: does the gate keep its period under load, and how long is the way from camera to command?"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import WrenchStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import Contract, load_contract
from vla_ros.errors import GraphError, VlaRosError
from vla_ros.inference import ObservationFeed
from vla_ros.kinematics import Kinematics
from vla_ros.observation import Aligner, Observation
from vla_ros.robot import load_urdf
from vla_ros.ros import qos
from vla_ros.ros.chunks import chunk_to_message
from vla_ros.ros.convert import joints_to_message, wrench_to_message
from vla_ros.ros.graph import bring_up
from vla_ros.ros.subscribe import observe
from vla_ros.ros.up import Graph

POLICY_NICE = 5  # as the graph starts policies
TOGGLE_EVERY = 6  # observations between two moves of the gripper, so that it has come to rest
TOGGLE = 0.002  # [m]
START_DEADLINE = 60.0  # [s]
BUSY = """
import os, threading
import numpy as np
os.nice({nice})
def work():
    a = np.random.default_rng(0).standard_normal((384, 384)).astype(np.float32)
    while True:
        a = np.tanh(a @ a.T / 384)
for _ in range({threads}):
    threading.Thread(target=work, daemon=True).start()
threading.Event().wait()
"""


def gate(seconds: float = 20.0, load: int = 2, contract: str = "tabletop_arm") -> None:
    """Print the gate's period with nothing else running, then with `load` busy threads in another process."""
    print(_machine())
    specs = [spec for spec in bring_up(contract, sim=False, source="policy") if spec.name == "gate_node"]
    with Graph(specs) as graph, _node() as node:
        graph.wait_ready()
        arm = _StandInArm(node, load_contract(contract))
        arm.wait_for_statistics()
        for threads in (0, load):
            with _busy(threads):
                print(f"{threads} busy threads: {arm.measure(seconds)}", flush=True)
        graph.check()


def transport(seconds: float = 20.0, contract: str = "tabletop_arm", task: str = "reach") -> None:
    """Print the time from a camera's capture stamp to the command that follows from it, without a forward pass."""
    print(_machine())
    with Graph(bring_up(contract, task=task, source="policy")) as graph, _node() as node:
        graph.wait_ready()
        policy = _StandInPolicy(node, load_contract(contract))
        end = time.monotonic() + START_DEADLINE
        while not policy.commands:
            graph.check()
            policy.act(end)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            policy.act(end + START_DEADLINE)
        graph.check()
        print(policy.report(graph))


class _StandInArm:
    """Joint states and wrench at 300 Hz, and a policy's chunks at its rate."""

    def __init__(self, node: Node, contract: Contract) -> None:
        self._contract, self._node = contract, node
        self._values: dict[str, str] = {}
        self._reports = 0
        kinematics = Kinematics(load_urdf(contract.urdf), contract.joint_names, contract.action.tip)
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

    def wait_for_statistics(self) -> None:
        """Wait until the gate is driven by the chunks."""
        _wait(lambda: self._values.get("state") == "active", "the gate following the chunks")

    def measure(self, seconds: float) -> str:
        """Return the gate's own account of the last `seconds` (at most 10: its window)."""
        time.sleep(max(seconds, 1.0))
        before = self._reports
        _wait(lambda: self._reports > before, "the gate's diagnostics")
        names = ("period p50 [ms]", "period p99 [ms]", "jitter p99 [ms]", "jitter max [ms]", "missed ticks")
        return (
            ", ".join(f"{name} {self._values[name]}" for name in names) + f" ({self._values['scheduling']})"
        )

    def _publish_sensors(self) -> None:
        stamp = self._node.get_clock().now().nanoseconds
        names = self._contract.joint_names
        zeros = dict.fromkeys(names, 0.0)
        self._joints.publish(joints_to_message(stamp, dict(zip(names, self._q.tolist())), zeros, zeros))
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


@dataclass
class _Latencies:
    observed: list[float] = field(default_factory=list)  # [s] capture to aligned observation
    commanded: list[float] = field(default_factory=list)  # [s] capture to command


class _StandInPolicy:
    """Aligns the streams as a policy does and answers at once: every sixth observation moves the gripper a little."""

    def __init__(self, node: Node, contract: Contract) -> None:
        if contract.action.space != "joint_position":
            raise VlaRosError(
                f"{contract.source}: bench transport needs space joint_position, not {contract.action.space}"
            )
        self._node, self._contract = node, contract
        self._arrived = threading.Condition()
        self._feed = ObservationFeed(Aligner(contract))
        self._images = {stream.key: 0 for stream in contract.streams("image", "depth")}
        self._base: npt.NDArray[np.float64] | None = None
        self._last, self._count = 0, 0
        self._toggled: int | None = (
            None  # capture stamp of the observation that moved the gripper, until it moves
        )
        self._latencies = _Latencies()
        self.commands = 0
        self._chunks = node.create_publisher(JointTrajectory, "/policy/chunk", qos.COMMAND)
        node.create_subscription(
            JointTrajectory, contract.action.command.topic, self._on_command, qos.COMMAND
        )
        observe(node, contract, self._feed, on_sample=self._on_sample)  # type: ignore[arg-type]

    def act(self, deadline: float) -> None:
        """Wait until every camera has a new image, and answer the observation."""
        with self._arrived:
            while min(self._images.values()) <= self._last:
                if not self._arrived.wait(timeout=max(0.0, deadline - time.monotonic())):
                    raise GraphError("no new image from " + ", ".join(self._images))
            self._last = min(self._images.values())
        now = self._now()
        observation = self._feed.latest(now)
        if not observation.valid:
            return
        self._count += 1
        chunk = self._predict(observation)
        if self._count % TOGGLE_EVERY == 0:
            self._latencies.observed.append((now - observation.stamp) / NANOSECONDS)
            self._toggled = observation.stamp
        self._chunks.publish(chunk_to_message(chunk))

    def _predict(self, observation: Observation) -> ActionChunk:
        if self._base is None:
            state = np.asarray(observation.values[self._contract.state.key], dtype=np.float64)
            self._base = state[
                [self._contract.state.names.index(name) for name in self._contract.action.names]
            ]
            self._base[-1] += 2 * TOGGLE
        values = np.tile(self._base, (16, 1))
        values[:, -1] += TOGGLE * (self._count // TOGGLE_EVERY % 2)
        return _chunk(self._contract, values, observation.stamp)

    def report(self, graph: Graph) -> str:
        """Return the latencies' percentiles, one line each."""
        lines = []
        for what, values in (
            ("observation", self._latencies.observed),
            ("command", self._latencies.commanded),
        ):
            if not values:
                raise GraphError(
                    f"no {what} came of the images; the gate said: {graph.log('gate_node').strip()[-200:]}"
                )
            p50, p99 = 1e3 * np.percentile(values, [50, 99])
            lines.append(
                f"capture stamp to {what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {1e3 * max(values):.1f} ms ({len(values)} samples)"
            )
        return "\n".join(lines)

    def _on_sample(self, key: str, stamp: int) -> None:
        if key in self._images:
            with self._arrived:
                self._images[key] = stamp
                self._arrived.notify_all()

    def _on_command(self, message: JointTrajectory) -> None:
        self.commands += 1
        if self._toggled is not None and any(message.points[0].velocities):
            self._latencies.commanded.append((self._now() - self._toggled) / NANOSECONDS)
            self._toggled = None

    def _now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _chunk(contract: Contract, values: npt.NDArray[np.float64], stamp: int) -> ActionChunk:
    action = contract.action
    frame = action.frame if action.space == "ee_pose" else ""
    return ActionChunk(values, action.names, action.space, stamp, 1.0 / contract.rate, frame)


@contextmanager
def _node() -> Iterator[Node]:
    """Yield a node that is spun in a thread of its own."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("bench", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown(timeout_sec=5.0)
        thread.join(timeout=5.0)
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _spin(executor: Any) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        pass


@contextmanager
def _busy(threads: int) -> Iterator[None]:
    """Keep `threads` threads busy with matrices in another process, at a policy's niceness."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    code = BUSY.format(nice=POLICY_NICE, threads=threads)
    process = subprocess.Popen([sys.executable, "-c", code], env=environment) if threads else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START_DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise GraphError(f"{what} did not happen within {START_DEADLINE:.0f} s")
        time.sleep(0.02)


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
