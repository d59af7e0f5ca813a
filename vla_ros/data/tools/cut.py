"""Cutting an episode out of a longer video by moving its packets, never re-encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import av.error

from vla_ros.errors import DatasetError


def cut_video(source: Path, target: Path, start: float, frames: int, fps: int) -> None:
    """Write `frames` frames of `source` from time `start` [s] on as a video that begins at 0.

    Raises DatasetError naming the file if it cannot be read or written, has fewer frames there, or if the
    first of them is not a key frame, without which nothing can be shown.
    """
    first, last = start - 0.5 / fps, start + (frames - 0.5) / fps
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
            stream = reader.streams.video[0]
            moved = _move(reader, writer, stream, writer.add_stream_from_template(stream), first, last, start)
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise DatasetError(f"video '{source}' cannot be cut: {error}") from None
    if moved != frames:
        raise DatasetError(f"video '{source}' has {moved} frames from {start:.3f} s on, the dataset says {frames}")


def _move(reader: Any, writer: Any, stream: Any, out: Any, first: float, last: float, start: float) -> int:
    offset = round(start / stream.time_base)
    if first > 0.0:
        reader.seek(int(first / stream.time_base), stream=stream)
    moved = 0
    for packet in reader.demux(stream):
        if packet.pts is None:
            continue
        time = float(packet.pts * packet.time_base)
        if not first <= time < last:
            if moved and time >= last and packet.is_keyframe:
                break  # the next episode's
            continue
        if not moved and not packet.is_keyframe:
            raise DatasetError(f"video '{reader.name}' cannot be cut at {start:.3f} s: there is no key frame")
        packet.pts -= offset
        packet.dts = packet.dts - offset if packet.dts is not None else None
        packet.stream = out
        writer.mux(packet)
        moved += 1
    return moved
