"""Few tokens from many."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Others, TokenGroup, Wrapper, WrapperSettings
from vla_ros.encoders.film import Film


@dataclass(frozen=True)
class TokenLearnerSettings(WrapperSettings):
    """tokens: how many are left. hidden: of the network that says where each looks. film: whether the instruction
    modulates what is looked for."""

    tokens: int = 8
    hidden: int = 64
    film: bool = True

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.hidden < 1:
            raise ValueError(f"want tokens and hidden >= 1, got {self.tokens} and {self.hidden}")


@ENCODERS.register("token_learner", TokenLearnerSettings)
class TokenLearner(Wrapper):
    """`tokens` weighted means of the tokens [B, T, width] of the image encoder inside, with learned weights.

    Ryoo et al. 2021, "TokenLearner: What Can 8 Learned Tokens Do for Images and Videos?" (arXiv 2106.11297), in the
    form with an MLP and a softmax over the cells; RT-1 (Brohan et al. 2022) makes 81 tokens 8.
    """

    def __init__(self, settings: TokenLearnerSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.grid = None
        self.norm = nn.LayerNorm(width)
        self.film = Film(width, width) if settings.film else None
        self.scores = nn.Sequential(
            nn.Linear(width, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, settings.tokens)
        )

    def forward(self, value: Tensor, condition: Tensor | None = None, others: Others | None = None) -> TokenGroup:
        """Return tokens [B, tokens, width] for images [B, 3, h, w] in [-1, 1]."""
        group = self.tokens_inside(value, condition, others)
        x = self.norm(group.tokens)
        if self.film is not None:
            x = self.film(x, condition)
        scores = self.scores(x).float()  # [B, T, tokens]
        if group.mask is None:
            return TokenGroup(scores.softmax(dim=1).to(x.dtype).transpose(1, 2) @ group.tokens)
        scores = scores.masked_fill(~group.mask.unsqueeze(2), torch.finfo(scores.dtype).min)
        tokens = scores.softmax(dim=1).to(x.dtype).transpose(1, 2) @ group.tokens
        some = group.mask.any(dim=1, keepdim=True).expand(tokens.shape[:2])
        return TokenGroup(tokens, some)
