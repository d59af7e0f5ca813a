"""Joint state to one token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup


@dataclass(frozen=True)
class StateMlpSettings:
    """hidden: width of the hidden layer. noise: standard deviation of the training noise, in normalised units.

    The noise keeps the policy from reading its next action off its own last motion instead of the cameras
    (de Haan et al. 2019, "Causal Confusion in Imitation Learning").
    """

    hidden: int = 128
    noise: float = 0.02


@ENCODERS.register("mlp", StateMlpSettings)
class StateMlp(Encoder):
    """MLP over the normalised joint positions [B, N], one token."""

    kinds = ("joints",)

    def __init__(self, settings: StateMlpSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.noise = settings.noise
        self.layers = nn.Sequential(
            nn.Linear(stream.shape[0], settings.hidden), nn.GELU(), nn.Linear(settings.hidden, width)
        )

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, 1, width] for normalised positions [B, N]."""
        if self.training and self.noise > 0.0:
            value = value + self.noise * torch.randn_like(value)
        return TokenGroup(self.layers(value).unsqueeze(1))
