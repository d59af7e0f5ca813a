"""The same run, recorded live and converted from its bag, gives the same rows: on the lockstep graph, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from recordings import assert_same_pictures
from ros_support import RosTest

from vla_ros.contract import load_contract
from vla_ros.data import Dataset
from vla_ros.data.bags.conversion import from_bag
from vla_ros.data.bags.events import GATE_TOPIC, GATE_TYPE, TOPIC, TYPE, EpisodeEvent
from vla_ros.data.bags.raw import RawFile
from vla_ros.data.bags.reading import BagReader
from vla_ros.data.tools.check import check_dataset
from vla_ros.data.tools.extras import raw_path
from vla_ros.messages import type_name

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # collects two episodes first


def record_bag(ros: RosTest, file: RawFile) -> None:
    """Write every message of the recorded topics to `file`, as a bag recorder beside the graph would."""
    from vla_ros.ros import qos
    from vla_ros.ros.convert import class_of

    streams = load_contract("tabletop_arm").observation.values()
    topics = {spec.topic: type_name(spec.kind, spec.topic) for spec in streams}
    for topic, name in {**topics, GATE_TOPIC: GATE_TYPE, TOPIC: TYPE}.items():
        file.add(topic, name)
        profile = qos.reliable(1000) if topic == TOPIC else qos.exchanged(1000, lockstep=True)

        def write(data: bytes, topic: str = topic) -> None:
            file.write(topic, time.time_ns(), data)

        ros.node.create_subscription(class_of(name), topic, write, profile, raw=True)


@pytest.fixture(scope="module")
def run(module_domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The dataset of a lockstep run with raw recordings, and the bag of the same run.

    A bag recorder that discovers the graph late has missed the beginning: then the run is recorded again.
    """
    for _ in range(3):
        live, bag = recorded(module_domain, tmp_path_factory.mktemp("parity"))
        with BagReader(bag) as reader:
            kinds = [EpisodeEvent.from_text(event.data).kind for _, _, event in reader.messages([TOPIC])]
        if kinds == ["start", "save"] * 2:
            break
    yield live, bag


def recorded(module_domain: int, folder: Path) -> tuple[Path, Path]:
    """Collect two episodes in `folder` and record the bag beside."""
    ros, file = RosTest(module_domain), RawFile(folder / "run.mcap")
    try:
        record_bag(ros, file)
        options = ["--task", "reach", "--episodes", "2", "--seed", "1000", "--output", str(folder / "live"), "--raw"]
        command = [sys.executable, "-m", "vla_ros.cli", "collect", *options]
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ.copy(), stdout=subprocess.PIPE, text=True)
        ros.wait_for(lambda: process.poll() is not None, deadline=240, what="the end of the collection")
        output, _ = process.communicate()
        assert process.returncode == 0, output
    finally:
        ros.close()
    assert file.close() > 1000
    return folder / "live", folder / "run.mcap"


def assert_equal(new: Dataset, index: int, live: Dataset, live_index: int) -> None:
    assert (new.episodes[index].length, new.episodes[index].task) == (
        live.episodes[live_index].length,
        live.episodes[live_index].task,
    )
    for key, feature in live.features.items():
        if feature.is_video:
            assert_same_pictures(new, live, key, index, live_index)
        elif key not in ("index", "episode_index", "task_index"):
            assert np.array_equal(new.column(key, index), live.column(key, live_index)), key


def test_a_bag_of_the_run_gives_the_recorded_rows(run: tuple[Path, Path], tmp_path: Path) -> None:
    live = Dataset(run[0])
    made = from_bag(run[1], live.contract, tmp_path / "converted")
    assert [one.rows for one in made] == [e.length for e in live.episodes]
    converted = Dataset(tmp_path / "converted")
    for index in range(2):
        assert_equal(converted, index, live, index)


def test_a_raw_recording_gives_the_rows_of_its_episode(run: tuple[Path, Path], tmp_path: Path) -> None:
    live = Dataset(run[0])
    for index in range(2):
        from_bag(raw_path(run[0], index), live.contract, tmp_path / "converted")
        assert_equal(Dataset(tmp_path / "converted"), index, live, index)
    assert check_dataset(run[0]).findings == []
