"""Sensor messages to numpy and back. Stamps are int nanoseconds everywhere outside a message.

Decoders copy: an array never points into a message. Rows are read by `step`, since drivers may pad them.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import WrenchStamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import String

from vla_ros.action import NANOSECONDS
from vla_ros.contract import POSITION_SUFFIX, StreamSpec
from vla_ros.errors import ObservationError, unknown_name

Decoder = Callable[[Any], "tuple[int, Any]"]

_COLOUR = {  # encoding: (channels, index of each of R, G, B)
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
}
_NUMERIC = {"16UC1": ("u2", 1), "32FC1": ("f4", 1), "32FC3": ("f4", 3)}


def to_time(stamp: int) -> Time:
    """Return the message of a stamp [ns]."""
    return Time(sec=stamp // NANOSECONDS, nanosec=stamp % NANOSECONDS)


def from_time(time: Time | Duration) -> int:
    """Return a stamp or duration message in ns."""
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def to_duration(duration: int) -> Duration:
    """Return the message of a duration [ns]."""
    return Duration(sec=duration // NANOSECONDS, nanosec=duration % NANOSECONDS)


def decoder_for(spec: StreamSpec, now: Callable[[], int] | None = None) -> Decoder:
    """Return the function that turns a message of this stream into (stamp [ns], value).

    Text carries no stamp: it is given ``now()``, or 0 ("has always been true") without ``now``. The decoder
    raises ObservationError when a message does not fit the stream.
    """
    if spec.kind == "text":
        return lambda message: (now() if now else 0, str(message.data))
    decode: dict[str, Callable[[Any], Any]] = {
        "image": rgb_from_message,
        "depth": depth_from_message,
        "taxels": taxels_from_message,
        "wrench": wrench_from_message,
        "joints": JointReader(
            [
                name[: -len(POSITION_SUFFIX)] if name.endswith(POSITION_SUFFIX) else name
                for name in spec.names
            ],
            spec.topic,
        ),
    }
    if spec.kind not in decode:
        raise ObservationError(f"{spec.key}: " + unknown_name("kind of stream", spec.kind, [*decode, "text"]))
    read = decode[spec.kind]
    return lambda message: (from_time(message.header.stamp), read(message))


def msg_type_for(kind: str, topic: str = "") -> type:
    """Return the message class of a kind of stream; a topic ending in ``compressed`` has CompressedImages."""
    if kind in ("image", "depth") and topic.endswith("compressed"):
        return CompressedImage
    types = {
        "image": Image,
        "depth": Image,
        "taxels": Image,
        "joints": JointState,
        "wrench": WrenchStamped,
        "text": String,
    }
    if kind not in types:
        raise ObservationError(unknown_name("kind of stream", kind, types))
    return types[kind]


def rgb_from_message(message: Image | CompressedImage) -> npt.NDArray[np.uint8]:
    """Return a colour or grey image as uint8 [H, W, 3] in RGB order."""
    if isinstance(message, CompressedImage):
        return np.ascontiguousarray(_decompress(message, cv2.IMREAD_COLOR)[:, :, ::-1])
    if message.encoding not in _COLOUR:
        raise ObservationError(unknown_name("image encoding", message.encoding, _COLOUR))
    channels, order = _COLOUR[message.encoding]
    pixels = _rows(message, np.dtype(np.uint8), channels)
    if message.encoding == "rgb8":
        return pixels.copy()
    return np.ascontiguousarray(pixels[:, :, list(order)])


def depth_from_message(message: Image | CompressedImage) -> npt.NDArray[np.float32]:
    """Return depth [m], float32 [H, W], NaN where invalid (REP-118: 16UC1 in mm, 0 invalid; or 32FC1)."""
    if isinstance(message, CompressedImage):
        return _metres(_decompress(message, cv2.IMREAD_UNCHANGED))
    if message.encoding not in ("16UC1", "32FC1"):
        raise ObservationError(unknown_name("depth encoding", message.encoding, ("16UC1", "32FC1")))
    pixels = _rows(message, _numeric_dtype(message), 1)[:, :, 0]
    return _metres(pixels) if message.encoding == "16UC1" else pixels.astype(np.float32)


def taxels_from_message(message: Image) -> npt.NDArray[np.float32]:
    """Return taxel forces [N], float32 [h, w, channels]: 32FC3 (shear x, y, normal) or 32FC1 (normal)."""
    if message.encoding not in ("32FC3", "32FC1"):
        raise ObservationError(unknown_name("taxel encoding", message.encoding, ("32FC1", "32FC3")))
    return _rows(message, _numeric_dtype(message), _NUMERIC[message.encoding][1]).astype(np.float32)


def wrench_from_message(message: WrenchStamped) -> npt.NDArray[np.float32]:
    """Return [fx, fy, fz, tx, ty, tz] [N, Nm], float32 [6], in the message's frame."""
    f, t = message.wrench.force, message.wrench.torque
    return np.array((f.x, f.y, f.z, t.x, t.y, t.z), dtype=np.float32)


class JointReader:
    """Reads joint positions by name; the order in the message is whatever the broadcaster chose."""

    def __init__(self, joints: Sequence[str], source: str = "/joint_states") -> None:
        self.joints = tuple(joints)
        self._source = source
        self._order: dict[tuple[str, ...], list[int]] = {}

    def __call__(self, message: JointState) -> npt.NDArray[np.float64]:
        """Return the positions of ``joints`` [rad, m], float64 [N]. ObservationError names a missing one."""
        return self._pick(message, message.position, "position")

    def velocities(self, message: JointState) -> npt.NDArray[np.float64]:
        """Return the velocities of ``joints`` [rad/s, m/s], float64 [N]; NaN where the message has none."""
        if not message.velocity:
            return np.full(len(self.joints), np.nan)
        return self._pick(message, message.velocity, "velocity")

    def _pick(self, message: JointState, values: Sequence[float], what: str) -> npt.NDArray[np.float64]:
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


def image_to_message(stamp: int, frame: str, pixels: npt.NDArray[Any], encoding: str) -> Image:
    """Return the Image of an array [H, W] or [H, W, C] whose dtype and channels are those of ``encoding``."""
    dtype, channels = _NUMERIC.get(encoding) or ("u1", _COLOUR[encoding][0])
    height, width = pixels.shape[:2]
    if pixels.size != height * width * channels:
        raise ObservationError(f"an image of shape {list(pixels.shape)} is not '{encoding}'")
    data = np.ascontiguousarray(pixels, dtype=np.dtype(dtype).newbyteorder("="))
    message = Image(height=height, width=width, encoding=encoding, is_bigendian=int(sys.byteorder == "big"))
    message.header.stamp = to_time(stamp)
    message.header.frame_id = frame
    message.step = width * channels * data.itemsize
    payload = array.array("B")  # the one type that rclpy takes without looking at every element
    payload.frombytes(data.tobytes())
    message.data = payload
    return message


def camera_info(
    frame: str, width: int, height: int, fx: float, fy: float, cx: float, cy: float
) -> CameraInfo:
    """Return the CameraInfo of an ideal pinhole camera; focal lengths and centre in pixels."""
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    message.header.frame_id = frame
    message.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def _rows(message: Image, dtype: np.dtype[Any], channels: int) -> npt.NDArray[Any]:
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


def _numeric_dtype(message: Image) -> np.dtype[Any]:
    return np.dtype(_NUMERIC[message.encoding][0]).newbyteorder(">" if message.is_bigendian else "<")


def _metres(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    if pixels.dtype.itemsize != 2 or pixels.ndim != 2:
        raise ObservationError(
            f"depth pixels are {pixels.dtype} {list(pixels.shape)}, want uint16 [H, W] in mm"
        )
    depth = pixels.astype(np.float32) / np.float32(1000.0)
    depth[pixels == 0] = np.nan
    return depth


def _decompress(message: CompressedImage, flags: int) -> npt.NDArray[Any]:
    pixels = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), flags)
    if pixels is None:
        raise ObservationError(
            f"a compressed image of format '{message.format}' and {len(message.data)} bytes is not readable"
        )
    return np.asarray(pixels)
