"""Depth video: what is written is what the format says, what is read back is within half a step of it."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from recordings import DEPTH, FRONT, TAXELS, WRENCH, deep_contract, deep_row, depth, picture

from vla_ros.data import Dataset, DatasetWriter, EpisodeRecorder
from vla_ros.data.features import Feature
from vla_ros.data.pictures import DEPTH_INFO, DepthPictures
from vla_ros.errors import DatasetError

STEP = np.log(13.5 / 3.51) / 4095  # of log(depth + 3.5 m), from the format's description


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep") / "set"
    with DatasetWriter(folder, deep_contract()) as writer:
        writer.start_episode("do it")
        for k in range(10):
            writer.add_frame(deep_row(k))
        writer.save_episode()
    return folder


def test_depth_comes_back_within_half_a_step_and_what_was_not_measured_as_nan(root: Path) -> None:
    frames = Dataset(root).frames(DEPTH, 0)
    assert frames.shape == (10, 48, 64) and frames.dtype == np.float32
    for k, frame in enumerate(frames):
        assert np.array_equal(np.isnan(frame), np.isnan(depth(k)))
        error = np.abs(np.log(frame + 3.5) - np.log(depth(k) + 3.5))
        assert np.nanmax(error) <= STEP / 2 * 1.01


def test_the_dataset_says_how_depth_is_stored(root: Path) -> None:
    feature = json.loads((root / "meta/info.json").read_text())["features"][DEPTH]
    assert feature["dtype"] == "video" and feature["shape"] == [48, 64, 1]
    assert feature["names"] == ["height", "width", "channels"]
    info = feature["info"]
    assert info["is_depth_map"] is True and info["depth_unit"] == "m" and info["has_audio"] is False
    assert (info["video.codec"], info["video.pix_fmt"], info["video.channels"]) == ("hevc", "gray12le", 1)
    assert (info["video.depth_min"], info["video.depth_max"], info["video.shift"]) == (0.01, 10.0, 3.5)
    assert info["video.extra_options"] == {"x265-params": "lossless=1"} and info["video.use_log"] is True


def test_the_video_holds_the_codes_of_the_format_without_loss(root: Path) -> None:
    with av.open(str(root / f"videos/{DEPTH}/chunk-000/file-000.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "hevc"
        pictures = list(container.decode(video=0))
    assert [p.format.name for p in pictures] == ["gray12le"] * 10
    for k, shown in enumerate(pictures):
        plane = np.frombuffer(shown.planes[0], "<u2").reshape(48, -1)[:, :64]
        expected = np.rint(np.log((depth(k).astype(np.float64) + 3.5) / 3.51) / STEP)
        measured = ~np.isnan(expected)
        assert np.abs(plane[measured] - expected[measured]).max() <= 1  # a half rounds either way in float32
        assert (plane[~measured] == 0).all()


def test_statistics_of_depth_are_in_metres_and_of_what_was_measured(root: Path) -> None:
    stats = Dataset(root).stats[DEPTH]
    assert stats["mean"].shape == (1, 1, 1)
    measured = np.stack([depth(k)[::6, ::6] for k in range(10)])
    assert stats["min"].item() == pytest.approx(np.nanmin(measured), abs=1e-3)
    assert stats["max"].item() == pytest.approx(np.nanmax(measured), abs=2e-3)
    assert stats["mean"].item() == pytest.approx(np.nanmean(measured), abs=1e-3)


def test_depth_beyond_the_range_is_bounded_and_infinity_is_far() -> None:
    pictures = DepthPictures((1, 4), DEPTH_INFO)
    codes = pictures.codes(np.array([[0.02, 20.0, np.inf, -np.inf]], dtype=np.float32))
    back = pictures.metres(codes)
    assert back[0, 0] == pytest.approx(0.02, abs=1e-3) and back[0, 1] == pytest.approx(10.0) == back[0, 2]
    assert np.isnan(back[0, 3])


def test_a_depth_stream_is_recorded_like_any_other(tmp_path: Path) -> None:
    contract = deep_contract()
    recorder = EpisodeRecorder(contract, DatasetWriter(tmp_path / "set", contract))
    recorder.aligner.push("task", 0, "do it")
    values = {FRONT: picture(0), "observation.state": np.zeros(2), WRENCH: np.zeros(6), TAXELS: np.zeros((2, 2, 3))}
    for k in range(30):
        stamp = round(k * 1e9 / 30)
        recorder.aligner.push(DEPTH, stamp, depth(k))
        for key, value in values.items():
            recorder.aligner.push(key, stamp, value)
        recorder.action(stamp, np.zeros(2))
        if k == 5:
            assert recorder.start(stamp) == stamp
        recorder.advance(stamp)
    recorder.save()
    recorder.writer.finalize()
    frames = Dataset(tmp_path / "set").frames(DEPTH, 0)
    assert len(frames) == 24
    assert all(np.nanmax(np.abs(frame - depth(5 + k))) < 0.002 for k, frame in enumerate(frames))


def test_a_depth_frame_in_millimetres_is_refused(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", deep_contract()) as writer:
        writer.start_episode("do it")
        with pytest.raises(DatasetError, match=r"'observation.depth.front' is uint16 .* want float32 \[48, 64\]"):
            writer.add_frame(deep_row(0) | {DEPTH: np.zeros((48, 64), dtype=np.uint16)})


def test_a_range_that_cannot_be_quantised_is_refused() -> None:
    feature = Feature("video", (4, 4, 1), None, DEPTH_INFO | {"video.depth_min": 5.0, "video.depth_max": 1.0})
    with pytest.raises(DatasetError, match=r"between 5.0 m and 1.0 m cannot be quantised"):
        DepthPictures(feature.shape[:2], feature.info)
