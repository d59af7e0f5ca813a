"""A dataset becomes a bag and a bag a dataset, and what is wrong with a bag is said in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import FRONT, TAXELS, WRENCH, small_contract
from spoiled import demonstrate
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.data import Dataset
from vla_ros.data.bags.conversion import from_bag
from vla_ros.data.bags.events import TOPIC
from vla_ros.data.bags.reading import BagReader
from vla_ros.data.bags.schemas import typestore
from vla_ros.data.bags.writing import to_bag
from vla_ros.errors import DatasetError

SECOND = 1_000_000_000
KEYS = ("observation.state", WRENCH, TAXELS, "action", "success", "timestamp")
Change = Callable[[str, int, Any], "tuple[int, Any] | None"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset of two episodes, and its bag."""
    folder = tmp_path_factory.mktemp("bags")
    demonstrate(folder / "set", episodes=2, rows=45)
    to_bag(folder / "set", folder / "bag")
    return folder / "set", folder / "bag"


def rewritten(source: Path, target: Path, change: Change, sqlite: bool = False) -> Path:
    """Write a bag's messages, as `change(topic, time, message)` wants them, as another bag."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    store, connections = typestore(), {}
    plugin = StoragePlugin.SQLITE3 if sqlite else StoragePlugin.MCAP
    with BagReader(source) as reader, Writer(target, version=8, storage_plugin=plugin) as writer:
        for topic, time, message in reader.messages(list(reader.types)):
            changed = change(topic, time, message)
            if changed is not None:
                kind = reader.types[topic]
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=store)
                writer.write(connections[topic], changed[0], store.serialize_cdr(changed[1], kind))
    return target


def assert_same_rows(new: Dataset, old: Dataset) -> None:
    assert [(e.length, e.task, e.success) for e in new.episodes] == [
        (e.length, e.task, e.success) for e in old.episodes
    ]
    for key in KEYS:
        assert np.allclose(new.column(key), old.column(key), atol=1e-6), key
    for episode in range(old.num_episodes):
        difference = new.frames(FRONT, episode).astype(int) - old.frames(FRONT, episode)
        assert np.abs(difference).mean() < 2.0


@pytest.mark.parametrize("sqlite", [False, True])
def test_a_bag_of_a_dataset_gives_the_same_rows(recorded: tuple[Path, Path], tmp_path: Path, sqlite: bool) -> None:
    bag = rewritten(recorded[1], tmp_path / "bag", lambda topic, time, message: (time, message), sqlite)
    made = from_bag(bag, small_contract(), tmp_path / "set")
    assert [(one.episode, one.rows) for one in made] == [(0, 45), (1, 45)]
    assert_same_rows(Dataset(tmp_path / "set"), Dataset(recorded[0]))


def test_ages_and_order_of_stamps_survive(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    from_bag(recorded[1], small_contract(), tmp_path / "set")
    new, old = Dataset(tmp_path / "set"), Dataset(recorded[0])
    assert np.allclose(new.column("sync.age")[:, 2:], old.column("sync.age")[:, 2:], atol=1e-6)
    moved = new.column("sync.stamp", 1)[:, 3] - old.column("sync.stamp", 1)[:, 3]
    assert len(set(moved.tolist())) == 1 and moved[0] % SECOND == 0


def test_a_single_mcap_file_is_a_bag_too(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    file = next(recorded[1].glob("*.mcap"))
    from_bag(shutil.copy(file, tmp_path / "one.mcap"), small_contract(), tmp_path / "set")
    assert_same_rows(Dataset(tmp_path / "set"), Dataset(recorded[0]))


def test_a_bag_without_the_recorders_events_is_one_episode(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    to_bag(recorded[0], tmp_path / "one", episodes=[1])

    def without_events(topic: str, time: int, message: Any) -> Any:
        return None if topic == TOPIC else (time, message)

    bag = rewritten(tmp_path / "one", tmp_path / "bag", without_events)
    (made,) = from_bag(bag, small_contract(), tmp_path / "set", task="say it", success=False)
    new, old = Dataset(tmp_path / "set"), Dataset(recorded[0])
    assert made.rows == 45 and new.episodes[0].success is False
    assert np.allclose(new.column("observation.state"), old.column("observation.state", 1), atol=1e-6)


def test_a_discarded_attempt_is_left_out(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    def discard_first(topic: str, time: int, message: Any) -> Any:
        if topic == TOPIC and '"save"' in message.data and time < 3 * SECOND:
            message.data = '{"kind": "discard"}'
        return time, message

    bag = rewritten(recorded[1], tmp_path / "bag", discard_first)
    assert [one.rows for one in from_bag(bag, small_contract(), tmp_path / "set")] == [45]
    new, old = Dataset(tmp_path / "set"), Dataset(recorded[0])
    assert np.allclose(new.column("observation.state"), old.column("observation.state", 1), atol=1e-6)


@pytest.mark.parametrize(("topic", "named"), [("/wrench", "/wrench"), ("/gate/action", "/gate/action")])
def test_a_missing_topic_is_named_with_those_that_are_there(
    recorded: tuple[Path, Path], tmp_path: Path, topic: str, named: str
) -> None:
    bag = rewritten(recorded[1], tmp_path / "bag", lambda t, time, message: None if t == topic else (time, message))
    with pytest.raises(DatasetError, match=f"has no messages on '{named}'; it has: /f"):
        from_bag(bag, small_contract(), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_clock_that_jumps_back_inside_an_episode_is_refused_and_spares_what_is_saved(
    recorded: tuple[Path, Path], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(recorded[0], tmp_path / "set"))

    def jump(topic: str, time: int, message: Any) -> Any:
        if hasattr(message, "header") and time > 1.7 * SECOND:
            message.header.stamp.nanosec, message.header.stamp.sec = time % SECOND // 4, 0
        return time, message

    bag = rewritten(recorded[1], tmp_path / "bag", jump)
    with pytest.raises(DatasetError, match="episode 0: the clock jumped back after"):
        from_bag(bag, small_contract(), root)
    assert_same_rows(Dataset(root), Dataset(recorded[0]))


@pytest.mark.parametrize("keep", [0, 100, 20_000])
def test_a_corrupt_bag_is_one_clear_error(recorded: tuple[Path, Path], tmp_path: Path, keep: int) -> None:
    bag = Path(shutil.copytree(recorded[1], tmp_path / "bag"))
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:keep])
    command = ["dataset", "from-bag", str(bag), "--output", str(tmp_path / "set")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1 and isinstance(result.exception, DatasetError)
    assert str(result.exception).startswith(f"bag '{bag}' cannot be read: ") and "\n" not in str(result.exception)
    assert not (tmp_path / "set").exists()


def test_a_bag_that_is_not_there_and_another_contract_are_refused(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere' does not exist"):
        from_bag(tmp_path / "nowhere", small_contract(), tmp_path / "set")
    with pytest.raises(DatasetError, match=r"/joint_states: unknown joint 'c'"):
        from_bag(recorded[1], small_contract(names="a.pos, c.pos"), tmp_path / "set")
    root = Path(shutil.copytree(recorded[0], tmp_path / "old"))
    with pytest.raises(DatasetError, match="recorded with another contract"):
        from_bag(recorded[1], small_contract(names="b.pos, a.pos"), root)
    assert Dataset(root).num_episodes == 2


def test_the_commands_go_both_ways(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(small_contract().text)
    run = CliRunner().invoke
    result = run(app, ["dataset", "to-bag", str(recorded[0]), "--output", str(tmp_path / "bag"), "--episodes", "1"])
    assert result.exit_code == 0 and result.output.startswith(f"{tmp_path / 'bag'}: ")
    options = ["--contract", str(tmp_path / "small.yaml"), "--output", str(tmp_path / "set")]
    result = run(app, ["dataset", "from-bag", str(tmp_path / "bag"), *options])
    assert result.output == f"episode 0: 45 rows\n{tmp_path / 'set'}: 1 episodes, 45 rows\n"
    result = run(app, ["dataset", "to-bag", str(recorded[0]), "--output", str(tmp_path / "bag")])
    assert result.exit_code == 1 and "exists already" in str(result.exception)
