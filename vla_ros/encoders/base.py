"""What an encoder is: one stream of the observation in, a group of tokens out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.errors import PolicyError
from vla_ros.policy.registry import Part, Registry


@dataclass(frozen=True)
class Aim:
    """Where an encoder takes the tool to go next. heat: logits [B, cells]. place: [B, 2], x right, y down in [-1, 1]."""

    heat: Tensor
    place: Tensor


@dataclass(frozen=True)
class TokenGroup:
    """Tokens of one stream, or of several joined.

    tokens: float [B, T, width]. mask: bool [B, T], True where a token is present; None when all are.
    pooled: float [B, width], the stream in one vector, where the encoder makes one (the instruction does).
    aim: where in the picture the tool goes, from the encoders that tell (`Encoder.aims`).
    A missing sensor is a masked token: no attention reads it, and it is never replaced by zeros.
    """

    tokens: Tensor
    mask: Tensor | None = None
    pooled: Tensor | None = None
    aim: Aim | None = None

    def where(self, present: Tensor) -> TokenGroup:
        """Return the group with the samples masked that are not `present`, bool [B].

        A masked token holds zeros, whatever its sensor said: attention gives it the weight 0, but 0 times NaN is NaN.
        """
        here = present[:, None].expand(self.tokens.shape[:2])
        mask = here if self.mask is None else self.mask & here
        return TokenGroup(self.tokens.masked_fill(~mask.unsqueeze(2), 0.0), mask, self.pooled, self.aim)

    @staticmethod
    def join(groups: list[TokenGroup]) -> TokenGroup:
        """Return all tokens of `groups` in order, as one group."""
        tokens = torch.cat([g.tokens for g in groups], dim=1)
        if all(g.mask is None for g in groups):
            return TokenGroup(tokens)
        masks = [torch.ones_like(g.tokens[..., 0], dtype=torch.bool) if g.mask is None else g.mask for g in groups]
        return TokenGroup(tokens, torch.cat(masks, dim=1))


@dataclass(frozen=True)
class Companion:
    """Another stream's batch, as an encoder that reads several gets it. present: bool [B]; None when all samples are."""

    value: Tensor
    present: Tensor | None = None


Others = Mapping[str, Companion]


class Encoder(nn.Module):
    """Base of all encoders. Built as ``cls(settings, stream, width)`` for one stream of the contract.

    kinds: the contract's stream kinds that the encoder reads. reads: keys of the streams it reads beside its own (the
    colours of a cloud, the depth of a picture); each may be missing. grid: rows and columns of the tokens that lie on
    the cells of a picture, which come first, row by row; None where there are none. aims: whether its groups have an `aim`, which
    `aim_loss` trains. by_joints: whether the model adds the joints to the condition.

    A model calls `encode`. An encoder defines forward(value, condition), or forward(value, condition, others) where it
    reads more than its own stream: `value` is the stream's batch after `vla_ros.policy.preprocess`; `condition`, float
    [B, width] or None, is the pooled instruction.
    """

    kinds: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    grid: tuple[int, int] | None = None
    aims: bool = False
    by_joints: bool = False

    def __init__(self, settings: Any, stream: StreamSpec, width: int) -> None:
        super().__init__()

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return the stream's tokens."""
        raise NotImplementedError

    def encode(
        self,
        value: Tensor,
        condition: Tensor | None = None,
        present: Tensor | None = None,
        others: Others | None = None,
    ) -> TokenGroup:
        """Return the tokens of the samples that are `present`, bool [B] (None: all); the other samples' are masked.

        What an absent sample holds, NaN included, reaches neither an output nor a gradient.
        """
        if present is not None:
            value = _without(value, present)
        if others is not None:
            others = {k: replace(o, value=_kept(o)) for k, o in others.items() if k in self.reads}
        group = self._call(value, condition, others)
        return group if present is None else group.where(present)

    def assets(self) -> dict[str, str]:
        """Return the text files, by name, that must travel with the weights in a checkpoint: architecture, vocabulary."""
        return {}

    def aim_loss(self, aim: Aim, wanted: Tensor) -> Tensor:
        """Return the loss of an aim for the places [B, 2] that were wanted; rows of NaN do not count."""
        raise NotImplementedError

    def disturb(self, scale: float) -> None:
        """Scale the noise added in training, if there is any; 1 is what the settings say."""

    def _call(self, value: Tensor, condition: Tensor | None, others: Others | None) -> TokenGroup:
        group: TokenGroup = self(value, condition, others or {}) if self.reads else self(value, condition)
        return group


def _kept(other: Companion) -> Tensor:
    return other.value if other.present is None else _without(other.value, other.present)


def _without(value: Tensor, present: Tensor) -> Tensor:
    """Return `value` with a neutral content in the samples that are masked anyway."""
    return value.masked_fill(~present.reshape(-1, *[1] * (value.ndim - 1)), 0)


ENCODERS: Registry[Encoder] = Registry("encoder")


class Wrapper(Encoder):
    """Base of encoders that do something to the tokens of another one, configured as their key `encoder`."""

    kinds = ("image",)
    inner: Encoder

    def __init__(self, settings: Any, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        part: Part = settings.encoder
        cls = ENCODERS.get(part)
        if stream.kind not in cls.kinds:
            raise PolicyError(
                f"encoder '{part.type}' of '{stream.key}' reads {', '.join(cls.kinds)}, not {stream.kind}"
            )
        self.inner = cls(part.settings, stream, width)
        self.reads = self.inner.reads
        self.grid = self.inner.grid

    def assets(self) -> dict[str, str]:
        """Return the inner encoder's files."""
        return self.inner.assets()

    def disturb(self, scale: float) -> None:
        """Scale the inner encoder's noise."""
        self.inner.disturb(scale)

    def tokens_inside(self, value: Tensor, condition: Tensor | None, others: Others | None) -> TokenGroup:
        """Return the inner encoder's tokens."""
        return self.inner._call(value, condition, others)


@dataclass(frozen=True)
class WrapperSettings:
    """encoder: the section of the encoder inside."""

    encoder: Part

    @property
    def size(self) -> tuple[int, int]:
        """[height, width] that the stream is resized to: the inner encoder's."""
        size: tuple[int, int] = self.encoder.settings.size
        return size

    @property
    def companions(self) -> tuple[str, ...]:
        """Keys of further streams that are read: the inner encoder's."""
        return tuple(getattr(self.encoder.settings, "companions", ()))
