"""Fixed position embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_positions(count: int, width: int) -> Tensor:
    """Return the sine and cosine embedding of positions 0..count-1, float [count, width] (Vaswani et al.

    2017).
    """
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(count)[:, None] * rates[None]
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


def grid_positions(height: int, width_cells: int, width: int) -> Tensor:
    """Return the 2-D embedding of a grid, float [height * width_cells, width]: half for the row, half for
    the column.

    The wavelengths run from the grid's size down to two cells, so that neighbours are told apart.
    """
    half = width // 2

    def axis(count: int) -> Tensor:
        frequencies = torch.logspace(0, math.log2(max(count / 2, 2)), half // 2, base=2.0)
        angles = (torch.arange(count) + 0.5)[:, None] / count * math.pi * frequencies[None]
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    rows = axis(height)[:, None].expand(height, width_cells, -1)
    cols = axis(width_cells)[None].expand(height, width_cells, -1)
    grid = torch.cat([rows, cols], dim=2).reshape(height * width_cells, -1)
    return torch.nn.functional.pad(grid, (0, width - grid.shape[1]))
