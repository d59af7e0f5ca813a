"""What lies on the disk after recording, checked from the format's description and not by our reader."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recordings import FRONT, WRENCH, number_of, record, row, small_contract

from vla_ros.contract import parse_contract
from vla_ros.data import Dataset, DatasetWriter, VideoSettings
from vla_ros.data.features import Feature, dataset_features
from vla_ros.data.video import VideoEncoder, available
from vla_ros.errors import DatasetError

STATS = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "set"
    record(folder, (10, 7, 12), tasks=("red", "blue", "red"))
    return folder


def test_info_describes_the_dataset_as_lerobot_v3_does(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 30 and info["robot_type"] == "small"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 29, 2)
    assert info["splits"] == {"train": "0:3"} and info["chunks_size"] == 1000
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert info["video_path"] == "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    features = info["features"]
    assert all("/" not in key for key in features)
    assert features["timestamp"] == {"dtype": "float32", "shape": [1], "names": None}
    assert features["task_index"] == {"dtype": "int64", "shape": [1], "names": None}
    axes = ["fx", "fy", "fz", "tx", "ty", "tz"]
    window = {"dtype": "float32", "shape": [24], "names": None, "info": {"array.shape": [4, 6], "array.names": axes}}
    assert features[WRENCH] == window
    assert features["action"] == {"dtype": "float32", "shape": [2], "names": ["a.pos", "b.pos"]}
    video = features[FRONT]
    assert video["dtype"] == "video" and video["names"] == ["height", "width", "channels"]
    assert video["info"]["video.codec"] == "h264" and video["info"]["video.height"] == 48
    assert {"video.pix_fmt", "video.fps", "video.channels", "video.g", "video.crf", "video.preset"} <= set(
        video["info"]
    )
    assert video["info"]["has_audio"] is False and video["info"]["is_depth_map"] is False


def test_data_tables_have_the_columns_and_types_of_the_features(root: Path) -> None:
    files = sorted((root / "data/chunk-000").iterdir())
    assert [file.name for file in files] == ["file-000.parquet", "file-001.parquet", "file-002.parquet"]
    table = pq.read_table(files[1])
    parquet = pq.ParquetFile(files[1])
    assert parquet.num_row_groups == 1
    assert parquet.metadata.row_group(0).column(0).compression == "SNAPPY"
    types = {name: table.schema.field(name).type for name in table.column_names}
    assert FRONT not in types
    assert types["timestamp"] == pa.float32() and types["index"] == pa.int64() and types["success"] == pa.bool_()
    assert types["action"] == pa.list_(pa.float32(), 2) and types["sync.stamp"] == pa.list_(pa.int64(), 4)
    assert types[WRENCH] == pa.list_(pa.float32(), 24)
    assert table["index"].to_pylist() == list(range(10, 17))
    assert table["frame_index"].to_pylist() == list(range(7))
    assert set(table["episode_index"].to_pylist()) == {1} and set(table["task_index"].to_pylist()) == {1}
    assert np.allclose(table["timestamp"].to_numpy(), np.arange(7) / 30, atol=1e-6)
    assert np.array_equal(np.array(table[WRENCH].to_pylist())[3], np.ravel(row(3)[WRENCH]))


def test_episode_metadata_is_complete_contiguous_and_of_one_schema(root: Path) -> None:
    tables = [pq.read_table(file) for file in sorted((root / "meta/episodes/chunk-000").iterdir())]
    assert all(table.schema.equals(tables[0].schema) for table in tables)
    rows = [table.to_pylist()[0] for table in tables]
    assert [r["episode_index"] for r in rows] == [0, 1, 2]
    assert [(r["dataset_from_index"], r["dataset_to_index"]) for r in rows] == [(0, 10), (10, 17), (17, 29)]
    assert [r["tasks"] for r in rows] == [["red"], ["blue"], ["red"]]
    assert [r["data/file_index"] for r in rows] == [r["meta/episodes/file_index"] for r in rows] == [0, 1, 2]
    assert rows[1][f"videos/{FRONT}/to_timestamp"] == pytest.approx(7 / 30)
    features = json.loads((root / "meta/info.json").read_text())["features"]
    for key in features:
        assert {f"stats/{key}/{name}" for name in STATS} <= set(rows[0])
    assert np.shape(rows[0][f"stats/{FRONT}/mean"]) == (3, 1, 1)
    assert rows[0]["stats/action/mean"] == pytest.approx([5.5, -5.5])
    assert rows[0]["stats/action/count"] == [10]


def test_tasks_table_is_a_pandas_frame_indexed_by_task(root: Path) -> None:
    table = pq.read_table(root / "meta/tasks.parquet")
    assert table.to_pylist() == [{"task_index": 0, "task": "red"}, {"task_index": 1, "task": "blue"}]
    assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_stats_of_the_dataset_are_those_of_all_its_rows(root: Path) -> None:
    stats = json.loads((root / "meta/stats.json").read_text())
    rows = np.concatenate([np.arange(n) for n in (10, 7, 12)])
    assert stats["observation.state"]["mean"] == pytest.approx([rows.mean(), -rows.mean()])
    assert stats["observation.state"]["std"] == pytest.approx([rows.std(), rows.std()])
    assert stats["observation.state"]["min"] == [0, -11] and stats["observation.state"]["count"] == [29]
    assert np.shape(stats[WRENCH]["mean"]) == (24,)
    assert np.shape(stats[FRONT]["q99"]) == (3, 1, 1) and 0 < stats[FRONT]["mean"][0][0][0] < 1


def test_videos_hold_one_frame_per_row_at_the_rows_times(root: Path) -> None:
    for file, rows in enumerate((10, 7, 12)):
        with av.open(str(root / f"videos/{FRONT}/chunk-000/file-{file:03d}.mp4")) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            frames = list(container.decode(video=0))
        assert [f.time for f in frames] == pytest.approx([k / 30 for k in range(rows)], abs=1e-4)
        assert [number_of(f.to_ndarray(format="rgb24")) for f in frames] == list(range(rows))


def test_the_contract_travels_with_the_dataset(root: Path) -> None:
    assert (root / "meta/contract.yaml").read_text() == small_contract().text


def test_appending_goes_on_where_the_dataset_ended(tmp_path: Path) -> None:
    record(tmp_path / "set", (5,), tasks=("red",))
    record(tmp_path / "set", (6,), tasks=("blue",))
    data = Dataset(tmp_path / "set")
    assert [e.from_index for e in data.episodes] == [0, 5] and data.tasks == ["red", "blue"]
    assert data.stats["action"]["count"] == [11]


def test_a_dataset_with_nested_arrays_is_read_and_continued_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nested(*arguments: Any) -> dict[str, Feature]:
        features = dataset_features(*arguments)
        return features | {WRENCH: replace(features[WRENCH], info={})}

    with monkeypatch.context() as patched:
        patched.setattr("vla_ros.data.writer.dataset_features", nested)
        record(tmp_path / "set", (5,), tasks=("red",))
    record(tmp_path / "set", (6,), tasks=("blue",))

    data = Dataset(tmp_path / "set")
    assert data.features[WRENCH].stored_shape == (4, 6)
    assert np.array_equal(data.column(WRENCH, 1)[3], row(3)[WRENCH])
    for file in sorted((tmp_path / "set/data/chunk-000").iterdir()):
        assert pq.read_schema(file).field(WRENCH).type == pa.list_(pa.list_(pa.float32()))
    assert np.shape(data.stats[WRENCH]["mean"]) == (6,) and data.stats[WRENCH]["count"] == [11]


def test_an_array_whose_shape_does_not_fit_what_is_stored_is_refused() -> None:
    stored = {"dtype": "float32", "shape": [24], "names": None, "info": {"array.shape": [5, 6], "array.names": None}}
    with pytest.raises(DatasetError, match=r"feature 'w' of meta/info.json is malformed: .*\[5, 6\] of \[24\] values"):
        Feature.from_json("w", stored)


def test_a_dataset_of_another_contract_is_refused_by_naming_the_difference(tmp_path: Path) -> None:
    record(tmp_path / "set", (5,))
    with pytest.raises(DatasetError, match=r"another contract: .*action.names: .*c.pos.*b.pos"):
        DatasetWriter(tmp_path / "set", small_contract(names="a.pos, c.pos"))
    assert Dataset(tmp_path / "set").num_episodes == 1


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(DatasetError, match="not a dataset"):
        DatasetWriter(tmp_path, small_contract())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_writers_on_one_folder_are_refused(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", small_contract()):
        with pytest.raises(DatasetError, match="another recorder"):
            DatasetWriter(tmp_path / "set", small_contract())
    DatasetWriter(tmp_path / "set", small_contract()).finalize()


def test_a_feature_of_one_number_is_taken_as_a_number_or_as_a_list_of_one(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", small_contract(names="a.pos")) as writer:
        writer.start_episode("do it")
        for state, action in ((0.0, 1.0), ([2.0], [3.0])):
            writer.add_frame(row(0) | {"observation.state": state, "action": action})
        writer.save_episode()
    data = Dataset(tmp_path / "set")
    assert data.column("observation.state").tolist() == [0, 2] and data.column("action").tolist() == [1, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": None}, "no 'action'"),
        ({"observation.state": np.zeros(3)}, r"'observation.state' is float32 \[3\], want float32 \[2\]"),
        ({"observation.images.up": np.zeros(3)}, "unknown 'observation.images.up'"),
        ({"action": [np.nan, 0.0]}, "'action' is not finite"),
        ({FRONT: np.zeros((48, 64, 3))}, "'observation.images.front' is float64"),
    ],
)
def test_a_malformed_row_is_refused_and_not_added(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with DatasetWriter(tmp_path / "set", small_contract()) as writer:
        writer.start_episode("do it")
        bad = {key: value for key, value in (row(0) | change).items() if value is not None}
        with pytest.raises(DatasetError, match=message):
            writer.add_frame(bad)
        writer.add_frame(row(0))
        writer.save_episode()
    assert Dataset(tmp_path / "set").num_frames == 1


def test_an_episode_whose_video_does_not_match_its_rows_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DatasetWriter(tmp_path / "set", small_contract()) as writer:
        record_one(writer, 5)
        writer.start_episode("do it")
        for k in range(6):
            writer.add_frame(row(k))
        encode = VideoEncoder._encode
        monkeypatch.setattr(VideoEncoder, "_encode", lambda self, c, s, f: self.written < 5 and encode(self, c, s, f))
        for k in range(6, 12):
            writer.add_frame(row(k))
        with pytest.raises(DatasetError, match=r"has \d+ frames for 12 rows"):
            writer.save_episode()
        monkeypatch.undo()
        assert record_one(writer, 4) == 1
    assert [e.length for e in Dataset(tmp_path / "set").episodes] == [5, 4]


def record_one(writer: DatasetWriter, rows: int) -> int:
    writer.start_episode("do it")
    for k in range(rows):
        writer.add_frame(row(k))
    return writer.save_episode()


def test_frames_that_an_encoder_cannot_take_yet_wait_on_disk_and_none_is_dropped(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", small_contract(), VideoSettings(queue=2)) as writer:
        writer.start_episode("do it")
        for k in range(60):
            writer.add_frame(row(k))
        assert writer.spilled > 20
        writer.save_episode()
    assert not list((tmp_path / "set/.vla_ros").rglob("*.frames"))
    frames = Dataset(tmp_path / "set").frames(FRONT, 0)
    assert [number_of(frame) for frame in frames] == [k % 12 for k in range(60)]


def test_a_discarded_episode_leaves_no_trace(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", small_contract()) as writer:
        writer.start_episode("do it")
        writer.add_frame(row(0))
        writer.discard_episode()
        assert record_one(writer, 3) == 0
    assert not list((tmp_path / "set/.vla_ros").glob("recording*"))


def test_an_episode_without_rows_or_instruction_is_refused(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", small_contract()) as writer:
        with pytest.raises(DatasetError, match="needs an instruction"):
            writer.start_episode("  ")
        writer.start_episode("do it")
        with pytest.raises(DatasetError, match="valid: add_frame"):
            writer.start_episode("do it")
        with pytest.raises(DatasetError, match="no rows"):
            writer.save_episode()
        with pytest.raises(DatasetError, match="no episode is running"):
            writer.add_frame(row(0))


def test_a_rate_that_is_not_a_whole_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"rate 29.97 Hz of small.yaml"):
        DatasetWriter(tmp_path / "set", small_contract(rate=29.97))


def test_an_unknown_codec_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(DatasetError, match=r"unknown video codec 'x264' .*libx264"):
        VideoSettings(codec="x264")


@pytest.mark.skipif("libsvtav1" not in available(), reason="this PyAV has no AV1 encoder")
def test_av1_records_too(tmp_path: Path) -> None:
    contract = parse_contract(small_contract().text.replace("[48, 64, 3]", "[64, 64, 3]"), "square.yaml")
    with DatasetWriter(tmp_path / "set", contract, VideoSettings(codec="libsvtav1", crf=30)) as writer:
        writer.start_episode("do it")
        for k in range(6):
            writer.add_frame(row(k) | {FRONT: np.full((64, 64, 3), 40 * k, dtype=np.uint8)})
        writer.save_episode()
    data = Dataset(tmp_path / "set")
    assert data.features[FRONT].info["video.codec"] == "av1"
    assert [round(float(f.mean()) / 40) for f in data.frames(FRONT, 0)] == list(range(6))
