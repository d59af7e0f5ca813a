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
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.errors import DatasetError
from vla_ros.train.source import TrainingData

Progress = Callable[[str, int, int], None]


def cached_frames(
    data: TrainingData,
    key: str,
    size: tuple[int, int],
    resize: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]],
    folder: Path,
    fingerprint: str,
    progress: Progress | None = None,
) -> npt.NDArray[np.uint8]:
    """Return all frames of stream `key`, uint8 [num_frames, h, w, 3], memory-mapped from `folder`.

    Decodes and resizes, in parallel over the episodes, unless the folder already holds this dataset's frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (data.num_frames, *size, 3)
    path, mark = folder / f"{key}.{size[0]}x{size[1]}.u8", folder / f"{key}.{size[0]}x{size[1]}.json"
    wanted = {"dataset": fingerprint, "shape": list(shape)}
    if not (path.is_file() and mark.is_file() and json.loads(mark.read_text()) == wanted):
        mark.unlink(missing_ok=True)
        _fill(data, key, resize, np.memmap(path, dtype=np.uint8, mode="w+", shape=shape), progress)
        mark.write_text(json.dumps(wanted))
    return np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)


def _fill(data: TrainingData, key: str, resize: Any, out: npt.NDArray[np.uint8], progress: Progress | None) -> None:
    lengths = [episode.length for episode in data.episodes]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(int)

    def decode(episode: int) -> None:
        frames = data.frames(key, episode)
        if len(frames) != lengths[episode]:
            raise DatasetError(f"'{key}' has {len(frames)} frames in episode {episode}, want {lengths[episode]}")
        for row, frame in enumerate(frames, start=starts[episode]):
            out[row] = resize(frame)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done, _ in enumerate(pool.map(decode, range(len(lengths))), start=1):
            if progress is not None:
                progress(f"decode {key}", done, len(lengths))
