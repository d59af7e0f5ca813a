"""Features scaled and shifted by the instruction."""

from __future__ import annotations

from torch import Tensor, nn


class Film(nn.Module):
    """Feature-wise linear modulation: x * (1 + scale) + shift, both linear in the instruction.

    Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning Layer". It starts as the
    identity, so that pretrained features are what they were (RT-1, Brohan et al. 2022).
    """

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(condition, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Return maps [B, C, h, w] or tokens [B, T, C] as the instruction [B, condition] wants them; x without one."""
        if condition is None:
            return x
        values = self.linear(condition)
        values = values[:, :, None, None] if x.ndim == 4 else values[:, None, :]
        scale, shift = values.chunk(2, dim=1 if x.ndim == 4 else 2)
        modulated: Tensor = x * (1.0 + scale) + shift
        return modulated
