"""Encoding a camera's frames while they arrive, and decoding them again.

The encoder runs in a thread of its own behind a queue that spills to disk: when it falls behind, nobody waits and
no frame is dropped. The file is fragmented while it grows, so that what is in it can be read after a kill, and
becomes an ordinary mp4 when it is closed. The number of frames written is checked against the rows before an
episode is committed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from vla_ros.data.pictures import DEPTH_FORMAT, DEPTH_INFO, RGB_FORMAT, Frame, Pictures
from vla_ros.data.spill import FrameQueue
from vla_ros.data.stats import ChannelStats, Stats
from vla_ros.errors import DatasetError, unknown_name

_NAMES = {"libx264": "h264", "libsvtav1": "av1", "libx265": "hevc"}
_PRESETS = {"libx264": "veryfast", "libsvtav1": "12", "libx265": "ultrafast"}
_PROMPT = {  # the codec's own options that make it give a picture out soon after it was put in
    "libx264": {"bf": "0", "x264-params": "scenecut=0"},
    "libsvtav1": {"svtav1-params": "pred-struct=1:lookahead=0"},
    "libx265": {"x265-params": "log-level=error:bframes=0:rc-lookahead=0:scenecut=0"},
}
_DEPTH_CODEC = "libx265"
_FRAGMENT = 0.25  # [s] of video that a kill costs
_DELAY = 6  # frames that a codec holds back at most, as it is set up here
_GROWING = {
    "movflags": "hybrid_fragmented+empty_moov",
    "frag_duration": str(round(_FRAGMENT * 1e6)),
    "flush_packets": "1",
}


@dataclass(frozen=True)
class VideoSettings:
    """How cameras are encoded. gop: distance of key frames; crf: quality of colour, lower is better.

    queue: frames that may wait for one encoder in memory before they wait on disk; 0: a quarter of a second.
    """

    codec: str = "libx264"
    gop: int = 2
    crf: int = 20
    preset: str = ""  # of the codec; empty: a fast one
    queue: int = 0

    def __post_init__(self) -> None:
        if self.codec not in _NAMES:
            raise DatasetError(unknown_name("video codec", self.codec, _NAMES))
        _require(self.codec)

    @property
    def info(self) -> dict[str, Any]:
        """What ``meta/info.json`` says of the encoding of colour."""
        return self._info(self.codec, RGB_FORMAT, {}) | {"video.preset": self.preset or _PRESETS[self.codec]}

    @property
    def depth_info(self) -> dict[str, Any]:
        """What ``meta/info.json`` says of the encoding of depth: lossless codes, see `pictures`."""
        info = self._info(_DEPTH_CODEC, DEPTH_FORMAT, {"x265-params": "lossless=1"})
        return info | {"video.preset": _PRESETS[_DEPTH_CODEC]} | DEPTH_INFO

    def encoder(self, pixel_format: str) -> tuple[str, dict[str, str]]:
        """Return the codec for pictures of this format and its options. Raises DatasetError if it is missing."""
        if pixel_format == DEPTH_FORMAT:
            _require(_DEPTH_CODEC)
            params = "lossless=1:" + _PROMPT[_DEPTH_CODEC]["x265-params"]
            return _DEPTH_CODEC, {"g": str(self.gop), "preset": _PRESETS[_DEPTH_CODEC], "x265-params": params}
        preset = self.preset or _PRESETS[self.codec]
        options = {"g": str(self.gop), "crf": str(self.crf), "preset": preset}
        return self.codec, options | _PROMPT[self.codec]

    def in_memory(self, fps: int) -> int:
        """Return how many frames may wait for one encoder in memory."""
        return self.queue or max(2, fps // 4)

    def _info(self, codec: str, pixel_format: str, extra: dict[str, str]) -> dict[str, Any]:
        return {
            "video.codec": _NAMES[codec],
            "video.pix_fmt": pixel_format,
            "video.g": self.gop,
            "video.crf": self.crf,
            "video.fast_decode": 0,
            "video.video_backend": "pyav",
            "video.extra_options": extra,
        }


def available() -> list[str]:
    """Return the codecs of this build that a recording may use."""
    return sorted(name for name in _NAMES if name in av.codec.codecs_available)


def _require(codec: str) -> None:
    if codec not in av.codec.codecs_available:
        raise DatasetError(
            f"video codec '{codec}' is missing from this PyAV; valid: {', '.join(available()) or 'none'}"
        )


class VideoEncoder:
    """One camera's mp4 of one episode, at `path`. Frame k is shown at k / fps; `spill`: where frames may wait."""

    def __init__(self, path: Path, spill: Path, fps: int, pictures: Pictures, settings: VideoSettings) -> None:
        self.path, self.fps = path, fps
        self.written = 0  # frames given to the codec
        self._pictures, self._codec = pictures, settings.encoder(pictures.pixel_format)
        owed = round(_FRAGMENT * fps) + _DELAY
        self._frames = FrameQueue(spill, pictures.shape, pictures.dtype, settings.in_memory(fps), owed)
        self._stats: ChannelStats = pictures.stats()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"encode {path.name}", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Frames that wait to be encoded."""
        return len(self._frames)

    @property
    def spilled(self) -> int:
        """Frames that have waited on disk."""
        return self._frames.spilled

    def reserve(self) -> None:
        """Make sure that the next frame can be taken. Raises DatasetError if encoding failed or the disk is full."""
        self._check()
        try:
            self._frames.reserve()
        except OSError as error:
            raise DatasetError(f"no place for frames that wait to be encoded to '{self.path}': {error}") from None

    def put(self, frame: Frame) -> None:
        """Take the next frame, of the shape and dtype of the camera; copied if it is writeable. Never waits."""
        self._frames.put(frame.copy() if frame.flags.writeable else frame)

    def close(self) -> int:
        """Encode what waits, end the file, return its number of frames.

        Raises DatasetError if encoding failed.
        """
        self._frames.close()
        self._thread.join()
        self._frames.release()
        self._check()
        return self.written

    def abandon(self) -> None:
        """Stop without finishing the file; what waits on disk is left there."""
        self._frames.abandon()
        self._thread.join()
        self._frames.release(keep=True)

    def stats(self) -> Stats:
        """Return the statistics of the frames; only after close()."""
        return self._stats.stats()

    def _check(self) -> None:
        if self._error is not None:
            raise DatasetError(f"encoding '{self.path}' failed: {self._error}") from self._error

    def _run(self) -> None:
        try:
            with av.open(str(self.path), "w", options=_GROWING) as container:
                stream = self._open_stream(container)
                while (frame := self._frames.get()) is not None:
                    self._encode(container, stream, frame)
                container.mux(stream.encode(None))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._error = error

    def _open_stream(self, container: Any) -> Any:
        codec, options = self._codec
        stream = container.add_stream(codec, rate=self.fps, options=options)
        stream.height, stream.width = self._pictures.shape[:2]
        stream.pix_fmt = self._pictures.pixel_format
        stream.codec_context.time_base = Fraction(1, self.fps)
        stream.codec_context.thread_count = 1  # the cameras already run side by side
        return stream

    def _encode(self, container: Any, stream: Any, frame: Frame) -> None:
        picture = self._pictures.encode(frame, self._stats)
        picture.pts = self.written
        picture.time_base = Fraction(1, self.fps)
        container.mux(stream.encode(picture))
        self.written += 1


def read_frames(path: Path, start: float, count: int, fps: int, pictures: Pictures) -> Frame:
    """Decode `count` frames from time `start` [s] of a file on, [count, *pictures.shape].

    Raises DatasetError naming the file when it is missing, corrupt or too short.
    """
    frames: list[Frame] = []
    try:
        for frame in decoded(path, start, fps, pictures):
            frames.append(frame)
            if len(frames) == count:
                break
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise DatasetError(f"video '{path}' cannot be read: {error}") from None
    if len(frames) != count:
        raise DatasetError(f"video '{path}' has {len(frames)} frames from {start:.3f} s on, the dataset says {count}")
    return np.stack(frames)


def decoded(path: Path, start: float, fps: int, pictures: Pictures) -> Iterator[Frame]:
    """Yield the frames of a file from time `start` [s] on; errors are FFmpeg's."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        first = start - 0.5 / fps
        if start > 0.0 and stream.time_base is not None:
            container.seek(int(start / stream.time_base), stream=stream)
        for picture in container.decode(stream):
            if picture.time is not None and picture.time >= first:
                yield pictures.decode(picture)
