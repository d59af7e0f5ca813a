"""Several datasets of one contract, read as one: from several days, machines or tasks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.contract import Contract
from vla_ros.data.reader import Dataset, Episode
from vla_ros.errors import DatasetError


class JoinedDataset:
    """The episodes of `roots`, in that order.

    Raises DatasetError if their contracts differ or there are none.
    """

    def __init__(self, roots: Sequence[str | Path]) -> None:
        if not roots:
            raise DatasetError("no dataset was named")
        self._parts = [Dataset(root) for root in roots]
        for part in self._parts[1:]:
            differences = self._parts[0].contract.differences(part.contract)
            if differences:
                raise DatasetError(
                    f"'{part.root}' cannot be joined to '{self._parts[0].root}': {'; '.join(differences)}"
                )
        self._first = [0, *accumulate(part.num_episodes for part in self._parts)]
        self.fps = self._parts[0].fps

    @property
    def contract(self) -> Contract:
        """The contract of all parts."""
        return self._parts[0].contract

    @property
    def num_episodes(self) -> int:
        """Episodes of all parts."""
        return self._first[-1]

    @property
    def num_frames(self) -> int:
        """Rows of all parts."""
        return sum(part.num_frames for part in self._parts)

    @property
    def episodes(self) -> list[Episode]:
        """The episodes of all parts; each keeps the numbers it has in its own dataset."""
        return [episode for part in self._parts for episode in part.episodes]

    def column(self, key: str) -> npt.NDArray[Any]:
        """Return a column's rows of all parts, one after the other; see `Dataset.column`."""
        return np.concatenate([part.column(key) for part in self._parts])

    def frames(self, key: str, episode: int) -> npt.NDArray[Any]:
        """Return a camera's frames of the `episode`-th episode of all; see `Dataset.frames`."""
        if not 0 <= episode < self.num_episodes:
            raise DatasetError(f"the joined datasets have no episode {episode}; valid: 0..{self.num_episodes - 1}")
        part = bisect_right(self._first, episode) - 1
        return self._parts[part].frames(key, episode - self._first[part])
