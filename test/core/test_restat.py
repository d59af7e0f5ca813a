"""Stored statistics are compared with the data, and put right."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recordings import FRONT
from spoiled import demonstrate
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.data import Dataset
from vla_ros.data.tools.restat import restat


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demonstrate(tmp_path_factory.mktemp("stats") / "set", episodes=3, rows=40)


@pytest.fixture
def root(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "set"))


def spoil_episode(root: Path, episode: int, column: str, value: object) -> None:
    path = root / f"meta/episodes/chunk-000/file-{episode:03d}.parquet"
    row = pq.read_table(path).to_pylist()[0] | {column: value}
    pq.write_table(pa.Table.from_pylist([row], schema=pq.read_schema(path)), path)


def test_what_the_recorder_wrote_is_right(good: Path) -> None:
    assert restat(good, video=True) == []
    assert restat(good, jobs=2) == []


def test_a_wrong_mean_of_the_dataset_is_found_and_repaired(root: Path, good: Path) -> None:
    stats = json.loads((root / "meta/stats.json").read_text())
    stats["action"]["mean"][0] = 7.0
    (root / "meta/stats.json").write_text(json.dumps(stats))
    (line,) = restat(root)
    assert line.startswith("meta/stats.json: 'action' mean is [7, ")
    assert restat(root, repair=True) == [line] and restat(root) == []
    assert np.allclose(Dataset(root).stats["action"]["mean"], Dataset(good).stats["action"]["mean"])


def test_wrong_and_missing_statistics_of_an_episode_are_repaired(root: Path) -> None:
    spoil_episode(root, 1, "stats/action/std", [9.0, 9.0])
    spoil_episode(root, 2, "stats/observation.state/q50", None)
    found = restat(root)
    assert any(line.startswith("episode 1: 'action' std") for line in found)
    assert "episode 2: 'observation.state' has no min" in found or "episode 2: 'observation.state' has no q50" in found
    restat(root, repair=True)
    assert restat(root) == [] and Dataset(root).num_episodes == 3


def test_wrong_statistics_of_pictures_are_seen_with_video_only(root: Path) -> None:
    spoil_episode(root, 0, f"stats/{FRONT}/mean", [[[0.9]], [[0.9]], [[0.9]]])
    assert not any(line.startswith("episode") for line in restat(root))
    assert any(line.startswith(f"episode 0: '{FRONT}' mean") for line in restat(root, video=True))
    restat(root, repair=True, video=True)
    assert restat(root, video=True) == []


def test_the_command_exits_with_1_until_it_is_repaired(root: Path) -> None:
    spoil_episode(root, 1, "stats/action/std", [9.0, 9.0])
    run = CliRunner().invoke
    assert run(app, ["dataset", "stats", str(root)]).exit_code == 1
    assert run(app, ["dataset", "stats", str(root), "--repair"]).exit_code == 0
    result = run(app, ["dataset", "stats", str(root)])
    assert result.exit_code == 0 and "statistics good" in result.output


def test_a_folder_that_cannot_be_written_is_one_clear_error(root: Path) -> None:
    spoil_episode(root, 1, "stats/action/std", [9.0, 9.0])
    shutil.rmtree(root / ".vla_ros")
    (root / ".vla_ros").write_text("in the way")  # also stops root, whom permissions do not
    before = sorted(os.walk(root))
    result = CliRunner().invoke(app, ["dataset", "stats", str(root), "--repair"])
    assert result.exit_code == 1 and "cannot be written" in str(result.exception)
    assert sorted(os.walk(root)) == before
