"""What a simulated world publishes: ros2_control's broadcasters' topics, cameras, pads, and the truth."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3, WrenchStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import ColorRGBA, String
from visualization_msgs.msg import Marker, MarkerArray

from vla_ros.contract import Contract
from vla_ros.ros import qos
from vla_ros.ros.convert import (
    camera_info,
    image_to_message,
    joints_to_message,
    pose_to_message,
    to_time,
    wrench_to_message,
)
from vla_ros.ros.diagnostics import OK, status
from vla_ros.sim.pacing import CAMERA_EVERY, CONTROL_EVERY, GATE_EVERY
from vla_ros.sim.render import Snapshot
from vla_ros.sim.world import World

ACKNOWLEDGED = Duration(
    seconds=5
)  # a latched sample of depth 1 is acknowledged in milliseconds, if not by a node that died
TOOL_POSE = "/tool/pose"
COLOURS = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.7, 0.2), "blue": (0.1, 0.2, 0.9)}


class SimulatedSensors:
    """The `Outputs` of a runner on the topics of the contract. cameras, pads: the world's, by short names.

    lockstep: what has been published is kept for whoever joins later, who else would make time stand still.
    """

    def __init__(
        self, node: Node, contract: Contract, cameras: tuple[str, ...], pads: tuple[str, ...], lockstep: bool
    ) -> None:
        self._node = node
        self._body = _Body(node, contract, pads, lockstep)
        self._cameras = _Cameras(node, contract, cameras, lockstep)
        text = next((stream.topic for stream in contract.streams("text")), "/instruction")
        self._words = node.create_publisher(String, text, qos.LATCHED)

    def say(self, instruction: str) -> None:
        """Publish the instruction and wait until it has arrived: nobody sees the scene with other words."""
        self._words.publish(String(data=instruction))
        if not self._words.wait_for_all_acked(ACKNOWLEDGED):
            self._node.get_logger().warning(f"not every node has taken in the instruction '{instruction}'")

    def sensors(self, world: World, stamp: int) -> None:
        """Publish all that is due at the world's present step, pictures and clock aside."""
        self._body.publish(world, stamp)

    def pictures(self, world: World, snapshot: Snapshot, stamp: int) -> None:
        """Render and publish what is subscribed to; of a snapshot published before, only what is so since."""
        self._cameras.publish(world, snapshot, stamp)

    def status(self, world: World) -> None:
        """Publish how the trial stands."""
        self._body.publish_status(world)

    def clock(self, stamp: int) -> None:
        """Publish the time base of the stamps."""
        self._body.publish_clock(stamp)


class _Body:
    """Publishes joint states, wrench, taxels, object poses, task status and the clock, each at its rate.

    And the tool's pose, as a tracker on it would.
    """

    def __init__(self, node: Node, contract: Contract, pads: tuple[str, ...], lockstep: bool) -> None:
        self._always = lockstep  # for who joins later
        self._tool = next((stream.frame for stream in contract.streams("wrench") if stream.frame), "tool0")
        topic = _topics(contract)
        fast, slow = qos.exchanged(100, lockstep), qos.exchanged(30, lockstep)
        self._joints = node.create_publisher(JointState, contract.state.topic, fast)
        self._wrench = node.create_publisher(WrenchStamped, topic.get("observation.wrench.tool", "/tool/wrench"), fast)
        self._taxels = {
            side: node.create_publisher(Image, topic.get(f"observation.tactile.{side}", f"/{side}_pad/taxels"), slow)
            for side in pads
        }
        self._objects = node.create_publisher(MarkerArray, "/sim/objects", slow)
        self._pose = node.create_publisher(PoseStamped, TOOL_POSE, slow)
        self._status = node.create_publisher(DiagnosticStatus, "/sim/task_status", slow)
        self._clock = node.create_publisher(Clock, "/clock", slow)

    def publish(self, world: World, stamp: int) -> None:
        """Publish all that is due at the world's present step, as of ``stamp`` [ns]."""
        step = world.steps
        if step % CONTROL_EVERY == 0:
            position, velocity, effort = (
                dict(zip(world.joint_names, v.tolist(), strict=True)) for v in world.joint_state()
            )
            self._joints.publish(joints_to_message(stamp, position, velocity, effort))
            self._wrench.publish(wrench_to_message(stamp, self._tool, world.wrench().tolist()))
        if step % GATE_EVERY == 0:
            for side, publisher in self._taxels.items():
                if self._always or publisher.get_subscription_count():
                    pixels = world.taxels(side)
                    publisher.publish(image_to_message(stamp, f"{side}_pad", pixels, "32FC3"))
            if self._always or self._pose.get_subscription_count():
                self._pose.publish(pose_to_message(stamp, "base_link", world.tip_pose()))
            if self._always or self._objects.get_subscription_count():
                self._objects.publish(_markers(to_time(stamp), world))
        if step % CAMERA_EVERY == 0:
            self.publish_status(world)

    def publish_status(self, world: World) -> None:
        """Say how the trial stands."""
        values = world.status()
        values |= {"decided": values["time"], "time": round(world.time, 6)}
        self._status.publish(status("sim: task", OK, values.pop("message"), values))

    def publish_clock(self, stamp: int) -> None:
        """Publish the time base of the stamps [ns]."""
        self._clock.publish(Clock(clock=to_time(stamp)))


class _Cameras:
    """Publishes colour, depth and camera_info of the cameras, rendering only what someone looks at."""

    def __init__(self, node: Node, contract: Contract, names: tuple[str, ...], lockstep: bool) -> None:
        topic, driver = _topics(contract), qos.exchanged(20, lockstep)
        self._snapshot: Snapshot | None = None  # the newest, and the topics it has been published on
        self._published: set[str] = set()
        self._colour, self._depth, self._infos = {}, {}, {}
        for name in names:
            colour = topic.get(f"observation.images.{name}", f"/{name}_camera/color/image_raw")
            depth = topic.get(f"observation.depth.{name}", f"/{name}_camera/depth/image_rect_raw")
            self._colour[name] = node.create_publisher(Image, colour, driver)
            self._depth[name] = node.create_publisher(Image, depth, driver)
            self._infos[name] = [
                node.create_publisher(CameraInfo, path.rsplit("/", 1)[0] + "/camera_info", driver)
                for path in (colour, depth)
            ]

    def publish(self, world: World, snapshot: Snapshot, stamp: int) -> None:
        """Render and publish what is subscribed to, captured at ``stamp`` [ns], and not yet of this snapshot.

        Any thread may call this.
        """
        if snapshot is not self._snapshot:
            self._snapshot, self._published = snapshot, set()
        for name in self._colour:
            colour, depth = self._new(self._colour[name]), self._new(self._depth[name])
            frame = world.frame(name, snapshot, depth) if colour or depth else None
            self._publish_info(world, name, stamp)
            if frame is None:
                continue
            optical = world.camera_info(name)["frame"]
            if colour:
                self._colour[name].publish(image_to_message(stamp, optical, frame.rgb, "rgb8"))
            if frame.depth is not None:
                self._depth[name].publish(image_to_message(stamp, optical, frame.depth, "32FC1"))

    def _publish_info(self, world: World, name: str, stamp: int) -> None:
        wanted = [publisher for publisher in self._infos[name] if self._new(publisher)]
        if wanted:
            message = camera_info(**world.camera_info(name))
            message.header.stamp = to_time(stamp)
            for publisher in wanted:
                publisher.publish(message)

    def _new(self, publisher: Publisher) -> bool:
        """Say whether someone looks at a topic that the snapshot has not been published on, and take it for done."""
        if publisher.topic_name in self._published or not publisher.get_subscription_count():
            return False
        self._published.add(publisher.topic_name)
        return True


def _topics(contract: Contract) -> dict[str, str]:
    return {key: stream.topic for key, stream in contract.observation.items()}


def _markers(stamp: Time, world: World) -> MarkerArray:
    markers = []
    for index, (name, pose) in enumerate(world.objects().items()):
        x, y, z, qx, qy, qz, qw = pose.tolist()
        marker = Marker(ns=name, id=index, type=Marker.CUBE, scale=Vector3(x=0.04, y=0.04, z=0.04))
        marker.header.frame_id, marker.header.stamp = "base_link", stamp
        marker.pose = Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))
        marker.color = _colour(name)
        markers.append(marker)
    return MarkerArray(markers=markers)


def _colour(name: str) -> Any:
    red, green, blue = next((rgb for word, rgb in COLOURS.items() if word in name), (0.5, 0.5, 0.5))
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)
