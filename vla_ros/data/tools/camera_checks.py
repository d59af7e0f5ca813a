"""Checks of one camera's video of one episode: black, frozen, too short, unreadable.

A video is decoded once, in grey, into a `CameraTrace` of a few numbers a frame; the checks look at that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.data.tools.findings import NOTICE, SERIOUS, Finding, runs
from vla_ros.data.tools.row_checks import MOVING
from vla_ros.data.tools.rows import EpisodeRows
from vla_ros.errors import DatasetError

BLOCK = 8  # [pixels] pictures are compared by the mean of such blocks, which hides what the codec does
UNCHANGED = 1.5  # [grey levels of 255] no block differs by more: the same picture
FROZEN = 1.0  # [s] the shortest standstill that is told
DARK, FLAT = 24.0, 2.0  # [grey levels] mean of a black picture; deviation of one without any content
BLANK_SHARE = 0.1  # of an episode's frames, from which on blank pictures are serious


@dataclass(frozen=True)
class CameraTrace:
    """A video in numbers. mean, deviation: of each frame's grey [T]. change: largest block's change [T - 1]."""

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]
    change: npt.NDArray[np.float64]

    @property
    def frames(self) -> int:
        """Frames that were found."""
        return len(self.mean)


def trace_video(path: Path, start: float, end: float, fps: int) -> CameraTrace:
    """Decode the frames of a file between two times [s]. Raises DatasetError naming a file that cannot be read."""
    means, deviations, changes = [], [], []
    last: npt.NDArray[np.float32] | None = None
    try:
        for grey in _grey_pictures(path, start - 0.5 / fps, end - 0.5 / fps):
            size = (max(1, grey.shape[1] // BLOCK), max(1, grey.shape[0] // BLOCK))
            blocks = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
            means.append(float(blocks.mean()))
            deviations.append(float(grey.std()))
            if last is not None:
                changes.append(float(np.abs(blocks - last).max()))
            last = blocks
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise DatasetError(f"video '{path}' cannot be read: {error}") from None
    return CameraTrace(np.array(means), np.array(deviations), np.array(changes))


def count_frames(path: Path, start: float, end: float, fps: int) -> int:
    """Count the frames of a file between two times [s] without decoding them.

    Raises DatasetError naming a file that cannot be read.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            times = [float(p.pts * p.time_base) for p in container.demux(stream) if p.pts is not None]
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise DatasetError(f"video '{path}' cannot be read: {error}") from None
    return sum(start - 0.5 / fps <= time < end - 0.5 / fps for time in times)


def frame_count(episode: EpisodeRows, camera: str, frames: int) -> Iterator[Finding]:
    """Find a video whose frames are not one a row."""
    if frames != episode.length:
        text = f"the video has {frames} frames, the metadata says {episode.length}"
        at = episode.time(min(frames, episode.length))
        yield Finding(SERIOUS, "counts", episode.index, at, camera, text)


def blank(episode: EpisodeRows, camera: str, trace: CameraTrace) -> Iterator[Finding]:
    """Find black pictures, and such of one colour only."""
    empty = trace.deviation < FLAT
    dark = empty & (trace.mean < DARK)
    for flags, what in ((dark, "black"), (empty & ~dark, "of one colour")):
        found = runs(flags)
        if found:
            count = int(flags.sum())
            severity = SERIOUS if count >= BLANK_SHARE * trace.frames else NOTICE
            text = f"{count} of {trace.frames} pictures are {what}"
            yield Finding(severity, "blank", episode.index, episode.time(found[0][0]), camera, text)


def frozen(episode: EpisodeRows, camera: str, trace: CameraTrace) -> Iterator[Finding]:
    """Find a picture that stands still while the arm moves."""
    rows = min(len(trace.change), len(episode.speed))
    moving = episode.speed[:rows] > MOVING
    for first, end in runs(trace.change[:rows] < UNCHANGED):
        moved = float(moving[first:end].sum()) / episode.fps
        if moved >= FROZEN:
            text = f"the picture stands still for {(end - first) / episode.fps:.1f} s, the arm moves for {moved:.1f} s"
            yield Finding(SERIOUS, "frozen", episode.index, episode.time(first), camera, text)


def _grey_pictures(path: Path, first: float, last: float) -> Iterator[npt.NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        if first > 0.0 and stream.time_base is not None:
            container.seek(int(first / stream.time_base), stream=stream)
        for picture in container.decode(stream):
            if picture.time is None or picture.time < first:
                continue
            if picture.time >= last:
                break
            yield np.ascontiguousarray(picture.to_ndarray(format="gray"))
