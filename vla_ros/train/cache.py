"""The frame cache: every video decoded once, at the policy's resolution, as raw bytes on disk.

Random access into a video costs a seek and a decode; into the cache it costs a copy. A training set that
fits the device moves there whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vla_ros.errors import DatasetError
from vla_ros.train.source import TrainingData

Progress = Callable[[str, int, int], None]


class Shrink(Protocol):
    """An array step of pictures: to uint8 [h, w, 3], or of depth to float32 [h, w], [h, w] being its `size`."""

    size: tuple[int, int]

    def __call__(self, picture: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """Return the small picture."""
        ...


def cached_frames(
    data: TrainingData,
    key: str,
    shrink: Shrink,
    folder: Path,
    fingerprint: str,
    progress: Progress | None = None,
) -> npt.NDArray[Any]:
    """Return all frames of stream `key` after the step `shrink`, memory-mapped from `folder`: uint8 [num_frames, h, w, 3],
    or float32 [num_frames, h, w] of a depth stream.

    Decodes and resizes, in parallel over the episodes, unless the folder already holds this dataset's frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deep = data.contract.observation[key].kind == "depth"
    dtype, suffix = (np.float32, "f32") if deep else (np.uint8, "u8")
    height, width = shrink.size
    shape = (data.num_frames, height, width) if deep else (data.num_frames, height, width, 3)
    path, mark = folder / f"{key}.{height}x{width}.{suffix}", folder / f"{key}.{height}x{width}.json"
    wanted = {"dataset": fingerprint, "shape": list(shape)}
    if not (path.is_file() and mark.is_file() and json.loads(mark.read_text()) == wanted):
        mark.unlink(missing_ok=True)
        _fill(data, key, shrink, np.memmap(path, dtype=dtype, mode="w+", shape=shape), progress)
        mark.write_text(json.dumps(wanted))
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)


def _fill(data: TrainingData, key: str, shrink: Shrink, out: npt.NDArray[Any], progress: Progress | None) -> None:
    lengths = [episode.length for episode in data.episodes]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(int)

    def decode(episode: int) -> None:
        frames = data.frames(key, episode)
        if len(frames) != lengths[episode]:
            raise DatasetError(f"'{key}' has {len(frames)} frames in episode {episode}, want {lengths[episode]}")
        for row, frame in enumerate(frames, start=starts[episode]):
            out[row] = shrink(frame)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done, _ in enumerate(pool.map(decode, range(len(lengths))), start=1):
            if progress is not None:
                progress(f"decode {key}", done, len(lengths))
