"""Between a camera's frames and the pictures a video codec takes: colour, and depth as LeRobot quantises it.

Depth follows LeRobot 0.6 (after BEHAVIOR-1K): 12-bit codes of log(depth + 3.5 m) between 0.01 m and 10 m, kept
without loss as gray12le. Half a step is 0.6 mm at the near end and 2.2 mm at 10 m. Code 0 stands for "no
measurement", NaN in a frame; what is farther than 10 m, infinity included, becomes 10 m.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import av
import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.data.features import Feature
from vla_ros.data.stats import ChannelStats
from vla_ros.errors import DatasetError

Frame = npt.NDArray[Any]
RGB_FORMAT, DEPTH_FORMAT = "yuv420p", "gray12le"
CODES = 4096
DEPTH_INFO: dict[str, Any] = {
    "is_depth_map": True,
    "depth_unit": "m",
    "video.depth_min": 0.01,
    "video.depth_max": 10.0,
    "video.shift": 3.5,
    "video.use_log": True,
}
_BT601, _LIMITED = (2, 5, 6), (0, 1)  # of FFmpeg's colour spaces and ranges; 2 and 0: not stated


class Pictures(Protocol):
    """How one camera's frames become pictures and are read back."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the pictures' pixel format."""
        ...

    def encode(self, frame: Frame, stats: ChannelStats) -> Any:
        """Return the picture of a frame and count the frame into `stats`."""
        ...

    def decode(self, picture: Any) -> Frame:
        """Return the frame of a picture."""
        ...

    def stats(self) -> ChannelStats:
        """Return empty statistics for this camera's frames."""
        ...


def pictures_of(feature: Feature) -> Pictures:
    """Return how the frames of a video feature are stored, by what its info says."""
    if not feature.is_depth:
        return RgbPictures(feature.shape)
    return DepthPictures(feature.shape[:2], feature.info)


@dataclass
class RgbPictures:
    """Frames uint8 [H, W, 3] as yuv420p, through OpenCV, which is faster and rounds better than PyAV."""

    shape: tuple[int, ...]
    dtype: str = "uint8"
    pixel_format: str = RGB_FORMAT

    def encode(self, frame: Frame, stats: ChannelStats) -> Any:
        """Return the picture of a frame and count the frame into `stats`."""
        stats.add(frame)
        planes = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2YUV_I420)
        return av.VideoFrame.from_ndarray(planes, format=RGB_FORMAT)

    def decode(self, picture: Any) -> Frame:
        """Return a decoded picture as uint8 [H, W, 3]."""
        usual = picture.format.name == RGB_FORMAT and picture.width % 2 == 0 and picture.height % 2 == 0
        if usual and int(picture.colorspace) in _BT601 and int(picture.color_range) in _LIMITED:
            return np.asarray(cv2.cvtColor(picture.to_ndarray(), cv2.COLOR_YUV2RGB_I420), dtype=np.uint8)
        return np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)

    def stats(self) -> ChannelStats:
        """Return empty statistics, in [0, 1]."""
        return ChannelStats(3, np.arange(256) / 255.0)


class DepthPictures:
    """Frames float32 [H, W] in metres, NaN where nothing was measured, as 12-bit codes."""

    dtype = "float32"
    pixel_format = DEPTH_FORMAT

    def __init__(self, shape: tuple[int, ...], info: Mapping[str, Any]) -> None:
        self.shape = shape
        stated = DEPTH_INFO | dict(info)
        self._low, self._high = float(stated["video.depth_min"]), float(stated["video.depth_max"])
        self._shift, self._log = float(stated["video.shift"]), bool(stated["video.use_log"])
        ends = self._scaled(np.array([self._low, self._high]))
        if not np.isfinite(ends).all() or ends[0] >= ends[1]:
            raise DatasetError(f"depth between {self._low} m and {self._high} m cannot be quantised")
        self._first, self._step = float(ends[0]), float(ends[1] - ends[0]) / (CODES - 1)
        levels = self._first + self._step * np.arange(CODES)
        self._levels = np.asarray(np.exp(levels) - self._shift if self._log else levels, dtype=np.float64)  # [m]

    def codes(self, frame: Frame) -> npt.NDArray[np.uint16]:
        """Return the codes of a frame, uint16 [H, W]; 0 where it is NaN."""
        with np.errstate(invalid="ignore", divide="ignore"):
            codes = np.rint((self._scaled(frame) - np.float32(self._first)) / np.float32(self._step))
        whole: npt.NDArray[np.uint16] = np.nan_to_num(np.clip(codes, 0, CODES - 1), nan=0.0).astype(np.uint16)
        return whole

    def metres(self, codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """Return the depth of codes [m], NaN for code 0."""
        levels = self._levels.astype(np.float32)
        levels[0] = np.nan
        return levels[np.minimum(codes, CODES - 1)]

    def encode(self, frame: Frame, stats: ChannelStats) -> Any:
        """Return the picture of a frame and count what was measured in it into `stats`."""
        codes = self.codes(frame)
        stats.add(codes[:, :, None])
        picture = av.VideoFrame(codes.shape[1], codes.shape[0], DEPTH_FORMAT)
        _plane(picture)[:, : codes.shape[1]] = codes
        return picture

    def decode(self, picture: Any) -> Frame:
        """Return a decoded picture as float32 [H, W] in metres."""
        if picture.format.name != DEPTH_FORMAT:
            raise DatasetError(f"a depth picture is {picture.format.name}, want {DEPTH_FORMAT}")
        return self.metres(_plane(picture)[:, : picture.width])

    def stats(self) -> ChannelStats:
        """Return empty statistics, in metres."""
        return ChannelStats(1, self._levels, skip=0)

    def _scaled(self, depth: Frame) -> Frame:
        return np.log(depth + np.float32(self._shift)) if self._log else depth


def _plane(picture: Any) -> npt.NDArray[np.uint16]:
    plane = picture.planes[0]
    return np.frombuffer(plane, dtype="<u2").reshape(-1, plane.line_size // 2)[: picture.height]
