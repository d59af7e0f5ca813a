"""What an encoder is: one stream of the observation in, a group of tokens out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.policy.registry import Registry


@dataclass(frozen=True)
class TokenGroup:
    """Tokens of one stream, or of several joined.

    tokens: float [B, T, width]. mask: bool [B, T], True where a token is present; None when all are.
    pooled: float [B, width], the stream in one vector, where the encoder makes one (the instruction does).
    A missing sensor is a masked token: no attention reads it, and it is never replaced by zeros.
    """

    tokens: Tensor
    mask: Tensor | None = None
    pooled: Tensor | None = None

    @staticmethod
    def join(groups: list[TokenGroup]) -> TokenGroup:
        """Return all tokens of `groups` in order, as one group."""
        tokens = torch.cat([g.tokens for g in groups], dim=1)
        if all(g.mask is None for g in groups):
            return TokenGroup(tokens)
        masks = [torch.ones_like(g.tokens[..., 0], dtype=torch.bool) if g.mask is None else g.mask for g in groups]
        return TokenGroup(tokens, torch.cat(masks, dim=1))


class Encoder(nn.Module):
    """Base of all encoders. Built as ``cls(settings, stream, width)`` for one stream of the contract.

    kinds: the contract's stream kinds that the encoder reads. forward(value, condition): `value` is the
    stream's batch after `vla_ros.policy.preprocess`; `condition`, float [B, width] or None, is the pooled
    instruction.
    """

    kinds: tuple[str, ...] = ()

    def __init__(self, settings: Any, stream: StreamSpec, width: int) -> None:
        super().__init__()

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return the stream's tokens."""
        raise NotImplementedError

    def disturb(self, scale: float) -> None:
        """Scale the noise added in training, if there is any; 1 is what the settings say."""


ENCODERS: Registry[Encoder] = Registry("encoder")
