"""A dataset for torch: windows of past observations and chunks of actions, with padding masks.

Numbers are kept in memory, frames are decoded when they are asked for (see `random_access`), in as many worker
processes as the DataLoader has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vla_ros.data.features import INDEX_FEATURES
from vla_ros.data.random_access import FrameReader
from vla_ros.data.reader import Dataset
from vla_ros.errors import DatasetError, unknown_name

Item = dict[str, Any]


class WindowDataset(torch.utils.data.Dataset[Item]):
    """The rows of a dataset, each with what a policy sees and what it is to do.

    An item maps each observation to a tensor [*shape], or [T, *shape] with the oldest row first where `history`, of
    all keys or by key, is T > 1; ``action`` to [chunk, D]; ``task`` to the instruction; and the index columns to
    numbers. Images are uint8 [3, H, W], or float32 in [0, 1] with `floats`; depth is float32 [1, H, W] in metres.
    Beyond an episode's ends its first or last row is repeated, and ``<key>_is_pad`` [T] says where.

    keys: the observations wanted, all by default. transform: applied to every item. Raises DatasetError for an
    unknown key or a window without rows.
    """

    def __init__(
        self,
        dataset: Dataset | str | Path,
        chunk: int = 50,
        history: int | Mapping[str, int] = 1,
        keys: Sequence[str] | None = None,
        floats: bool = False,
        transform: Callable[[Item], Item] | None = None,
    ) -> None:
        self.data = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
        valid = [key for key in self.data.features if key.startswith("observation")]
        self.keys = list(keys) if keys is not None else valid
        asked = [*self.keys, *(history if isinstance(history, Mapping) else ())]
        unknown = [key for key in asked if key not in valid]
        if unknown:
            raise DatasetError(f"dataset '{self.data.root}': {unknown_name('observation', unknown[0], valid)}")
        self.windows = {key: _past(history, key) for key in self.keys} | {"action": range(chunk)}
        empty = [key for key, window in self.windows.items() if not len(window)]
        if empty:
            raise DatasetError(f"the window of '{empty[0]}' has no rows; want at least 1")
        self._floats, self._transform = floats, transform
        numbers = [key for key in (*self.windows, *INDEX_FEATURES) if key not in self.data.cameras]
        self._columns = {key: torch.from_numpy(np.ascontiguousarray(self.data.column(key))) for key in numbers}
        self._tasks = self.data.tasks
        self._begin = np.array([e.from_index for e in self.data.episodes], dtype=np.int64)
        self._end = np.array([e.to_index for e in self.data.episodes], dtype=np.int64)
        self._reader = FrameReader(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Item:
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        episode = int(np.searchsorted(self._begin, index, side="right")) - 1
        first, last = int(self._begin[episode]), int(self._end[episode]) - 1
        item: Item = {}
        for key, window in self.windows.items():
            rows = [min(max(index + step, first), last) for step in window]
            item[key] = self._value(key, episode, rows, first)
            if len(window) > 1:
                item[f"{key}_is_pad"] = torch.tensor([not first <= index + step <= last for step in window])
        for key in INDEX_FEATURES:
            item[key] = self._columns[key][index]
        item["task"] = self._tasks[int(item["task_index"])]
        return self._transform(item) if self._transform else item

    def _value(self, key: str, episode: int, rows: list[int], first: int) -> Tensor:
        if key in self._columns:
            values = self._columns[key]
            value = values[rows[0] : rows[-1] + 1] if rows[-1] - rows[0] == len(rows) - 1 else values[rows]
        else:
            value = self._images(self._reader.frames(key, episode, [row - first for row in rows]))
        return value if len(rows) > 1 or key == "action" else value[0]

    def _images(self, frames: npt.NDArray[Any]) -> Tensor:
        """Return frames [T, H, W, 3] or [T, H, W] as a tensor [T, C, H, W].

        Not by torch, whose threads get in each other's way on a busy machine.
        """
        if frames.ndim == 3:
            return torch.from_numpy(frames)[:, None]
        images = np.empty((len(frames), 3, *frames.shape[1:3]), dtype=np.uint8)
        for frame, planes in zip(frames, images, strict=True):
            for channel in range(3):
                cv2.extractChannel(frame, channel, planes[channel])
        return torch.from_numpy(np.divide(images, np.float32(255.0), dtype=np.float32) if self._floats else images)


class EpisodeSampler(torch.utils.data.Sampler[int]):
    """Rows of chosen episodes, in a new random order every epoch, or in theirs.

    episodes: which, all by default. skip_first, skip_last: rows left out at their ends. seed: two samplers with the
    same seed give the same orders; `set_epoch` goes on where a training stopped.
    """

    def __init__(
        self,
        dataset: Dataset,
        episodes: Sequence[int] | None = None,
        skip_first: int = 0,
        skip_last: int = 0,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        chosen = range(dataset.num_episodes) if episodes is None else episodes
        wrong = [e for e in chosen if not 0 <= e < dataset.num_episodes]
        if wrong:
            raise DatasetError(
                f"dataset '{dataset.root}' has no episode {wrong[0]}; valid: 0..{dataset.num_episodes - 1}"
            )
        spans = [dataset.episodes[e] for e in chosen]
        self.rows = [row for e in spans for row in range(e.from_index + skip_first, e.to_index - skip_last)]
        self._shuffle, self._seed, self._epoch = shuffle, seed, 0
        if not self.rows:
            raise DatasetError(f"no rows are left of {len(spans)} episodes of '{dataset.root}'")

    def __len__(self) -> int:
        return len(self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next epoch; each epoch that is begun moves on to the next by itself."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.arange(len(self.rows))
        if self._shuffle:
            np.random.default_rng([self._seed, self._epoch]).shuffle(order)
        self._epoch += 1
        return (self.rows[i] for i in order)


def _past(history: int | Mapping[str, int], key: str) -> range:
    length = history.get(key, 1) if isinstance(history, Mapping) else history
    return range(1 - length, 1)
