"""Episodes that are there twice: byte for byte, or so near to each other that one of them teaches nothing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vla_ros.data.tools.findings import NOTICE, SERIOUS, Finding
from vla_ros.data.tools.rows import ACTION, STATE, EpisodeRows

POINTS = 32  # of a trajectory, evenly over its time
NEAR = 0.002  # [rad, m] root mean square between two trajectories that count as the same


@dataclass(frozen=True)
class Fingerprint:
    """What tells an episode from others. digest: of state and action; path: float32 [POINTS * columns]."""

    episode: int
    rows: int
    digest: str
    path: npt.NDArray[np.float32]


def fingerprint(episode: EpisodeRows) -> Fingerprint:
    """Return the fingerprint of an episode's state and action."""
    parts = [episode.columns[key] for key in (STATE, ACTION) if key in episode.columns]
    parts = [np.asarray(part, dtype=np.float32).reshape(len(part), -1) for part in parts]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
    path = np.concatenate([_resampled(part) for part in parts]) if parts else np.zeros(0, np.float32)
    return Fingerprint(episode.index, episode.rows, digest, path)


def duplicates(prints: Sequence[Fingerprint]) -> list[Finding]:
    """Find episodes that repeat an earlier one; each is told once, with the first that it repeats."""
    prints = [p for p in prints if p.rows and p.path.size]
    found = []
    same: dict[str, int] = {}
    distinct: list[Fingerprint] = []
    for one in prints:
        if one.digest in same:
            text = f"state and action are those of episode {same[one.digest]}, byte for byte"
            found.append(Finding(SERIOUS, "duplicate", one.episode, 0.0, "", text))
        else:
            same[one.digest] = one.episode
            distinct.append(one)
    return found + _near(distinct)


def _near(prints: Sequence[Fingerprint]) -> list[Finding]:
    from scipy.spatial import cKDTree

    by_size: dict[int, list[Fingerprint]] = defaultdict(list)
    for one in prints:
        by_size[one.path.size].append(one)
    found: dict[int, Finding] = {}
    for size, group in by_size.items():
        tree = cKDTree(np.stack([one.path for one in group]))
        for a, b in sorted(tree.query_pairs(NEAR * np.sqrt(size))):
            if abs(group[a].rows - group[b].rows) <= 2 and group[b].episode not in found:
                rms = float(np.sqrt(((group[a].path - group[b].path) ** 2).mean()))
                text = f"the trajectory is that of episode {group[a].episode} within {rms:.1g} (root mean square)"
                found[group[b].episode] = Finding(NOTICE, "duplicate", group[b].episode, 0.0, "", text)
    return list(found.values())


def _resampled(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    at = np.linspace(0, len(values) - 1, POINTS) if len(values) else np.zeros(0)
    rows = np.arange(len(values))
    columns = [np.interp(at, rows, column) for column in values.T]
    return np.concatenate(columns).astype(np.float32) if columns else np.zeros(0, np.float32)
