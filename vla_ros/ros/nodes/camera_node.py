"""camera_node: one camera, as the topics of realsense2_camera.

Publishes ``~/color/image_raw`` with ``~/color/camera_info``, and of a camera with depth ``~/depth/image_rect_raw``
(16UC1, mm) with ``~/depth/camera_info``. Only while someone subscribes: ``~/color/image_raw/compressed`` (JPEG) and
``~/depth/color/points``. With ``encoder``, a policy's checkpoint, ``~/color/image_raw/tokens`` (`vla_ros.ros.edge`).
Stamps are of capture. Depth is in the colour camera's frame where the driver aligns it.
"""

from __future__ import annotations

import sys
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from vla_ros.drivers import Frame, Intrinsics, Reading
from vla_ros.drivers.intrinsics import load_intrinsics
from vla_ros.drivers.picture import Preparation
from vla_ros.errors import DeviceError
from vla_ros.ros import qos
from vla_ros.ros.camera_messages import PointCloud, jpeg_to_message, lens_to_message
from vla_ros.ros.convert import image_to_message
from vla_ros.ros.edge import token_output
from vla_ros.ros.lifecycle import run_node
from vla_ros.ros.params import declare
from vla_ros.ros.sensor_node import SensorNode

COLOUR = "~/color/image_raw"
DEPTH = 5  # messages that wait for a slow subscriber


class CameraNode(SensorNode):
    """Publishes what a camera's driver reads."""

    kind = "camera"

    def __init__(self) -> None:
        super().__init__("camera_node")

    def create_outputs(self) -> None:
        """Declare how pictures are prepared, and create the publishers."""
        file = declare(self, "camera_info", "", "calibration file; '': what the device knows", read_only=True)
        undistort = declare(self, "undistort", False, "publish as an ideal lens sees", read_only=True)
        crop = declare(self, "crop", [0, 0, 0, 0], "x, y, width, height [px]; zeros: the whole picture", read_only=True)
        resize = declare(self, "resize", [0, 0], "width, height [px]; zeros: as it is", read_only=True)
        self._quality = declare(self, "jpeg_quality", 90, "of compressed pictures", (1, 100), read_only=True)
        if len(crop) != 4 or len(resize) != 2:
            raise DeviceError(f"crop {list(crop)}, resize {list(resize)}: want [x, y, width, height], [width, height]")
        self._known: Intrinsics | None = load_intrinsics(file) if file else None
        self._prepare = Preparation(undistort, (crop[0], crop[1], crop[2], crop[3]), (resize[0], resize[1]))
        self._optical = f"{self.frame}_optical"
        self._problem = ""
        self._size = ""
        self._lens: Intrinsics | None = None
        self._cloud: PointCloud | None = None
        profile = qos.reliable(DEPTH)
        self._colour = self.create_publisher(Image, COLOUR, profile)
        self._jpeg = self.create_publisher(CompressedImage, "~/color/image_raw/compressed", profile)
        self._colour_info = self.create_publisher(CameraInfo, "~/color/camera_info", profile)
        self._tokens = token_output(self, COLOUR, self._optical, "image")
        self._depth = self.create_publisher(Image, "~/depth/image_rect_raw", profile)
        self._depth_info = self.create_publisher(CameraInfo, "~/depth/camera_info", profile)
        self._points = self.create_publisher(PointCloud2, "~/depth/color/points", profile)

    def publish(self, reading: Reading[Any], stamp: int) -> None:
        """Publish a frame taken at `stamp` [ns]."""
        try:
            frame = self._prepare(self._with_lens(reading.value))
        except DeviceError as error:
            self._problem = str(error)
            return
        self._problem = ""
        if frame.colour is not None:
            self._publish_colour(frame, stamp)
        if frame.depth is not None:
            self._publish_depth(frame, stamp)

    def warnings(self) -> list[str]:
        """Return why frames cannot be prepared as wished."""
        tokens = self._tokens.problem if self._tokens else ""
        return [problem for problem in (self._problem, tokens) if problem]

    def values(self) -> dict[str, str]:
        """Return the pictures' size and whether the lens is known."""
        lens = "known" if self._lens else "unknown: vla-ros calibrate camera"
        return {"size": self._size, "intrinsics": lens, **(self._tokens.values() if self._tokens else {})}

    def _with_lens(self, frame: Frame) -> Frame:
        if self._known is None:
            return frame
        pixels = frame.colour if frame.colour is not None else frame.depth
        if pixels is not None and (self._known.height, self._known.width) != pixels.shape[:2]:
            found, want = f"{pixels.shape[1]}x{pixels.shape[0]}", f"{self._known.width}x{self._known.height}"
            raise DeviceError(f"camera_info is of {want}, but the camera gives {found}: calibrate at this size")
        return Frame(frame.colour, frame.depth, self._known, frame.depth_intrinsics)

    def _publish_colour(self, frame: Frame, stamp: int) -> None:
        colour, self._lens = frame.colour, frame.intrinsics
        assert colour is not None
        height, width = colour.shape[:2]
        self._size = f"{width}x{height}"
        if self._colour.get_subscription_count():
            self._colour.publish(image_to_message(stamp, self._optical, colour, "rgb8"))
        if self._colour_info.get_subscription_count():
            self._colour_info.publish(lens_to_message(stamp, self._optical, width, height, frame.intrinsics))
        if self._tokens is not None:
            self._tokens.publish(colour, stamp)
        if self._jpeg.get_subscription_count():
            self._jpeg.publish(jpeg_to_message(stamp, self._optical, colour, self._quality))

    def _publish_depth(self, frame: Frame, stamp: int) -> None:
        depth = frame.depth
        assert depth is not None
        aligned = frame.depth_intrinsics is None
        lens = frame.depth_intrinsics or frame.intrinsics
        optical = self._optical if aligned else f"{self.frame}_depth_optical"
        height, width = depth.shape
        if self._depth.get_subscription_count():
            self._depth.publish(image_to_message(stamp, optical, depth, "16UC1"))
        if self._depth_info.get_subscription_count():
            self._depth_info.publish(lens_to_message(stamp, optical, width, height, lens))
        if self._points.get_subscription_count() and lens is not None:
            if self._cloud is None or self._cloud.lens != lens:
                self._cloud = PointCloud(lens)
            self._points.publish(self._cloud.message(stamp, optical, depth, frame.colour if aligned else None))


def main() -> None:
    """Run the node until it is told to stop."""
    sys.exit(run_node(CameraNode))


if __name__ == "__main__":
    main()
