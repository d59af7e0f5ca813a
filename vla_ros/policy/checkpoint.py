"""A checkpoint folder: config.yaml, contract.yaml, model.safetensors, normaliser.safetensors, training.json, and
encoders/, with the architectures and vocabularies of those encoders that have some.

Nothing in it is ever unpickled. The folder is written beside its place and renamed into it, so a reader
never sees half of one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vla_ros.contract import Contract, load_contract
from vla_ros.encoders.pretrained import FOLDER, restoring
from vla_ros.errors import CheckpointError, PolicyError, VlaRosError, unknown_name
from vla_ros.policy.config import PolicyConfig, parse_policy
from vla_ros.policy.model import ActionModel
from vla_ros.policy.native import NativePolicy
from vla_ros.policy.normaliser import Normaliser

CONFIG, CONTRACT, MODEL, NORMALISER, TRAINING = (
    "config.yaml",
    "contract.yaml",
    "model.safetensors",
    "normaliser.safetensors",
    "training.json",
)
BACKEND = "native"


def save_checkpoint(
    folder: Path,
    config: PolicyConfig,
    contract: Contract,
    weights: Mapping[str, Tensor],
    normaliser: Normaliser,
    training: Mapping[str, Any],
    training_config: Mapping[str, Any] | None = None,
    assets: Mapping[str, str] | None = None,
) -> None:
    """Write a checkpoint folder, file by file, each replaced atomically; other files in the folder stay.

    weights: the network's state dict. training: what made it (seed, steps, dataset, versions, command), JSON
    data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {"backend": BACKEND, "model": config.plain()}
    if training_config:
        data["training"] = dict(training_config)
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in weights.items()}
    replace(folder / CONTRACT, lambda p: p.write_text(contract.text, encoding="utf-8"))
    replace(folder / CONFIG, lambda p: p.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8"))
    replace(folder / NORMALISER, normaliser.save)
    replace(folder / TRAINING, lambda p: p.write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8"))
    for name, text in (assets or {}).items():
        path = folder / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    replace(folder / MODEL, lambda p: save_file(tensors, p))


def load_native(folder: Path, device: str = "cpu") -> NativePolicy:
    """Return the policy of a native checkpoint. Raises CheckpointError with one line."""
    for name in (CONFIG, CONTRACT, MODEL, NORMALISER):
        if not (folder / name).is_file():
            what = "is not a folder" if not folder.is_dir() else f"has no {name}"
            raise CheckpointError(f"checkpoint '{folder}' {what}; want {CONFIG}, {CONTRACT}, {MODEL}, {NORMALISER}")
    config, contract = read_config(folder), read_contract(folder)
    try:
        with restoring(folder):
            model = ActionModel(config, contract)
    except (PolicyError, ValueError) as error:
        raise CheckpointError(f"checkpoint '{folder}' contradicts itself: {error}") from None
    load_weights(model, folder / MODEL)
    normaliser = Normaliser.load(folder / NORMALISER)
    needed = {s.key for s in config.streams(contract) if s.kind in ("joints", "wrench", "taxels", "pose")} | {"action"}
    for key in sorted(needed):
        if key not in normaliser.keys:
            raise CheckpointError(f"{folder / NORMALISER}: {unknown_name('key', key, normaliser.keys)}")
    with restoring(folder):
        return NativePolicy(config, contract, model, normaliser, choose_device(device))


def read_config(folder: Path) -> PolicyConfig:
    """Return the policy configuration of a checkpoint folder."""
    path = folder / CONFIG
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(data, Mapping) or data.get("backend") != BACKEND:
        backend = data.get("backend") if isinstance(data, Mapping) else data
        raise CheckpointError(f"{path}: {unknown_name('backend', str(backend), (BACKEND,))}")
    try:
        return parse_policy(data.get("model"), f"{path}: model")
    except PolicyError as error:
        raise CheckpointError(str(error)) from None


def read_contract(folder: Path) -> Contract:
    """Return the contract a checkpoint was trained with."""
    try:
        return load_contract(folder / CONTRACT)
    except VlaRosError as error:
        raise CheckpointError(f"checkpoint '{folder}': {error}") from None


def check_compatible(checkpoint: Contract, robot: Contract) -> None:
    """Raise CheckpointError, in one line, unless a policy trained with `checkpoint` may drive a robot with
    `robot`."""
    differences = checkpoint.differences(robot)
    if differences:
        raise CheckpointError(f"the checkpoint does not fit this robot: {'; '.join(differences)}")


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Fill the network from safetensors. Raises CheckpointError naming the first tensor that does not fit."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"weights '{path}' cannot be read: {' '.join(str(error).split())}") from None
    wanted = model.state_dict()
    for name in (*wanted, *tensors):
        have = list(tensors[name].shape) if name in tensors else "absent"
        want = list(wanted[name].shape) if name in wanted else "absent"
        if have != want:
            raise CheckpointError(f"{path}: tensor '{name}' is {have}, the configuration wants {want}")
    model.load_state_dict(tensors)


def choose_device(name: str) -> torch.device:
    """Return the device named "cpu", "cuda", "cuda:0", ...; "auto" is the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise PolicyError(f"unknown device '{name}'; valid: auto, cpu, cuda, cuda:0, ...") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise PolicyError(f"device '{name}' is not available: torch {torch.__version__} sees no GPU; valid: auto, cpu")
    return device


def replace(path: Path, write: Any) -> None:
    """Write a file beside its place with `write(path)`, then rename it into place."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        if partial.exists():
            partial.unlink() if partial.is_file() else shutil.rmtree(partial)
