"""What a killed recorder leaves: kept aside, offered, and made an episode of, up to its last second."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import FRONT, WRENCH, number_of, record, row, small_contract

from vla_ros.data import Dataset, DatasetWriter, VideoSettings
from vla_ros.data.interrupted import discard, recoverable
from vla_ros.data.recovery import recover
from vla_ros.errors import DatasetError

ROWS = 100
KILLED = """
import os, signal, sys, threading
from recordings import row, small_contract
from vla_ros.data import DatasetWriter, VideoSettings
from vla_ros.data.video import VideoEncoder
root, rows, stuck = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if stuck:  # an encoder that takes so many frames and no more: the others wait on disk
    encode = VideoEncoder._encode
    def slow(self, container, stream, frame):
        if self.written == stuck:
            threading.Event().wait()
        encode(self, container, stream, frame)
    VideoEncoder._encode = slow
writer = DatasetWriter(root, small_contract(), VideoSettings(queue=8))
writer.start_episode("wipe the table")
for k in range(rows):
    writer.add_frame(row(k))
    while not stuck and writer.backlog > 4:
        threading.Event().wait(0.005)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_recording(root: Path, rows: int = ROWS, stuck: int = 0) -> None:
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", KILLED, str(root), str(rows), str(stuck)]
    assert subprocess.run(command, env=environment, timeout=60).returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed") / "set"
    record(folder, (6, 5))
    killed_while_recording(folder)
    return folder


@pytest.fixture
def root(killed: Path, tmp_path: Path) -> Path:
    shutil.copytree(killed, tmp_path / "set")
    return tmp_path / "set"


def check_rows(root: Path, lengths: list[int]) -> None:
    data = Dataset(root)
    assert [e.length for e in data.episodes] == lengths
    assert data.column("index").tolist() == list(range(sum(lengths)))
    for e in data.episodes:
        assert [number_of(f) for f in data.frames(FRONT, e.index)] == [k % 12 for k in range(e.length)]
        assert np.array_equal(data.column(WRENCH, e.index), np.stack([row(k)[WRENCH] for k in range(e.length)]))


def test_a_killed_recording_is_offered_up_to_its_last_second(root: Path) -> None:
    check_rows(root, [6, 5])
    (one,) = recoverable(root)
    assert one.task == "wipe the table" and ROWS - 30 <= one.rows <= ROWS
    assert "of 'wipe the table', begun 20" in one.text
    assert recover(root) == [2]
    length = Dataset(root).episodes[2].length
    assert ROWS - 30 <= length <= ROWS
    check_rows(root, [6, 5, length])
    data = Dataset(root)
    assert data.episodes[2].task == "wipe the table" and data.episodes[2].success is False
    assert data.stats[FRONT]["count"] == [11 + length]
    assert recoverable(root) == [] and not list((root / ".vla_ros/interrupted").iterdir())
    assert not (root / ".vla_ros/recording").exists()


def test_the_next_recorder_says_so_keeps_it_and_records_on(root: Path) -> None:
    with DatasetWriter(root, small_contract()) as writer:
        assert len(writer.notes) == 1
        assert "kept an interrupted recording" in writer.notes[0] and "'000'" in writer.notes[0]
        writer.start_episode("do it")
        for k in range(4):
            writer.add_frame(row(k))
        writer.save_episode()
    assert [one.name for one in recoverable(root)] == ["000"]
    assert recover(root, "000", success=True) == [3]
    lengths = [e.length for e in Dataset(root).episodes]
    check_rows(root, [6, 5, 4, lengths[3]])
    assert Dataset(root).episodes[3].success is True


def test_frames_that_waited_on_disk_are_recovered_too(tmp_path: Path) -> None:
    record(tmp_path / "set", (6,))
    killed_while_recording(tmp_path / "set", rows=90, stuck=20)
    assert recover(tmp_path / "set") == [1]
    length = Dataset(tmp_path / "set").episodes[1].length
    assert length > 80  # the journal's last quarter of a second is missing, no frame is
    check_rows(tmp_path / "set", [6, length])


def test_a_recording_that_nobody_wants_is_removed_on_request_only(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"unknown interrupted recording '7'.*valid: 000"):
        discard(root, "7")
    discard(root, "000")
    assert recoverable(root) == [] and recover(root) == []
    check_rows(root, [6, 5])


def test_a_running_recording_is_not_offered_and_cannot_be_recovered(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", small_contract()) as writer:
        writer.start_episode("do it")
        for k in range(40):
            writer.add_frame(row(k))
        assert recoverable(tmp_path / "set") == []
        with pytest.raises(DatasetError, match="another recorder"):
            recover(tmp_path / "set")
        writer.save_episode()
    check_rows(tmp_path / "set", [40])


def test_a_recorder_that_is_closed_while_recording_keeps_the_episode_aside(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", small_contract()) as writer:
        writer.start_episode("do it")
        for k in range(40):
            writer.add_frame(row(k))
    assert [one.rows > 10 for one in recoverable(tmp_path / "set")] == [True]


def test_an_episode_that_the_disk_has_no_room_for_is_kept_for_recovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DatasetWriter(tmp_path / "set", small_contract()) as writer:
        writer.start_episode("do it")
        for k in range(40):
            writer.add_frame(row(k))
        full = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        monkeypatch.setattr("vla_ros.data.layout.sync_tree", full)
        with pytest.raises(DatasetError, match=r"cannot be saved .*No space left.*as '000': recover or discard"):
            writer.save_episode()
        monkeypatch.undo()
    assert recover(tmp_path / "set") == [0]
    check_rows(tmp_path / "set", [40])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_was_cut_off_or_overwritten_recovery_gives_right_rows_or_refuses(
    killed: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("torn") / "set"
    shutil.copytree(killed, root)
    recording = root / ".vla_ros/recording"
    for path in (recording / "rows", next(recording.rglob("*.mp4"))):
        content = bytearray(path.read_bytes())
        keep = data.draw(st.integers(0, len(content)), label=f"bytes kept of {path.name}")
        content = content[:keep]
        if path.name == "rows" and keep and data.draw(st.booleans(), label="garbage"):
            at = data.draw(st.integers(0, keep - 1))
            content[at:] = bytes(len(content) - at)
        path.write_bytes(content)
    offered = recoverable(root)
    try:
        recovered = recover(root)
    except DatasetError as error:
        assert "no whole row" in str(error)
        recovered = []
    lengths = [e.length for e in Dataset(root).episodes]
    assert len(lengths) == 2 + len(recovered) and len(recovered) <= len(offered)
    check_rows(root, lengths)


def test_a_recovery_that_was_cut_short_is_offered_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("vla_ros.data.recovery.concatenate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            recover(root)
    assert len(recoverable(root)) == 1
    assert recover(root) == [2]
    check_rows(root, [e.length for e in Dataset(root).episodes])


def test_video_settings_do_not_matter_to_what_is_recovered(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", small_contract(), VideoSettings(codec="libx265")) as writer:
        writer.start_episode("do it")
        for k in range(30):
            writer.add_frame(row(k))
    assert recover(tmp_path / "set") == [0]
    check_rows(tmp_path / "set", [e.length for e in Dataset(tmp_path / "set").episodes])
