"""Which episode of a dataset came from which seed, and which seeds failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vla_ros.data import layout
from vla_ros.errors import DatasetError

SEEDS = "meta/seeds.json"
FEW = 5  # failures that say nothing yet


class Ledger:
    """``meta/seeds.json``: which episode came from which seed, and which seeds failed, by task."""

    def __init__(self, root: Path, task: str) -> None:
        self._path, self._task = root / SEEDS, task
        self._all: dict[str, Any] = layout.read_json(self._path) if self._path.exists() else {}
        self._mine: dict[str, list[Any]] = self._all.setdefault(task, {"episodes": [], "failed": []})

    @property
    def saved(self) -> int:
        """Episodes of this task."""
        return len(self._mine["episodes"])

    @property
    def seeds(self) -> list[int]:
        """All seeds tried."""
        return [seed for _, seed in self._mine["episodes"]] + list(self._mine["failed"])

    def add(self, episode: int, seed: int) -> None:
        """Note an episode's seed."""
        self._mine["episodes"].append([episode, seed])
        layout.write_json(self._path, self._all)

    def fail(self, seed: int) -> None:
        """Note a seed whose attempt was discarded."""
        self._mine["failed"].append(seed)
        layout.write_json(self._path, self._all)


def next_seed(ledger: Ledger, first: int, resume: bool) -> int:
    """Return the seed to try next: `first`, or with `resume` the one after all that were tried."""
    return max([first, *(tried + 1 for tried in ledger.seeds)]) if resume else first


def too_many_failed(task: str, saved: int, failed: int) -> None:
    """Raise DatasetError where fewer than half of the attempts at `task` have succeeded."""
    if failed > max(FEW, saved):
        raise DatasetError(f"only {saved} of {saved + failed} attempts at '{task}' succeeded")
