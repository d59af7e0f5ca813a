"""The topics of a simulated arm: what ros2_control's broadcasters and the camera drivers would publish."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray
from geometry_msgs.msg import WrenchStamped

from vla_ros.ros import diagnostics, qos
from vla_ros.ros.convert import camera_info, image_to_message, joints_to_message, to_time, wrench_to_message
from vla_ros.sim.render import Snapshot
from vla_ros.sim.scene import COLOURS
from vla_ros.sim.world import World

SIDES = ("left", "right")
TOOL_FRAME = "tool0"
BUFFERED = 0.6  # [s] reliable consumers may lag this far behind


class BodyTopics:
    """Joint states, wrench, taxels, objects, task status and clock."""

    def __init__(self, node: Node) -> None:
        self._joints = node.create_publisher(JointState, "/joint_states", qos.reliable(round(300 * BUFFERED)))
        self._wrench = node.create_publisher(WrenchStamped, "/tool/wrench", qos.reliable(round(300 * BUFFERED)))
        self._taxels = {s: node.create_publisher(Image, f"/{s}_pad/taxels", qos.reliable(round(100 * BUFFERED))) for s in SIDES}
        self._objects = node.create_publisher(MarkerArray, "/sim/objects", qos.reliable(round(100 * BUFFERED)))
        self._status = node.create_publisher(DiagnosticStatus, "/sim/task_status", qos.reliable(30))
        self._clock = node.create_publisher(Clock, "/clock", qos.reliable(1))

    def joints_and_wrench(self, stamp: int, world: World) -> None:
        """Publish /joint_states and /tool/wrench."""
        position, velocity, effort = (dict(zip(world.joint_names, v.tolist())) for v in world.joint_state())
        self._joints.publish(joints_to_message(stamp, position, velocity, effort))
        self._wrench.publish(wrench_to_message(stamp, TOOL_FRAME, world.wrench().tolist()))

    def taxels_and_objects(self, stamp: int, world: World) -> None:
        """Publish both taxel pads, and /sim/objects where somebody listens."""
        for side, publisher in self._taxels.items():
            publisher.publish(image_to_message(stamp, f"{side}_pad", world.taxels(side), "32FC3"))
        if self._objects.get_subscription_count():
            self._objects.publish(MarkerArray(markers=[_marker(stamp, n, p) for n, p in world.objects().items()]))

    def status(self, world: World) -> None:
        """Publish /sim/task_status: message is running, success or failure; time is seconds since the reset."""
        values = world.status() | {"time": round(world.time, 6)}
        self._status.publish(diagnostics.status("task", diagnostics.OK, values.pop("message"), values))

    def clock(self, stamp: int) -> None:
        """Publish /clock."""
        self._clock.publish(Clock(clock=to_time(stamp)))


class CameraTopics:
    """Colour, depth and camera_info of every camera, rendered only for topics that somebody listens to."""

    def __init__(self, node: Node, world: World) -> None:
        depth = round(30 * BUFFERED)
        self._infos, self._colour, self._depth, self._info = {}, {}, {}, {}
        for camera in world.cameras:
            root, info = f"/{camera}_camera", world.camera_info(camera)
            frame = info.pop("frame")
            self._infos[camera] = camera_info(frame=frame, **info)
            self._colour[camera] = node.create_publisher(Image, f"{root}/color/image_raw", qos.reliable(depth))
            self._depth[camera] = node.create_publisher(Image, f"{root}/depth/image_rect_raw", qos.reliable(depth))
            self._info[camera] = node.create_publisher(CameraInfo, f"{root}/color/camera_info", qos.reliable(depth))

    def publish(self, stamp: int, world: World, snapshot: Snapshot | None = None) -> None:
        """Render every camera that is listened to at `snapshot` (now by default) and publish its messages."""
        for camera, info in self._infos.items():
            colour, depth = self._colour[camera], self._depth[camera]
            if self._info[camera].get_subscription_count():
                info.header.stamp = to_time(stamp)
                self._info[camera].publish(info)
            if not (colour.get_subscription_count() or depth.get_subscription_count()):
                continue
            picture = world.frame(camera, snapshot)
            frame = info.header.frame_id
            if colour.get_subscription_count():
                colour.publish(image_to_message(stamp, frame, picture.rgb, "rgb8"))
            if depth.get_subscription_count():
                depth.publish(image_to_message(stamp, frame, picture.depth, "32FC1"))


def _marker(stamp: int, name: str, pose: object) -> Marker:
    x, y, z, qx, qy, qz, qw = (float(v) for v in pose)  # type: ignore[attr-defined]
    marker = Marker(ns=name, type=Marker.CUBE, action=Marker.ADD)
    marker.header.frame_id = "base_link"
    marker.header.stamp = to_time(stamp)
    marker.pose.position.x, marker.pose.position.y, marker.pose.position.z = x, y, z
    o = marker.pose.orientation
    o.x, o.y, o.z, o.w = qx, qy, qz, qw
    marker.scale.x = marker.scale.y = marker.scale.z = 0.04
    r, g, b, a = next((rgba for colour, rgba in COLOURS.items() if colour in name), (0.5, 0.5, 0.5, 1.0))
    marker.color = ColorRGBA(r=r, g=g, b=b, a=a)
    return marker


def seconds(message: Time) -> float:
    """Return a time message in seconds."""
    return float(message.sec) + message.nanosec * 1e-9
