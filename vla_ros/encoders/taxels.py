"""A taxel pad to one token."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup


@dataclass(frozen=True)
class TaxelMlpSettings:
    """hidden: width of the hidden layer."""

    hidden: int = 64


@ENCODERS.register("taxels", TaxelMlpSettings)
class TaxelMlp(Encoder):
    """MLP over a pad's shear and normal forces [B, h, w, 3], one token; over the whole window [B, T, h, w, 3] where the
    contract gives the stream a history.

    Huang et al. 2025, "Tactile-VLA" (arXiv 2507.09160), makes one fused token of a window this way. Forces are in the
    sensor's unit, made unitless by the normaliser.
    """

    kinds = ("taxels",)

    def __init__(self, settings: TaxelMlpSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        size = math.prod(stream.value_shape)
        self.layers = nn.Sequential(
            nn.Flatten(1), nn.Linear(size, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, width)
        )

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, 1, width] for normalised forces."""
        return TokenGroup(self.layers(value).unsqueeze(1))
