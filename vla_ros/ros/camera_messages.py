"""A camera's frames as messages: CameraInfo, CompressedImage, PointCloud2."""

from __future__ import annotations

import array
import sys

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2, PointField

from vla_ros.drivers import Intrinsics
from vla_ros.ros.convert import to_time


def lens_to_message(stamp: int, frame: str, width: int, height: int, lens: Intrinsics | None) -> CameraInfo:
    """Return the CameraInfo of a picture of width x height [px]; K is zero where the lens is unknown, as ROS has it."""
    message = CameraInfo(width=width, height=height)
    message.header.stamp = to_time(stamp)
    message.header.frame_id = frame
    if lens is not None:
        message.distortion_model, message.d = lens.model, lens.coefficients.tolist()
        message.k = lens.matrix.reshape(-1).tolist()
        message.r = np.eye(3).reshape(-1).tolist()
        message.p = np.hstack((lens.matrix, np.zeros((3, 1)))).reshape(-1).tolist()
    return message


def jpeg_to_message(stamp: int, frame: str, colour: npt.NDArray[np.uint8], quality: int) -> CompressedImage:
    """Return the CompressedImage of a picture [H, W, 3] RGB."""
    bgr = cv2.cvtColor(colour, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    message = CompressedImage(format="rgb8; jpeg compressed bgr8", data=_bytes(encoded))
    message.header.stamp = to_time(stamp)
    message.header.frame_id = frame
    return message


class PointCloud:
    """Makes the organised clouds of one lens; its lines of sight are computed once, and the memory is used again."""

    def __init__(self, lens: Intrinsics) -> None:
        self.lens = lens
        self._rays = lens.rays().astype(np.float32)
        self._points = np.zeros((lens.height, lens.width, 4), np.float32)

    def message(
        self, stamp: int, frame: str, depth: npt.NDArray[np.uint16], colour: npt.NDArray[np.uint8] | None
    ) -> PointCloud2:
        """Return x, y, z [m] of every pixel in the optical frame, NaN where depth is unknown, and rgb where given.

        depth: [H, W] [mm]. colour: [H, W, 3], of the same pixels.
        """
        height, width = depth.shape
        z = depth.astype(np.float32) / np.float32(1000.0)
        z[depth == 0] = np.nan
        names = ("x", "y", "z") if colour is None else ("x", "y", "z", "rgb")
        points = self._points
        np.multiply(self._rays, z[..., None], out=points[..., :2])
        points[..., 2] = z
        if colour is None:
            points = points[..., :3]
        else:  # 0x00rrggbb in the bits of a float, as PCL and RViz read it
            packed = points[..., 3:].view(np.uint32)[..., 0]
            packed[...] = colour[..., 0]
            for channel in (1, 2):
                packed <<= 8
                packed |= colour[..., channel]
        message = PointCloud2(height=height, width=width, is_dense=False, is_bigendian=sys.byteorder == "big")
        message.header.stamp = to_time(stamp)
        message.header.frame_id = frame
        message.fields = [
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate(names)
        ]
        message.point_step = 4 * len(names)
        message.row_step = message.point_step * width
        message.data = _bytes(points)
        return message


def _bytes(values: npt.NDArray[np.generic]) -> array.array[int]:
    payload = array.array("B")  # the one type that rclpy takes without looking at every element
    payload.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return payload
