"""A new sensor for a trained policy: an encoder is added, every other weight stays bit for bit what it was.

Octo Model Team 2024, "Octo: An Open-Source Generalist Robot Policy": because inputs are tokens that attend to each other,
one more group of them needs no other change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from vla_ros.contract import Contract
from vla_ros.encoders import ENCODERS
from vla_ros.encoders.pretrained import restoring
from vla_ros.errors import CheckpointError, PolicyError, unknown_name
from vla_ros.policy.checkpoint import (
    CONFIG,
    MODEL,
    NORMALISER,
    TRAINING,
    load_native,
    read_config,
    read_contract,
    save_checkpoint,
)
from vla_ros.policy.config import PolicyConfig
from vla_ros.policy.model import ActionModel, module_name
from vla_ros.policy.normaliser import Normaliser

NUMBERS = ("joints", "wrench", "taxels", "pose")  # kinds of streams that the normaliser must know


@dataclass(frozen=True)
class Added:
    """output: the new checkpoint folder. kept, new: how many numbers were taken over and how many begin anew."""

    output: Path
    kept: int
    new: int


def add_encoder(
    checkpoint: Path,
    output: Path,
    key: str,
    section: Mapping[str, Any],
    contract: Contract | None = None,
    samples: np.ndarray | None = None,
    seed: int = 0,
) -> Added:
    """Write the checkpoint `output`: the policy of `checkpoint` with an encoder for stream `key`.

    section: the encoder, as in a policy file. contract: the robot's with the new sensor; the checkpoint's own unless given,
    where it has the stream already. samples: values [n, ...] of a wrench, taxel or joint stream in physical units, for the
    normaliser. The stream becomes optional: without it the policy does what it did. Raises CheckpointError or PolicyError.
    """
    before, old_contract = read_config(checkpoint), read_contract(checkpoint)
    robot = contract or old_contract
    _check_contract(old_contract, robot, key)
    after = _extended(before, old_contract, robot, key, section)
    normaliser = _normaliser(Normaliser.load(checkpoint / NORMALISER), robot, key, samples)
    torch.manual_seed(seed)
    with restoring(checkpoint, new=key):
        model = ActionModel(after, robot)
    load_native(checkpoint)  # names what is wrong with it, if anything is
    old = load_file(checkpoint / MODEL)
    state, kept = _transplanted(old, model, _streams(before, old_contract), key)
    facts = json.loads((checkpoint / TRAINING).read_text(encoding="utf-8")) if (checkpoint / TRAINING).is_file() else {}
    facts = {**facts, "added_encoders": [*facts.get("added_encoders", []), {"stream": key, "seed": seed}]}
    training = yaml.safe_load((checkpoint / CONFIG).read_text(encoding="utf-8")).get("training")
    save_checkpoint(output, after, robot, state, normaliser, facts, training, model.assets())
    return Added(output, kept, sum(tensor.numel() for tensor in state.values()) - kept)


def _check_contract(old: Contract, new: Contract, key: str) -> None:
    if key not in new.observation:
        raise PolicyError(f"{unknown_name('stream', key, new.observation)} in {new.source}")
    added = {f"{k}: absent in" for k in new.observation if k not in old.observation}
    differences = [d for d in old.differences(new) if not any(d.startswith(start) for start in added)]
    if differences:
        raise CheckpointError(f"the contract changes more than it adds: {'; '.join(differences)}")


def _extended(config: PolicyConfig, old: Contract, new: Contract, key: str, section: Mapping[str, Any]) -> PolicyConfig:
    if key in _streams(config, old):
        raise PolicyError(f"the policy reads '{key}' already; it reads {', '.join(_streams(config, old))}")
    part = ENCODERS.parse(section, f"encoders.{key}")
    # The new one first: what a pattern of the old ones would give it must not win.
    after = replace(config, encoders={key: part, **config.encoders}, optional=(*config.optional, key))
    more = [k for k in _streams(after, new) if k != key and k not in _streams(config, old)]
    if more:
        raise PolicyError(f"{new.source} also adds '{more[0]}', which the policy would read: add one stream at a time")
    return after


def _streams(config: PolicyConfig, contract: Contract) -> list[str]:
    return [stream.key for stream in config.streams(contract)]


def _normaliser(known: Normaliser, contract: Contract, key: str, samples: np.ndarray | None) -> Normaliser:
    stream = contract.observation[key]
    if stream.kind not in NUMBERS or key in known.keys:
        return known
    if samples is None:
        raise PolicyError(f"'{key}' of kind '{stream.kind}' needs demonstrations, from which its normaliser is fitted")
    if tuple(samples.shape[1:]) != stream.value_shape:
        raise PolicyError(f"'{key}': samples of shape {list(samples.shape[1:])}, want {list(stream.value_shape)}")
    return known.joined(Normaliser.fit({key: samples}))


def _transplanted(
    old: Mapping[str, Tensor], model: ActionModel, before: list[str], key: str
) -> tuple[dict[str, Tensor], int]:
    """Return the new model's tensors with all of the old ones in them, and how many numbers were kept.

    Raises CheckpointError for a tensor that would have to change otherwise.
    """
    own = f"encoders.{module_name(key)}."
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, tensor in old.items():
        if name not in state:
            raise CheckpointError(f"the extended policy has no tensor '{name}'")
        if name == "types":
            for row, stream in enumerate(before):
                state[name][model.keys.index(stream)] = tensor[row]
        elif name == "goal.0.weight" and tensor.shape != state[name].shape:
            state[name] = _with_columns(tensor, state[name], model.seen, key)
        elif tensor.shape != state[name].shape or name.startswith(own):
            raise CheckpointError(
                f"tensor '{name}' is {list(tensor.shape)}, the extended policy wants {list(state[name].shape)}"
            )
        else:
            state[name] = tensor
    new = [name for name in state if name not in old and not name.startswith(own)]
    if new:
        raise CheckpointError(f"the extended policy has a tensor '{new[0]}' that is not of the new encoder")
    return state, sum(tensor.numel() for tensor in old.values())


def _with_columns(old: Tensor, new: Tensor, seen: list[str], key: str) -> Tensor:
    """Return the goal's first weight with columns of zeros for the new stream: the goal stays what it was."""
    width = new.shape[1] // len(seen)
    out = torch.zeros_like(new)
    columns = [i for i, stream in enumerate(seen) if stream != key]
    for source, target in enumerate(columns):
        out[:, target * width : (target + 1) * width] = old[:, source * width : (source + 1) * width]
    return out
