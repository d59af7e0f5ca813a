"""Training: deterministic, resumable, honest about bad data, and able to ground an instruction in a
picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from picture_policy import TINY
from picture_world import PHRASES, UNSEEN_PHRASES, PictureData, Scene, trial

from vla_ros.contract import load_contract, parse_contract
from vla_ros.errors import CheckpointError, DatasetError, PolicyError
from vla_ros.policy import load_policy
from vla_ros.train import TrainResult, train
from vla_ros.train.batches import Rows, Sampler, shift_on_cpu, shift_on_device
from vla_ros.train.config import TrainingConfig
from vla_ros.train.prepare import fingerprint
from vla_ros.train.source import check_reexpressible, poses_of
from vla_ros.train.text import variants

FEW = {"batch": 4, "warmup": 2, "save_every": 3, "validate_every": 3, "log_every": 2, "validation": 0.2}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def policy_file(folder: Path, text: str = TINY, training: dict[str, object] | None = None) -> Path:
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump({"model": yaml.safe_load(text), "training": {**FEW, **(training or {})}}))
    return path


def pictures(**changes: object) -> PictureData:
    settings: dict[str, object] = {"episodes": 5, "size": (30, 40), "rows": 8, "touch": True, **changes}
    return PictureData(**settings)  # type: ignore[arg-type]


def run(folder: Path, steps: int = 6, data: PictureData | None = None, **changes: object) -> TrainResult:
    return train(
        data or pictures(),
        policy_file(folder),
        folder / "out",
        steps=steps,
        device="cpu",
        progress=False,
        **changes,
    )  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, np.ndarray]:
    policy = load_policy(folder / "out")
    return {name: tensor.numpy() for name, tensor in policy.model.state_dict().items()}  # type: ignore[attr-defined]


def test_a_training_leaves_a_loadable_checkpoint_and_says_what_made_it(tmp_path: Path):
    result = run(tmp_path)
    facts = json.loads((tmp_path / "out/training.json").read_text())
    assert result.steps == facts["step"] == 6
    assert np.isfinite(result.loss)
    assert set(result.validation) == {"l1", "first", "last"}
    assert facts["dataset_fingerprint"] == fingerprint(pictures())
    assert {"seed", "command", "versions", "dataset", "episodes", "frames"} <= set(facts)
    assert not (tmp_path / "out/frames").exists()
    assert list((tmp_path / "out/curves").iterdir())
    assert load_policy(tmp_path / "out").capabilities.chunk == 6


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        run(tmp_path / name, steps=3, seed=seed)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all((a[name] == b[name]).all() for name in a)
    assert any((a[name] != c[name]).any() for name in a)


def test_a_resumed_training_ends_where_an_unbroken_one_does(tmp_path: Path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    run(tmp_path / "whole", steps=6)
    run(tmp_path / "parts", steps=6, until=3)
    run(tmp_path / "parts", steps=6, resume=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


def test_a_training_may_begin_with_a_checkpoint_and_still_be_resumed(tmp_path: Path):
    for name in ("first", "whole", "parts"):
        (tmp_path / name).mkdir()
    run(tmp_path / "first")
    other = pictures(episodes=4)
    begin = {"data": other, "init": tmp_path / "first" / "out"}
    run(tmp_path / "whole", **begin)
    run(tmp_path / "parts", until=3, **begin)
    run(tmp_path / "parts", resume=True, data=other)
    first, whole, parts = (weights(tmp_path / name) for name in ("first", "whole", "parts"))
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)
    assert any(not np.array_equal(first[name], whole[name]) for name in first)
    normalisers = [
        (tmp_path / name / "out" / "normaliser.safetensors").read_bytes() for name in ("first", "whole", "parts")
    ]
    assert len(set(normalisers)) == 1
    file = policy_file(tmp_path, TINY.replace("chunk: 6", "chunk: 5"))
    with pytest.raises(CheckpointError, match="is of another model than the policy file's"):
        train(other, file, tmp_path / "out", steps=2, device="cpu", progress=False, init=tmp_path / "first" / "out")


def test_late_in_training_the_inputs_are_hardly_disturbed(tmp_path: Path):
    config = TrainingConfig(steps=10, calm=0.5, calm_scale=0.1, state_noise=0.5, state_drop=0.5)
    assert [config.disturbance_at(step) for step in (0, 4, 5, 9)] == [1.0, 1.0, 0.1, 0.1]
    with pytest.raises(ValueError, match="calm is 1.5, want 0 to 1"):
        TrainingConfig(calm=1.5)


def test_noise_on_what_is_felt_changes_what_is_learned(tmp_path: Path) -> None:
    (tmp_path / "noisy").mkdir()
    run(tmp_path, steps=2)
    run(tmp_path / "noisy", steps=2, overrides={"training.touch_noise": 1.0})
    plain, noisy = weights(tmp_path), weights(tmp_path / "noisy")
    assert any(not np.array_equal(plain[name], noisy[name]) for name in plain)
    with pytest.raises(ValueError, match="touch_noise is -1"):
        TrainingConfig(touch_noise=-1.0)


def test_resuming_another_dataset_or_nothing_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="nothing to resume"):
        run(tmp_path, resume=True)
    run(tmp_path, steps=3)
    with pytest.raises(CheckpointError, match="dataset_fingerprint"):
        run(tmp_path, data=pictures(seed=5), resume=True)
    with pytest.raises(CheckpointError, match="already has 3 steps"):
        run(tmp_path, steps=2, resume=True)


def test_decoded_frames_are_kept_where_asked_and_used_again(tmp_path: Path):
    data = pictures()
    run(tmp_path, steps=1, data=data, cache=tmp_path / "cache")
    data.frames = None  # type: ignore[assignment]  # a second decoding would fail
    run(tmp_path, steps=1, data=data, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.lerning_rate": 1.0}, "unknown key 'lerning_rate' .did you mean 'learning_rate'"),
        ({"training.precision": "fp16"}, "precision 'fp16' is not one of auto, tf32, bf16, fp32"),
        ({"training.batch": 0}, "batch is 0, want a positive number"),
        ({"training.ema": 1.5}, "ema is 1.5"),
        ({"training.learning_rate": "fast"}, "learning_rate: want float, got 'fast'"),
    ],
)
def test_a_wrong_training_setting_is_refused(tmp_path: Path, overrides: dict[str, object], message: str):
    with pytest.raises(PolicyError, match=message):
        run(tmp_path, overrides=overrides)


def test_a_value_that_is_not_a_number_is_refused_with_its_row(tmp_path: Path):
    data = pictures()
    data.paths[1][3, 0] = np.nan
    with pytest.raises(DatasetError, match="not a finite number in row 1[01]"):
        run(tmp_path, data=data)


def test_a_dataset_without_episodes_is_refused(tmp_path: Path):
    data = pictures()
    data.episodes, data.num_frames = [], 0
    with pytest.raises(DatasetError, match="no episodes"):
        run(tmp_path, data=data)


def test_a_video_that_is_too_short_is_refused(tmp_path: Path):
    data = pictures()
    data.paths[2] = data.paths[2]
    frames = data.frames
    data.frames = lambda key, episode: frames(key, episode)[: 8 - (episode == 2)]  # type: ignore[method-assign]
    with pytest.raises(DatasetError, match="has 7 frames in episode 2, want 8"):
        run(tmp_path, data=data)


def rows(count: int = 10, length: int = 5) -> Rows:
    ends = (torch.arange(count) // length + 1) * length
    actions = torch.arange(count, dtype=torch.float32)[:, None]
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (count, 12, 16, 3)).astype(np.uint8))
    text = torch.zeros(1, 1, 4, dtype=torch.int64)
    return Rows(
        {"image": images},
        {"state": actions},
        "task",
        text,
        torch.zeros(count, dtype=torch.int64),
        actions,
        ends,
        actions,
    )


@pytest.mark.parametrize(("end", "valid"), [("hold", [True, True, True]), ("mask", [True, True, False])])
def test_a_chunk_never_reaches_into_the_next_episode(end: str, valid: list[bool]):
    sampler = Sampler(rows(), 3, TrainingConfig(end=end), set(), 0.0, torch.device("cpu"))
    batch = sampler.at(torch.tensor([0, 3]))
    assert batch.actions[:, :, 0].tolist() == [[0, 1, 2], [3, 4, 4]]
    assert batch.valid[1].tolist() == valid


def test_augmentation_stays_near_the_picture_and_differs_between_samples():
    config = TrainingConfig(shift=0.1, brightness=0.1, contrast=0.1)
    sampler = Sampler(rows(), 3, config, set(), 0.0, torch.device("cpu"))
    torch.manual_seed(0)
    batch = sampler.draw(torch.tensor([4]), 6)
    images = batch.streams["image"]
    assert images.shape == (6, 12, 16, 3)
    assert images.min() >= 0 and images.max() <= 255
    assert len({round(float(image.mean()), 2) for image in images}) == 6


def test_both_ways_of_shifting_agree():
    images = rows().images["image"]
    index, offsets = torch.tensor([1, 7, 3]), torch.tensor([[0, 2, -3], [1, -4, 0]])
    assert (shift_on_cpu(images, index, offsets) == shift_on_device(images, index, offsets)).all()
    assert (shift_on_cpu(images, index, offsets)[0, :, 1:] == images[1, :, :-1]).all()


def test_optional_streams_are_dropped_in_training_alone():
    sampler = Sampler(rows(), 3, TrainingConfig(), {"state"}, 0.5, torch.device("cpu"))
    torch.manual_seed(0)
    dropped = sampler.draw(torch.arange(10), 100).present["state"]
    assert 20 < int(dropped.sum()) < 80
    assert sampler.at(torch.arange(3)).present == {}


def test_readings_keep_the_words_in_order():
    task = "put the red cube in the bin"
    for reading in variants(task, 20, np.random.default_rng(0)):
        words = iter(reading.split())
        assert all(word in words for word in task.split())


def test_joint_demonstrations_become_poses_of_the_tool():
    joints, poses = load_contract("tabletop_arm"), load_contract("tabletop_arm_ee")
    check_reexpressible(joints, poses)
    home = np.array([[0.0, -1.2, 1.8, -2.1, -1.57, 0.0, 0.03], [0.1, -1.2, 1.8, -2.1, -1.57, 0.0, 0.03]], np.float32)
    result = poses_of(home, joints, poses)
    assert result.shape == (2, 8)
    np.testing.assert_allclose(np.linalg.norm(result[:, 3:7], axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(result[:, 7], 0.03, atol=1e-6)
    x, y, z = result[0, :3]
    turned = [x * np.cos(0.1) - y * np.sin(0.1), x * np.sin(0.1) + y * np.cos(0.1), z]
    np.testing.assert_allclose(result[1, :3], turned, atol=1e-4)  # the first joint turns the arm about z


def test_datasets_of_another_robot_are_not_reexpressed():
    joints, poses = load_contract("tabletop_arm"), load_contract("tabletop_arm_ee")
    with pytest.raises(DatasetError, match="'ee_pose' cannot be re-expressed as 'joint_position'"):
        check_reexpressible(poses, joints)
    other = parse_contract(poses.text.replace("rate: 30   ", "rate: 20   "), "other.yaml")
    with pytest.raises(DatasetError, match="does not fit.*rate"):
        check_reexpressible(joints, other)


GROUNDING = """
width: 64
chunk: 10
targets: {mode: absolute}
encoders:
  observation.images.*:
    {type: film_cnn, size: [48, 64], stem_stride: 4, channels: [24, 24], strides: [1], blocks: [1],
     keypoints: 16, keypoint_stage: 1, patches: false}
  observation.state: {type: mlp, hidden: 32}
  task: {type: bytes, hidden: 48, embedding: 24, max_bytes: 64}
backbone: {type: transformer, layers: 1, heads: 2, feedforward: 128, dropout: 0.0}
decoder: {type: cvae_chunk, layers: 1, heads: 2, feedforward: 128, dropout: 0.0, latent: 4}
"""


def test_the_hand_goes_to_the_named_colour_in_pictures_and_words_never_seen(tmp_path: Path):
    data = PictureData(150, 0, (48, 64), rows=10)
    settings = {
        "batch": 32,
        "learning_rate": 2e-3,
        "warmup": 50,
        "ema": 0.99,
        "validate_every": 1000,
        "save_every": 1000,
    }
    train(
        data,
        policy_file(tmp_path, GROUNDING, settings),
        tmp_path / "out",
        steps=600,
        device="cpu",
        progress=False,
    )
    policy = load_policy(tmp_path / "out")
    rng = np.random.default_rng(77)
    scenes = [Scene.random(rng, phrases) for phrases in (PHRASES, UNSEEN_PHRASES) for _ in range(15)]
    errors = np.array([trial(policy, scene, data.contract, steps=30) for scene in scenes])
    assert np.median(errors) < 0.04, f"median distance to the named square {np.median(errors) * 1e3:.0f} mm"
    assert (errors < 0.06).mean() >= 0.8, f"{(errors < 0.06).mean():.0%} of trials went to the named square"
