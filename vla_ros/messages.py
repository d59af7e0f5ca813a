"""Sensor messages to numpy, without ROS: for live messages and for those of a bag alike.

A message is anything with the fields of the ROS message: a message class of rclpy or one read from a bag.
Decoders copy: an array never points into a message. Rows are read by `step`, since drivers may pad them.
Stamps are int nanoseconds everywhere outside a message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS
from vla_ros.contract import POSITION_SUFFIX, StreamSpec
from vla_ros.contract_spec import TOKENS
from vla_ros.errors import ObservationError, unknown_name
from vla_ros.tokens import tokens_from_message

Decoder = Callable[[Any], "tuple[int, Any]"]

COLOUR = {  # encoding: (channels, index of each of R, G, B)
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
}
NUMERIC = {"16UC1": ("u2", 1), "32FC1": ("f4", 1), "32FC3": ("f4", 3)}
TYPES = {
    "image": "sensor_msgs/msg/Image",
    "depth": "sensor_msgs/msg/Image",
    "taxels": "sensor_msgs/msg/Image",
    "joints": "sensor_msgs/msg/JointState",
    "wrench": "geometry_msgs/msg/WrenchStamped",
    "pose": "geometry_msgs/msg/PoseStamped",
    "text": "std_msgs/msg/String",
}


def type_name(kind: str, topic: str = "") -> str:
    """Return the ROS type of a kind of stream; a topic ending in ``compressed`` or ``/tokens`` has CompressedImages."""
    if topic.endswith(TOKENS) or (kind in ("image", "depth") and topic.endswith("compressed")):
        return "sensor_msgs/msg/CompressedImage"
    if kind not in TYPES:
        raise ObservationError(unknown_name("kind of stream", kind, TYPES))
    return TYPES[kind]


def from_time(time: Any) -> int:
    """Return a stamp or duration message in ns."""
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def decoder_for(spec: StreamSpec, now: Callable[[], int] | None = None) -> Decoder:
    """Return the function that turns a message of this stream into (stamp [ns], value).

    Text carries no stamp: it is given ``now()``, or 0 ("has always been true") without ``now``. The decoder
    raises ObservationError when a message does not fit the stream.
    """
    if spec.kind == "text":
        return lambda message: (now() if now else 0, str(message.data))
    if spec.is_tokens:
        return lambda message: (from_time(message.header.stamp), tokens_from_message(message))
    decode: dict[str, Callable[[Any], Any]] = {
        "image": rgb_from_message,
        "depth": depth_from_message,
        "taxels": taxels_from_message,
        "wrench": wrench_from_message,
        "pose": pose_from_message,
        "joints": JointReader(
            [name[: -len(POSITION_SUFFIX)] if name.endswith(POSITION_SUFFIX) else name for name in spec.names],
            spec.topic,
        ),
    }
    if spec.kind not in decode:
        raise ObservationError(f"{spec.key}: " + unknown_name("kind of stream", spec.kind, [*decode, "text"]))
    read = decode[spec.kind]
    return lambda message: (from_time(message.header.stamp), read(message))


def rgb_from_message(message: Any) -> npt.NDArray[np.uint8]:
    """Return a colour or grey image as uint8 [H, W, 3] in RGB order."""
    if _is_compressed(message):
        return np.ascontiguousarray(_decompress(message, cv2.IMREAD_COLOR)[:, :, ::-1])
    if message.encoding not in COLOUR:
        raise ObservationError(unknown_name("image encoding", message.encoding, COLOUR))
    channels, order = COLOUR[message.encoding]
    pixels = _rows(message, np.dtype(np.uint8), channels)
    if message.encoding == "rgb8":
        return pixels.copy()
    return np.ascontiguousarray(pixels[:, :, list(order)])


def depth_from_message(message: Any) -> npt.NDArray[np.float32]:
    """Return depth [m], float32 [H, W], NaN where invalid (REP-118: 16UC1 in mm, 0 invalid; or 32FC1)."""
    if _is_compressed(message):
        return _metres(_decompress(message, cv2.IMREAD_UNCHANGED))
    if message.encoding not in ("16UC1", "32FC1"):
        raise ObservationError(unknown_name("depth encoding", message.encoding, ("16UC1", "32FC1")))
    pixels = _rows(message, _numeric_dtype(message), 1)[:, :, 0]
    return _metres(pixels) if message.encoding == "16UC1" else pixels.astype(np.float32)


def taxels_from_message(message: Any) -> npt.NDArray[np.float32]:
    """Return taxels in the device's unit, float32 [h, w, channels]: 32FC3 (shear x, y, normal) or 32FC1 (normal)."""
    if message.encoding not in ("32FC3", "32FC1"):
        raise ObservationError(unknown_name("taxel encoding", message.encoding, ("32FC1", "32FC3")))
    return _rows(message, _numeric_dtype(message), NUMERIC[message.encoding][1]).astype(np.float32)


def wrench_from_message(message: Any) -> npt.NDArray[np.float32]:
    """Return [fx, fy, fz, tx, ty, tz] [N, Nm], float32 [6], in the message's frame."""
    f, t = message.wrench.force, message.wrench.torque
    return np.array((f.x, f.y, f.z, t.x, t.y, t.z), dtype=np.float32)


def pose_from_message(message: Any) -> npt.NDArray[np.float64]:
    """Return [x y z qx qy qz qw] [m], float64 [7], of a PoseStamped in its frame."""
    p, q = message.pose.position, message.pose.orientation
    return np.array((p.x, p.y, p.z, q.x, q.y, q.z, q.w), dtype=np.float64)


class JointReader:
    """Reads joint positions by name; the order in the message is whatever the broadcaster chose."""

    def __init__(self, joints: Sequence[str], source: str = "/joint_states") -> None:
        self.joints = tuple(joints)
        self._source = source
        self._order: dict[tuple[str, ...], list[int]] = {}

    def __call__(self, message: Any) -> npt.NDArray[np.float64]:
        """Return the positions of ``joints`` [rad, m], float64 [N]. ObservationError names one that is missing, or no number."""
        positions = self._pick(message, message.position, "position")
        if not np.isfinite(positions).all():
            odd = int(np.argmin(np.isfinite(positions)))
            raise ObservationError(f"{self._source}: position of '{self.joints[odd]}' is {positions[odd]:g}")
        return positions

    def velocities(self, message: Any) -> npt.NDArray[np.float64]:
        """Return the velocities of ``joints`` [rad/s, m/s], float64 [N]; NaN where the message has none."""
        if len(message.velocity) == 0:
            return np.full(len(self.joints), np.nan)
        return self._pick(message, message.velocity, "velocity")

    def _pick(self, message: Any, values: Sequence[float], what: str) -> npt.NDArray[np.float64]:
        names = tuple(message.name)
        if len(values) != len(names):
            raise ObservationError(f"{self._source}: {len(values)} {what} values for {len(names)} joints")
        order = self._order.get(names)
        if order is None:
            missing = [joint for joint in self.joints if joint not in names]
            if missing:
                raise ObservationError(f"{self._source}: " + unknown_name("joint", missing[0], names))
            order = self._order.setdefault(names, [names.index(joint) for joint in self.joints])
        return np.asarray(values, dtype=np.float64)[order]


def setpoint_from_message(message: Any, names: Sequence[str]) -> tuple[int, npt.NDArray[np.float64]]:
    """Return (when it is to be reached [ns], values [D] in the order of `names`) of a gate's setpoint.

    It is a JointTrajectory with one point. Raises ObservationError naming an action that it lacks.
    """
    have, point = list(message.joint_names), message.points[0]
    missing = [name for name in names if name not in have]
    if missing:
        raise ObservationError("/gate/action: " + unknown_name("action", missing[0], have))
    reached = from_time(message.header.stamp) + from_time(point.time_from_start)
    return reached, np.asarray(point.positions, dtype=np.float64)[[have.index(name) for name in names]]


def _is_compressed(message: Any) -> bool:
    return hasattr(message, "format")


def _rows(message: Any, dtype: np.dtype[Any], channels: int) -> npt.NDArray[Any]:
    """Return a view [H, W, channels] of the message's data, without the padding at the end of each row."""
    height, width, step = message.height, message.width, message.step
    row = width * channels * dtype.itemsize
    buffer = np.frombuffer(message.data, dtype=np.uint8)
    if step < row or buffer.size < step * max(height - 1, 0) + (row if height else 0):
        raise ObservationError(
            f"an image {width}x{height} '{message.encoding}' has step {step} and {buffer.size} bytes; "
            f"want a step of at least {row} and {step * height} bytes"
        )
    strided = np.lib.stride_tricks.as_strided(buffer, (height, row), (step, 1), writeable=False)
    return np.ascontiguousarray(strided).view(dtype).reshape(height, width, channels)


def _numeric_dtype(message: Any) -> np.dtype[Any]:
    return np.dtype(NUMERIC[message.encoding][0]).newbyteorder(">" if message.is_bigendian else "<")


def _metres(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    if pixels.dtype.itemsize != 2 or pixels.ndim != 2:
        raise ObservationError(f"depth pixels are {pixels.dtype} {list(pixels.shape)}, want uint16 [H, W] in mm")
    depth = pixels.astype(np.float32) / np.float32(1000.0)
    depth[pixels == 0] = np.nan
    return depth


def _decompress(message: Any, flags: int) -> npt.NDArray[Any]:
    pixels = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), flags)
    if pixels is None:
        raise ObservationError(
            f"a compressed image of format '{message.format}' and {len(message.data)} bytes is not readable"
        )
    return np.asarray(pixels)
