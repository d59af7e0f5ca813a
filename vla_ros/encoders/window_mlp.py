"""An MLP over all values of a stream at once: one token."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import Encoder, TokenGroup


@dataclass(frozen=True)
class WindowMlpSettings:
    """hidden: width of the hidden layer."""

    hidden: int = 64


class WindowMlp(Encoder):
    """MLP over a sample, or the whole window of them where the contract gives the stream a history, flattened."""

    def __init__(self, settings: WindowMlpSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        size = math.prod(stream.value_shape)
        self.layers = nn.Sequential(
            nn.Flatten(1), nn.Linear(size, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, width)
        )

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, 1, width] for normalised values [B, ...]."""
        return TokenGroup(self.layers(value).unsqueeze(1))
