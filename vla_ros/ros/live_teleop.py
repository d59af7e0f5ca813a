"""A person's device on the graph: each sample becomes a chunk as soon as it is there, and none when it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import WrenchStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import ActionChunk
from vla_ros.contract import POSITION_SUFFIX, Contract
from vla_ros.errors import DeviceError, ObservationError, VlaRosError
from vla_ros.kinematics import Kinematics
from vla_ros.messages import setpoint_from_message
from vla_ros.ros import qos
from vla_ros.ros.convert import JointReader, decoder_for, from_time
from vla_ros.ros.diagnostics import ERROR, OK, WARN
from vla_ros.ros.lifecycle import ManagedNode
from vla_ros.ros.teleop_settings import leader_kinematics, operation_settings
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.operation import Operation
from vla_ros.teleop.paired import PairedLeaders
from vla_ros.teleop.reflection import ForceReflection
from vla_ros.teleop.servo_arm import ServoArm
from vla_ros.teleop.streamed import StreamedLeader
from vla_ros.teleop.topic import TopicLeader

WATCH_PERIOD = 0.05  # [s] in which a device that has gone quiet is noticed
SETPOINT_FRESH = 100_000_000  # [ns] the gate's setpoint says better than the joints where the arm is being sent
ME = "teleop"  # among the gate's sources
TROUBLE = "/teleop/trouble"  # why a device that had the arm made it hold: the recorder notes it of the running episode
LiveDevice = StreamedLeader | TopicLeader | PairedLeaders


class LiveTeleop:
    """What teleop_node has for a device in real time. publish: sends a chunk; may be called from the device's thread.

    Services: ``~/clutch`` (SetBool), which the parameter `clutch` does too, and ``~/toggle_clutch`` (Trigger).
    """

    def __init__(
        self,
        node: ManagedNode,
        contract: Contract,
        kinematics: Kinematics,
        device: LiveDevice,
        publish: Callable[[ActionChunk], None],
        period: float,
        points: int,
    ) -> None:
        self._node, self._contract, self._device, self._publish = node, contract, device, publish
        self._lock = threading.Lock()
        self._problem, self._setpoint_at = "no sample yet", 0
        self._measured: dict[str, float] = {}  # where the arm's joints are [rad, m]
        self._source = ""  # whom the gate follows
        self._told: frozenset[str] = frozenset()  # the device's warnings that have made the arm hold
        self._trouble = node.create_publisher(String, TROUBLE, qos.reliable(10))
        leader = leader_kinematics(node)
        self._operation = Operation(contract, kinematics, operation_settings(node), leader, period, points)
        joints = not isinstance(device, StreamedLeader) or isinstance(device.driver, ServoArm)
        if (leader is not None or not joints) and contract.action.space == "joint_position":
            self._operation.expect_poses()
        if node.get_parameter("clutch").value:
            self._operation.clutch.take()
        self._subscribe()
        self._felt = reflections(device)
        if self._felt:
            self._feel(kinematics)
        node.create_service(SetBool, "~/clutch", self._on_clutch)
        node.create_service(Trigger, "~/toggle_clutch", self._on_toggle)
        node.add_on_set_parameters_callback(self._on_parameters)
        node.create_timer(WATCH_PERIOD, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))
        device.on_sample, device.on_change = self._on_sample, self._on_change

    def rest(self) -> None:
        """Hold the arm, the node being deactivated: the clutch has to be taken again."""
        with self._lock:
            self._publish(self._operation.hold(self._node.stamp(), "teleop_node was deactivated"))
            for reflection in self._felt:
                reflection.engaged = False

    def close(self) -> None:
        """Undo what the node's entities do not hold."""
        self._node.remove_on_set_parameters_callback(self._on_parameters)

    def status(self) -> tuple[int, str, dict[str, str]]:
        """Return level, text and figures for diagnostics."""
        tied = "engaged" if self._followed else "held"
        values = {"clutch": tied if self._operation.clutch.engaged else "open"}
        for mark, leader in leaders_of(self._device):
            if isinstance(leader, StreamedLeader):
                values |= {f"{mark}{name}": value for name, value in leader.statistics.summary().items()}
        if self._problem:
            return ERROR, self._problem, values
        with self._lock:
            values |= self._operation.retargeting.summary()
            missed, held = self._operation.retargeting.problem, self._operation.reason
            if not held and not self._followed:
                held = f"the gate follows '{self._source}'" if self._source else "the gate follows no source"
        told = [*self._flags(), *(text for text in (held, missed) if text)]
        return (WARN, "; ".join(told), values) if told else (OK, "leading", values)

    @property
    def _followed(self) -> bool:
        """Whether the gate follows this device."""
        return self._source == ME

    def _subscribe(self) -> None:
        node, state, actions = self._node, self._contract.state, self._contract.action.names
        read = JointReader(self._contract.joint_names, state.topic)
        moved = [name.removesuffix(POSITION_SUFFIX) for name in actions]

        def on_joints(message: JointState) -> None:
            try:
                positions = dict(zip(read.joints, read(message).tolist(), strict=True))
            except ObservationError as error:
                node.get_logger().warning(str(error), throttle_duration_sec=2.0)
                return
            now = node.stamp()
            with self._lock:
                self._measured = positions
                if abs(now - self._setpoint_at) > SETPOINT_FRESH:
                    self._operation.see(from_time(message.header.stamp), positions)

        def on_action(message: JointTrajectory) -> None:
            try:
                _, values = setpoint_from_message(message, actions)
            except ObservationError:
                return
            with self._lock:
                if self._measured:
                    self._setpoint_at = stamp = from_time(message.header.stamp)
                    self._operation.see(stamp, self._measured | dict(zip(moved, values.tolist(), strict=True)))

        def on_source(message: String) -> None:
            with self._lock:
                self._source = message.data

        node.create_subscription(JointState, state.topic, on_joints, qos.sensor(10))
        if self._contract.action.space == "joint_position":
            node.create_subscription(JointTrajectory, "/gate/action", on_action, qos.reliable(10))
        node.create_subscription(String, "/gate/source", on_source, qos.LATCHED)
        for _, leader in leaders_of(self._device):
            if isinstance(leader, TopicLeader):
                self._hear(leader)

    def _hear(self, device: TopicLeader) -> None:
        def on_leader(message: JointState) -> None:
            if len(message.position) == len(message.name):
                device.hear(dict(zip(message.name, message.position, strict=True)))

        self._node.create_subscription(JointState, device.topic, on_leader, qos.sensor(1))

    def _on_sample(self, sample: TeleopSample) -> None:
        """Lead the arm to where the device is; called in the device's thread."""
        with self._lock:
            if not self._node.active:
                return
            clutch = self._operation.clutch
            if not self._followed:
                clutch.slip()
            lost = clutch.lost
            try:
                chunk, problem = self._operation.act(sample), ""
            except VlaRosError as error:
                chunk, problem = self._operation.hold(sample.stamp, str(error)), str(error)
            self._publish(chunk)
            if clutch.lost and not lost:
                self._node.get_logger().error(clutch.reason)
            elif problem not in ("", self._problem):
                self._node.get_logger().error(problem)
            self._problem = problem
            self._mark(lost)
            for reflection in self._felt:
                reflection.engaged = clutch.engaged and self._followed

    def _on_change(self, problem: str) -> None:
        if problem:
            self._node.get_logger().error(problem)
            self._stop(problem)
        else:
            self._told = frozenset()
            again = "; take the clutch again" if self._operation.clutch.lost else ""
            self._node.get_logger().info(f"the device's samples come{again}")

    def _watch(self) -> None:
        """Say "hold" while the device is quiet, and once when it warns of itself: low voltage, overload."""
        try:
            self._device.read()
        except DeviceError as error:
            if not (lost := self._device.lost):  # else `_on_change` has said so
                self._node.get_logger().warning(str(error), throttle_duration_sec=2.0)
            self._stop(str(error), lost)
            return
        flags = frozenset(self._flags())
        if fresh := flags - self._told:
            self._told |= fresh
            text = "; ".join(sorted(fresh))
            self._node.get_logger().error(text)
            self._stop(text)

    def _flags(self) -> list[str]:
        """Return what the device's servos warn of."""
        streams = [(mark, leader) for mark, leader in leaders_of(self._device) if isinstance(leader, StreamedLeader)]
        return [f"{mark}{flag}" for mark, leader in streams for flag in leader.statistics.flags]

    def _stop(self, why: str, lost: bool = True) -> None:
        """Hold the arm; a device that is merely late goes on by itself, one that is lost does not."""
        with self._lock:
            before = self._operation.clutch.lost
            if self._node.active:
                now = self._node.stamp()
                self._publish(self._operation.hold(now, why) if lost else self._operation.pause(now))
            self._problem = why
            self._mark(before)
            for reflection in self._felt:
                reflection.engaged = False

    def _feel(self, kinematics: Kinematics) -> None:
        """Let the leader feel what the follower's wrist does."""
        streams = self._contract.streams("wrench")
        if not streams or len(kinematics.arms) > 1:
            raise DeviceError("reflect: the contract has no wrench of the one arm's wrist, so that nothing can be felt")
        decode, joints = decoder_for(streams[0]), self._contract.joint_names

        def on_wrench(message: WrenchStamped) -> None:
            _, wrench = decode(message)
            with self._lock:  # also of the kinematics
                q = self._operation.arm(joints)
                torques = {} if q is None else kinematics.torques(q, wrench)
            for reflection in self._felt:
                reflection.feel(self._node.stamp(), torques)

        self._node.create_subscription(WrenchStamped, streams[0].topic, on_wrench, qos.sensor(1))

    def _mark(self, lost: bool) -> None:
        """Tell the recorder when the clutch has opened by itself. lost: whether it had before."""
        clutch = self._operation.clutch
        if clutch.lost and not lost:
            self._trouble.publish(String(data=clutch.reason))

    def _on_clutch(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._set_clutch(request.data)
        response.success, response.message = True, "taken" if request.data else "released"
        return response

    def _on_toggle(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            held = not self._operation.clutch.held
        self._set_clutch(held)
        response.success, response.message = True, "taken" if held else "released"
        return response

    def _on_parameters(self, parameters: list[Parameter]) -> Any:
        for parameter in parameters:
            if parameter.name == "clutch":
                self._set_clutch(bool(parameter.value))
        return SetParametersResult(successful=True)

    def _set_clutch(self, held: bool) -> None:
        with self._lock:
            clutch = self._operation.clutch
            if held:
                clutch.take()
            else:
                clutch.release()


def leaders_of(device: LiveDevice) -> list[tuple[str, StreamedLeader | TopicLeader]]:
    """Return a device's leaders, with what tells one of several from the others, "left: ", else ""."""
    if isinstance(device, PairedLeaders):
        return [(f"{side}: ", leader) for side, leader in device.leaders.items()]
    return [("", device)]


def reflections(device: LiveDevice) -> list[ForceReflection]:
    """Return what lets a device's leaders feel forces, of those that can."""
    drivers = [leader.driver for _, leader in leaders_of(device) if isinstance(leader, StreamedLeader)]
    return [arm.reflection for arm in drivers if isinstance(arm, ServoArm) and arm.reflection is not None]
