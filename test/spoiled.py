"""Demonstrations of the small robot that look like real ones, for the tests of the dataset tools to spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from recordings import FRONT, TAXELS, WRENCH, small_contract

from vla_ros.data import DatasetWriter
from vla_ros.data.features import AGE, STAMP
from vla_ros.data.tools.rows import EpisodeRows

FPS = 30
SYNC = (FRONT, "observation.state", WRENCH, TAXELS)
Spoil = Callable[[int, dict[str, Any]], None]


def angle(k: float, seed: float = 0.0) -> npt.NDArray[np.float64]:
    """Return both joints' positions at row k [rad]: smooth, at most 0.6 rad/s."""
    t = k / FPS
    return np.array([0.3 * np.sin(1.5 * t + seed), 0.2 * np.cos(2.0 * t + seed)])


def picture(k: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return a frame [48, 64, 3]: a bright square that moves over a gradient."""
    image = np.empty((48, 64, 3), dtype=np.uint8)
    image[:] = np.linspace(40, 120, 64).astype(np.uint8)[None, :, None]
    x = (2 * k + 7 * seed) % 48
    image[16:32, x : x + 16] = (200, 60, 60)
    return image


def good_row(k: int, seed: int = 0) -> dict[str, Any]:
    """Return row k of a demonstration without a fault."""
    force = np.full((4, 6), np.sin(0.1 * k + seed), dtype=np.float32)
    stamp = round((k + FPS) * 1e9 / FPS)  # from one second on
    return {
        FRONT: picture(k, seed),
        "observation.state": angle(k, seed),
        WRENCH: force,
        TAXELS: np.zeros((2, 2, 3), dtype=np.float32),
        "action": angle(k + 1, seed),
        AGE: np.array([0.0, 0.001, 0.002, 0.003]),
        STAMP: np.array([stamp, stamp - 1_000_000, stamp - 2_000_000, stamp - 3_000_000]),
    }


def demonstrate(
    root: Path, episodes: int = 2, rows: int = 75, spoil: Spoil | None = None, seed: int = 0, task: str = "do it"
) -> Path:
    """Append demonstrations of `rows` rows; `spoil(k, row)` changes the rows of the last one. Return `root`."""
    with DatasetWriter(root, small_contract()) as writer:
        for episode in range(episodes):
            writer.start_episode(task)
            for k in range(rows):
                row = good_row(k, seed + episode)
                if spoil is not None and episode == episodes - 1:
                    spoil(k, row)
                writer.add_frame(row)
            writer.save_episode(success=episode % 2 == 0)
    return root


def good_rows(rows: int = 75, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a demonstration as a data table holds them, without videos."""
    made = [good_row(k, seed) for k in range(rows)]
    columns = {key: np.stack([row[key] for row in made]) for key in made[0] if key != FRONT}
    columns = {key: v.astype(np.float32) if v.dtype.kind == "f" else v for key, v in columns.items()}
    frame = np.arange(rows)
    return columns | {
        "frame_index": frame,
        "episode_index": np.zeros(rows, dtype=np.int64),
        "timestamp": (frame / FPS).astype(np.float32),
    }


def as_episode(columns: dict[str, npt.NDArray[Any]], length: int | None = None) -> EpisodeRows:
    """Return columns as the checks take them."""
    rows = length if length is not None else len(columns["frame_index"])
    return EpisodeRows(0, rows, FPS, columns, SYNC, small_contract())
