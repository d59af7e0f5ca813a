"""Checkpoint folders: written, read back, and refused when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from picture_policy import build, look

from vla_ros.contract import parse_contract
from vla_ros.errors import CheckpointError
from vla_ros.policy import load_policy
from vla_ros.policy.checkpoint import check_compatible, save_checkpoint
from vla_ros.policy.native import NativePolicy


def save(folder: Path) -> NativePolicy:
    policy = build()
    save_checkpoint(folder, policy.config, policy.contract, policy.model.state_dict(), policy.normaliser, {"seed": 3})
    return policy


def test_a_loaded_checkpoint_predicts_what_the_saved_policy_did(tmp_path: Path):
    policy = save(tmp_path / "c")
    loaded = load_policy(tmp_path / "c")
    assert (loaded.predict(look(policy)).values == policy.predict(look(policy)).values).all()
    assert loaded.contract.text == policy.contract.text
    assert json.loads((tmp_path / "c/training.json").read_text())["seed"] == 3


def test_a_folder_holds_five_plain_files_and_no_leftovers(tmp_path: Path):
    save(tmp_path / "c")
    save(tmp_path / "c")  # over the old one
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == [
        "config.yaml",
        "contract.yaml",
        "model.safetensors",
        "normaliser.safetensors",
        "training.json",
    ]


@pytest.mark.parametrize("name", ["config.yaml", "contract.yaml", "model.safetensors", "normaliser.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str):
    save(tmp_path / "c")
    (tmp_path / "c" / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        load_policy(tmp_path / "c")


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match="nowhere' is not a folder"):
        load_policy(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["model.safetensors", "normaliser.safetensors", "config.yaml", "contract.yaml"])
def test_a_corrupt_file_is_named_in_one_line(tmp_path: Path, name: str):
    save(tmp_path / "c")
    (tmp_path / "c" / name).write_bytes(b"\x80\x04K\x01.\xff: {[")
    with pytest.raises(CheckpointError, match=name) as error:
        load_policy(tmp_path / "c")
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused_with_the_tensor_that_differs(tmp_path: Path):
    save(tmp_path / "c")
    config = tmp_path / "c/config.yaml"
    config.write_text(config.read_text().replace("chunk: 6", "chunk: 7"))
    with pytest.raises(CheckpointError, match=r"tensor 'decoder.queries' is \[1, 6, 32\], .*\[1, 7, 32\]"):
        load_policy(tmp_path / "c")


def test_another_backend_is_refused_with_the_valid_ones(tmp_path: Path):
    save(tmp_path / "c")
    config = tmp_path / "c/config.yaml"
    config.write_text(config.read_text().replace("backend: native", "backend: lerobot"))
    with pytest.raises(CheckpointError, match="unknown backend 'lerobot'.*valid: native"):
        load_policy(tmp_path / "c")


def test_a_robot_with_other_names_is_refused_before_it_moves():
    mine = build().contract
    other = parse_contract(mine.text.replace("x.pos", "z.pos"), "robot.yaml")
    check_compatible(mine, parse_contract(mine.text.replace("/front", "/other"), "robot.yaml"))
    with pytest.raises(CheckpointError, match="does not fit this robot.*z.pos") as error:
        check_compatible(mine, other)
    assert "\n" not in str(error.value)


def test_an_unknown_device_is_refused(tmp_path: Path):
    save(tmp_path / "c")
    with pytest.raises(Exception, match="unknown device 'gpuu'"):
        load_policy(tmp_path / "c", device="gpuu")


def test_float_arrays_survive_exactly(tmp_path: Path):
    policy = save(tmp_path / "c")
    loaded = load_policy(tmp_path / "c")
    assert isinstance(loaded, NativePolicy)
    for name, tensor in policy.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), loaded.model.state_dict()[name].numpy())
