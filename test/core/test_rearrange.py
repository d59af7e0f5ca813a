"""Merged, split and thinned datasets are datasets like any other: same rows, same frames, right numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from recordings import FRONT, record, small_contract
from spoiled import demonstrate
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.data import Dataset, DatasetWriter
from vla_ros.data.layout import FolderLock
from vla_ros.data.stats import column_stats
from vla_ros.data.tools.check import check_dataset
from vla_ros.data.tools.cut import cut_video
from vla_ros.data.tools.rearrange import fractions, merge, remove, split
from vla_ros.errors import DatasetError

COLUMNS = ("observation.state", "observation.wrench.tool", "action", "sync.age", "sync.stamp", "success", "timestamp")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("two")
    demonstrate(folder / "a", episodes=3, rows=40, task="pick")
    demonstrate(folder / "b", episodes=2, rows=50, task="place", seed=5)
    (folder / "a/meta/seeds.json").write_text('{"t": {"episodes": [[0, 7], [1, 8], [2, 10]], "failed": [9]}}')
    (folder / "b/meta/seeds.json").write_text('{"t": {"episodes": [[0, 20], [1, 21]], "failed": []}}')
    return folder / "a", folder / "b"


def assert_same(new: Dataset, index: int, old: Dataset, old_index: int) -> None:
    """The episode is the other one, but for its numbers."""
    for key in COLUMNS:
        assert np.array_equal(new.column(key, index), old.column(key, old_index)), key
    assert np.array_equal(new.frames(FRONT, index), old.frames(FRONT, old_index))
    assert new.episodes[index].tasks == old.episodes[old_index].tasks
    assert new.episodes[index].success == old.episodes[old_index].success


def assert_sound(root: Path) -> Dataset:
    """Numbers count up, statistics are those of the data, nothing is found by the checks, and it can be continued."""
    data = Dataset(root)
    assert data.column("index").tolist() == list(range(data.num_frames))
    assert [data.tasks[i] for i in data.column("task_index")] == [
        e.task for e in data.episodes for _ in range(e.length)
    ]
    assert check_dataset(root).findings == []
    for key in ("action", "episode_index", "index"):
        want = column_stats(data.column(key))
        for name in ("min", "max", "mean", "std", "count"):
            assert np.allclose(data.stats[key][name], want[name], atol=1e-6), (key, name)
    DatasetWriter(root, small_contract()).finalize()
    return data


def test_merging_keeps_every_row_and_frame(two: tuple[Path, Path], tmp_path: Path) -> None:
    assert merge(two, tmp_path / "c") == []
    data, parts = assert_sound(tmp_path / "c"), [Dataset(root) for root in two]
    assert (data.num_episodes, data.num_frames, data.tasks) == (5, 220, ["pick", "place"])
    for index, (part, old) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]):
        assert_same(data, index, parts[part], old)
    seeds = json.loads((tmp_path / "c/meta/seeds.json").read_text())
    assert seeds == {"t": {"episodes": [[0, 7], [1, 8], [2, 10], [3, 20], [4, 21]], "failed": [9]}}


def test_a_merged_dataset_goes_on_being_recorded(two: tuple[Path, Path], tmp_path: Path) -> None:
    merge(two, tmp_path / "c")
    demonstrate(tmp_path / "c", episodes=1, seed=9)
    assert assert_sound(tmp_path / "c").num_episodes == 6


def test_merging_copies_videos_byte_for_byte(two: tuple[Path, Path], tmp_path: Path) -> None:
    merge(two, tmp_path / "c")
    old = sorted((two[1] / "videos").rglob("*.mp4"))[0].read_bytes()
    assert (tmp_path / f"c/videos/{FRONT}/chunk-000/file-003.mp4").read_bytes() == old


def test_rows_are_gathered_in_one_file_with_one_row_group_an_episode(two: tuple[Path, Path], tmp_path: Path) -> None:
    merge(two, tmp_path / "c")
    files = sorted((tmp_path / "c/data").rglob("*.parquet"))
    assert len(files) == 1 and pq.ParquetFile(files[0]).metadata.num_row_groups == 5


def test_a_full_data_file_is_followed_by_another(two: tuple[Path, Path], tmp_path: Path) -> None:
    small = Path(shutil.copytree(two[0], tmp_path / "a"))
    info = json.loads((small / "meta/info.json").read_text())
    (small / "meta/info.json").write_text(json.dumps(info | {"data_files_size_in_mb": 0}))
    merge([small, two[1]], tmp_path / "c")
    assert len(sorted((tmp_path / "c/data").rglob("*.parquet"))) == 5
    assert_same(assert_sound(tmp_path / "c"), 4, Dataset(two[1]), 1)


def test_merging_refuses_another_contract_and_writes_nothing(two: tuple[Path, Path], tmp_path: Path) -> None:
    record(tmp_path / "other", (3,), small_contract(names="a.pos, c.pos"))
    with pytest.raises(DatasetError, match="does not go with .*observation.state: "):
        merge([two[0], tmp_path / "other"], tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def test_nothing_is_written_over(two: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c/precious").write_text("data")
    with pytest.raises(DatasetError, match="exists already"):
        merge(two, tmp_path / "c")
    assert (tmp_path / "c/precious").read_text() == "data"


def test_splitting_by_lists_gives_each_part_its_episodes(two: tuple[Path, Path], tmp_path: Path) -> None:
    split(two[0], {"train": [2, 0], "val": [1]}, tmp_path)
    train, val, whole = assert_sound(tmp_path / "train"), assert_sound(tmp_path / "val"), Dataset(two[0])
    assert_same(train, 0, whole, 2)
    assert_same(train, 1, whole, 0)
    assert_same(val, 0, whole, 1)
    assert json.loads((tmp_path / "val/meta/seeds.json").read_text())["t"]["episodes"] == [[0, 8]]


def test_shares_are_drawn_by_their_seed_and_leave_nothing_out() -> None:
    parts = fractions(10, {"train": 0.8, "val": 0.2}, seed=3)
    assert sorted(parts["train"] + parts["val"]) == list(range(10)) and len(parts["val"]) == 2
    assert (
        parts == fractions(10, {"train": 0.8, "val": 0.2}, seed=3) != fractions(10, {"train": 0.8, "val": 0.2}, seed=4)
    )
    with pytest.raises(DatasetError, match="at most 1 together"):
        fractions(10, {"train": 0.8, "val": 0.4}, seed=0)


def test_removing_in_place_leaves_the_others(two: tuple[Path, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(two[0], tmp_path / "a"))
    remove(root, [1])
    data = assert_sound(root)
    assert_same(data, 0, Dataset(two[0]), 0)
    assert_same(data, 1, Dataset(two[0]), 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_removing_refuses_a_dataset_that_is_being_recorded(two: tuple[Path, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(two[0], tmp_path / "a"))
    lock = FolderLock(root)
    with pytest.raises(DatasetError, match="being written by another recorder"):
        remove(root, [1])
    lock.release()
    (root / ".vla_ros/interrupted/one").mkdir(parents=True)
    with pytest.raises(DatasetError, match="recover it, or give an output folder"):
        remove(root, [1])
    assert Dataset(root).num_episodes == 3


def test_a_place_that_cannot_be_written_is_one_clear_error(two: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for output in (tmp_path / "file/c", Path("/proc/none/c")):  # also stops root, whom permissions do not
        with pytest.raises(DatasetError, match=f"'{output}' cannot be written: "):
            merge(two, output)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("episodes", [[0, 1, 2], [3]])
def test_removing_all_or_what_is_not_there_is_refused(
    two: tuple[Path, Path], episodes: list[int], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="no episodes are left|has no episode 3; valid: 0..2"):
        remove(two[0], episodes, tmp_path / "c")
    assert not list(tmp_path.iterdir())


def joined(root: Path) -> Path:
    """Put the episodes' videos behind one another in one file, as a dataset has them after long recording."""
    data, rows = Dataset(root), []
    files = sorted((root / "videos" / FRONT).rglob("*.mp4"))
    with av.open(str(root / "one.mp4"), "w") as writer:
        out, at = None, 0
        for episode, file in zip(data.episodes, files, strict=True):
            with av.open(str(file)) as reader:
                stream = reader.streams.video[0]
                out = out or writer.add_stream_from_template(stream)
                for packet in reader.demux(stream):
                    if packet.pts is not None:
                        packet.pts += round(at / data.fps / packet.time_base)
                        packet.dts += round(at / data.fps / packet.time_base)
                        packet.stream = out
                        writer.mux(packet)
            rows.append(at / data.fps)
            at += episode.length
    for file in files:
        file.unlink()
    (root / "one.mp4").rename(files[0])
    for path, start in zip(sorted((root / "meta/episodes").rglob("*.parquet")), rows, strict=True):
        row: dict[str, Any] = pq.read_table(path).to_pylist()[0]
        row[f"videos/{FRONT}/file_index"] = 0
        row[f"videos/{FRONT}/from_timestamp"] = start
        row[f"videos/{FRONT}/to_timestamp"] = start + row["length"] / data.fps
        schema = pq.read_schema(path)
        import pyarrow as pa

        pq.write_table(pa.Table.from_pylist([row], schema=schema), path)
    return root


def test_an_episode_is_cut_out_of_a_video_of_several(two: tuple[Path, Path], tmp_path: Path) -> None:
    root = joined(Path(shutil.copytree(two[0], tmp_path / "a")))
    assert check_dataset(root).findings == []
    assert_same(Dataset(root), 2, Dataset(two[0]), 2)
    remove(root, [0])
    assert_same(assert_sound(root), 0, Dataset(two[0]), 1)
    assert_same(Dataset(root), 1, Dataset(two[0]), 2)
    assert len(sorted((root / "videos").rglob("*.mp4"))) == 2


def test_a_video_of_several_episodes_is_copied_whole_when_all_are_kept(two: tuple[Path, Path], tmp_path: Path) -> None:
    root = joined(Path(shutil.copytree(two[0], tmp_path / "a")))
    merge([two[1], root], tmp_path / "c")
    data = assert_sound(tmp_path / "c")
    assert len(sorted((tmp_path / "c/videos").rglob("*.mp4"))) == 3
    assert_same(data, 3, Dataset(two[0]), 1)


def test_a_cut_without_a_key_frame_or_beyond_the_end_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    video = sorted((two[0] / "videos").rglob("*.mp4"))[0]
    with pytest.raises(DatasetError, match="no key frame"):
        cut_video(video, tmp_path / "v.mp4", 1 / 30, 5, 30)
    with pytest.raises(DatasetError, match="has 2 frames from 1.267 s on, the dataset says 5"):
        cut_video(video, tmp_path / "v.mp4", 38 / 30, 5, 30)


@pytest.mark.parametrize("name", [f"videos/{FRONT}/chunk-000/file-001.mp4", "data/chunk-000/file-001.parquet"])
def test_a_corrupt_file_is_named_and_nothing_is_written(two: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    root = joined(Path(shutil.copytree(two[0], tmp_path / "a"))) if name.startswith("videos") else two[0]
    root = root if name.startswith("videos") else Path(shutil.copytree(root, tmp_path / "a"))
    broken = root / name.replace("file-001.mp4", "file-000.mp4")
    broken.write_bytes(broken.read_bytes()[:200])
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    result = CliRunner().invoke(app, ["dataset", "remove", str(root), "--episodes", "0"])
    assert result.exit_code == 1 and isinstance(result.exception, DatasetError)
    assert str(broken) in str(result.exception) and "\n" not in str(result.exception)
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*") if ".vla_ros" not in str(path)}
    assert after.items() <= before.items() and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_commands_say_what_they_wrote(two: tuple[Path, Path], tmp_path: Path) -> None:
    run = CliRunner().invoke
    result = run(app, ["dataset", "merge", str(two[0]), str(two[1]), "--output", str(tmp_path / "c")])
    assert result.exit_code == 0 and result.output.endswith("c: 5 episodes, 220 rows\n")
    words = [
        "dataset",
        "split",
        str(tmp_path / "c"),
        "--part",
        "train=0.6",
        "--part",
        "val=0.4",
        "--output",
        str(tmp_path),
    ]
    result = run(app, words)
    assert "train: 3 episodes" in result.output and "val: 2 episodes" in result.output
    result = run(app, [*words[:3], "--part", "x=1", "--part", "x=2", "--output", str(tmp_path)])
    assert "want different NAME=SHARE" in str(result.exception)
    result = run(app, ["dataset", "remove", str(tmp_path / "c"), "--episodes", "0,3-4"])
    assert result.output.endswith("c: 2 episodes, 80 rows\n")
