"""Checking a dataset for what spoils training.

Every check is a small function over one episode (`row_checks`, `motion_checks`, `camera_checks`); only
duplicates need all of them. What cannot be read is a finding too, so that one corrupt file does not hide the
rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from vla_ros.data import layout
from vla_ros.data.reader import Dataset, Episode
from vla_ros.data.tools import camera_checks as cameras
from vla_ros.data.tools.duplicates import Fingerprint, duplicates, fingerprint
from vla_ros.data.tools.engine import run
from vla_ros.data.tools.findings import NOTICE, SERIOUS, Finding
from vla_ros.data.tools.motion_checks import MOTION_CHECKS
from vla_ros.data.tools.row_checks import ROW_CHECKS
from vla_ros.data.tools.rows import EpisodeRows, contract_of, load_rows
from vla_ros.errors import DatasetError


@dataclass(frozen=True)
class Report:
    """What a check found, and what it looked at."""

    root: str
    episodes: int
    frames: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def serious(self) -> int:
        """How many findings are serious."""
        return sum(finding.severity == SERIOUS for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "dataset": self.root,
            "episodes": self.episodes,
            "frames": self.frames,
            "serious": self.serious,
            "findings": [finding.to_json() for finding in self.findings],
        }


def check_dataset(
    root: str | Path,
    episodes: Sequence[int] | None = None,
    jobs: int = 1,
    engine: str = "processes",
    video: bool = True,
) -> Report:
    """Check a dataset, or some of its episodes; see `engine` for `jobs` and `engine`.

    video: decode the videos; otherwise their frames are only counted. Raises DatasetError if there is no
    dataset, or its metadata cannot be read.
    """
    dataset = Dataset(root)
    chosen = [_chosen(dataset, index) for index in episodes] if episodes is not None else dataset.episodes
    written = (dataset.root / layout.INFO).stat().st_mtime_ns
    place = Path(root) if engine == "processes" else Path(root).absolute()  # workers elsewhere have other folders
    work = [(str(place), written, episode.index, video) for episode in chosen]
    results = run(_check_one, work, jobs, engine)
    found = whole_dataset(dataset) if episodes is None else []
    found += [finding for findings, _ in results for finding in findings]
    found += duplicates([one for _, one in results if one is not None])
    found.sort(key=lambda finding: (finding.episode, finding.time))
    return Report(str(root), len(chosen), sum(episode.length for episode in chosen), found)


def whole_dataset(dataset: Dataset) -> list[Finding]:
    """Find what the metadata contradicts in itself."""
    found = []
    rows = sum(episode.length for episode in dataset.episodes)
    if rows != dataset.num_frames:
        text = f"the episodes have {rows} rows together, {layout.INFO} says {dataset.num_frames}"
        found.append(Finding(SERIOUS, "counts", -1, 0.0, "", text))
    at = 0
    for episode in dataset.episodes:
        if (episode.from_index, episode.to_index) != (at, at + episode.length):
            text = f"rows {episode.from_index} to {episode.to_index}, want {at} to {at + episode.length}"
            found.append(Finding(SERIOUS, "counts", episode.index, 0.0, "", text))
        at = episode.to_index
        unknown = [task for task in episode.tasks if task not in dataset.tasks]
        if unknown:
            text = f"the task '{unknown[0]}' is not in {layout.TASKS}"
            found.append(Finding(SERIOUS, "tasks", episode.index, 0.0, "", text))
    if contract_of(dataset) is None:
        text = f"no {layout.CONTRACT}: ages, jumps and idle stretches cannot be judged"
        found.append(Finding(NOTICE, "contract", -1, 0.0, "", text))
    return found


def check_rows(episode: EpisodeRows) -> list[Finding]:
    """Run every check of an episode's numbers."""
    return [finding for check in (*ROW_CHECKS, *MOTION_CHECKS) for finding in check(episode)]


def _check_one(work: tuple[str, int, int, bool]) -> tuple[list[Finding], Fingerprint | None]:
    root, written, index, video = work
    dataset = _opened(root, written)
    episode = dataset.episodes[index]
    try:
        rows = load_rows(dataset, episode)
    except DatasetError as error:
        return [Finding(SERIOUS, "unreadable", index, 0.0, "", str(error))], None
    found = check_rows(rows) if rows.rows else [*ROW_CHECKS[0](rows)]
    for camera in dataset.cameras:
        try:
            found += _check_camera(dataset, episode, rows, camera, video)
        except DatasetError as error:
            found.append(Finding(SERIOUS, "unreadable", index, 0.0, camera, str(error)))
    return found, fingerprint(rows)


def _check_camera(dataset: Dataset, episode: Episode, rows: EpisodeRows, camera: str, video: bool) -> list[Finding]:
    path, start = dataset.video(camera, episode.index)
    end = start + episode.length / dataset.fps
    if episode.index in _last_of_files(dataset, camera):
        end = float("inf")  # so that frames beyond the rows are seen
    if not video:
        return [*cameras.frame_count(rows, camera, cameras.count_frames(path, start, end, dataset.fps))]
    trace = cameras.trace_video(path, start, end, dataset.fps)
    return [
        *cameras.frame_count(rows, camera, trace.frames),
        *cameras.blank(rows, camera, trace),
        *cameras.frozen(rows, camera, trace),
    ]


@lru_cache(maxsize=64)
def _last_of_files(dataset: Dataset, camera: str) -> frozenset[int]:
    """Return the episodes with which a file of this camera ends."""
    last = {e.files[camera]: e.index for e in sorted(dataset.episodes, key=lambda e: e.starts[camera])}
    return frozenset(last.values())


def _chosen(dataset: Dataset, index: int) -> Episode:
    if not 0 <= index < dataset.num_episodes:
        raise DatasetError(f"dataset '{dataset.root}' has no episode {index}; valid: 0..{dataset.num_episodes - 1}")
    return dataset.episodes[index]


@lru_cache(maxsize=4)
def _opened(root: str, written: int) -> Dataset:
    """Return the dataset as it was `written` [ns], opened once in each worker process."""
    return Dataset(root)
