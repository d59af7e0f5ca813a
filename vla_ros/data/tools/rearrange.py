"""Merging, splitting and removing: which episodes go where. `compose` does the work."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from vla_ros.data import layout
from vla_ros.data.reader import Dataset, Episode
from vla_ros.data.tools.compose import Part, build, compose, staging
from vla_ros.errors import DatasetError

RENAME_EXCHANGE = 2  # of renameat2(2)
AT_FDCWD = -100


def merge(roots: Sequence[str | Path], output: str | Path) -> list[str]:
    """Write all episodes of `roots`, in that order, as the new dataset `output`; see `compose`."""
    datasets = [Dataset(root) for root in roots]
    return compose([Part(dataset, dataset.episodes) for dataset in datasets], Path(output))


def split(root: str | Path, parts: Mapping[str, Sequence[int]], output: str | Path) -> dict[str, list[str]]:
    """Write the datasets ``output/<name>`` with the episodes that `parts` names; return the notes of each.

    Raises DatasetError before anything is written if an episode is not there or a name is taken.
    """
    dataset = Dataset(root)
    chosen = {name: [_episode(dataset, index) for index in indices] for name, indices in parts.items()}
    for name in chosen:
        if (Path(output) / name).exists():
            raise DatasetError(f"'{Path(output) / name}' exists already; give a new folder")
    return {name: compose([Part(dataset, episodes)], Path(output) / name) for name, episodes in chosen.items()}


def fractions(episodes: int, shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Return which of `episodes` episodes go to each name: drawn by `seed`, in their order.

    The shares are of 1 and add up to at most 1; the last name takes the rest if they add up to 1.
    """
    total = sum(shares.values())
    if any(share <= 0 for share in shares.values()) or total > 1 + 1e-9:
        raise DatasetError(f"fractions {', '.join(map(str, shares.values()))}: want positive ones, at most 1 together")
    order = list(range(episodes))
    random.Random(seed).shuffle(order)
    parts, at, upto = {}, 0, 0.0
    for name, share in shares.items():
        upto += share
        end = episodes if upto > 1 - 1e-9 else round(upto * episodes)
        parts[name] = sorted(order[at:end])
        at = end
    return parts


def remove(root: str | Path, episodes: Sequence[int], output: str | Path | None = None) -> list[str]:
    """Write the dataset without `episodes` to `output`, or put it in its own place by one atomic exchange.

    Raises DatasetError if an episode is not there, no episode would be left, or the dataset is being written.
    """
    dataset = Dataset(root)
    gone = {_episode(dataset, index).index for index in episodes}
    kept = Part(dataset, [episode for episode in dataset.episodes if episode.index not in gone])
    if output is not None:
        return compose([kept], Path(output))
    lock = layout.FolderLock(dataset.root)
    try:
        _refuse_unfinished(dataset.root)
        with staging(dataset.root.absolute()) as folder:
            notes = build([kept], folder)
            _exchange(folder, dataset.root.absolute())
    finally:
        lock.release()
    return notes


def _episode(dataset: Dataset, index: int) -> Episode:
    if not 0 <= index < dataset.num_episodes:
        raise DatasetError(f"dataset '{dataset.root}' has no episode {index}; valid: 0..{dataset.num_episodes - 1}")
    return dataset.episodes[index]


def _refuse_unfinished(root: Path) -> None:
    layout.clean(root)
    waiting = sorted(path.name for path in (root / layout.HIDDEN).iterdir() if path.name != "lock")
    if waiting:
        raise DatasetError(
            f"dataset '{root}' holds '{layout.HIDDEN}/{waiting[0]}' of a recording that was cut short: recover it, "
            "or give an output folder"
        )


def _exchange(a: Path, b: Path) -> None:
    """Let two folders change places at one instant."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise DatasetError(f"this system cannot exchange folders atomically: give an output folder for '{b}'")
    if libc.renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise DatasetError(f"'{b}' cannot be exchanged atomically ({reason}); give an output folder")
