"""A RealSense camera of librealsense's own making: frames go through its real queues and processing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyrealsense2 as rs

from vla_ros.drivers.intrinsics import Intrinsics

RATE = 30
LENS = Intrinsics(64, 48, 50.0, 50.0, 31.5, 23.5)


class SoftwareCamera:
    """A D400 in software: a depth sensor and a colour sensor of the same lens, `beside` it to its right [m]."""

    def __init__(
        self, serial: str = "012345", unit: float = 0.001, lens: Intrinsics = LENS, beside: float = 0.1
    ) -> None:
        self.lens = lens
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.serial_number, serial)
        self.device.register_info(rs.camera_info.name, "Software D435")
        self.depth_sensor, self.colour_sensor = self.device.add_sensor("Stereo"), self.device.add_sensor("RGB")
        self.depth = self.depth_sensor.add_video_stream(self._stream(rs.stream.depth, 0, 2, rs.format.z16))
        self.colour = self.colour_sensor.add_video_stream(self._stream(rs.stream.color, 1, 3, rs.format.rgb8))
        self.depth_sensor.add_read_only_option(rs.option.depth_units, unit)
        self.depth.register_extrinsics_to(self.colour, self._offset(beside))
        self.colour.register_extrinsics_to(self.depth, self._offset(-beside))

    def send_colour(self, number: int, seconds: float, pixels: Any) -> None:
        self._send(self.colour_sensor, self.colour, number, seconds, pixels.astype(np.uint8), 3)

    def send_depth(self, number: int, seconds: float, pixels: Any) -> None:
        self._send(self.depth_sensor, self.depth, number, seconds, pixels.astype(np.uint16), 2)

    def _send(self, sensor: Any, profile: Any, number: int, seconds: float, pixels: Any, size: int) -> None:
        frame = rs.software_video_frame()
        frame.pixels = pixels
        frame.stride, frame.bpp = self.lens.width * size, size
        frame.timestamp, frame.domain = seconds * 1e3, rs.timestamp_domain.hardware_clock
        frame.frame_number, frame.profile = number, profile.as_video_stream_profile()
        sensor.on_video_frame(frame)

    def _stream(self, kind: Any, index: int, size: int, form: Any) -> Any:
        lens, own = rs.intrinsics(), self.lens
        lens.width, lens.height, lens.fx, lens.fy = own.width, own.height, own.fx, own.fy
        lens.ppx, lens.ppy = own.cx, own.cy
        lens.model, lens.coeffs = rs.distortion.brown_conrady, [0.0] * 5
        stream = rs.video_stream()
        stream.type, stream.index, stream.uid = kind, 0, index + 1
        stream.width, stream.height, stream.fps, stream.bpp = own.width, own.height, RATE, size
        stream.fmt, stream.intrinsics = form, lens
        return stream

    @staticmethod
    def _offset(x: float) -> Any:
        offset = rs.extrinsics()
        offset.rotation, offset.translation = [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0], [x, 0.0, 0.0]
        return offset
