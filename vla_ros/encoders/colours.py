"""The colours of a cloud, from the picture of the camera that measured its depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_ros.encoders.base import Others


class Colours(nn.Module):
    """Colours in [-1, 1] of each pixel of a depth picture, from an image stream that shows the same view.

    Where the image is missing, a learned colour says so.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.unknown = nn.Parameter(torch.zeros(3)) if key else None

    @property
    def channels(self) -> int:
        """3, or 0 where no image is read."""
        return 3 if self.key else 0

    def forward(self, depth: Tensor, others: Others | None) -> Tensor:
        """Return [B, h, w, channels] for depth [B, h, w]."""
        if self.unknown is None:
            return depth.new_zeros(*depth.shape, 0)
        image = (others or {}).get(self.key)
        if image is None:
            return self.unknown.expand(*depth.shape, 3)
        colours = functional.interpolate(image.value, depth.shape[1:], mode="area").permute(0, 2, 3, 1)
        if image.present is None:
            return colours
        return torch.where(image.present[:, None, None, None], colours, self.unknown.to(colours.dtype))
