"""Merging: fewer files, the same rows and the same frames to the bit, and no crash that a reader could notice."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from recordings import DEPTH, FRONT, deep_contract, deep_row, record, row, small_contract

from vla_ros.data import Dataset, DatasetWriter, VideoSettings, layout
from vla_ros.data.merge import merge_files
from vla_ros.errors import DatasetError

LENGTHS = (9, 6, 11, 4, 7)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "set"
    record(folder, LENGTHS, tasks=("red", "blue"))
    return folder


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path / "set")
    return tmp_path / "set"


def content(root: Path) -> list[object]:
    """Return everything that a reader gets of a dataset."""
    data = Dataset(root)
    facts = [(e.index, e.length, e.from_index, e.to_index, e.tasks, e.success) for e in data.episodes]
    columns = {key: data.column(key).tobytes() for key, f in data.features.items() if not f.is_video}
    frames = {(key, e.index): data.frames(key, e.index).tobytes() for key in data.cameras for e in data.episodes}
    return [facts, columns, frames, data.tasks]


def files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and ".vla_ros" not in p.parts)


def limits(root: Path, data: float, video: float) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    info |= {"data_files_size_in_mb": data, "video_files_size_in_mb": video}
    (root / "meta/info.json").write_text(json.dumps(info))


def test_many_files_become_one_of_each_kind_with_the_same_content(root: Path) -> None:
    before = content(root)
    merged = merge_files(root)
    assert (merged.before, merged.after) == (15, 3) and merged.text == "15 files are now 3"
    assert content(root) == before
    assert [p for p in files(root) if "chunk" in p] == [
        "data/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        f"videos/{FRONT}/chunk-000/file-000.mp4",
    ]
    assert pq.ParquetFile(root / "data/chunk-000/file-000.parquet").num_row_groups == len(LENGTHS)
    rows = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    starts = np.concatenate([[0], np.cumsum(LENGTHS)])
    for i, one in enumerate(rows):
        assert one[f"videos/{FRONT}/from_timestamp"] == starts[i] / 30
        assert one[f"videos/{FRONT}/to_timestamp"] == starts[i + 1] / 30
        assert {one[f"{place}/file_index"] for place in ("data", "meta/episodes", f"videos/{FRONT}")} == {0}
    with av.open(str(root / f"videos/{FRONT}/chunk-000/file-000.mp4")) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx([k / 30 for k in range(sum(LENGTHS))], abs=1e-9)


def test_merging_again_changes_nothing(root: Path) -> None:
    merge_files(root)
    before = {p: (root / p).stat().st_ino for p in files(root)}
    merged = merge_files(root)
    assert merged.before == merged.after == 3 and merged.text == "nothing to merge"
    assert {p: (root / p).stat().st_ino for p in files(root)} == before


def test_files_grow_to_the_stated_sizes_only(root: Path) -> None:
    before = content(root)
    video = [(root / layout.video_file(FRONT, i)).stat().st_size for i in range(5)]
    limits(root, data=1e-6, video=(video[0] + video[1]) / 1e6)
    assert merge_files(root).after < 15
    assert content(root) == before
    assert len([p for p in files(root) if p.startswith("data/")]) == 5  # none fits beside another
    assert 2 < len([p for p in files(root) if p.startswith("videos/")]) < 5


def test_recording_goes_on_after_a_merge_and_can_be_merged_again(root: Path) -> None:
    merge_files(root)
    record(root, (5, 3), tasks=("green",))
    before = content(root)
    assert merge_files(root).after == 3
    assert content(root) == before
    assert [e.length for e in Dataset(root).episodes] == [*LENGTHS, 5, 3]


def test_an_open_reader_survives_a_merge(root: Path) -> None:
    data = Dataset(root)
    before = [data.column("action", e.index).tobytes() for e in data.episodes]
    frames = [data.frames(FRONT, e.index).tobytes() for e in data.episodes]
    merge_files(root)
    assert [data.column("action", i).tobytes() for i in range(5)] == before
    assert [data.frames(FRONT, i).tobytes() for i in range(5)] == frames


def test_depth_and_videos_of_another_codec_are_merged_with_their_like_only(tmp_path: Path) -> None:
    for codec in ("libx264", "libx265"):
        with DatasetWriter(tmp_path / "set", deep_contract(), VideoSettings(codec=codec)) as writer:
            for length in (5, 4):
                writer.start_episode("do it")
                for k in range(length):
                    writer.add_frame(deep_row(k))
                writer.save_episode()
    before = content(tmp_path / "set")
    merge_files(tmp_path / "set")
    assert content(tmp_path / "set") == before
    videos = [p for p in files(tmp_path / "set") if p.endswith(".mp4")]
    assert len([p for p in videos if DEPTH in p]) == 1 and len([p for p in videos if FRONT in p]) == 2


class Died(BaseException):
    """What a kill is to a process that looks at itself."""


@pytest.mark.parametrize("moves", range(8))
def test_a_crash_at_any_move_leaves_the_old_or_the_new_dataset(
    root: Path, moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename, done = content(root), os.rename, []

    def dying(source: object, target: object) -> None:
        if len(done) == moves:
            raise Died
        done.append(target)
        rename(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", dying)
    with suppress(Died):
        merge_files(root)
    monkeypatch.undo()
    assert content(root) == before  # before anybody has cleaned up
    with DatasetWriter(root, small_contract()) as writer:
        assert len(writer.notes) <= 1
        writer.start_episode("do it")
        writer.add_frame(row(0))
        writer.save_episode()
    assert [e.length for e in Dataset(root).episodes] == [*LENGTHS, 1]
    merge_files(root)
    assert [e.length for e in Dataset(root).episodes] == [*LENGTHS, 1]
    assert sorted(p.name for p in (root / ".vla_ros").iterdir()) == ["lock"]
    assert len(Dataset(root).column("action")) == sum(LENGTHS) + 1


def test_a_damaged_file_is_named_and_nothing_is_changed(root: Path) -> None:
    path = root / layout.video_file(FRONT, 2)
    path.write_bytes(path.read_bytes()[:200])
    before = {p: (root / p).stat().st_ino for p in files(root)}
    with pytest.raises(DatasetError, match=r"file-002.mp4' cannot be read"):
        merge_files(root)
    assert {p: (root / p).stat().st_ino for p in files(root)} == before
    assert sorted(p.name for p in (root / ".vla_ros").iterdir()) == ["lock"]


def test_a_dataset_that_is_being_recorded_is_not_merged(root: Path) -> None:
    with DatasetWriter(root, small_contract()):
        with pytest.raises(DatasetError, match="another recorder"):
            merge_files(root)
