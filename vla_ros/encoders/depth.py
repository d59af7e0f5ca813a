"""Depth read as a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Others, TokenGroup, Wrapper, WrapperSettings
from vla_ros.encoders.geometry import measured


@dataclass(frozen=True)
class DepthImageSettings(WrapperSettings):
    """range: nearest and farthest depth [m] that is believed."""

    range: tuple[float, float] = (0.05, 5.0)

    def __post_init__(self) -> None:
        if not 0.0 < self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)}: want 0 < nearest < farthest")


@ENCODERS.register("depth_image", DepthImageSettings)
class DepthImage(Wrapper):
    """Depth through the image encoder inside, as three channels in [-1, 1]: depth, nearness, and whether it was measured.

    Depth is linear between the ends of `range`; nearness is 1 / depth, scaled likewise, and fine where a hand works. The
    third channel is 1 where depth was measured and -1 elsewhere, where the other two are 0: what is not known is not near
    or far.
    """

    kinds = ("depth",)

    def __init__(self, settings: DepthImageSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, replace(stream, kind="image", shape=(*stream.shape, 3)), width)
        self.range = settings.range

    def forward(self, value: Tensor, condition: Tensor | None = None, others: Others | None = None) -> TokenGroup:
        """Return the inner encoder's tokens for depth [B, h, w] [m]."""
        return self.tokens_inside(self.picture(value), condition, others)

    def picture(self, depth: Tensor) -> Tensor:
        """Return the three channels [B, 3, h, w] for depth [B, h, w] [m]."""
        low, high = self.range
        valid = measured(depth, self.range)
        known = torch.where(valid, depth, torch.full_like(depth, low)).float()
        far = 2.0 * (known - low) / (high - low) - 1.0
        near = 2.0 * (1.0 / known - 1.0 / high) / (1.0 / low - 1.0 / high) - 1.0
        zero = torch.zeros_like(far)
        return torch.stack(
            [torch.where(valid, far, zero), torch.where(valid, near, zero), 2.0 * valid.to(far.dtype) - 1.0], dim=1
        )
