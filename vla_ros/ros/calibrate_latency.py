"""The motion for `vla-ros calibrate latency`, led through the gate on the running robot, and what the streams show of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.parameter import Parameter
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import Contract, StreamSpec
from vla_ros.errors import CalibrationError, GraphError, ObservationError, unknown_name
from vla_ros.kinematics import Kinematics
from vla_ros.latency import FASTEST, RANGE, Array, motion, strongest_component
from vla_ros.messages import setpoint_from_message
from vla_ros.ros import qos
from vla_ros.ros.chunks import chunk_to_message
from vla_ros.ros.convert import decoder_for, msg_type_for
from vla_ros.ros.own_node import own_node

SOURCE = "teleop"  # of the gate, whose place is taken
POINTS = 16  # of a chunk
PATIENCE = 15.0  # [s] for the graph to answer
STILL = 1.0  # [s] at rest before the motion and after it
SMALL = (48, 36)  # [px] that pictures are compared at: the motion of an edge stays within a pixel
SHARE = 0.9  # of the joint's limits that the motion may use
KINDS = ("joints", "image", "wrench")


@dataclass
class Seen:
    """Times [s] and samples of every stream, the raw stamps; `command`: of the setpoints that the gate sent."""

    streams: dict[str, tuple[list[float], list[Any]]] = field(default_factory=dict)
    command: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def signal(self, key: str, spec: StreamSpec, joint: int) -> tuple[Array, Array]:
        """Return what stream `key` shows of the motion of joint number `joint`."""
        times, samples = self.streams[key]
        if len(samples) < 2:
            return np.array(times), np.zeros(len(samples))
        if spec.kind == "joints":
            return np.array(times), np.array([sample[joint] for sample in samples])
        return np.array(times), strongest_component(samples)


def record_motion(
    contract: Contract,
    joint: str,
    amplitude: float,
    seconds: float,
    keys: Sequence[str] = (),
    say: Callable[[str], None] = print,
    context: Context | None = None,
) -> Seen:
    """Move `joint` by +-`amplitude` [rad, m] for `seconds` through the gate, and return what `keys` (default: all) showed.

    Raises CalibrationError for a motion that the joint cannot make, GraphError where the graph does not answer.
    """
    _check(contract, joint)
    with own_node("calibrate_latency", context) as (node, executor):
        return _Leader(node, executor, contract, joint, keys).lead(amplitude, seconds, say)


def _check(contract: Contract, joint: str) -> None:
    if contract.action.space != "joint_position":
        raise CalibrationError(f"{contract.source}: latency is measured by a joint; want space joint_position")
    if f"{joint}.pos" not in contract.action.names:
        raise CalibrationError(
            unknown_name("joint", joint, [name.removesuffix(".pos") for name in contract.action.names])
        )


class _Leader:
    """Leads the arm for a while in a teleoperation device's place."""

    def __init__(self, node: Any, executor: Any, contract: Contract, joint: str, keys: Sequence[str]) -> None:
        self._node, self._executor, self._contract, self._joint = node, executor, contract, joint
        self._column = contract.action.names.index(f"{joint}.pos")
        self._source: str | None = None
        self.seen = Seen()
        self._publisher = node.create_publisher(JointTrajectory, f"/{SOURCE}/chunk", qos.COMMAND)
        self._select = node.create_client(SetParameters, "/gate_node/set_parameters")
        node.create_subscription(String, "/gate/source", self._on_source, qos.LATCHED)
        node.create_subscription(JointTrajectory, "/gate/action", self._on_action, qos.reliable(100))
        wanted = keys or [spec.key for spec in contract.streams(*KINDS)]
        for key in dict.fromkeys((contract.state.key, *wanted)):
            self._listen(contract.observation[key])

    def lead(self, amplitude: float, seconds: float, say: Callable[[str], None]) -> Seen:
        """Do the motion; the gate's source is given back, whatever happens."""
        _, samples = self.seen.streams[self._contract.state.key]
        self._wait(lambda: samples and self._source is not None, self._missing)
        others = self._node.count_publishers(f"/{SOURCE}/chunk") - 1
        if others:
            raise GraphError(
                f"{others} other node publishes on /{SOURCE}/chunk: end it (teleop_node), the arm is moved from here"
            )
        before = self._source or ""
        base = np.array([samples[-1][self._contract.state.names.index(name)] for name in self._contract.action.names])
        self._check_limits(base[self._column], amplitude)
        try:
            self._follow(SOURCE)
            say(f"moving {self._joint} by +-{amplitude:g} for {seconds:g} s")
            self._move(base, amplitude, seconds)
        finally:
            self._follow(before)
        return self.seen

    def _move(self, base: Array, amplitude: float, seconds: float) -> None:
        begin, period = self._now() + STILL, 1.0 / self._contract.rate
        due = self._now()
        while (now := self._now()) < begin + seconds + STILL + RANGE[1]:
            if now >= due:
                due = max(due + period, now)
                values = np.tile(base, (POINTS, 1))
                values[:, self._column] += amplitude * motion(now + period * np.arange(1, POINTS + 1) - begin, seconds)
                action = self._contract.action
                stamp = round(now * NANOSECONDS)
                self._publisher.publish(
                    chunk_to_message(ActionChunk(values, action.names, action.space, stamp, period))
                )
            self._executor.spin_once(timeout_sec=max(0.0, due - self._now()))

    def _check_limits(self, position: float, amplitude: float) -> None:
        """Raise CalibrationError, naming the largest amplitude, where limits would cut the motion."""
        kinematics = Kinematics.of(self._contract)
        at = self._contract.joint_names.index(self._joint)
        names = self._contract.joint_names
        room = min(position - kinematics.lower[at], kinematics.upper[at] - position)
        turning = 2.0 * math.pi * FASTEST
        speed = min(self._contract.limits.velocity_for(names)[at], kinematics.velocity[at])
        push = self._contract.limits.acceleration_for(names)[at]
        largest = SHARE * min(room, speed / turning, push / turning**2)
        if not 0.0 < amplitude <= largest:
            raise CalibrationError(
                f"'{self._joint}' at {position:.3f} cannot move by +-{amplitude:g} within its range and limits; "
                f"want more than 0 and at most {max(0.0, largest):.3f} [rad, m]"
            )

    def _follow(self, source: str) -> None:
        request = SetParameters.Request(parameters=[Parameter("source", value=source).to_parameter_msg()])
        self._wait(self._select.service_is_ready, lambda: "gate_node has no parameter service")
        asked: list[Any] = []

        def answered() -> bool:
            if not asked or (not asked[0].done() and time.monotonic() - asked[1] > 2.0):  # may have been lost
                asked[:] = [self._select.call_async(request), time.monotonic()]
            return bool(asked[0].done()) and self._source == source

        self._wait(answered, lambda: f"the gate does not follow '{source}'")

    def _wait(self, done: Callable[[], Any], missing: Callable[[], str]) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > end:
                raise GraphError(f"{missing()} within {PATIENCE:.0f} s: is the robot up, in this ROS domain?")
            self._executor.spin_once(timeout_sec=0.05)

    def _missing(self) -> str:
        state = self._contract.state
        return "no gate on /gate/source" if self.seen.streams[state.key][1] else f"no joint states on {state.topic}"

    def _listen(self, spec: StreamSpec) -> None:
        times, samples = self.seen.streams.setdefault(spec.key, ([], []))
        decode = decoder_for(spec)

        def receive(message: Any) -> None:
            try:
                stamp, value = decode(message)
            except ObservationError as error:
                self._node.get_logger().warning(str(error), throttle_duration_sec=2.0)
                return
            if not times or stamp / NANOSECONDS > times[-1]:
                times.append(stamp / NANOSECONDS)
                samples.append(_small(value) if spec.kind == "image" else value)

        kind = msg_type_for(spec.kind, spec.topic)
        self._node.create_subscription(kind, spec.topic, receive, qos.sensor(max(10, round(spec.rate / 2))))

    def _on_source(self, message: String) -> None:
        self._source = message.data

    def _on_action(self, message: JointTrajectory) -> None:
        reached, values = setpoint_from_message(message, self._contract.action.names)
        self.seen.command[0].append(reached / NANOSECONDS)
        self.seen.command[1].append(float(values[self._column]))

    def _now(self) -> float:
        return float(self._node.get_clock().now().nanoseconds) / NANOSECONDS


def _small(picture: Any) -> Any:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, SMALL, interpolation=cv2.INTER_AREA).astype(np.float32)
