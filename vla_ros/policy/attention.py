"""Pre-norm transformer layers shared by backbones and decoders."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention of queries over a memory (self-attention when they are the same)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Return [B, T, width] for queries x [B, T, width], memory [B, M, width], mask bool [B, M] (True:
        present)."""
        q = self._split(self.query(x))
        k, v = (self._split(part) for part in self.key_value(memory).chunk(2, dim=2))
        bias = None if mask is None else mask[:, None, None, :]
        drop = self.dropout if self.training else 0.0
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=drop)
        joined: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return joined

    def _split(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        return x.view(batch, count, self.heads, width // self.heads).transpose(1, 2)  # [B, heads, T, width / heads]


class Layer(nn.Module):
    """Self-attention, cross-attention where `cross`, and a feed-forward network, each with its norm and
    residual."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float, cross: bool = False) -> None:
        super().__init__()
        self.norm_self = nn.LayerNorm(width)
        self.attend_self = Attention(width, heads, dropout)
        self.attend_cross = Attention(width, heads, dropout) if cross else None
        self.norm_cross = nn.LayerNorm(width) if cross else None
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, feedforward), nn.GELU(), nn.Dropout(dropout), nn.Linear(feedforward, width)
        )
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Return x [B, T, width] after the layer; masks are bool, True where a token is present."""
        y = self.norm_self(x)
        x = x + self.drop(self.attend_self(y, y, mask))
        if self.attend_cross is not None and self.norm_cross is not None and memory is not None:
            x = x + self.drop(self.attend_cross(self.norm_cross(x), memory, memory_mask))
        out: Tensor = x + self.drop(self.feed(self.norm_feed(x)))
        return out


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError unless `width` splits into `heads`."""
    if heads < 1 or width % heads:
        raise ValueError(f"width {width} does not split into {heads} heads")


def truncated_normal(*shape: int, std: float = 0.02) -> nn.Parameter:
    """Return a learned embedding."""
    return nn.Parameter(torch.nn.init.trunc_normal_(torch.empty(*shape), std=std))
