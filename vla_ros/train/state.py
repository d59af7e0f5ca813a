"""The optimiser's state on disk, so that an interrupted training continues as if it had not been."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vla_ros.errors import CheckpointError
from vla_ros.policy.checkpoint import replace

FILE = "resume.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def save_state(
    folder: Path, model: nn.Module, ema: nn.Module, optimiser: torch.optim.Optimizer, facts: Mapping[str, Any]
) -> None:
    """Write weights, averaged weights and moments atomically to one file; `facts` (step, seed, ...) are its
    header."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{moment}.{name}"] = value
    plain = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    replace(folder / FILE, lambda path: save_file(plain, path, metadata={"facts": json.dumps(facts)}))


def load_state(folder: Path, model: nn.Module, ema: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore what `save_state` wrote, in place; return its facts. Raises CheckpointError."""
    path = folder / FILE
    if not path.is_file():
        raise CheckpointError(f"nothing to resume: '{path}' does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})["facts"])
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        model.load_state_dict(_under("model", tensors))
        ema.load_state_dict(_under("ema", tensors))
        _restore_moments(model, optimiser, tensors)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"'{path}' cannot be resumed from: {' '.join(str(error).split())[:300]}") from None
    return facts


def _restore_moments(model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    numbers = {id(p): i for i, p in enumerate(p for group in optimiser.param_groups for p in group["params"])}
    state = optimiser.state_dict()
    for name, parameter in model.named_parameters():
        saved = {m: tensors[f"{m}.{name}"] for m in MOMENTS if f"{m}.{name}" in tensors}
        # A fused step walks through memory: moments must lie in it as their parameter does (channels last).
        moments = {
            m: torch.empty_like(parameter, requires_grad=False).copy_(value) if value.ndim else value
            for m, value in saved.items()
        }
        if moments:
            state["state"][numbers[id(parameter)]] = moments
    optimiser.load_state_dict(state)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
