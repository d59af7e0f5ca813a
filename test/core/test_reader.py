"""Reading a dataset, and what is said of a broken one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recordings import FRONT, TAXELS, WRENCH, number_of, record, row, small_contract

from vla_ros.data import Dataset
from vla_ros.errors import DatasetError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("read") / "set"
    record(folder, (9, 6, 11), tasks=("red", "blue"))
    return folder


@pytest.fixture
def broken(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    shutil.copytree(written, tmp_path / "set")
    return tmp_path / "set"


def test_columns_come_back_as_they_were_recorded(written: Path) -> None:
    data = Dataset(written)
    assert (data.num_episodes, data.num_frames, data.fps, len(data)) == (3, 26, 30, 26)
    assert data.column(WRENCH).shape == (26, 4, 6) and data.column(TAXELS).dtype == np.float32
    assert np.array_equal(data.column(WRENCH, 1), np.stack([row(k)[WRENCH] for k in range(6)]))
    assert np.array_equal(data.column(TAXELS, 2)[10], row(10)[TAXELS])
    assert np.array_equal(data.column("action")[9:15], data.column("action", 1))
    assert np.array_equal(data.column("sync.stamp", 0), np.stack([row(k)["sync.stamp"] for k in range(9)]))
    assert data.column("timestamp", 1) == pytest.approx(np.arange(6) / 30)
    assert data.column("success").tolist() == [True] * 9 + [False] * 6 + [True] * 11


def test_frames_come_back_in_their_rows(written: Path) -> None:
    frames = Dataset(written).frames(FRONT, 2)
    assert frames.shape == (11, 48, 64, 3) and frames.dtype == np.uint8
    assert [number_of(frame) for frame in frames] == list(range(11))


def test_episodes_tell_length_task_and_outcome(written: Path) -> None:
    data = Dataset(written)
    assert [(e.length, e.from_index, e.to_index) for e in data.episodes] == [
        (9, 0, 9),
        (6, 9, 15),
        (11, 15, 26),
    ]
    assert [e.task for e in data.episodes] == ["red", "blue", "red"] and data.tasks == ["red", "blue"]
    assert [e.success for e in data.episodes] == [True, False, True]
    assert data.contract.differences(small_contract()) == []
    assert data.cameras == [FRONT]


def test_episodes_that_share_files_are_told_apart(broken: Path) -> None:
    """Merged datasets, and LeRobot's own, hold several episodes per file."""
    chunk = broken / "data/chunk-000"
    tables = [pq.read_table(chunk / f"file-{i:03d}.parquet") for i in range(3)]
    pq.write_table(pa.concat_tables(tables), chunk / "file-000.parquet")
    episodes = []
    for i in range(3):
        path = broken / f"meta/episodes/chunk-000/file-{i:03d}.parquet"
        table = pq.read_table(path)
        where = table.column_names.index("data/file_index")
        episodes.append(table.set_column(where, "data/file_index", pa.array([0])))
        path.unlink()
    pq.write_table(pa.concat_tables(episodes), broken / "meta/episodes/chunk-000/file-000.parquet")
    data = Dataset(broken)
    assert len(data.column("action")) == 26
    assert np.array_equal(data.column(WRENCH, 2), np.stack([row(k)[WRENCH] for k in range(11)]))


def test_an_unknown_column_or_camera_is_refused_with_the_valid_ones(written: Path) -> None:
    data = Dataset(written)
    with pytest.raises(DatasetError, match=r"unknown column 'actoin' \(did you mean 'action'\?\)"):
        data.column("actoin")
    with pytest.raises(DatasetError, match=r"unknown camera 'action'; valid: observation.images.front"):
        data.frames("action", 0)
    with pytest.raises(DatasetError, match=r"no episode 3; valid: 0..2"):
        data.frames(FRONT, 3)


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a dataset"):
        Dataset(tmp_path)


def test_another_version_of_the_format_is_refused(broken: Path) -> None:
    info = json.loads((broken / "meta/info.json").read_text()) | {"codebase_version": "v2.1"}
    (broken / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(DatasetError, match=r"codebase_version v2.1; valid: v3.0"):
        Dataset(broken)


@pytest.mark.parametrize(
    ("file", "reading"),
    [
        ("meta/info.json", lambda root: Dataset(root)),
        ("meta/stats.json", lambda root: Dataset(root).stats),
        ("meta/tasks.parquet", lambda root: Dataset(root).tasks),
        ("meta/contract.yaml", lambda root: Dataset(root).contract),
        ("meta/episodes/chunk-000/file-001.parquet", lambda root: Dataset(root).episodes),
        ("data/chunk-000/file-001.parquet", lambda root: Dataset(root).column("action")),
        (f"videos/{FRONT}/chunk-000/file-001.mp4", lambda root: Dataset(root).frames(FRONT, 1)),
    ],
)
def test_a_corrupt_or_missing_file_is_named(broken: Path, file: str, reading: object) -> None:
    content = (broken / file).read_bytes()
    (broken / file).write_bytes(b"\x00garbage" + content[: len(content) // 3])
    with pytest.raises(DatasetError, match=file.split("/")[-1].replace(".", r"\.") + "|no usable contract"):
        reading(broken)  # type: ignore[operator]
    (broken / file).unlink()
    with pytest.raises(DatasetError):
        reading(broken)  # type: ignore[operator]


def test_a_video_that_is_too_short_is_named(broken: Path) -> None:
    folder = broken / f"videos/{FRONT}/chunk-000"
    shutil.copy(folder / "file-001.mp4", folder / "file-002.mp4")
    with pytest.raises(DatasetError, match=r"file-002.mp4' has 6 frames from 0.000 s on, the dataset says 11"):
        Dataset(broken).frames(FRONT, 2)


def test_an_empty_dataset_reads_as_empty(tmp_path: Path) -> None:
    record(tmp_path / "set", ())
    data = Dataset(tmp_path / "set")
    assert data.episodes == [] and data.tasks == [] and data.column(WRENCH).shape == (0, 4, 6)
