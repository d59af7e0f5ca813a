"""Recording without a robot on the running graph: a scripted tracker and rendered tags become an episode that is the truth."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_support import RosTest
from scipy.spatial.transform import Rotation
from tag_picture import LENS, TagCamera, sweep

from vla_ros.contract import load_contract
from vla_ros.data import Dataset
from vla_ros.drivers.intrinsics import save_intrinsics
from vla_ros.pose import compose, distance
from vla_ros.ros import lifeline
from vla_ros.teleop.umi_opening import calibrate_gripper, save_gripper

SECOND = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]
SMALL = LENS.resized(480, 360)
TOOL = [0.0, 0.086, 0.22, 0.0, 0.0, 0.0, 1.0]
LATENCY = 0.02  # [s] of the tracker, whose driver stamps on arrival
POSE, STATE, WRIST = "observation.pose.tool", "observation.state", "observation.images.wrist"


def hand(t: float) -> np.ndarray:
    """The tracker's true pose at time t [s]."""
    turn = Rotation.from_rotvec([0.4 * np.sin(2 * t), 0.3 * t, 0.2 * np.cos(3 * t)]).as_quat()
    return np.concatenate([[0.3 + 0.1 * np.sin(2.5 * t), 0.2 * np.cos(2 * t), 0.4 + 0.05 * t], turn])


def width(t: float) -> float:
    return 0.04 + 0.03 * float(np.sin(2 * t))


class Hand:
    """Publishes what a hand-held gripper's camera and tracker would, by stamps of its own."""

    def __init__(self, ros: RosTest, camera: TagCamera) -> None:
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import Image, JointState

        from vla_ros.ros import qos

        self.ros, self.camera = ros, camera
        self.pictures = ros.node.create_publisher(Image, "/gripper_camera/color/image_raw", qos.reliable(10))
        self.poses = ros.node.create_publisher(PoseStamped, "/tracker/pose", qos.reliable(200))
        self.openings: list[Any] = ros.collect(JointState, "/gripper/joint_states", qos.reliable(100))
        self.tools: list[Any] = ros.collect(PoseStamped, "/gripper/pose", qos.reliable(1000))
        self.shown = self.posed = 0

    def connect(self) -> None:
        """Wait until whoever listens is there: umi_node to this, recorder_node to umi_node's."""
        ends = (self.pictures, self.poses)
        self.ros.wait_for(lambda: all(end.get_subscription_count() for end in ends), what="subscriptions")
        topics = ("/gripper/image", "/gripper/pose", "/gripper/joint_states")
        count = self.ros.node.count_subscribers
        self.ros.wait_for(lambda: [count(topic) for topic in topics] == [1, 2, 2], what="the recorder's subscriptions")

        def answered() -> bool:
            self._show()  # again, until whoever answers has found whoever listens
            self._pose()
            self.ros.executor.spin_once(timeout_sec=0.05)
            return bool(self.openings and self.tools)

        self.ros.wait_for(answered, what="umi_node's first answers")
        self.shown = self.posed = 1

    def move(self, until: float, tracked: bool = True) -> None:
        """Go on to `until` [s]: poses at 100 Hz, pictures at 30 Hz, each waited for."""
        while self.shown / 30 <= until:
            while tracked and self.posed / 100 <= self.shown / 30:
                self._pose()
                self.posed += 1
            self._show()
            self.shown += 1
            self.ros.wait_for(self.passed_on, what="what was published")

    def passed_on(self) -> bool:
        """Tell whether umi_node has answered to the last picture and the last pose."""
        from vla_ros.ros.convert import from_time

        last = [from_time(messages[-1].header.stamp) for messages in (self.openings, self.tools)]
        return last == [self._shown_at(self.shown - 1), self._posed_at(self.posed - 1)]

    def _show(self) -> None:
        from vla_ros.ros.convert import image_to_message

        picture = self.camera.picture(width(self.shown / 30))
        self.pictures.publish(image_to_message(self._shown_at(self.shown), "gripper", picture, "rgb8"))

    def _pose(self) -> None:
        from vla_ros.ros.convert import pose_to_message

        self.poses.publish(pose_to_message(self._posed_at(self.posed), "map", hand(self.posed / 100)))

    @staticmethod
    def _shown_at(number: int) -> int:
        return round(number * SECOND / 30)

    @staticmethod
    def _posed_at(number: int) -> int:
        return round(number * SECOND / 100) + round(LATENCY * SECOND)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TagCamera]:
    folder, camera = tmp_path_factory.mktemp("gripper"), TagCamera(SMALL)
    save_intrinsics(SMALL, folder / "camera.yaml", "gripper")
    from dataclasses import replace

    pictures = sweep(camera, np.concatenate([np.linspace(0, 0.08, 12), np.linspace(0.08, 0, 10)]))
    save_gripper(replace(calibrate_gripper(pictures, SMALL, (0.0, 0.08)), tool=tuple(TOOL)), folder / "gripper.yaml")
    text = load_contract("umi_gripper").text.replace("[240, 320, 3]", "[60, 80, 3]")
    pose = "align: interpolate, rate: 100, max_age: 0.1, latency: "
    assert pose in text
    (folder / "hand.yaml").write_text(text.replace(f"{pose}0.0", f"{pose}{LATENCY}"))
    return folder, camera


@pytest.fixture
def recording(ros: RosTest, calibrated: tuple[Path, TagCamera], tmp_path: Path) -> Iterator[tuple[Hand, Path]]:
    folder, camera = calibrated
    common = {"contract": folder / "hand.yaml", "use_sim_time": "true"}
    started = [
        start("umi_node", {**common, "camera_info": folder / "camera.yaml", "gripper": folder / "gripper.yaml"}),
        start("recorder_node", {**common, "root": tmp_path / "set", "task": "put the cup on the saucer"}),
    ]
    hand_ = Hand(ros, camera)
    hand_.connect()
    yield hand_, tmp_path / "set"
    for process in started:
        process.send_signal(signal.SIGINT)
    for process in started:
        process.communicate(timeout=20)


def start(node: str, parameters: dict[str, object]) -> subprocess.Popen[str]:
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-m", f"vla_ros.ros.nodes.{node}", "--ros-args", *words]
    return lifeline.start(command, os.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def ask(ros: RosTest, command: str) -> Any:
    from std_srvs.srv import Trigger

    return ros.call(Trigger, f"/recorder_node/{command}")


def begin(moving: Hand) -> float:
    """Keep the hand moving until the recorder has seen every stream and has begun; return the first row's time [s]."""

    def begun() -> Any:
        answer = ask(moving.ros, "start")
        if not answer.success:
            moving.move((moving.shown + 0.5) / 30)
        return answer if answer.success else None

    return float(json.loads(moving.ros.wait_for(begun, what="the start of the recording").message)["first"]) / SECOND


def test_an_episode_is_where_the_hand_truly_was(ros: RosTest, recording: tuple[Hand, Path]) -> None:
    from builtin_interfaces.msg import Time

    from vla_ros.ros.convert import from_time

    moving, root = recording
    progress: list[Time] = ros.collect(Time, "/recorder/progress")
    moving.move(0.2)
    first = begin(moving)
    moving.move(first + 1.2)
    ros.wait_for(lambda: progress and from_time(progress[-1]) >= (first + 1.1) * SECOND, what="1.1 s recorded")
    answer = ask(ros, "save")
    assert answer.success, answer.message
    told = json.loads(answer.message)
    assert (told["problem"], told["stale_rows"]) == ("", {})
    data = Dataset(root)
    times = first + np.arange(told["rows"]) / 30
    assert told["rows"] >= 30
    truth = np.array([compose(hand(t), TOOL) for t in times])
    then = np.array([compose(hand(t + 1 / 30), TOOL) for t in times])
    for values, wanted in ((data.column(POSE), truth), (data.column("action")[:, :7], then)):
        far, turned = distance(values, wanted)
        print(f"tool pose: at most {1e3 * far.max():.3f} mm and {np.degrees(turned.max()):.4f} degrees from the truth")
        assert far.max() < 2e-4  # interpolated over 10 ms, stored as float32
        assert turned.max() < np.radians(0.05)
    opening = np.array([width(t) for t in times])
    assert np.abs(data.column(STATE).reshape(-1) - opening).max() < 1.5e-3
    assert np.abs(data.column("action")[:, 7] - [width(t + 1 / 30) for t in times]).max() < 1.5e-3
    assert data.frames(WRIST, 0).shape == (told["rows"], 60, 80, 3)
    assert data.episodes[0].task == "put the cup on the saucer"
    assert data.contract.robot_free


def test_a_lost_tracker_ends_the_episode_and_what_was_right_is_kept(ros: RosTest, recording: tuple[Hand, Path]) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    moving, root = recording
    moving.move(0.2)
    first = begin(moving)
    moving.move(first + 0.4)
    moving.move(first + 1.8, tracked=False)
    ros.message(DiagnosticArray, "/diagnostics", matching=lambda m: any(POSE in s.message for s in m.status))
    answer = ask(ros, "save")
    assert answer.success, answer.message
    told = json.loads(answer.message)
    data = Dataset(root)
    assert 5 <= told["rows"] <= 15, told
    assert POSE in told["problem"]
    assert data.episodes[0].length == told["rows"]
    assert data.episodes[0].success is False and told["problem"] in data.notes[0][0].text
    moving.move(first + 1.9)  # it is found again
    assert moving.passed_on()
