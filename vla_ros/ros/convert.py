"""Numpy to ROS messages, and the ROS-free decoders of `vla_ros.messages` under one roof.

Stamps are int nanoseconds everywhere outside a message.
"""

from __future__ import annotations

import array
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import PoseStamped, WrenchStamped
from sensor_msgs.msg import CameraInfo, Image, JointState

from vla_ros.action import NANOSECONDS
from vla_ros.errors import ObservationError
from vla_ros.messages import (
    COLOUR,
    NUMERIC,
    JointReader,
    decoder_for,
    depth_from_message,
    from_time,
    rgb_from_message,
    taxels_from_message,
    type_name,
    wrench_from_message,
)

__all__ = [
    "JointReader",
    "camera_info",
    "class_of",
    "decoder_for",
    "depth_from_message",
    "from_time",
    "image_to_message",
    "joints_to_message",
    "msg_type_for",
    "pose_to_message",
    "rgb_from_message",
    "taxels_from_message",
    "to_duration",
    "to_time",
    "wrench_from_message",
    "wrench_to_message",
]


def to_time(stamp: int) -> Time:
    """Return the message of a stamp [ns]."""
    return Time(sec=stamp // NANOSECONDS, nanosec=stamp % NANOSECONDS)


def to_duration(duration: int) -> Duration:
    """Return the message of a duration [ns]."""
    return Duration(sec=duration // NANOSECONDS, nanosec=duration % NANOSECONDS)


def msg_type_for(kind: str, topic: str = "") -> type:
    """Return the message class of a kind of stream; a topic ending in ``compressed`` has CompressedImages."""
    return class_of(type_name(kind, topic))


def class_of(name: str) -> type:
    """Return the message class of a ROS type such as ``sensor_msgs/msg/Image``."""
    package, _, short = name.partition("/msg/")
    return getattr(importlib.import_module(f"{package}.msg"), short)


def joints_to_message(
    stamp: int, position: Mapping[str, float], velocity: Mapping[str, float], effort: Mapping[str, float]
) -> JointState:
    """Return a JointState with its joints in alphabetical order, as joint_state_broadcaster's are."""
    names = sorted(position)
    message = JointState(name=names)
    message.header.stamp = to_time(stamp)
    message.position = array.array("d", [position[name] for name in names])
    message.velocity = array.array("d", [velocity[name] for name in names])
    message.effort = array.array("d", [effort[name] for name in names])
    return message


def wrench_to_message(stamp: int, frame: str, wrench: Sequence[float]) -> WrenchStamped:
    """Return the message of [fx, fy, fz, tx, ty, tz] [N, Nm]."""
    message = WrenchStamped()
    message.header.stamp = to_time(stamp)
    message.header.frame_id = frame
    force, torque = message.wrench.force, message.wrench.torque
    force.x, force.y, force.z, torque.x, torque.y, torque.z = (float(value) for value in wrench)
    return message


def pose_to_message(stamp: int, frame: str, pose: Sequence[float] | npt.NDArray[np.float64]) -> PoseStamped:
    """Return the message of [x, y, z, qx, qy, qz, qw] [m]."""
    message = PoseStamped()
    message.header.stamp = to_time(stamp)
    message.header.frame_id = frame
    point, turn = message.pose.position, message.pose.orientation
    point.x, point.y, point.z, turn.x, turn.y, turn.z, turn.w = (float(value) for value in pose)
    return message


def image_to_message(stamp: int, frame: str, pixels: npt.NDArray[Any], encoding: str) -> Image:
    """Return the Image of an array [H, W] or [H, W, C] whose dtype and channels are those of ``encoding``."""
    dtype, channels = NUMERIC.get(encoding) or ("u1", COLOUR[encoding][0])
    height, width = pixels.shape[:2]
    if pixels.size != height * width * channels:
        raise ObservationError(f"an image of shape {list(pixels.shape)} is not '{encoding}'")
    data = np.ascontiguousarray(pixels, dtype=np.dtype(dtype).newbyteorder("="))
    message = Image(height=height, width=width, encoding=encoding, is_bigendian=int(sys.byteorder == "big"))
    message.header.stamp = to_time(stamp)
    message.header.frame_id = frame
    message.step = width * channels * data.itemsize
    payload = array.array("B")  # the one type that rclpy takes without looking at every element
    payload.frombytes(data.reshape(-1).view(np.uint8).data)
    message.data = payload
    return message


def camera_info(frame: str, width: int, height: int, fx: float, fy: float, cx: float, cy: float) -> CameraInfo:
    """Return the CameraInfo of an ideal pinhole camera; focal lengths and centre in pixels."""
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    message.header.frame_id = frame
    message.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message
