"""A disk that is really full, a file that really cannot grow, a folder that is really read-only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from recordings import FRONT, WRENCH, number_of, record, row
from small_disk import on_small_disk

from vla_ros.data import Dataset
from vla_ros.data.interrupted import recoverable
from vla_ros.data.recovery import recover

RECORD = """
import resource, shutil, sys, threading
from pathlib import Path
from recordings import row, small_contract
from vla_ros.data import DatasetWriter
from vla_ros.errors import DatasetError
root, limit, copy = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
writer = DatasetWriter(root, small_contract())
writer.start_episode("do it")
for k in range(30):
    writer.add_frame(row(k))
writer.save_episode()
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
else:  # leave 100 kB
    with (root.parent / "filler").open("wb") as file:
        file.write(bytes(shutil.disk_usage(root).free - 100_000))
writer.start_episode("wipe the table")
try:
    for k in range(100_000):
        writer.add_frame(row(k))
        while writer.backlog > 2 and k < 5000:  # as slow as a camera
            threading.Event().wait(0.002)
    print("the disk never was full")
except DatasetError as error:
    print(error)
try:
    writer.save_episode()
    print("saved")
except DatasetError as error:
    print(error)
writer.finalize()
if copy:
    shutil.copytree(root, copy)
"""


def run(command: list[str]) -> list[str]:
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    result = subprocess.run(command, env=environment, timeout=100, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def check(root: Path, reason: str, said: list[str]) -> None:
    """The saved episode is whole, the other one was refused in one line each, and is kept and recoverable."""
    stopped, refused = said
    assert reason in stopped and refused.startswith("episode 1 cannot be saved to") and "as '000'" in refused
    assert Dataset(root).num_episodes == 1
    assert [number_of(f) for f in Dataset(root).frames(FRONT, 0)] == [k % 12 for k in range(30)]
    (kept,) = recoverable(root)
    assert kept.task == "wipe the table"
    assert recover(root) == [1]
    data = Dataset(root)
    length = data.episodes[1].length
    assert np.array_equal(data.column(WRENCH, 1), np.stack([row(k)[WRENCH] for k in range(length)]))
    assert [number_of(f) for f in data.frames(FRONT, 1)] == [k % 12 for k in range(length)]


def test_a_full_disk_costs_nothing_that_is_saved_and_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    here = [sys.executable, "-c", RECORD, str(tmp_path / "disk/set"), "0", str(tmp_path / "copy")]
    said = run(on_small_disk(tmp_path / "disk", here))
    check(tmp_path / "copy", "No space left on device", said)


def test_a_file_that_cannot_grow_costs_nothing_that_is_saved(tmp_path: Path) -> None:
    said = run([sys.executable, "-c", RECORD, str(tmp_path / "set"), "100000", ""])
    check(tmp_path / "set", "File too large", said)


def test_a_read_only_dataset_is_read_and_not_recorded_to(tmp_path: Path) -> None:
    record(tmp_path / "set", (6,))
    (tmp_path / "disk").mkdir()
    script = """
import sys
from pathlib import Path
from recordings import small_contract
from vla_ros.data import Dataset, DatasetWriter
from vla_ros.data.merge import merge_files
from vla_ros.data.recovery import recover
from vla_ros.data.tools.check import check_dataset
from vla_ros.errors import DatasetError
root = Path(sys.argv[1])
for work in (lambda: DatasetWriter(root, small_contract()), lambda: DatasetWriter(root.parent / "new", small_contract()),
             lambda: merge_files(root), lambda: recover(root)):
    try:
        work()
        print("written")
    except DatasetError as error:
        print(error)
print(len(Dataset(root).frames("observation.images.front", 0)), check_dataset(root).episodes)
"""
    copied = f"cp -r {tmp_path}/set {tmp_path}/disk/ && mount -o remount,ro {tmp_path}/disk"
    here = [sys.executable, "-c", script, str(tmp_path / "disk/set")]
    *refusals, read = run(on_small_disk(tmp_path / "disk", here, then=copied))
    reason = "cannot be written: [Errno 30] Read-only file system"
    assert len(refusals) == 4 and all(f"dataset '{tmp_path}/disk/" in line and reason in line for line in refusals)
    assert read == "6 1"
