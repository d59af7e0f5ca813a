"""A recorder that is killed, at any moment, costs at most the running episode."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recordings import FRONT, number_of, record, row, small_contract

from vla_ros.data import Dataset, DatasetWriter, layout
from vla_ros.data.interrupted import recoverable

KILLED = """
import os, signal, sys
from recordings import record, row, small_contract
from vla_ros.data import DatasetWriter
root, moves = sys.argv[1], int(sys.argv[2])
writer = DatasetWriter(root, small_contract())
writer.start_episode("killed")
for k in range(8):
    writer.add_frame(row(k))
if moves >= 0:  # die after so many of the commit's file moves
    replace, done = os.replace, []
    def dying(a, b):
        if "/.vla_ros/commit/" in str(a):
            if len(done) == moves:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(b)
        replace(a, b)
    os.replace = dying
    writer.save_episode()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moves", [-1, 0, 1, 3, 5])
def test_a_kill_while_recording_or_committing_costs_at_most_the_running_episode(tmp_path: Path, moves: int) -> None:
    root = tmp_path / "set"
    record(root, (6, 5))
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths + [os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), str(moves)], env=environment, timeout=60)
    assert done.returncode == -9
    read_everything(root, [6, 5])  # before anybody has cleaned up
    with DatasetWriter(root, small_contract()) as writer:
        (note,) = writer.notes
        writer.start_episode("do it")
        for k in range(4):
            writer.add_frame(row(k))
        writer.save_episode()
    read_everything(root, [6, 5, 4] if moves < 0 else [6, 5, 8, 4])
    kept = moves < 0 and note.startswith(
        "kept an interrupted recording"
    )  # some of it had reached the disk: a slow machine
    left = {path.name for path in (root / layout.HIDDEN).iterdir()} - {"lock"}
    assert left == ({"interrupted"} if kept else set()) and len(recoverable(root)) == kept


def read_everything(root: Path, lengths: list[int]) -> None:
    data = Dataset(root)
    assert [e.length for e in data.episodes] == lengths
    assert len(data.column("action")) == sum(lengths)
    for e in data.episodes:
        assert [number_of(f) for f in data.frames(FRONT, e.index)] == [k % 12 for k in range(e.length)]
