"""Pictures of a touched gel through a vision encoder that is told which sensor made them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Others, TokenGroup, Wrapper, WrapperSettings
from vla_ros.errors import unknown_name
from vla_ros.policy.attention import truncated_normal


@dataclass(frozen=True)
class TactileImageSettings(WrapperSettings):
    """sensor: which of `sensors` this stream comes from. sensors: all kinds that the encoder has words for, in an order that
    must not change once it is trained. words: tokens a kind."""

    sensor: str
    sensors: tuple[str, ...] = ("gelsight", "gelsight_mini", "digit", "duragel")
    words: int = 2

    def __post_init__(self) -> None:
        if self.sensor not in self.sensors:
            raise ValueError(unknown_name("sensor", self.sensor, self.sensors))
        if self.words < 1:
            raise ValueError(f"words is {self.words}, want 1 or more")


@ENCODERS.register("tactile_image", TactileImageSettings)
class TactileImage(Wrapper):
    """The image encoder's tokens of a tactile picture, after `words` learned tokens of the kind of sensor.

    Feng et al. 2025, "AnyTouch: Learning Unified Static-Dynamic Representation across Multiple Visuo-tactile Sensors"
    (arXiv 2502.12191); tactile pictures through a vision transformer: TLA (Hao et al. 2025, arXiv 2503.08548).
    """

    def __init__(self, settings: TactileImageSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.grid = None  # the words come first
        self.row = settings.sensors.index(settings.sensor)
        self.words = truncated_normal(len(settings.sensors), settings.words, width)

    def forward(self, value: Tensor, condition: Tensor | None = None, others: Others | None = None) -> TokenGroup:
        """Return tokens [B, words + inner tokens, width] for pictures [B, 3, h, w] in [-1, 1]."""
        group = self.tokens_inside(value, condition, others)
        words = self.words[self.row].to(group.tokens.dtype).expand(len(value), -1, -1)
        tokens = torch.cat([words, group.tokens], dim=1)
        if group.mask is None:
            return TokenGroup(tokens)
        return TokenGroup(tokens, torch.cat([torch.ones_like(words[..., 0], dtype=torch.bool), group.mask], dim=1))
