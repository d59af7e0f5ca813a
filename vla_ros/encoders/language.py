"""The instruction, read as bytes: no vocabulary, no download, any language."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup

SHARPNESS = 8.0  # of the attention's queries at the start


@dataclass(frozen=True)
class ByteInstructionSettings:
    """max_bytes: bytes that are read, the rest is cut. embedding, hidden: widths of the byte embedding and
    the convolutions. heads: attention-pooling queries, each of which may look for another word."""

    max_bytes: int = 96
    embedding: int = 32
    hidden: int = 96
    heads: int = 4


@ENCODERS.register("bytes", ByteInstructionSettings)
class ByteInstruction(Encoder):
    """Byte embedding, two convolutions that see eleven bytes (a word and its neighbours), attention pooling.

    No position is encoded, so a word means the same wherever a paraphrase puts it.
    """

    kinds = ("text",)

    def __init__(self, settings: ByteInstructionSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.embedding = nn.Embedding(257, settings.embedding, padding_idx=0)
        self.first = nn.Conv1d(settings.embedding, settings.hidden, 7, padding=3)
        self.second = nn.Conv1d(settings.hidden, settings.hidden, 5, padding=2)
        self.scores = nn.Conv1d(settings.hidden, settings.heads, 1)
        self.out = nn.Sequential(nn.Linear(settings.heads * settings.hidden, width), nn.GELU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)
        self._begin_apart()

    def _begin_apart(self) -> None:
        """Initialise so that instructions that differ in one word are apart from the start.

        With PyTorch's defaults two colours differ by 2% of the vector's length, and whether the pictures' features learn
        to follow the words is left to luck; so it is 26%: no biases, gains of ReLU (He et al. 2015), and queries that
        look for one word each instead of averaging over all.
        """
        for convolution in (self.first, self.second):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        with torch.no_grad():
            self.scores.weight.mul_(SHARPNESS)
        for layer in (self.first, self.second, self.scores, *self.out):
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, gain=2.0**0.5)
            if isinstance(layer, (nn.Linear, nn.Conv1d)) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, 1, width] and their pooled vector for bytes, int64 [B, L]: byte + 1, 0 is
        padding."""
        x = self.embedding(value).transpose(1, 2)  # [B, E, L]
        x = torch.relu(self.first(x))
        x = torch.relu(self.second(x))
        scores = self.scores(x).float().masked_fill((value == 0).unsqueeze(1), -1e4)
        weights = scores.softmax(dim=2).to(x.dtype)  # [B, heads, L]
        pooled = torch.einsum("bhl,bcl->bhc", weights, x).flatten(1)
        vector = self.norm(self.out(pooled))
        return TokenGroup(vector.unsqueeze(1), pooled=vector)
