"""A new sensor for a trained policy, and training that leaves the rest alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from encoder_support import make_pretrained
from picture_policy import TINY, build, look
from picture_world import PictureData, picture_contract
from safetensors.torch import load_file
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.contract import Contract, parse_contract
from vla_ros.encoders.bench import CASES
from vla_ros.encoders.bpe import BytePairs
from vla_ros.errors import CheckpointError, PolicyError
from vla_ros.observation import Observation
from vla_ros.policy import load_policy
from vla_ros.policy.checkpoint import save_checkpoint
from vla_ros.policy.extend import add_encoder
from vla_ros.train.loop import train

WRENCH, PAD, WRIST = "observation.wrench.tool", "observation.tactile.left", "observation.images.wrist"
BLIND = "\n".join(line for line in TINY.splitlines() if "wrench" not in line and "tactile" not in line)
DEPTH = "observation.depth.front"
CAMERA = "{intrinsics: [60.0, 60.0, 39.5, 29.5]}"


def picture(wrist: bool = False, touch: bool = False) -> Contract:
    return picture_contract((60, 80), wrist, touch)


def trained(folder: Path, text: str = BLIND, contract: Contract | None = None):
    policy = build(text, contract or picture())
    save_checkpoint(
        folder, policy.config, policy.contract, policy.model.state_dict(), policy.normaliser, {"seed": 3}, {"steps": 5}
    )
    return policy


def same_weights(before: Path, after: Path) -> list[str]:
    """Check that every tensor of `before` is in `after` bit for bit; return the names of the new ones."""
    old, new = (load_file(folder / "model.safetensors") for folder in (before, after))
    for name, tensor in old.items():
        if name != "types":
            assert torch.equal(tensor, new[name]), name
    return sorted(set(new) - set(old))


def test_a_wrench_is_added_and_every_other_weight_stays(tmp_path: Path) -> None:
    policy = trained(tmp_path / "before")
    samples = np.random.default_rng(0).normal(5.0, 2.0, (50, 4, 6)).astype(np.float32)
    added = add_encoder(
        tmp_path / "before", tmp_path / "after", WRENCH, {"type": "wrench"}, picture(touch=True), samples
    )
    new = same_weights(tmp_path / "before", tmp_path / "after")
    assert new and all(name.startswith("encoders.observation-wrench-tool.") for name in new)
    assert added.kept == policy.model.parameter_count()
    old_types, types = (load_file(tmp_path / f / "model.safetensors")["types"] for f in ("before", "after"))
    loaded = load_policy(tmp_path / "after")
    rows = [loaded.model.keys.index(key) for key in policy.model.keys]  # type: ignore[attr-defined]
    assert torch.equal(types[rows], old_types) and len(types) == len(old_types) + 1
    seen = look(policy)
    without = loaded.predict(seen).values
    np.testing.assert_allclose(without, policy.predict(seen).values, atol=1e-6)
    felt = Observation(7, {**seen.values, WRENCH: samples[0]})
    assert np.isfinite(loaded.predict(felt).values).all()
    assert np.abs(loaded.predict(felt).values - without).max() > 1e-5
    assert WRENCH in loaded.capabilities.optional


def test_a_camera_is_added_to_a_policy_with_a_goal(tmp_path: Path) -> None:
    policy = trained(tmp_path / "before", BLIND + "\ngoal: 2.0\n")
    config = tmp_path / "before/config.yaml"
    config.write_text(config.read_text().replace("observation.images.*", "observation.images.front"))
    section = {"type": "vit", "size": [32, 32], "hidden": 32, "heads": 2, "layers": 1}
    add_encoder(tmp_path / "before", tmp_path / "after", WRIST, section, picture(wrist=True))
    seen = look(policy)
    old, loaded = load_policy(tmp_path / "before"), load_policy(tmp_path / "after")
    np.testing.assert_allclose(loaded.predict(seen).values, old.predict(seen).values, atol=1e-5)
    old_goal, goal = (load_file(tmp_path / f / "model.safetensors")["goal.0.weight"] for f in ("before", "after"))
    assert goal.shape[1] == old_goal.shape[1] + 32 and goal.count_nonzero() == old_goal.count_nonzero()


def test_an_encoder_with_pretrained_weights_is_added_to_one_that_has_files_of_its_own(tmp_path: Path) -> None:
    make_pretrained(tmp_path / "hub")
    text = BLIND.replace("type: bytes, hidden: 16", f"type: byte_pairs, vocabulary: {tmp_path}/hub/vocabulary.json")
    policy = build(text, picture())
    save_checkpoint(
        tmp_path / "a", policy.config, policy.contract, policy.model.state_dict(), policy.normaliser, {}, {},
        policy.model.assets(),
    )  # fmt: skip
    config = tmp_path / "a/config.yaml"
    config.write_text(config.read_text().replace("observation.images.*", "observation.images.front"))
    (tmp_path / "hub/vocabulary.json").unlink()
    section = {"type": "siglip", "pretrained": str(tmp_path / "hub/siglip"), "size": [32, 32]}
    add_encoder(tmp_path / "a", tmp_path / "b", WRIST, section, picture(wrist=True))
    tower = load_file(tmp_path / "b/model.safetensors")
    pretrained = load_file(tmp_path / "hub/siglip/model.safetensors")
    name = "encoders.observation-images-wrist.tower.tower.network.embeddings.patch_embedding.weight"
    assert any(torch.equal(tower[name], t) for n, t in pretrained.items() if n.endswith("patch_embedding.weight"))
    (tmp_path / "hub").rename(tmp_path / "gone")
    assert np.isfinite(load_policy(tmp_path / "b").predict(look(policy)).values).all()


@pytest.mark.parametrize(
    ("key", "contract", "section", "message"),
    [
        (WRENCH, picture(touch=True), {"type": "wrench"}, "needs demonstrations, from which its normaliser is fitted"),
        (WRENCH, None, {"type": "wrench"}, "unknown stream 'observation.wrench.tool'"),
        ("observation.state", None, {"type": "mlp"}, "reads 'observation.state' already"),
        (WRIST, picture(wrist=True, touch=True), {"type": "mlp"}, "'mlp' reads joints, pose, but"),
        (WRENCH, picture(wrist=True, touch=True), {"type": "wrench"}, "also adds 'observation.images.wrist'"),
    ],
)
def test_what_cannot_be_added_is_refused(tmp_path: Path, key, contract, section, message) -> None:
    trained(tmp_path / "before")
    with pytest.raises(PolicyError, match=message):
        add_encoder(tmp_path / "before", tmp_path / "after", key, section, contract)
    assert not (tmp_path / "after").exists()


def test_a_contract_that_changes_what_was_there_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "before")
    other = parse_contract(picture(touch=True).text.replace("rate: 30", "rate: 20"), "other.yaml")
    with pytest.raises(CheckpointError, match="changes more than it adds: rate"):
        add_encoder(tmp_path / "before", tmp_path / "after", WRENCH, {"type": "wrench"}, other)


def test_training_goes_on_with_the_new_encoder_alone(tmp_path: Path) -> None:
    (tmp_path / "blind.yaml").write_text(yaml.safe_dump({"model": yaml.safe_load(BLIND), "training": {"batch": 4}}))
    before = PictureData(3, size=(60, 80), rows=8)
    train(before, tmp_path / "blind.yaml", tmp_path / "before", steps=2, device="cpu", progress=False)
    data = PictureData(3, size=(60, 80), rows=8, touch=True)
    samples = data.column(WRENCH)
    add_encoder(tmp_path / "before", tmp_path / "after", WRENCH, {"type": "wrench_mlp"}, data.contract, samples)
    only = {
        "training.only": ["encoders.observation-wrench-tool.*"],
        "training.batch": 4,
        "training.learning_rate": 0.01,
    }
    train(
        data, tmp_path / "after/config.yaml", tmp_path / "tuned", steps=5, device="cpu", progress=False,
        init=tmp_path / "after", overrides=only,
    )  # fmt: skip
    old, new = (load_file(tmp_path / f / "model.safetensors") for f in ("after", "tuned"))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed and all(name.startswith("encoders.observation-wrench-tool.") for name in changed)
    with pytest.raises(PolicyError, match="no weight is named 'encoder.wrong'; there are .*encoders.task"):
        train(
            data, tmp_path / "after/config.yaml", tmp_path / "wrong", device="cpu", progress=False,
            overrides={"training.only": ["encoder.wrong"]},
        )  # fmt: skip


class DeepData(PictureData):
    """The picture world with a depth camera: a table 80 cm away, not measured in one corner."""

    def __init__(self, episodes: int) -> None:
        super().__init__(episodes, size=(60, 80), rows=6)
        stream = f"  {DEPTH}: {{topic: /depth, kind: depth, shape: [60, 80]}}\n  task:"
        self.contract = parse_contract(self.contract.text.replace("  task:", stream), "deep.yaml")

    def frames(self, key: str, episode: int):
        if key != DEPTH:
            return super().frames(key, episode)
        depth = np.full((6, 60, 80), 0.8, dtype=np.float32)
        depth[:, :8, :8] = np.nan
        return depth


@pytest.mark.parametrize(
    "encoders",
    [
        f"observation.depth.*: {{type: pointnet, camera: {CAMERA}, size: [24, 32], tokens: 4, neighbours: 4, hidden: 16}}",
        f"observation.images.front: {{type: xyz_positions, depth: {DEPTH}, camera: {CAMERA}, "
        "encoder: {type: resnet, size: [32, 32], norm: group, stages: 1}}",
    ],
    ids=["cloud", "positions"],
)
def test_a_policy_is_trained_with_depth(tmp_path: Path, encoders: str) -> None:
    data = DeepData(2)
    policy = {"model": yaml.safe_load(BLIND), "training": {"steps": 2, "batch": 4, "shift": 0.0}}
    policy["model"]["encoders"] |= yaml.safe_load(encoders)
    (tmp_path / "deep.yaml").write_text(yaml.safe_dump(policy))
    result = train(data, tmp_path / "deep.yaml", tmp_path / "c", device="cpu", progress=False)
    assert np.isfinite(result.loss)
    loaded = load_policy(tmp_path / "c")
    seen = look(build(BLIND, picture()))
    values = {**seen.values, DEPTH: data.frames(DEPTH, 0)[0]}
    assert np.isfinite(loaded.predict(Observation(7, values)).values).all()


def test_a_training_goes_on_without_the_pretrained_folder(tmp_path: Path) -> None:
    make_pretrained(tmp_path / "hub")
    text = BLIND.replace(
        "type: bytes, hidden: 16", f"type: t5, pretrained: {tmp_path}/hub/t5, tune: {{mode: lora, rank: 2}}"
    )
    training = {"steps": 6, "batch": 4, "shift": 0.0}
    (tmp_path / "t5.yaml").write_text(yaml.safe_dump({"model": yaml.safe_load(text), "training": training}))
    data, options = PictureData(2, size=(60, 80), rows=6), {"device": "cpu", "progress": False}
    train(data, tmp_path / "t5.yaml", tmp_path / "c", until=2, **options)
    before = load_file(tmp_path / "c/model.safetensors")
    (tmp_path / "hub").rename(tmp_path / "gone")
    train(data, tmp_path / "t5.yaml", tmp_path / "c", resume=True, **options)
    train(data, tmp_path / "t5.yaml", tmp_path / "d", init=tmp_path / "c", until=1, **options)
    after = load_file(tmp_path / "c/model.safetensors")
    changed = {name for name in before if ".tower." in name and not torch.equal(before[name], after[name])}
    assert changed and all("lora_" in name for name in changed)
    assert np.isfinite(load_policy(tmp_path / "d").predict(look(build(BLIND, picture()))).values).all()


def test_pictures_are_not_shifted_against_their_depth(tmp_path: Path) -> None:
    policy = {"model": yaml.safe_load(BLIND), "training": {"steps": 2, "batch": 4, "shift": 0.02}}
    cnn = {"type": "film_cnn", "size": [30, 40], "channels": [8, 16], "blocks": [0], "keypoints": 0}
    section = {"type": "xyz_positions", "depth": DEPTH, "camera": yaml.safe_load(CAMERA), "encoder": cnn}
    policy["model"]["encoders"]["observation.images.front"] = section
    (tmp_path / "deep.yaml").write_text(yaml.safe_dump(policy))
    with pytest.raises(PolicyError, match=r"training.shift is 0.02, but .*'observation.images.front' .*want 0"):
        train(DeepData(2), tmp_path / "deep.yaml", tmp_path / "c", device="cpu", progress=False)


def test_the_commands_do_what_they_say(tmp_path: Path) -> None:
    trained(tmp_path / "before", contract=picture(touch=True))
    run = CliRunner().invoke
    result = run(app, ["encoders", "list"])
    assert result.exit_code == 0 and "token_learner" in result.output
    (tmp_path / "words.txt").write_text("take the red cube\ntake the blue cube\n")
    result = run(app, ["encoders", "bpe", "--text", str(tmp_path / "words.txt"), "--output", str(tmp_path / "v.json")])
    assert result.exit_code == 0 and "entries from 2 texts" in result.output
    assert len(BytePairs.from_json((tmp_path / "v.json").read_text(), "v.json")) > 256
    section = "{type: depth_image, encoder: {type: film_cnn, size: [24, 32], keypoints: 0}}"
    deep = tmp_path / "deep.yaml"
    deep.write_text(DeepData(1).contract.text)
    trained(tmp_path / "flat")
    options = ["--checkpoint", str(tmp_path / "flat"), "--output", str(tmp_path / "deep"), "--stream", DEPTH]
    result = run(app, ["encoders", "add", *options, "--encoder", section, "--contract", str(deep)])
    assert result.exit_code == 0, result.output
    assert "new ones for 'observation.depth.front'" in result.output and same_weights(
        tmp_path / "flat", tmp_path / "deep"
    )


def test_encoders_are_measured() -> None:
    result = CliRunner().invoke(
        app, ["bench", "encoders", "--only", "wrench", "--only", "byte_pairs", "--seconds", "0.01"]
    )
    assert result.exit_code == 0, result.output
    rows = [line.split(" | ") for line in result.output.splitlines() if line.startswith(("| wrench", "| byte_pairs"))]
    assert [row[0] for row in rows] == ["| wrench", "| wrench_linear", "| wrench_mlp", "| byte_pairs"]
    assert rows[1][1:4] == ["wrench", "1", "1.8 k"]


def test_every_registered_encoder_can_be_measured() -> None:
    from vla_ros.encoders import ENCODERS

    assert {section["type"] for _, section in CASES.values()} == set(ENCODERS.names)
