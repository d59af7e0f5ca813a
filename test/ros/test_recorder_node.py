"""recorder_node as a process: commands, refusals, and a dataset that equals what was published."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from recordings import FRONT, TAXELS, WRENCH, number_of, picture, small_contract
from ros_support import RosTest
from small_disk import on_small_disk

from vla_ros.data import Dataset
from vla_ros.data.bags.reading import BagReader
from vla_ros.data.interrupted import recoverable
from vla_ros.data.recovery import recover
from vla_ros.ros import lifeline

if TYPE_CHECKING:
    from diagnostic_msgs.msg import DiagnosticStatus

SECOND = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]
JOINTS, GATE, TEXT = "observation.state", "gate", "task"
RATES = {FRONT: 30, JOINTS: 300, WRENCH: 300, TAXELS: 100, GATE: 100}


class Streams:
    """Publishes what a robot of the small contract would, by simulated time."""

    def __init__(self, ros: RosTest) -> None:
        from sensor_msgs.msg import Image, JointState
        from std_msgs.msg import String
        from trajectory_msgs.msg import JointTrajectory

        from vla_ros.ros import qos
        from vla_ros.ros.convert import msg_type_for

        self.ros, self.now = ros, -1
        self.dead: set[str] = set()
        topics = {
            FRONT: "/front",
            JOINTS: "/joint_states",
            WRENCH: "/wrench",
            TAXELS: "/left",
            GATE: "/gate/action",
        }
        types = {
            FRONT: Image,
            JOINTS: JointState,
            WRENCH: msg_type_for("wrench"),
            TAXELS: Image,
            GATE: JointTrajectory,
        }
        reliable = qos.reliable(1000)
        self.publishers = {key: ros.node.create_publisher(types[key], topics[key], reliable) for key in topics}
        self.text = ros.node.create_publisher(String, "/instruction", qos.LATCHED)
        self.text.publish(String(data="do it"))

    def connect(self, each: int = 1) -> None:
        """Wait for the recorder's subscriptions, `each` on a topic."""
        everyone = [*self.publishers.values(), self.text]
        self.ros.wait_for(
            lambda: all(p.get_subscription_count() >= each for p in everyone), what="the recorder's subscriptions"
        )

    def run(self, until: float) -> None:
        """Publish everything up to and including `until` [s] in portions that the recorder's queues hold."""
        from rcl_interfaces.srv import GetParameters

        while self.now < round(until * SECOND):
            end = min(self.now + SECOND // 5, round(until * SECOND))
            for stamp, key, k in sorted(self._due(end)):
                self.publishers[key].publish(self.message(key, stamp, k))
            self.ros.call(GetParameters, "/recorder_node/get_parameters", again=2.0)  # its queues are taken in turn
            self.now = end

    def _due(self, end: int) -> Iterator[tuple[int, str, int]]:
        for key, rate in RATES.items():
            k = -(-(self.now + 1) * rate // SECOND)
            while (stamp := round(k * SECOND / rate)) <= end:
                if stamp > self.now and key not in self.dead:
                    yield stamp, key, k
                k += 1

    def message(self, key: str, stamp: int, k: int) -> Any:
        from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

        from vla_ros.ros.convert import (
            image_to_message,
            joints_to_message,
            to_duration,
            to_time,
            wrench_to_message,
        )

        t = stamp / SECOND
        if key == FRONT:
            return image_to_message(stamp, "front", picture(k), "rgb8")
        if key == JOINTS:
            zero = {"a": 0.0, "b": 0.0}
            return joints_to_message(stamp, {"b": -t, "a": t}, zero, zero)
        if key == WRENCH:
            return wrench_to_message(stamp, "tool0", [t] * 6)
        if key == TAXELS:
            return image_to_message(stamp, "left", np.full((2, 2, 3), t, dtype=np.float32), "32FC3")
        message = JointTrajectory(joint_names=["b.pos", "a.pos"])
        message.header.stamp = to_time(stamp)
        point = JointTrajectoryPoint(positions=[0.0, 10 + t + 0.02], time_from_start=to_duration(SECOND // 50))
        message.points = [point]
        return message


@pytest.fixture
def recorder(ros: RosTest, tmp_path: Path) -> Iterator[tuple[Streams, subprocess.Popen[str], Path]]:
    (tmp_path / "small.yaml").write_text(small_contract().text)
    process = start(tmp_path)
    streams = Streams(ros)
    streams.connect()
    yield streams, process, tmp_path / "set"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


def command_of(folder: Path, **parameters: object) -> list[str]:
    values = {"contract": folder / "small.yaml", "root": folder / "set", "use_sim_time": "true"} | parameters
    arguments = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    return [sys.executable, "-m", "vla_ros.ros.nodes.recorder_node", "--ros-args", *arguments]


def start(folder: Path, **parameters: object) -> subprocess.Popen[str]:
    return lifeline.start(command_of(folder, **parameters), os.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def command(ros: RosTest, name: str) -> Any:
    from std_srvs.srv import Trigger

    return ros.call(Trigger, f"/recorder_node/{name}")


def started(ros: RosTest) -> int:
    """Start as soon as the recorder has taken in what was published; return the first row's time."""
    answer = ros.wait_for(lambda: (a := command(ros, "start")).success and a, what="the start of the recording")
    return int(json.loads(answer.message)["first"])


def test_an_episode_holds_what_was_published(ros: RosTest, recorder: tuple[Streams, Any, Path]) -> None:
    from builtin_interfaces.msg import Time

    from vla_ros.ros.convert import from_time

    streams, _, root = recorder
    progress: list[Time] = ros.collect(Time, "/recorder/progress")
    streams.run(0.1)
    assert started(ros) == SECOND // 10
    streams.run(1.5)
    ros.wait_for(lambda: progress and from_time(progress[-1]) >= 1.5 * SECOND, what="1.5 s recorded")
    answer = command(ros, "save")
    assert answer.success, answer.message
    told = {"episode": 0, "rows": 42, "success": True, "problem": "", "stale_rows": {}}
    assert json.loads(answer.message) == told
    data = Dataset(root)
    times = 0.1 + np.arange(42) / 30
    assert data.column(JOINTS) == pytest.approx(np.stack([times, -times], axis=1), abs=1e-6)
    assert data.column("action")[:, 0] == pytest.approx(10 + times + 1 / 30, abs=1e-5)
    assert data.column(WRENCH)[:, -1, 0] == pytest.approx(times, abs=1e-6)
    assert [number_of(frame) for frame in data.frames(FRONT, 0)] == [(3 + k) % 12 for k in range(42)]
    assert data.episodes[0].task == "do it" and data.episodes[0].success


def test_refusals_name_the_stream_or_the_valid_commands(ros: RosTest, recorder: tuple[Streams, Any, Path]) -> None:
    streams, _, root = recorder
    streams.dead = {FRONT}
    streams.run(0.3)
    answer = ros.wait_for(lambda: "no data yet on /front" in (a := command(ros, "start")).message and a)
    assert not answer.success and FRONT in answer.message
    answer = command(ros, "save")
    assert not answer.success and answer.message == "cannot save while idle; valid: start"
    streams.dead = set()
    streams.run(0.6)
    started(ros)
    assert command(ros, "discard").success
    assert Dataset(root).num_episodes == 0


def test_a_killed_recorder_costs_the_running_episode_only(ros: RosTest, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(small_contract().text)
    process = start(tmp_path, raw="true")
    streams = Streams(ros)
    streams.connect(each=2)  # to the rows and to the raw recording
    streams.run(0.1)
    started(ros)
    streams.run(0.7)
    assert command(ros, "save").success
    started(ros)
    streams.run(2.0)
    process.kill()
    process.communicate(timeout=20)
    data = Dataset(tmp_path / "set")
    assert data.num_episodes == 1 and len(data.frames(FRONT, 0)) == data.num_frames > 10
    assert recover(tmp_path / "set", success=True) == [1]
    data = Dataset(tmp_path / "set")
    assert len(data.frames(FRONT, 1)) == data.episodes[1].length > 10
    with BagReader(tmp_path / "set/raw/chunk-000/file-001.mcap") as raw:
        assert {*raw.types} >= {spec.topic for spec in data.contract.observation.values()}
        seen = {m.header.stamp.sec + 1e-9 * m.header.stamp.nanosec for _, _, m in raw.messages(["/front"])}
        kinds = [json.loads(m.data)["kind"] for _, _, m in raw.messages(["/recorder/episode"])]
    assert len(seen) > 10 and kinds == ["start", "save"]


def test_a_dataset_of_another_contract_ends_the_node_with_one_line(tmp_path: Path, ros_domain: int) -> None:
    from recordings import record

    record(tmp_path / "set", (3,))
    (tmp_path / "small.yaml").write_text(small_contract(names="a.pos, c.pos").text)
    process = start(tmp_path)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert stderr.strip().splitlines()[-1].startswith("vla_ros: dataset") and "another contract" in stderr


def test_rerecording_drops_the_running_episode_and_begins_it_again(
    ros: RosTest, recorder: tuple[Streams, Any, Path]
) -> None:
    streams, _, root = recorder
    streams.run(0.1)
    assert command(ros, "rerecord").message == "cannot rerecord while idle; valid: start"
    started(ros)
    streams.run(1.0)
    answer = command(ros, "rerecord")
    assert answer.success, answer.message
    assert json.loads(answer.message)["rows"] > 10 and json.loads(answer.message)["first"] >= 0.9 * SECOND
    streams.run(1.5)
    ros.wait_for(lambda: (a := command(ros, "save")).success and a, what="the saved episode")
    assert Dataset(root).num_episodes == 1 and Dataset(root).num_frames < 20


def test_a_label_and_notes_are_kept_with_their_episode(ros: RosTest, recorder: tuple[Streams, Any, Path]) -> None:
    from std_msgs.msg import String
    from std_srvs.srv import SetBool

    streams, _, root = recorder
    events: list[String] = ros.collect(String, "/recorder/episode", 100)
    notes = ros.node.create_publisher(String, "/recorder/note", 10)
    ros.wait_for(lambda: notes.get_subscription_count() == 1, what="the recorder's ear for notes")

    def note(text: str) -> None:
        notes.publish(String(data=text))
        ros.wait_for(lambda: any(text in e.data for e in events), what=f"the note '{text}'")

    streams.run(0.1)
    answer = ros.call(SetBool, "/recorder_node/label", SetBool.Request(data=False))
    assert not answer.success and answer.message == "cannot label while idle; valid: start"
    started(ros)
    streams.run(0.5)
    note("the gripper slipped")
    assert ros.call(SetBool, "/recorder_node/label", SetBool.Request(data=False)).success
    assert json.loads(command(ros, "save").message)["success"] is False
    note("table moved")
    data = Dataset(root)
    assert data.episodes[0].success is False and list(data.notes) == [0]
    first, second = data.notes[0]
    assert first.text == "the gripper slipped" and 0.0 < first.time <= 0.5
    assert second.text == "table moved" and second.time == pytest.approx(data.num_frames / 30)


def test_when_everything_falls_silent_the_episode_ends_and_is_no_success(ros: RosTest, tmp_path: Path) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    (tmp_path / "small.yaml").write_text(small_contract().text)
    process = start(tmp_path, use_sim_time="false", task="wipe the table")
    streams = Streams(ros)
    streams.connect()
    streams.now = time.time_ns()

    def begun() -> bool:
        streams.run(time.time_ns() / SECOND)
        return bool(command(ros, "start").success)

    ros.wait_for(begun, what="the start of the recording")
    streams.run(streams.now / SECOND + 0.7)
    stopped = ros.message(
        DiagnosticArray, "/diagnostics", matching=lambda m: any("no action" in s.message for s in m.status)
    )
    problem = next(s.message for s in stopped.status if "no action" in s.message)
    told = json.loads(command(ros, "save").message)
    assert told["success"] is False and told["problem"] == problem and told["rows"] >= 15
    data = Dataset(tmp_path / "set")
    assert data.episodes[0].success is False and data.episodes[0].tasks == ("wipe the table",)
    assert [note.text for note in data.notes[0]] == [f"recording stopped: {problem}"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


def fill(file: Path) -> None:
    """Let `file` take what the disk still has, to the last byte."""
    with suppress(OSError), file.open("ab", buffering=0) as growing:
        while growing.write(bytes(16 << 20)):
            pass


def stopped_for_good(status: DiagnosticStatus) -> bool:
    """Whether a full disk ended the recording, and no encoder will free or take any place on it any more."""
    backlog = {item.key: item.value for item in status.values}.get("backlog")
    return "No space left" in status.message and (backlog == "0" or "failed" in status.message)


def test_a_full_disk_is_told_in_one_line_and_what_is_saved_stays(ros: RosTest, tmp_path: Path) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    (tmp_path / "small.yaml").write_text(small_contract().text)
    (tmp_path / "disk").mkdir()
    here = command_of(tmp_path, root=tmp_path / "disk/set")
    process = lifeline.start(
        on_small_disk(tmp_path / "disk", here), os.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    streams = Streams(ros)
    streams.connect()
    disk = Path(f"/proc/{process.pid}/root{tmp_path}/disk")
    streams.run(0.1)
    started(ros)
    streams.run(0.8)
    assert command(ros, "save").success
    started(ros)
    streams.run(2.0)
    filler = disk / "filler"
    fill(filler)
    heard: list[DiagnosticArray] = ros.collect(DiagnosticArray, "/diagnostics", 100)
    while not any(stopped_for_good(one) for array in heard for one in array.status):
        assert streams.now < 60 * SECOND, "the disk never was full"
        streams.run(streams.now / SECOND + 0.4)
    fill(filler)  # the place of frames that waited on disk too, which are encoded by now
    answer = command(ros, "save")
    assert not answer.success and answer.message.startswith("episode 1 cannot be saved to")
    assert "\n" not in answer.message and "No space left" in answer.message
    filler.unlink()
    started(ros)  # it goes on once there is room
    streams.run(streams.now / SECOND + 0.5)
    answer = command(ros, "save")
    assert answer.success and json.loads(answer.message)["episode"] == 1
    shutil.copytree(disk / "set", tmp_path / "copy")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert sum("recording stopped after" in line and "No space left" in line for line in said.splitlines()) == 1
    data = Dataset(tmp_path / "copy")
    assert data.num_episodes == 2 and all(len(data.frames(FRONT, e.index)) == e.length for e in data.episodes)
    assert len(recoverable(tmp_path / "copy")) == 1


def test_a_read_only_folder_ends_the_node_with_one_line(tmp_path: Path, ros_domain: int) -> None:
    (tmp_path / "small.yaml").write_text(small_contract().text)
    (tmp_path / "disk").mkdir()
    here = command_of(tmp_path, root=tmp_path / "disk/set")
    locked = on_small_disk(tmp_path / "disk", here, then=f"mount -o remount,ro {tmp_path / 'disk'}")
    process = lifeline.start(locked, os.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    said = process.communicate(timeout=60)[1].strip().splitlines()
    assert process.returncode == 1
    assert said[-1] == f"vla_ros: dataset '{tmp_path}/disk/set' cannot be written: [Errno 30] " + (
        f"Read-only file system: '{tmp_path}/disk/set'"
    )
