"""Rerun's own readers: what `dataset view --rerun` wrote holds the dataset's values; its LeRobot importer opens a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from recordings import FRONT, TAXELS, WRENCH, row, small_contract
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.data import Dataset, DatasetWriter

chunks = pytest.importorskip("rerun.chunk", reason="rerun-sdk with its chunk readers (0.41) is not installed")
ROWS = 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes of every kind of stream: pictures, joints, windows and taxels."""
    folder = tmp_path_factory.mktemp("rerun") / "set"
    with DatasetWriter(folder, small_contract()) as writer:
        for _ in range(2):
            writer.start_episode("do it")
            for k in range(ROWS):
                writer.add_frame(row(k))
            writer.add_note("look here", 0.5)
            writer.save_episode()
    return folder


def columns(found: list[Any], entity: str, component: str) -> tuple[np.ndarray, np.ndarray]:
    """Return times [s] (or frames, where the time line counts them) and values of an entity, without its constants."""
    rows: list[tuple[int, Any]] = []
    for batch in (one.to_record_batch() for one in found if one.entity_path == entity and not one.is_static):
        line = next(name for name in batch.schema.names if name in ("time", "frame_index"))
        rows += zip(batch[line].cast(pa.int64()).to_pylist(), batch[component].to_pylist(), strict=True)
    rows.sort(key=lambda row: row[0])
    scale = 1e-9 if line == "time" else 1
    return np.array([at for at, _ in rows]) * scale, np.array([value for _, value in rows])


def test_a_recording_of_ours_holds_the_datasets_values_at_their_times(root: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["dataset", "view", str(root), "--rerun", str(tmp_path / "set.rrd")])
    assert result.exit_code == 0, result.exception
    found = chunks.RrdReader(tmp_path / "set.rrd").stream().to_chunks()
    data = Dataset(root)
    for episode in range(2):
        for key in ("observation.state", "action"):
            entity = f"/episode_{episode}/{key.replace('.', '/')}"
            times, values = columns(found, entity, "Scalars:scalars")
            assert np.array_equal(values, data.column(key, episode)), entity
            assert times == pytest.approx(np.arange(ROWS) / 30, abs=1e-6)
        times, text = columns(found, f"/episode_{episode}/notes", "TextLog:text")
        assert text.tolist() == [["look here"]] and times[0] == 0.5
        pictures = [c for c in found if c.entity_path == f"/episode_{episode}/{FRONT.replace('.', '/')}"]
        assert sum(c.num_rows for c in pictures if not c.is_static) == ROWS
        assert sum(c.num_rows for c in pictures if c.is_static) == 1, "the video itself"


def test_reruns_lerobot_importer_opens_a_dataset_of_ours(root: Path) -> None:
    experimental = pytest.importorskip("rerun.experimental")
    if not hasattr(experimental, "LeRobotReader"):
        pytest.skip("this rerun-sdk has no LeRobotReader")
    found = experimental.LeRobotReader(root).stream(1).to_chunks()
    data = Dataset(root)
    for key in ("observation.state", WRENCH, TAXELS, "action"):
        frames, values = columns(found, f"/{key}", "Scalars:scalars")
        want = data.column(key, 1).reshape(ROWS, -1)
        assert frames.tolist() == list(range(ROWS)) and np.array_equal(values, want), key
    pictures = [one.to_record_batch() for one in found if one.entity_path == f"/{FRONT}" and not one.is_static]
    assert {frame for batch in pictures for frame in batch["frame_index"].to_pylist()} == set(range(ROWS))
