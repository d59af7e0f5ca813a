"""UMI's published replay buffers become datasets of ours, and train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

zarr = pytest.importorskip("zarr")
from umi_support import SIZE, picture, write_replay_buffer  # noqa: E402

from vla_ros.cli import app  # noqa: E402
from vla_ros.data import Dataset  # noqa: E402
from vla_ros.data.from_umi import from_umi, rate_of  # noqa: E402
from vla_ros.data.umi_file import UmiFile, register_jpegxl  # noqa: E402
from vla_ros.errors import DatasetError  # noqa: E402
from vla_ros.train import train  # noqa: E402

TASK = "put the cup on the saucer"
LENGTHS = (31, 40, 25)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("umi")
    arrays = write_replay_buffer(folder / "cup.zarr.zip", LENGTHS)
    arguments = ["dataset", "from-umi", str(folder / "cup.zarr.zip"), "--out", str(folder / "set"), "--task", TASK]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "3 episodes, 31 rows" in result.output
    return folder / "set", arrays


def test_every_third_frame_becomes_a_row_whose_action_is_the_next_one(converted: tuple[Path, dict[str, np.ndarray]]):
    root, arrays = converted
    dataset = Dataset(root)
    assert dataset.fps == 20
    assert [episode.length for episode in dataset.episodes] == [10, 13, 8]
    assert {episode.task for episode in dataset.episodes} == {TASK}
    pose, action = dataset.column("observation.pose.tool"), dataset.column("action")
    opening = dataset.column("observation.state").reshape(-1)
    row = 0
    for episode, end in zip(dataset.episodes, np.cumsum(LENGTHS), strict=True):
        first = end - LENGTHS[episode.index]
        for k in range(episode.length):
            at, then = first + 3 * k, first + 3 * (k + 1)
            for values, source in ((pose[row], at), (action[row], then)):
                turn = Rotation.from_rotvec(arrays["robot0_eef_rot_axis_angle"][source])
                assert np.array_equal(values[:3], arrays["robot0_eef_pos"][source])
                assert (turn.inv() * Rotation.from_quat(values[3:7])).magnitude() < 1e-6
            assert opening[row] == arrays["robot0_gripper_width"][at, 0]
            assert action[row, 7] == arrays["robot0_gripper_width"][then, 0]
            row += 1


def test_the_video_has_the_frame_of_each_row(converted: tuple[Path, dict[str, np.ndarray]]):
    root, _ = converted
    dataset = Dataset(root)
    for episode, end in zip(dataset.episodes, np.cumsum(LENGTHS), strict=True):
        frames = dataset.frames("observation.images.wrist", episode.index)
        assert frames.shape == (episode.length, *SIZE, 3)
        for k, frame in enumerate(frames):
            wanted = picture(end - LENGTHS[episode.index] + 3 * k)
            assert abs(frame.astype(float).mean() - wanted.mean()) < 1.5


def test_a_small_policy_trains_on_it_with_absolute_and_with_relative_targets(
    converted: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
):
    torch.set_num_threads(1)
    for mode in ("absolute", "relative"):
        policy = yaml.safe_load((Path(__file__).parents[2] / "config/policies/act_small.yaml").read_text())
        policy["training"] |= {"batch": 4, "warmup": 1}
        policy["model"]["targets"]["mode"] = mode
        (tmp_path / f"{mode}.yaml").write_text(yaml.safe_dump(policy))
        result = train(
            Dataset(converted[0]), tmp_path / f"{mode}.yaml", tmp_path / mode, steps=2, device="cpu", progress=False
        )
        assert result.steps == 2
        assert np.isfinite(result.loss)


def test_pictures_in_jpeg_xl_are_read_as_the_public_sets_have_them(tmp_path: Path):
    imagecodecs = pytest.importorskip("imagecodecs")
    import numcodecs

    register_jpegxl()
    codec = numcodecs.get_codec({"id": "imagecodecs_jpegxl", "level": 99})
    arrays = write_replay_buffer(tmp_path / "cup.zarr.zip", (4,), codec)
    with UmiFile(tmp_path / "cup.zarr.zip") as file:
        assert file.cameras == {0: (*SIZE, 3)}
        assert np.array_equal(file.picture(0, 2), arrays["camera0_rgb"][2])
    lossy = np.asarray(imagecodecs.jpegxl_encode(arrays["camera0_rgb"][2], level=99))
    decoded = np.asarray(codec.decode(lossy.tobytes()))
    assert np.abs(decoded.astype(int) - arrays["camera0_rgb"][2]).max() < 20


def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(DatasetError, match="does not exist"):
        UmiFile(tmp_path / "none.zarr.zip")
    (tmp_path / "text.zarr.zip").write_text("no zip")
    with pytest.raises(DatasetError, match="is not a replay buffer of UMI"):
        UmiFile(tmp_path / "text.zarr.zip")
    write_replay_buffer(tmp_path / "cup.zarr.zip", (4, 4))
    with pytest.raises(DatasetError, match="has no gripper 1; valid: 0"):
        from_umi(tmp_path / "cup.zarr.zip", tmp_path / "set", TASK, gripper=1)


def test_the_rate_must_be_a_whole_number():
    assert rate_of(59.94, 3) == 20
    with pytest.raises(DatasetError, match="14.98 Hz|want a whole number"):
        rate_of(59.94, 25)
