"""Recordings that were cut short by a kill, a power cut or a full disk: kept aside until somebody decides.

What such a recording holds is what its journal and its videos, with the frames that waited for an encoder, all
have. `recovery` makes an episode of it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from vla_ros.data import layout
from vla_ros.data.features import Feature
from vla_ros.data.journal import journal_schema, read_journal
from vla_ros.data.pictures import pictures_of
from vla_ros.data.remux import frame_numbers
from vla_ros.data.spill import spilled_frames
from vla_ros.errors import DatasetError, unknown_name

SOURCE = "source"  # in a recording folder: the interrupted recording that is being recovered


@dataclass(frozen=True)
class Interrupted:
    """A recording that was cut short.

    name: of its folder. rows: how many are whole, about: a video's last ones show their damage only when decoded.
    started: when it began [s since 1970].
    """

    name: str
    folder: Path
    task: str
    rows: int
    seconds: float
    started: float

    @property
    def text(self) -> str:
        """The recording in one line."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started))
        return f"{self.name}: {self.seconds:.1f} s ({self.rows} rows) of '{self.task}', begun {when}"


def recoverable(root: str | Path) -> list[Interrupted]:
    """Return the interrupted recordings of a dataset, oldest first; changes nothing.

    A recording that is still running in another process is not among them.
    """
    root = Path(root)
    features = _features(root)
    folders = [(folder, folder.name) for folder in sorted(layout.interrupted_folder(root).glob("*"))]
    recording = layout.recording_folder(root)
    if (recording / layout.TREE).exists() and not layout.is_locked(root):
        source = recording / SOURCE
        folders.append((source if source.exists() else recording, _next_folder(root).name))
    found = [_inspect(folder, features, name) for folder, name in folders]
    return [one for one in found if one is not None]


def discard(root: str | Path, name: str) -> None:
    """Remove an interrupted recording for good. Raises DatasetError for an unknown name or a dataset in use."""
    root = Path(root)
    lock = layout.FolderLock(root)
    try:
        set_aside(root)
        shutil.rmtree(find(root, name).folder)
    finally:
        lock.release()


def find(root: Path, name: str) -> Interrupted:
    """Return the interrupted recording of this name; DatasetError lists the valid ones."""
    known = {one.name: one for one in recoverable(root)}
    if name not in known:
        raise DatasetError(f"dataset '{root}': " + unknown_name("interrupted recording", name, known))
    return known[name]


def set_aside(root: Path) -> list[str]:
    """Move what is left of a running episode out of the way, by its writer; return one line about it.

    A recording without a whole row is removed.
    """
    recording = layout.recording_folder(root)
    if not recording.exists():
        return []
    source = recording / SOURCE
    if source.exists():  # a recovery that was cut short: its recording is offered again
        return _keep(root, source, _inspect(source, _features(root)))
    return _keep(root, recording, _inspect(recording, _features(root)))


def _keep(root: Path, folder: Path, found: Interrupted | None) -> list[str]:
    recording, kept = layout.recording_folder(root), _next_folder(root)
    if found is None:
        shutil.rmtree(recording)
        return ["removed an interrupted recording of which nothing had reached the disk"]
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.rename(folder, kept)
    layout.sync(kept.parent)
    shutil.rmtree(recording, ignore_errors=True)
    return [
        f"kept an interrupted recording, {found.seconds:.1f} s of '{found.task}', as '{kept.name}': recover or discard it"
    ]


def _next_folder(root: Path) -> Path:
    folder = layout.interrupted_folder(root)
    used = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
    return folder / f"{max(used, default=-1) + 1:03d}"


def journaled_rows(folder: Path, features: Mapping[str, Feature]) -> pa.Table:
    """Return the whole rows of a recording's journal."""
    schema = journal_schema(features)
    return pa.Table.from_batches(read_journal(folder / layout.JOURNAL, schema), schema=schema)


def recorded_video(folder: Path, key: str) -> Path | None:
    """Return the file in which a recording's camera was being encoded; None if it had not come to that."""
    return next((folder / layout.TREE / "videos" / key).glob("chunk-*/file-*.mp4"), None)


def _inspect(folder: Path, features: Mapping[str, Feature], name: str = "") -> Interrupted | None:
    try:
        note: dict[str, Any] = layout.read_json(folder / layout.EPISODE_NOTE)
        fps, task, started = int(note["fps"]), str(note["task"]), float(note["started"])
    except (DatasetError, KeyError, ValueError):
        return None
    rows = journaled_rows(folder, features).num_rows
    for key, feature in features.items():
        if feature.is_video and rows:
            rows = min(rows, _frames(folder, key, feature, fps))
    return Interrupted(name or folder.name, folder, task, rows, rows / fps, started) if rows else None


def _frames(folder: Path, key: str, feature: Feature, fps: int) -> int:
    video, encoded = recorded_video(folder, key), 0
    if video is not None:
        try:
            encoded = len(frame_numbers(video, fps))
        except DatasetError:
            encoded = 0
    pictures = pictures_of(feature)
    waiting = spilled_frames(folder / layout.SPILL / f"{key}.frames", pictures.shape, pictures.dtype, encoded)
    return encoded + sum(1 for _ in waiting)


def _features(root: Path) -> dict[str, Feature]:
    try:
        described = json.loads((root / layout.INFO).read_text(encoding="utf-8"))["features"]
        return {key: Feature.from_json(key, value) for key, value in described.items()}
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"'{root}' is not a dataset that can be recovered: {error!r}") from None
