"""Where a dataset's files lie, and how a finished episode gets there.

An episode is built in the hidden folder ``.vla_ros/recording``, its files in the subfolder ``tree``. When all are
synced, the tree is renamed to ``.vla_ros/commit``: that single rename is the commit. The files are then moved to
their places, ``meta/info.json`` last, so that a reader sees the episode whole or not at all. Whoever opens the
dataset for writing next finishes a commit that was cut short, and puts a recording that was into
``.vla_ros/interrupted``, from where it can be recovered.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_ros.errors import DatasetError

CODEBASE_VERSION = "v3.0"
CHUNK_FILES = 1000  # files per chunk folder
INFO = "meta/info.json"
STATS_FILE = "meta/stats.json"
TASKS = "meta/tasks.parquet"
CONTRACT = "meta/contract.yaml"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
HIDDEN, NEW, OLD = ".vla_ros", "new", "old"
MERGED_PARTS = ("data", "videos", "meta/episodes")  # what a merge replaces; the last is read first
TREE, EPISODE_NOTE, JOURNAL, SPILL = "tree", "episode.json", "rows", "spill"  # in a recording folder
_MOVED_LAST = (STATS_FILE, INFO)


def file_location(number: int) -> tuple[int, int]:
    """Return (chunk_index, file_index) of the number-th file of a kind."""
    return divmod(number, CHUNK_FILES)


def data_file(number: int) -> str:
    """Return the path of the number-th data table in a dataset."""
    return _numbered(DATA_PATH, number)


def episodes_file(number: int) -> str:
    """Return the path of the number-th table of episodes in a dataset."""
    return _numbered(EPISODES_PATH, number)


def video_file(key: str, number: int) -> str:
    """Return the path of a camera's number-th video in a dataset."""
    return _numbered(VIDEO_PATH, number, video_key=key)


def _numbered(pattern: str, number: int, **names: str) -> str:
    chunk, file = file_location(number)
    return pattern.format(chunk_index=chunk, file_index=file, **names)


class FolderLock:
    """Keeps a second writer out of a dataset for as long as it is held (also lost when the process dies)."""

    def __init__(self, root: Path) -> None:
        hidden = root / HIDDEN
        try:
            hidden.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(hidden / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DatasetError(f"dataset '{root}' cannot be written: {error}") from None
        if not _lock(self._fd, fcntl.LOCK_EX, tries=3):
            os.close(self._fd)
            raise DatasetError(f"dataset '{root}' is being written by another recorder")

    @property
    def released(self) -> bool:
        """True once release() was called."""
        return self._fd < 0

    def release(self) -> None:
        """Let others write."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_locked(root: Path) -> bool:
    """Return True while somebody writes the dataset."""
    try:
        descriptor = os.open(root / HIDDEN / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH, tries=1)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int, tries: int) -> bool:
    for left in reversed(range(tries)):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except OSError:
            if left:
                time.sleep(0.05)  # is_locked() of another process holds it for a moment
    return False


def recording_folder(root: Path) -> Path:
    """Return the folder in which the running episode is built."""
    return root / HIDDEN / "recording"


def interrupted_folder(root: Path) -> Path:
    """Return the folder that holds the recordings that were cut short."""
    return root / HIDDEN / "interrupted"


def clean(root: Path) -> list[str]:
    """Finish an interrupted commit or merge, remove an interrupted build of one; return one line about each."""
    report = []
    if merged_folder(root).exists():
        finish_merge(root)
        report.append("finished a merge that had been interrupted")
    if merging_folder(root).exists():
        shutil.rmtree(merging_folder(root))
        report.append("removed what an interrupted merge had built")
    commit = root / HIDDEN / "commit"
    if commit.exists():
        _move_into_place(root, commit)
        report.append("finished a commit that had been interrupted")
    recording = recording_folder(root)
    if recording.exists() and not (recording / TREE).exists():  # its tree was committed, or it never began
        shutil.rmtree(recording)
    return report


def merging_folder(root: Path) -> Path:
    """Return the folder in which a merge builds its files."""
    return root / HIDDEN / "merging"


def merged_folder(root: Path) -> Path:
    """Return the folder of a merge that is committed and not yet in place."""
    return root / HIDDEN / "merged"


def commit_merge(root: Path) -> None:
    """Make the files that a merge has built those of the dataset, atomically and durably."""
    sync_tree(merging_folder(root))
    os.rename(merging_folder(root), merged_folder(root))
    sync(root / HIDDEN)
    finish_merge(root)


def finish_merge(root: Path) -> None:
    """Put the folders of a committed merge in the old ones' place; goes on where an earlier call was cut short."""
    merged = merged_folder(root)
    for part in MERGED_PARTS:
        new, old, target = merged / NEW / part, merged / OLD / part, root / part
        if not new.exists():
            continue
        if target.exists():
            old.parent.mkdir(parents=True, exist_ok=True)
            os.rename(target, old)
        os.rename(new, target)
        sync(target.parent)
    shutil.rmtree(merged)


def current(root: Path, relative: str) -> Path:
    """Return where a file or folder of a dataset lies now: in its place, or in a merge that is not yet there."""
    staged = merged_folder(root) / NEW / relative
    return staged if staged.exists() else root / relative


def generation(root: Path) -> tuple[int, ...]:
    """Return what changes when the dataset's files are merged, and when those are put in place."""
    try:
        status = current(root, MERGED_PARTS[-1]).stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, merged_folder(root).exists()


def commit_pending(root: Path) -> bool:
    """Return True if a commit has been cut short; `clean` finishes it."""
    return (root / HIDDEN / "commit").exists()


def commit(root: Path) -> None:
    """Make the files of the recording's tree part of the dataset, atomically and durably."""
    recording, commit_folder = recording_folder(root), root / HIDDEN / "commit"
    sync_tree(recording / TREE)
    os.rename(recording / TREE, commit_folder)
    sync(root / HIDDEN)
    _move_into_place(root, commit_folder)
    shutil.rmtree(recording, ignore_errors=True)


def _move_into_place(root: Path, folder: Path) -> None:
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    for relative in sorted(files, key=lambda path: _MOVED_LAST.index(str(path)) if str(path) in _MOVED_LAST else -1):
        target = root / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / relative, target)
        sync(target.parent)
    shutil.rmtree(folder)


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically: its readers see the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON as text that a person can read."""
    write_text(path, json.dumps(data, indent=4) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises DatasetError naming the file when it is missing or not one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(f"'{path}' cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise DatasetError(f"'{path}' holds a {type(data).__name__}, want a JSON object")
    return data


def disk_left(root: Path) -> float:
    """Return what the disk of a dataset, which need not exist yet, has left [GB]."""
    existing = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free / 1e9


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to the disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
