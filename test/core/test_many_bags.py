"""Bags converted side by side give the rows of bags converted one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recordings import FRONT, assert_same_pictures, record, small_contract
from spoiled import demonstrate
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.data import Dataset, DatasetWriter
from vla_ros.data.bags.many import from_bags
from vla_ros.data.bags.writing import to_bag
from vla_ros.data.tools.check import check_dataset
from vla_ros.errors import DatasetError


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bags, of two episodes with a note and of one."""
    folder = tmp_path_factory.mktemp("many")
    for name, episodes, seed in (("a", 2, 0), ("b", 1, 7)):
        demonstrate(folder / name, episodes=episodes, rows=40, seed=seed)
        if name == "a":
            with DatasetWriter(folder / name, small_contract()) as writer:
                writer.add_note("look here", 0.5, episode=1)
        to_bag(folder / name, folder / f"bag_{name}")
    return [folder / "bag_a", folder / "bag_b"]


def assert_equal(a: Path, b: Path) -> None:
    one, two = Dataset(a), Dataset(b)
    assert [(e.length, e.task, e.success) for e in one.episodes] == [
        (e.length, e.task, e.success) for e in two.episodes
    ]
    for key, feature in one.features.items():
        if not feature.is_video:
            assert np.array_equal(one.column(key), two.column(key)), key
    for e in range(one.num_episodes):
        assert_same_pictures(one, two, FRONT, e)
    assert one.notes == two.notes
    assert one.stats.keys() == two.stats.keys()
    for key, stats in one.stats.items():
        for name, value in stats.items():
            assert np.allclose(value, two.stats[key][name]), (key, name)


def test_bags_side_by_side_give_the_same_dataset_appended_to_what_is_there(bags: list[Path], tmp_path: Path) -> None:
    for name in ("turns", "sides"):
        record(tmp_path / name, (5,))
    from_bags(bags, small_contract(), tmp_path / "turns")
    (tmp_path / "small.yaml").write_text(small_contract().text)
    words = ["dataset", "from-bag", *map(str, bags), "--output", str(tmp_path / "sides"), "--jobs", "2"]
    result = CliRunner().invoke(app, [*words, "--contract", str(tmp_path / "small.yaml")])
    assert result.exit_code == 0, result.exception
    assert result.output.startswith("episode 1: 40 rows\nepisode 2: 40 rows\nepisode 3: 40 rows\n")
    assert_equal(tmp_path / "turns", tmp_path / "sides")
    assert [n.text for n in Dataset(tmp_path / "sides").notes[2]] == ["look here"]
    assert not [f for f in check_dataset(tmp_path / "sides").findings if f.kind in ("counts", "unreadable")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sides", "small.yaml", "turns"]


def test_the_episodes_of_one_bag_side_by_side_give_the_same_dataset(bags: list[Path], tmp_path: Path) -> None:
    turns = from_bags(bags[:1], small_contract(), tmp_path / "turns")
    sides = from_bags(bags[:1], small_contract(), tmp_path / "sides", jobs=3)
    assert turns == sides and [one.episode for one in sides] == [0, 1]
    assert_equal(tmp_path / "turns", tmp_path / "sides")


def test_a_bad_bag_among_them_leaves_the_dataset_as_it_was(bags: list[Path], tmp_path: Path) -> None:
    record(tmp_path / "set", (5,))
    with pytest.raises(DatasetError, match="bag '.*missing' does not exist"):
        from_bags([bags[0], tmp_path / "missing"], small_contract(), tmp_path / "set", jobs=2)
    assert Dataset(tmp_path / "set").num_episodes == 1
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
