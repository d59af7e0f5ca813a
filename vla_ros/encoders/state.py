"""Joint state to one token."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup


@dataclass(frozen=True)
class StateMlpSettings:
    """hidden: width of the hidden layer."""

    hidden: int = 128


@ENCODERS.register("mlp", StateMlpSettings)
class StateMlp(Encoder):
    """MLP over the normalised joint positions, or a tool's pose, [B, N], one token."""

    kinds = ("joints", "pose")

    def __init__(self, settings: StateMlpSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.layers = nn.Sequential(
            nn.Linear(stream.shape[0], settings.hidden), nn.GELU(), nn.Linear(settings.hidden, width)
        )

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, 1, width] for normalised positions [B, N]."""
        return TokenGroup(self.layers(value).unsqueeze(1))
