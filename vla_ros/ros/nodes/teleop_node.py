"""teleop_node: one leader device, as short action chunks on ``/teleop/chunk``; an empty chunk says "hold".

``~/reset`` (std_srvs/Trigger) makes a scripted operator begin anew with the parameter ``seed``. A person's device is
`vla_ros.ros.live_teleop`'s.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.errors import DeviceError, ObservationError
from vla_ros.kinematics import Kinematics
from vla_ros.ros import qos
from vla_ros.ros.chunks import chunk_to_message
from vla_ros.ros.convert import JointReader, from_time
from vla_ros.ros.diagnostics import OK, WARN, Diagnostics
from vla_ros.ros.entities import Entities
from vla_ros.ros.lifecycle import ManagedNode, run_node
from vla_ros.ros.live_teleop import LiveDevice, LiveTeleop
from vla_ros.ros.params import declare, declared_contract, declared_lockstep
from vla_ros.ros.teleop_settings import leader_kinematics
from vla_ros.teleop import LeaderFollower, WorldWatcher
from vla_ros.teleop.device import LeaderDevice, TeleopSample
from vla_ros.teleop.paired import PairedLeaders
from vla_ros.teleop.registry import clutch_of, is_live, make_device
from vla_ros.teleop.scripted_hand import HandOperation, ScriptedHand
from vla_ros.teleop.streamed import StreamedLeader
from vla_ros.teleop.topic import TopicLeader

DEPTH = 200
LIVE_RATE, LIVE_POINTS = 100.0, 8  # of a person's device; the chunk reaches further than the gate looks ahead
ROUNDING = 1e-6  # stamps are whole nanoseconds: a tick's own stamp may lie this part of a period past it


class TeleopNode(ManagedNode):
    """Reads the device at its rate; in lockstep at times k / rate, once all it looks at has arrived."""

    def __init__(self) -> None:
        super().__init__("teleop_node")
        self._forget()
        self._inherited = Entities(self)

    def _forget(self) -> None:
        self._device: LeaderDevice | None = None
        self._watcher: WorldWatcher | None = None
        self._live: LiveTeleop | None = None
        self._hand: HandOperation | None = None

    def configure(self) -> None:
        """Connect the device and create the entities."""
        self._contract = declared_contract(self)
        device = declare(
            self, "device", "scripted", "address of the device, or left=ADDRESS,right=ADDRESS", read_only=True
        )
        task = declare(self, "task", "pick_place", "what the scripted operator does, as the scene's", read_only=True)
        seed = declare(self, "seed", 0, "seed of the scripted operator, taken over by ~/reset")
        live = is_live(device)
        declare(self, "clutch", bool(clutch_of(device)), "False: the operator's hand is off, every chunk says 'hold'")
        rate = declare(
            self, "rate", 0.0, "chunks per second [Hz]; 0: the contract's rate", (0.0, 1000.0), read_only=True
        )
        points = declare(self, "points", LIVE_POINTS if live else 3, "targets in a chunk", (2, 100), read_only=True)
        self._lockstep = declared_lockstep(self)

        kinematics = Kinematics.of(self._contract)
        self._rate = rate or (LIVE_RATE if live else self._contract.rate)
        self._follower = LeaderFollower(self._contract, kinematics, 1.0 / self._rate, points)
        own = live and leader_kinematics(self) is not None
        self._device = made = make_device(device, self._contract, kinematics, task, seed, own)
        self._chunks = self.create_publisher(JointTrajectory, "/teleop/chunk", qos.exchanged(10, self._lockstep))
        self._diagnostics = Diagnostics(self)
        self._reason = ""
        self._tick: int | None = None
        self._newest = -1
        self.create_service(Trigger, "~/reset", self._on_reset)
        if isinstance(made, StreamedLeader | TopicLeader | PairedLeaders):
            self._lead_live(made, kinematics, points)
        elif isinstance(made, WorldWatcher):
            self._watcher = made
            if isinstance(made, ScriptedHand):
                self._hand = HandOperation(self._contract, kinematics, made, 1.0 / self._rate, points)
            self._watch(made)
        made.connect()
        if not self._lockstep and not live:
            self.create_timer(1.0 / self._rate, lambda: self._act(self.stamp()))
        self.create_timer(1.0, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _lead_live(self, device: LiveDevice, kinematics: Kinematics, points: int) -> None:
        if self._lockstep or self.get_parameter("use_sim_time").value:
            raise DeviceError("teleop_node: a person's device is of real time; leave out lockstep and use_sim_time")
        self._live = LiveTeleop(self, self._contract, kinematics, device, self._publish, 1.0 / self._rate, points)

    def _publish(self, chunk: ActionChunk) -> None:
        self._chunks.publish(chunk_to_message(chunk))

    def deactivate(self) -> None:
        """Hold the arm of a person's device."""
        if self._live is not None:
            self._live.rest()

    def cleanup(self) -> None:
        """Let the device go and destroy what `configure` created."""
        if self._device is not None:
            self._device.close()
        if self._live is not None:
            self._live.close()
        self._forget()
        self._inherited.destroy_newer()

    def _watch(self, device: WorldWatcher) -> None:
        read = JointReader(self._contract.joint_names, self._contract.state.topic)
        sensor = qos.sensor(DEPTH, lockstep=self._lockstep)

        def on_joints(message: JointState) -> None:
            try:
                positions = read(message)
            except ObservationError as error:
                self.get_logger().warning(str(error), throttle_duration_sec=2.0)
                return
            stamp = from_time(message.header.stamp)
            if stamp <= self._newest:  # the simulation was reset
                self._tick = None
                self._begin_anew()
            self._newest = stamp
            device.see_joints(stamp, dict(zip(read.joints, positions.tolist(), strict=True)))
            self._keep_up(device)

        def on_objects(message: MarkerArray) -> None:
            if message.markers:
                poses = {marker.ns: _pose(marker.pose) for marker in message.markers}
                device.see_objects(from_time(message.markers[0].header.stamp), poses)
                self._keep_up(device)

        self.create_subscription(JointState, self._contract.state.topic, on_joints, sensor)
        self.create_subscription(MarkerArray, "/sim/objects", on_objects, sensor)
        text = next((stream.topic for stream in self._contract.streams("text")), "/instruction")
        self.create_subscription(String, text, lambda message: device.hear(message.data), qos.LATCHED)

    def _keep_up(self, device: WorldWatcher) -> None:
        if not self._lockstep or not self.active:
            return
        if self._tick is None:
            self._tick = math.ceil(self._newest * self._rate / NANOSECONDS - ROUNDING)
        while device.informed(t := round(self._tick * NANOSECONDS / self._rate)):
            self._act(t)
            self._tick += 1

    def _act(self, t: int) -> None:
        if not self.active or self._device is None:
            return
        sample: TeleopSample | None = None
        try:
            clutch = bool(self.get_parameter("clutch").value)
            sample = self._device.read(t) if clutch else None
            if self._hand is not None:
                chunk = self._hand.chunk(t, sample, clutch)
            else:
                chunk = self._follower.chunk(t, sample) if clutch else self._follower.released(t)
            reason = "" if sample else getattr(self._device, "reason", "") if clutch else "the clutch is open"
        except DeviceError as error:
            chunk, reason = self._follower.chunk(t, None), str(error)
        self._publish(chunk)
        if reason != self._reason:
            self._reason = reason
            self._report()

    def _begin_anew(self) -> None:
        self._follower.reset()
        if self._hand is not None:
            self._hand.reset()

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        seed = int(self.get_parameter("seed").value)
        if self._watcher is not None:
            self._watcher.restart(seed)
        self._begin_anew()
        response.success, response.message = True, f"seed {seed}"
        return response

    def _report(self) -> None:
        if self.active and self._live is not None:
            self._diagnostics.publish(*self._live.status())
        elif self.active:
            self._diagnostics.publish(WARN if self._reason else OK, self._reason or "leading")


def _pose(pose: object) -> np.ndarray:
    p, q = pose.position, pose.orientation  # type: ignore[attr-defined]
    return np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w])


def main() -> None:
    """Run the node until it is told to stop."""
    sys.exit(run_node(TeleopNode))


if __name__ == "__main__":
    main()
