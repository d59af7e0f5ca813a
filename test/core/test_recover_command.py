"""`vla-ros dataset recover` and `merge-files` on real small datasets, one of them left by a killed recorder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recordings import FRONT, WRENCH, number_of, record, row
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.data import Dataset
from vla_ros.data.bags.events import TOPIC
from vla_ros.data.bags.reading import BagReader
from vla_ros.errors import DatasetError

pytest.importorskip("mcap", reason="raw recordings need mcap")
ROWS, MESSAGES = 90, 40
KILLED = f"""
import os, signal, sys, threading
from pathlib import Path
from recordings import row, small_contract
from vla_ros.data import DatasetWriter, layout
from vla_ros.data.bags.events import TOPIC, TYPE, EpisodeEvent
from vla_ros.data.bags.raw import RawFile
from vla_ros.data.tools.extras import raw_path
writer = DatasetWriter(sys.argv[1], small_contract())
writer.start_episode("wipe the table")
raw = RawFile(raw_path(layout.recording_folder(writer.root) / layout.TREE, writer.num_episodes))
raw.add("/front", "sensor_msgs/msg/Image")
raw.add(TOPIC, TYPE)
raw.write(TOPIC, 0, EpisodeEvent("start", first=0, task="wipe the table").to_cdr())
for k in range({ROWS}):
    writer.add_frame(row(k))
writer.add_note("nearly done")
for k in range({MESSAGES}):
    raw.write("/front", k + 1, bytes([k]) * 20_000)
while writer.backlog or raw.messages <= {MESSAGES}:
    threading.Event().wait(0.005)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A dataset of two episodes, and a third whose recorder was killed."""
    record(tmp_path / "set", (6, 5))
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "set")]
    assert subprocess.run(command, env=environment, timeout=100).returncode == -signal.SIGKILL
    return tmp_path / "set"


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["dataset", *map(str, words)])
    assert result.exit_code == 0, result.exception
    return result.output


def test_a_killed_episode_is_recovered_with_rows_frames_note_and_raw_messages(killed: Path) -> None:
    rows = Dataset(killed).num_frames
    out = run("recover", killed, "--success")
    data = Dataset(killed)
    assert out == f"episode 2: recovered\n{killed}: 3 episodes, {data.num_frames} rows\n" and rows == 11
    last = data.episodes[2]
    assert last.task == "wipe the table" and last.success and ROWS - 30 <= last.length <= ROWS
    assert [number_of(f) for f in data.frames(FRONT, 2)] == [k % 12 for k in range(last.length)]
    assert np.array_equal(data.column(WRENCH, 2), np.stack([row(k)[WRENCH] for k in range(last.length)]))
    assert [note.text for note in data.notes[2]] == ["nearly done"]
    with BagReader(killed / "raw/chunk-000/file-002.mcap") as raw:
        assert raw.types == {"/front": "sensor_msgs/msg/Image", TOPIC: "std_msgs/msg/String"}
        assert MESSAGES - 5 < raw.counts["/front"] <= MESSAGES  # the last piece of 64 KiB was in memory
        start, save = (json.loads(message.data) for _, _, message in raw.messages([TOPIC]))
    assert (start["kind"], start["task"]) == ("start", "wipe the table")
    assert (save["kind"], save["rows"], save["success"]) == ("save", last.length, True)
    assert run("recover", killed) == f"{killed}: 3 episodes, {data.num_frames} rows\n"


def test_an_unknown_recording_is_refused_with_the_known_ones(killed: Path) -> None:
    result = CliRunner().invoke(app, ["dataset", "recover", str(killed), "--name", "007"])
    assert isinstance(result.exception, DatasetError) and "valid: 000" in str(result.exception)
    assert Dataset(killed).num_episodes == 2


def test_merge_files_makes_few_files_of_many_and_changes_no_value(killed: Path) -> None:
    run("recover", killed)
    before = Dataset(killed)
    keys = [key for key, feature in before.features.items() if not feature.is_video]
    values, frames = [before.column(key) for key in keys], [before.frames(FRONT, e) for e in range(3)]
    assert run("merge-files", killed) == f"{killed}: 9 files are now 3\n"
    after = Dataset(killed)
    assert all(np.array_equal(after.column(key), value) for key, value in zip(keys, values, strict=True))
    assert all(np.array_equal(after.frames(FRONT, e), frames[e]) for e in range(3))
    assert len(list(killed.glob("videos/*/chunk-*/*.mp4"))) == 1 and (killed / "raw/chunk-000/file-002.mcap").exists()
    assert run("merge-files", killed) == f"{killed}: nothing to merge\n"


@pytest.mark.parametrize("command", ["merge-files", "recover"])
def test_a_folder_that_is_no_dataset_is_refused(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["dataset", command, str(tmp_path)])
    assert isinstance(result.exception, DatasetError) and f"'{tmp_path}" in str(result.exception)
    assert list(tmp_path.iterdir()) == []
