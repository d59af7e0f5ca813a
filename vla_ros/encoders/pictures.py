"""Pictures as pretrained networks want them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)  # the mean and the standard deviation of SigLIP: pictures in [-1, 1]


class Standardise(nn.Module):
    """Images [B, 3, h, w] in [-1, 1] to (image in [0, 1] - mean) / std, per channel."""

    gain: Tensor
    offset: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        m, s = (torch.tensor(x)[:, None, None] for x in (mean, std))
        self.register_buffer("gain", 0.5 / s, persistent=False)
        self.register_buffer("offset", (0.5 - m) / s, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the standardised images."""
        return images * self.gain + self.offset
