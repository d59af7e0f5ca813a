"""What a decoder is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vla_ros.encoders.base import TokenGroup
from vla_ros.policy.registry import Registry


@dataclass(frozen=True)
class DecoderShape:
    """What a decoder is built for: feature width, chunk length H, action size D, state size N."""

    width: int
    chunk: int
    action: int
    state: int


class Decoder(nn.Module):
    """Base of all decoders. Built as ``cls(settings, shape)``. Actions are normalised, [B, H, D]."""

    def __init__(self, settings: Any, shape: DecoderShape) -> None:
        super().__init__()

    def loss(self, features: TokenGroup, state: Tensor, actions: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Return scalar terms, of which "loss" is minimised.

        state: normalised [B, N]. actions: normalised [B, H, D]. valid: bool [B, H], False past the episode's
        end.
        """
        raise NotImplementedError

    def sample(self, features: TokenGroup) -> Tensor:
        """Return a chunk [B, H, D] for the features."""
        raise NotImplementedError


DECODERS: Registry[Decoder] = Registry("decoder")
