"""Any sensor to a fixed number of tokens by attention: the stem that each robot has of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, Others, TokenGroup, Wrapper, WrapperSettings
from vla_ros.policy.attention import Attention, check_heads, truncated_normal


class Resampler(nn.Module):
    """`count` learned queries that attend to however many tokens there are; what follows sees always as many."""

    def __init__(self, width: int, count: int, heads: int) -> None:
        super().__init__()
        check_heads(width, heads)
        self.queries = truncated_normal(1, count, width)
        self.norm = nn.LayerNorm(width)
        self.attend = Attention(width, heads, 0.0)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, count, width] for tokens [B, T, width]; masked where no token was present."""
        queries = self.queries.to(tokens.dtype).expand(len(tokens), -1, -1)
        if mask is None:
            return TokenGroup(queries + self.attend(queries, self.norm(tokens), None))
        some = mask.any(dim=1, keepdim=True)
        out = queries + self.attend(queries, self.norm(tokens), mask | ~some)
        return TokenGroup(out, some.expand(out.shape[:2]))


@dataclass(frozen=True)
class StemSettings:
    """tokens: how many. hidden: of the network before the attention. heads: of the attention."""

    tokens: int = 16
    hidden: int = 128
    heads: int = 4

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.hidden < 1:
            raise ValueError(f"want tokens and hidden >= 1, got {self.tokens} and {self.hidden}")


@ENCODERS.register("stem", StemSettings)
class Stem(Encoder):
    """Joints, wrench or taxels of one robot to `tokens` tokens: each number, with a learned name, through an MLP, then
    attention of learned queries.

    Wang et al. 2024, "Scaling Proprioceptive-Visual Learning with Heterogeneous Pre-trained Transformers" (HPT,
    arXiv 2409.20537): stems differ between robots, the trunk sees the same number of tokens from each. Here the stem
    belongs to the checkpoint's robot; joints may be any number. HPT makes one token of the whole vector before the
    attention, this one of each number.
    """

    kinds = ("joints", "wrench", "taxels")

    def __init__(self, settings: StemSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        count = math.prod(stream.value_shape)
        self.names = truncated_normal(count, settings.hidden, std=1.0)
        self.gains = truncated_normal(count, settings.hidden, std=1.0)
        self.layers = nn.Sequential(
            nn.Linear(settings.hidden, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, width)
        )
        self.resample = Resampler(width, settings.tokens, settings.heads)

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, tokens, width] for normalised values [B, ...] of the stream's shape."""
        numbers = value.flatten(1).unsqueeze(2) * self.gains + self.names  # [B, count, hidden]
        group: TokenGroup = self.resample(self.layers(torch.nn.functional.gelu(numbers)))
        return group


@dataclass(frozen=True)
class ImageStemSettings(WrapperSettings):
    """tokens: how many are left. heads: of the attention."""

    tokens: int = 16
    heads: int = 4


@ENCODERS.register("image_stem", ImageStemSettings)
class ImageStem(Wrapper):
    """`tokens` learned queries that attend to the tokens of the image encoder inside: HPT's vision stem."""

    def __init__(self, settings: ImageStemSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.grid = None
        self.resample = Resampler(width, settings.tokens, settings.heads)

    def forward(self, value: Tensor, condition: Tensor | None = None, others: Others | None = None) -> TokenGroup:
        """Return tokens [B, tokens, width] for images [B, 3, h, w] in [-1, 1]."""
        inner = self.tokens_inside(value, condition, others)
        group: TokenGroup = self.resample(inner.tokens, inner.mask)
        return group
