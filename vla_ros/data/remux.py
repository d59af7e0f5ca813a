"""Videos put together and cut without encoding anything again: packets are copied, times stay exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from vla_ros.data.pictures import Pictures
from vla_ros.data.stats import Stats
from vla_ros.errors import DatasetError

_UNREADABLE = (av.error.FFmpegError, OSError, IndexError, ValueError)


@dataclass(frozen=True)
class VideoKind:
    """What two files must share for their packets to follow each other in one file."""

    codec: str
    size: tuple[int, int]
    pixel_format: str
    time_base: Fraction
    extradata: bytes


def video_kind(path: Path) -> VideoKind:
    """Return the kind of a video. Raises DatasetError naming the file if it cannot be read."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            size, extradata = (context.width, context.height), bytes(context.extradata or b"")
            return VideoKind(context.name, size, str(context.pix_fmt), stream.time_base or Fraction(1), extradata)
    except _UNREADABLE as error:
        raise DatasetError(f"video '{path}' cannot be read: {error}") from None


def frame_numbers(path: Path, fps: int) -> list[int]:
    """Return the number of each frame of a file, in the order of its packets, without decoding any.

    Raises DatasetError naming the file if it cannot be read.
    """
    try:
        with av.open(str(path)) as container:
            return [_number(packet, fps) for packet in container.demux(video=0) if packet.size]
    except _UNREADABLE as error:
        raise DatasetError(f"video '{path}' cannot be read: {error}") from None


def require_frames(path: Path, fps: int, count: int) -> None:
    """Raise DatasetError unless a file holds the frames 0 to count - 1, each once, at their times."""
    numbers = sorted(frame_numbers(path, fps))
    if numbers != list(range(count)):
        raise DatasetError(f"video '{path}' has {len(numbers)} frames, want {count}, one at each 1/{fps} s")


def readable_frames(path: Path, limit: int, pictures: Pictures) -> tuple[int, Stats | None]:
    """Return how many frames from the first on can be decoded, at most `limit`, and their statistics."""
    stats, count = pictures.stats(), 0
    try:
        with av.open(str(path)) as container:
            for picture in container.decode(video=0):
                if count == limit:
                    break
                pictures.encode(pictures.decode(picture), stats)
                count += 1
    except (*_UNREADABLE, DatasetError):
        pass  # a file that was cut off ends in the middle of a packet
    return count, stats.stats() if count else None


def concatenate(parts: Sequence[tuple[Path, int]], out: Path, fps: int) -> None:
    """Write the first frames of each part, (file, how many), one after the other into the new file `out`.

    The parts must be of one kind. Frame k of the result is shown at k / fps. Raises DatasetError.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(out), "w") as target:
            stream, first = None, 0
            for path, count in parts:
                with av.open(str(path)) as source:
                    template = source.streams.video[0]
                    stream = stream or _like(target, template)
                    _copy(source, target, stream, first, count, fps)
                first += count
    except _UNREADABLE as error:
        raise DatasetError(f"'{out}' cannot be put together from {len(parts)} videos: {error}") from None
    require_frames(out, fps, sum(count for _, count in parts))


def _like(target: Any, template: Any) -> Any:
    stream = target.add_stream_from_template(template)
    stream.time_base = template.time_base
    return stream


def _copy(source: Any, target: Any, stream: Any, first: int, count: int, fps: int) -> None:
    for packet in source.demux(video=0):
        if not packet.size or _number(packet, fps) >= count:
            continue
        frame = round(1 / (packet.time_base * fps))  # ticks
        packet.stream = stream
        packet.pts += first * frame
        packet.dts += first * frame
        packet.duration = frame
        target.mux(packet)


def _number(packet: Any, fps: int) -> int:
    number: int = round(packet.pts * packet.time_base * fps)
    return number
