"""The instruction, read as byte pairs of a vocabulary of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup
from vla_ros.encoders.bpe import BytePairs
from vla_ros.encoders.positions import sine_positions
from vla_ros.encoders.pretrained import asset
from vla_ros.policy.attention import Layer, check_heads

FILE = "vocabulary.json"


class PairTokens:
    """Text to int64 [length]: entry + 1, 0 as padding, the rest cut. Lower case, single spaces."""

    def __init__(self, pairs: BytePairs, length: int) -> None:
        self.pairs, self.length = pairs, length

    def __call__(self, text: str) -> npt.NDArray[np.int64]:
        """Return the tokens."""
        ids = self.pairs.encode(" ".join(text.lower().split()))[: self.length]
        out = np.zeros(self.length, dtype=np.int64)
        out[: len(ids)] = np.asarray(ids, dtype=np.int64) + 1
        return out


@dataclass(frozen=True)
class BytePairSettings:
    """vocabulary: a file that `vla-ros encoders bpe` wrote. length: entries that are read. hidden, layers, heads: of the
    transformer."""

    vocabulary: str
    length: int = 32
    hidden: int = 64
    layers: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length is {self.length}, want 1 or more")
        check_heads(self.hidden, self.heads)

    def pairs(self, key: str) -> BytePairs:
        """Return the vocabulary of stream `key`."""
        return BytePairs.from_json(asset(key, FILE, self.vocabulary), self.vocabulary)

    def text_step(self, stream: StreamSpec) -> PairTokens:
        """Return the step from text to tokens."""
        return PairTokens(self.pairs(stream.key), self.length)


@ENCODERS.register("byte_pairs", BytePairSettings)
class BytePairInstruction(Encoder):
    """A transformer over the byte pairs of the text, trained with the policy; their mean conditions the images."""

    kinds = ("text",)
    positions: Tensor

    def __init__(self, settings: BytePairSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        s = settings
        self.pairs = s.pairs(stream.key)
        self.embedding = nn.Embedding(len(self.pairs) + 1, s.hidden, padding_idx=0)
        self.layers = nn.ModuleList(Layer(s.hidden, s.heads, 4 * s.hidden, 0.0) for _ in range(s.layers))
        self.norm = nn.LayerNorm(s.hidden)
        self.out = nn.Linear(s.hidden, width)
        self.register_buffer("positions", sine_positions(s.length, s.hidden), persistent=False)

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, L, width] and their mean [B, width] for entries int64 [B, L]: entry + 1, 0 is padding."""
        mask = value > 0
        read = mask.clone()
        read[:, 0] = True  # an empty text is masked, but attention over nothing is not a number
        x = self.embedding(value) + self.positions[: value.shape[1]]
        for layer in self.layers:
            x = layer(x, read)
        tokens = self.out(self.norm(x))
        weight = mask.unsqueeze(2).to(tokens.dtype)
        pooled = (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
        return TokenGroup(tokens, mask, pooled)

    def assets(self) -> dict[str, str]:
        """Return the vocabulary."""
        return {FILE: self.pairs.to_json()}
