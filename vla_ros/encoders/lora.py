"""How a pretrained network is trained on: not at all, whole, or by low-rank updates of its linear layers.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_ros.errors import PolicyError

MODES = ("full", "frozen", "lora")


@dataclass(frozen=True)
class TuneSettings:
    """mode: `full` trains every weight, `frozen` none, `lora` low-rank updates of the linear layers alone.

    rank: of the updates. alpha: they are scaled by alpha / rank. What an encoder adds to its pretrained network (the
    projection to the policy's width, FiLM) is trained in every mode.
    """

    mode: str = "full"
    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode '{self.mode}' is not one of {', '.join(MODES)}")
        if self.rank < 1 or self.alpha <= 0.0:
            raise ValueError(f"want rank >= 1 and alpha > 0, got {self.rank} and {self.alpha}")


class LoraLinear(nn.Linear):
    """A linear layer W x + b, frozen, plus (alpha / rank) B A x, learned. B starts at zero: nothing changes at first."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(base.in_features, base.out_features, base.bias is not None, device=base.weight.device)
        self.weight, self.bias = base.weight, base.bias
        self.requires_grad_(False)
        self.scale = alpha / rank
        self.lora_a = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.lora_b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., out] for x [..., in]."""
        update = functional.linear(functional.linear(x, self.lora_a), self.lora_b)
        return functional.linear(x, self.weight, self.bias) + self.scale * update

    def merged(self) -> nn.Linear:
        """Return a plain layer with the update added to its weight."""
        plain = nn.Linear(self.in_features, self.out_features, self.bias is not None, device=self.weight.device)
        with torch.no_grad():
            plain.weight.copy_(self.weight + self.scale * self.lora_b @ self.lora_a)
            if self.bias is not None:
                plain.bias.copy_(self.bias)
        return plain


def tune(module: nn.Module, settings: TuneSettings) -> None:
    """Prepare a pretrained network for training as the settings say, in place.

    Raises PolicyError if there is no linear layer for LoRA to change.
    """
    if settings.mode == "full":
        return
    module.requires_grad_(False)
    if (
        settings.mode == "lora"
        and _replace(module, nn.Linear, lambda x: LoraLinear(x, settings.rank, settings.alpha)) == 0
    ):
        raise PolicyError("tune.mode: 'lora' changes linear layers, and this network has none; valid: full, frozen")


def merge_lora(module: nn.Module) -> int:
    """Replace every LoRA layer inside by the plain layer that does the same, in place; return how many there were."""
    return _replace(module, LoraLinear, LoraLinear.merged)


def _replace(module: nn.Module, kind: type, make: object) -> int:
    count = 0
    for name, child in list(module.named_children()):
        if type(child) is kind:
            setattr(module, name, make(child))  # type: ignore[operator]
            count += 1
        else:
            count += _replace(child, kind, make)
    return count


class Tower(nn.Module):
    """A pretrained network under a mode of training. A frozen one stays in evaluation mode and keeps no graph."""

    def __init__(self, network: nn.Module, settings: TuneSettings) -> None:
        super().__init__()
        self.network = network
        self.frozen = settings.mode == "frozen"
        tune(network, settings)

    def train(self, mode: bool = True) -> Tower:
        """Set training mode; a frozen network has none."""
        super().train(mode and not self.frozen)
        return self

    def forward(self, *args: Tensor, **options: object) -> object:
        """Return what the network gives."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.network(*args, **options)
