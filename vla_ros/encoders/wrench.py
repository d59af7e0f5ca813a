"""The wrist wrench, over its history window, to one token."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup


@dataclass(frozen=True)
class WrenchWindowSettings:
    """hidden: channels of the temporal convolutions."""

    hidden: int = 32


@ENCODERS.register("wrench", WrenchWindowSettings)
class WrenchWindow(Encoder):
    """Two temporal convolutions over the window [B, T, 6], oldest first, and a mean: one token."""

    kinds = ("wrench",)

    def __init__(self, settings: WrenchWindowSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.layers = nn.Sequential(
            nn.Conv1d(stream.shape[0], settings.hidden, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(settings.hidden, settings.hidden, 3, padding=1),
            nn.GELU(),
        )
        self.out = nn.Linear(settings.hidden, width)

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, 1, width] for normalised wrenches [B, T, 6] or [B, 6]."""
        if value.ndim == 2:
            value = value.unsqueeze(1)
        features = self.layers(value.transpose(1, 2)).mean(dim=2)  # [B, hidden]
        return TokenGroup(self.out(features).unsqueeze(1))
