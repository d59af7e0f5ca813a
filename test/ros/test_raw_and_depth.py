"""A run of the simulator with a depth camera and raw recording: depth as published, and files that others read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_contract import changed_contract
from rich.console import Console

from vla_ros.contract import load_contract
from vla_ros.data import Dataset
from vla_ros.data.bags.conversion import from_bag
from vla_ros.data.bags.events import TOPIC
from vla_ros.data.bags.reading import BagReader
from vla_ros.messages import depth_from_message

DEPTH, TOPIC_OF_DEPTH = "observation.depth.front", "/front_camera/depth/image_rect_raw"
STEP = np.log(13.5 / 3.51) / 4095  # of log(depth + 3.5 m): the format's 12 bits between 0.01 m and 10 m


@pytest.fixture(scope="module")
def collected(module_domain: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One episode of `reach`, with depth and a raw recording."""
    pytest.importorskip("rclpy", reason="needs ROS 2: source one, or pip install the extra 'ros'")
    from vla_ros.ros.collect import collect

    folder = tmp_path_factory.mktemp("deep")
    stream = {"topic": TOPIC_OF_DEPTH, "kind": "depth", "shape": [240, 320], "max_age": 0.1}
    contract = changed_contract(folder, {f"observation/{DEPTH}": stream})
    quiet = Console(file=io.StringIO())
    collect("reach", 1, 3, folder / "set", contract=str(contract), raw=True, console=quiet)
    return folder / "set"


def stamp_of(message: Any) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


@pytest.fixture(scope="module")
def raw(collected: Path) -> Path:
    return collected / "raw/chunk-000/file-000.mcap"


def test_recorded_depth_is_the_published_one_within_half_a_step_of_the_format(collected: Path, raw: Path) -> None:
    data = Dataset(collected)
    names = data.features["sync.stamp"].names
    assert names is not None
    stamps = data.column("sync.stamp", 0)[:, names.index(DEPTH)]
    with BagReader(raw) as bag:
        published = {stamp_of(m): depth_from_message(m) for _, _, m in bag.messages([TOPIC_OF_DEPTH])}
    frames = data.frames(DEPTH, 0)
    assert len(frames) == len(stamps) == data.num_frames > 30
    for stamp, frame in zip(stamps.tolist(), frames, strict=True):
        sent = published[stamp]
        measured = np.isfinite(sent) & (sent > 0.0)
        assert measured.mean() > 0.5 and np.array_equal(np.isfinite(frame), measured)
        bounded = np.clip(sent[measured], 0.01, 10.0)
        error = np.abs(np.log(frame[measured] + 3.5) - np.log(bounded + 3.5))
        assert error.max() <= STEP / 2 * 1.01
    assert np.nanstd(frames[0]) > 0.05, "the scene has depth"


def test_the_raw_recording_becomes_the_same_rows(collected: Path, raw: Path, tmp_path: Path) -> None:
    from_bag(raw, load_contract(collected / "meta/contract.yaml"), tmp_path / "again")
    live, again = Dataset(collected), Dataset(tmp_path / "again")
    assert again.num_frames == live.num_frames
    for key in ("observation.state", "action", "observation.wrench.tool", "sync.stamp"):
        assert np.array_equal(live.column(key), again.column(key)), key
    assert np.array_equal(live.frames(DEPTH, 0), again.frames(DEPTH, 0), equal_nan=True)


def test_mcap_itself_decodes_the_raw_recording_by_the_definitions_in_it(collected: Path, raw: Path) -> None:
    pytest.importorskip("mcap_ros2", reason="mcap-ros2-support is not installed")
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    data = Dataset(collected)
    said: dict[int, dict[str, float]] = {}
    counts: dict[str, int] = {}
    with raw.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()], validate_crcs=True)
        for _, channel, _, message in reader.iter_decoded_messages():
            counts[channel.topic] = counts.get(channel.topic, 0) + 1
            if channel.topic == "/joint_states":
                said[stamp_of(message)] = dict(zip(message.name, message.position, strict=True))
    topics = {spec.topic for spec in data.contract.observation.values()} | {"/gate/action", TOPIC}
    assert counts.keys() == topics and all(counts.values())
    names = data.features["sync.stamp"].names
    joints = data.features["observation.state"].names
    assert names is not None and joints is not None
    stamp = int(data.column("sync.stamp", 0)[5, names.index("observation.state")])
    assert data.column("observation.state", 0)[5] == pytest.approx(
        [said[stamp][name.removesuffix(".pos")] for name in joints], abs=1e-6
    )


def test_reruns_own_reader_opens_the_raw_recording(raw: Path) -> None:
    chunk = pytest.importorskip("rerun.chunk", reason="rerun-sdk with its chunk readers (0.41) is not installed")
    entities = {one.entity_path for one in chunk.McapReader(raw).stream().to_chunks()}
    assert {"/joint_states", TOPIC_OF_DEPTH, "/gate/action"} <= entities
