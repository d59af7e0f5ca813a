"""Encoding a camera's frames while they arrive, and decoding them again.

The encoder runs in a thread of its own behind a bounded queue: when it falls behind, `put` waits. No frame is
ever dropped, and the number of frames written is checked against the rows before an episode is committed.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.data.stats import ImageStats, Stats
from vla_ros.errors import DatasetError, unknown_name

Frame = npt.NDArray[np.uint8]
PIXEL_FORMAT = "yuv420p"
_NAMES = {"libx264": "h264", "libsvtav1": "av1", "libx265": "hevc"}
_BT601, _LIMITED = (2, 5, 6), (0, 1)  # of FFmpeg's colour spaces and ranges; 2 and 0: not stated
_PRESETS = {"libx264": "veryfast", "libsvtav1": "12", "libx265": "ultrafast"}


@dataclass(frozen=True)
class VideoSettings:
    """How cameras are encoded. gop: distance of key frames; crf: quality, lower is better."""

    codec: str = "libx264"
    gop: int = 2
    crf: int = 20
    preset: str = ""  # of the codec; empty: a fast one
    queue: int = 256  # frames that may wait for one encoder

    def __post_init__(self) -> None:
        if self.codec not in _NAMES:
            raise DatasetError(unknown_name("video codec", self.codec, _NAMES))
        if self.codec not in av.codec.codecs_available:
            raise DatasetError(
                f"video codec '{self.codec}' is missing from this PyAV; valid: {', '.join(available())}"
            )

    @property
    def info(self) -> dict[str, Any]:
        """What ``meta/info.json`` says of the encoding."""
        return {
            "video.codec": _NAMES[self.codec],
            "video.pix_fmt": PIXEL_FORMAT,
            "video.g": self.gop,
            "video.crf": self.crf,
            "video.preset": self.preset or _PRESETS[self.codec],
            "video.fast_decode": 0,
            "video.video_backend": "pyav",
            "video.extra_options": {},
        }

    @property
    def options(self) -> dict[str, str]:
        """The encoder's options."""
        common = {"g": str(self.gop), "crf": str(self.crf), "preset": self.preset or _PRESETS[self.codec]}
        if self.codec == "libx264":
            return common | {"bf": "0", "x264-params": "scenecut=0"}
        return common


def available() -> list[str]:
    """Return the codecs of this build that a recording may use."""
    return sorted(name for name in _NAMES if name in av.codec.codecs_available)


@dataclass
class VideoEncoder:
    """One camera's mp4 of one episode. Frame k is shown at k / fps.

    put() may wait for the encoder; close() ends the file and returns how many frames it holds, abandon()
    gives it up. Both raise or swallow, respectively, what went wrong in the thread.
    """

    path: Path
    fps: int
    shape: tuple[int, ...]
    settings: VideoSettings = field(default_factory=VideoSettings)

    def __post_init__(self) -> None:
        self.image_stats = ImageStats()
        self._frames: queue.Queue[Frame | None] = queue.Queue(maxsize=self.settings.queue)
        self._error: Exception | None = None
        self._abandoned = False
        self.written = 0
        self._thread = threading.Thread(
            target=self._run, name=f"encode {self.path.parent.parent.name}", daemon=True
        )
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Frames that wait to be encoded."""
        return self._frames.qsize()

    def put(self, frame: Frame) -> None:
        """Queue a frame uint8 [H, W, 3] (RGB); wait while the queue is full.

        Raises DatasetError if encoding failed.
        """
        if frame.shape != self.shape or frame.dtype != np.uint8:
            raise DatasetError(
                f"{self.path.name}: frame {frame.dtype} {list(frame.shape)}, want uint8 {list(self.shape)}"
            )
        while True:
            self._check()
            try:
                self._frames.put(frame.copy() if frame.flags.writeable else frame, timeout=1.0)
                return
            except queue.Full:
                continue

    def close(self) -> int:
        """Encode what waits, end the file, return its number of frames.

        Raises DatasetError if encoding failed.
        """
        self._end()
        self._check()
        return self.written

    def abandon(self) -> None:
        """Stop without finishing the file."""
        self._abandoned = True
        self._end()

    def stats(self) -> Stats:
        """Return the statistics of the frames; only after close()."""
        return self.image_stats.stats()

    def _end(self) -> None:
        while self._thread.is_alive():
            try:
                self._frames.put(None, timeout=0.1)
                break
            except queue.Full:
                continue
        self._thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise DatasetError(f"encoding '{self.path}' failed: {self._error}") from self._error

    def _run(self) -> None:
        try:
            with av.open(str(self.path), "w") as container:
                stream = self._open_stream(container)
                while (frame := self._frames.get()) is not None and not self._abandoned:
                    self._encode(container, stream, frame)
                container.mux(stream.encode(None))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._error = error

    def _open_stream(self, container: Any) -> Any:
        stream = container.add_stream(self.settings.codec, rate=self.fps, options=self.settings.options)
        stream.height, stream.width = self.shape[:2]
        stream.pix_fmt = PIXEL_FORMAT
        stream.codec_context.time_base = Fraction(1, self.fps)
        stream.codec_context.thread_count = 1  # the cameras already run side by side
        return stream

    def _encode(self, container: Any, stream: Any, frame: Frame) -> None:
        planes = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2YUV_I420)
        picture = av.VideoFrame.from_ndarray(planes, format=PIXEL_FORMAT)
        picture.pts = self.written
        picture.time_base = Fraction(1, self.fps)
        container.mux(stream.encode(picture))
        self.image_stats.add(frame)
        self.written += 1


def read_frames(path: Path, start: float, count: int, fps: int) -> Frame:
    """Decode `count` frames from time `start` [s] of a file on, uint8 [count, H, W, 3] RGB.

    Raises DatasetError naming the file when it is missing, corrupt or too short.
    """
    frames: list[Frame] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            first = start - 0.5 / fps
            if start > 0.0 and stream.time_base is not None:
                container.seek(int(start / stream.time_base), stream=stream)
            for picture in container.decode(stream):
                if picture.time is not None and picture.time >= first:
                    frames.append(_rgb(picture))
                if len(frames) == count:
                    break
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise DatasetError(f"video '{path}' cannot be read: {error}") from None
    if len(frames) != count:
        raise DatasetError(
            f"video '{path}' has {len(frames)} frames from {start:.3f} s on, the dataset says {count}"
        )
    return np.stack(frames)


def _rgb(picture: Any) -> Frame:
    """Return a decoded picture as uint8 [H, W, 3].

    What recorders write goes through OpenCV, which is faster and rounds better than PyAV's conversion.
    """
    usual = picture.format.name == PIXEL_FORMAT and picture.width % 2 == 0 and picture.height % 2 == 0
    if usual and int(picture.colorspace) in _BT601 and int(picture.color_range) in _LIMITED:
        return np.asarray(cv2.cvtColor(picture.to_ndarray(), cv2.COLOR_YUV2RGB_I420), dtype=np.uint8)
    return np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
