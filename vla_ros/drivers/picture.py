"""Undistort, crop and resize a camera's pictures, and its intrinsics with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.drivers.base import Frame
from vla_ros.drivers.intrinsics import Intrinsics
from vla_ros.errors import DeviceError

Pixels = npt.NDArray[Any]


@dataclass
class Preparation:
    """What is done to every frame, in this order; a lens maps a point to the same thing in the picture before and after.

    undistort: to an ideal lens of the same focal lengths and centre. crop: x, y, width, height [px], in the picture
    as undistorted; width 0: the whole. resize: width, height [px]; 0: as it is. Depth that is pixel by pixel that of
    the colours is treated alike, without interpolation; depth with a lens of its own stays as it is.
    """

    undistort: bool = False
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    resize: tuple[int, int] = (0, 0)
    _maps: tuple[Intrinsics, tuple[Pixels, Pixels]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if min(*self.crop, *self.resize) < 0 or bool(self.crop[2]) != bool(self.crop[3]):
            raise DeviceError(f"crop {list(self.crop)} and resize {list(self.resize)}: want [x, y, width, height] >= 0")
        if bool(self.resize[0]) != bool(self.resize[1]):
            raise DeviceError(f"resize {list(self.resize)}: want [width, height], or [0, 0] to keep the size")

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame as prepared. Raises DeviceError where it does not fit the settings."""
        first = frame.colour if frame.colour is not None else frame.depth
        if first is None or not (self.undistort or self.crop[2] or self.resize[0]):
            return frame
        self._check(first, frame.intrinsics)
        bound = frame.depth_intrinsics is None and frame.depth is not None
        lens = frame.intrinsics
        return replace(
            frame,
            colour=None if frame.colour is None else self._prepare(frame.colour, lens, smooth=True),
            depth=self._prepare(frame.depth, lens, smooth=False) if bound and frame.depth is not None else frame.depth,
            intrinsics=self.lens(lens) if lens else None,
        )

    def lens(self, lens: Intrinsics) -> Intrinsics:
        """Return the intrinsics of prepared pictures."""
        lens = lens.undistorted() if self.undistort else lens
        lens = lens.cropped(*self.crop) if self.crop[2] else lens
        return lens.resized(*self.resize) if self.resize[0] else lens

    def _check(self, pixels: Pixels, lens: Intrinsics | None) -> None:
        height, width = pixels.shape[:2]
        x, y, w, h = self.crop
        if x + w > width or y + h > height:
            raise DeviceError(f"crop {list(self.crop)} is not within the picture of {width}x{height}")
        if self.undistort and lens is None:
            raise DeviceError("undistort needs the camera's intrinsics: give camera_info, a file of its calibration")

    def _prepare(self, pixels: Pixels, lens: Intrinsics | None, smooth: bool) -> Pixels:
        x, y, width, height = self.crop
        if self.undistort and lens is not None and not lens.ideal:
            how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
            pixels = cv2.remap(pixels, *self._undistortion(lens), how, borderMode=cv2.BORDER_CONSTANT)
        elif width:
            pixels = pixels[y : y + height, x : x + width]
        if self.resize[0] and self.resize != (pixels.shape[1], pixels.shape[0]):
            shrinks = self.resize[0] < pixels.shape[1] or self.resize[1] < pixels.shape[0]
            how = cv2.INTER_NEAREST_EXACT if not smooth else cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            pixels = cv2.resize(pixels, self.resize, interpolation=how)
        return pixels

    def _undistortion(self, lens: Intrinsics) -> tuple[Pixels, Pixels]:
        """Return where each pixel of the undistorted and cropped picture is in the picture."""
        if self._maps is None or self._maps[0] != lens:
            target = lens.undistorted()
            target = target.cropped(*self.crop) if self.crop[2] else target
            make = cv2.fisheye.initUndistortRectifyMap if lens.model == "equidistant" else cv2.initUndistortRectifyMap
            size = (target.width, target.height)
            maps = make(lens.matrix, lens.coefficients, np.eye(3), target.matrix, size, cv2.CV_16SC2)
            self._maps = (lens, (maps[0], maps[1]))
        return self._maps[1]
