"""Encoding at the edge on a real graph: camera_node makes tokens of a film, and the policy acts on them as on pixels."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_contract import patient_contract
from ros_support import RosTest
from safetensors.numpy import load_file, save_file

from vla_ros.cli import SHIPPED
from vla_ros.contract import Contract, load_contract
from vla_ros.emulators.clip import write_clip
from vla_ros.messages import from_time
from vla_ros.observation import Aligner, Observation
from vla_ros.paths import share_path
from vla_ros.policy import load_policy
from vla_ros.ros import lifeline
from vla_ros.tokens import Tokens, with_tokens

ROOT = Path(__file__).resolve().parents[2]
FRONT, TOPIC = "observation.images.front", "/front_camera/color/image_raw"
TASK = "place the red cube into the bin"
Start = Callable[..., None]


@pytest.fixture
def start(ros: RosTest) -> Iterator[Start]:
    processes = []

    def start_node(module: str, name: str, **parameters: object) -> None:
        command = [sys.executable, "-m", f"vla_ros.ros.nodes.{module}", "--ros-args", "-r", f"__node:={name}"]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={value}"]
        processes.append(lifeline.start(command, os.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True))

    yield start_node
    for process in processes:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def other_weights(folder: Path) -> Path:
    """Return a checkpoint that differs from the shipped one by a little in one weight of the picture's encoder."""
    shutil.copytree(share_path(SHIPPED), folder)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.startswith("encoders.observation-images-front"))
    save_file({**weights, name: weights[name] + np.float32(1e-3)}, folder / "model.safetensors")
    return folder


def touched(contract: Contract) -> dict[str, Any]:
    """Return a value for every stream but the pictures."""
    rng = np.random.default_rng(0)
    values = {s.key: rng.normal(size=s.value_shape).astype(np.float32) for s in contract.streams("wrench", "taxels")}
    values[contract.state.key] = np.zeros(contract.state.shape, np.float32)
    wrist = rng.integers(0, 255, contract.observation["observation.images.wrist"].shape)
    return values | {"task": TASK, "observation.images.wrist": wrist.astype(np.uint8)}


def test_the_tokens_of_a_film_give_the_action_that_its_pictures_give(
    ros: RosTest, start: Start, tmp_path: Path
) -> None:
    from vla_ros.ros.subscribe import observe

    contract = load_contract("tabletop_arm")
    aligners = {"pixels": Aligner(contract), "tokens": Aligner(with_tokens(contract, [FRONT]))}
    stamps: dict[str, set[int]] = {name: set() for name in aligners}
    for name, aligner in aligners.items():
        seen = stamps[name]
        observe(ros.node, aligner.contract, aligner, on_sample=lambda key, stamp, seen=seen: seen.add(stamp))
    film = write_clip(tmp_path / "film.mp4", (320, 240), rate=10)
    start("camera_node", "front_camera", device=film, encoder=share_path(SHIPPED), instruction=TASK)
    ros.wait_for(lambda: len(stamps["pixels"] & stamps["tokens"]) >= 3, 120, "pictures and tokens of the same stamps")

    policy, rest = load_policy(share_path(SHIPPED)), touched(contract)
    for stamp in sorted(stamps["pixels"] & stamps["tokens"])[-3:]:
        value = {name: aligner.align(stamp).values[FRONT] for name, aligner in aligners.items()}
        assert isinstance(value["tokens"], Tokens) and value["pixels"].dtype == np.uint8
        chunks = [policy.predict(Observation(stamp, {**rest, FRONT: value[name]})).values for name in aligners]
        np.testing.assert_allclose(chunks[1], chunks[0], atol=1e-5)
        assert aligners["tokens"].align(stamp + 5_000_000).age[FRONT] == pytest.approx(0.005)


def test_the_policy_node_drives_by_tokens_and_names_those_of_another_encoder(
    ros: RosTest, start: Start, tmp_path: Path
) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from geometry_msgs.msg import WrenchStamped
    from sensor_msgs.msg import CompressedImage, Image, JointState
    from std_msgs.msg import String
    from trajectory_msgs.msg import JointTrajectory

    from vla_ros.ros import qos
    from vla_ros.ros.convert import image_to_message, joints_to_message, wrench_to_message
    from vla_ros.ros.edge import tokens_to_message

    contract = load_contract(patient_contract(tmp_path))
    values, said = touched(contract), [""]
    chunks = ros.collect(JointTrajectory, "/policy/chunk", 100)

    def hear(message: Any) -> None:
        said.extend(status.message for status in message.status if status.name.startswith("policy_node"))

    ros.node.create_subscription(DiagnosticArray, "/diagnostics", hear, 100)
    joints = ros.node.create_publisher(JointState, contract.state.topic, qos.COMMAND)
    wrench = ros.node.create_publisher(WrenchStamped, "/tool/wrench", qos.COMMAND)
    words = ros.node.create_publisher(String, "/instruction", qos.LATCHED)
    words.publish(String(data=TASK))
    images = {
        s.key: (ros.node.create_publisher(Image, s.topic, qos.COMMAND), "rgb8" if s.kind == "image" else "32FC3")
        for s in contract.streams("image", "taxels")
        if s.key != FRONT
    }

    def publish() -> None:
        stamp = ros.node.get_clock().now().nanoseconds
        zeros = dict.fromkeys(contract.joint_names, 0.0)
        joints.publish(joints_to_message(stamp, zeros, zeros, zeros))
        wrench.publish(wrench_to_message(stamp, "tool0", [0.0] * 6))
        for key, (publisher, encoding) in images.items():
            publisher.publish(image_to_message(stamp, key, values[key], encoding))

    ros.node.create_timer(0.02, publish)
    start("policy_node", "policy_node", contract=contract.source, checkpoint=share_path(SHIPPED), tokens=f"[{FRONT}]")
    ros.wait_for(lambda: f"no data yet on {TOPIC}/tokens" in said[-1], 120, "the policy waiting for tokens")

    wrong = ros.node.create_publisher(CompressedImage, f"{TOPIC}/tokens", qos.COMMAND)
    stranger = tokens_to_message(Tokens(np.zeros((1, 96), np.float32), "00ff", "ab"), "float32", 5, "front")
    timer = ros.node.create_timer(0.1, lambda: wrong.publish(stranger))
    ros.wait_for(
        lambda: "tokens of encoder 00ff, but the policy's is" in said[-1], 60, "diagnostics naming the encoder"
    )
    assert all(not chunk.points for chunk in chunks)
    ros.node.destroy_timer(timer)

    film = write_clip(tmp_path / "film.mp4", (320, 240), rate=10)
    start("camera_node", "front_camera", device=film, encoder=share_path(SHIPPED))
    ros.wait_for(lambda: said[-1] == "acting" and any(chunk.points for chunk in chunks), 120, "chunks made of tokens")
    assert from_time(chunks[-1].header.stamp) > 5


def test_a_camera_says_what_it_cannot_encode(ros: RosTest, start: Start, tmp_path: Path) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import CompressedImage

    said: list[Any] = []
    ros.node.create_subscription(DiagnosticArray, "/diagnostics", lambda array: said.extend(array.status), 10)
    ros.collect(CompressedImage, f"{TOPIC}/tokens")
    film = write_clip(tmp_path / "film.mp4", (160, 120), rate=10)
    start("camera_node", "front_camera", device=film, encoder=other_weights(tmp_path / "other"))
    wrong = f"samples of [120, 160, 3] are not encoded: '{FRONT}' of the checkpoint is [240, 320, 3]"
    ros.wait_for(lambda: any(wrong in s.message for s in said), 120, "a warning")
    command = [sys.executable, "-m", "vla_ros.ros.nodes.camera_node", "--ros-args", "-p", f"device:={film}"]
    refused = subprocess.run(
        [*command, "-p", f"encoder:={share_path(SHIPPED)}"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert refused.returncode == 1
    assert "unknown topic '/camera_node/color/image_raw'" in refused.stderr.strip().splitlines()[-1]
