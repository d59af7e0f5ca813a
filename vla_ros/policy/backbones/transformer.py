"""A transformer encoder over the tokens of all streams."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from vla_ros.encoders.base import TokenGroup
from vla_ros.policy.attention import Layer, check_heads
from vla_ros.policy.backbones.base import BACKBONES, Backbone


@dataclass(frozen=True)
class TransformerEncoderSettings:
    """layers, heads, feedforward (hidden width) and dropout of the encoder."""

    layers: int = 2
    heads: int = 4
    feedforward: int = 512
    dropout: float = 0.1


@BACKBONES.register("transformer", TransformerEncoderSettings)
class TransformerEncoder(Backbone):
    """Every token attends to every present token; the pre-norm layers of Xiong et al. 2020."""

    def __init__(self, settings: TransformerEncoderSettings, width: int) -> None:
        super().__init__(settings, width)
        s = settings
        check_heads(width, s.heads)
        self.layers = nn.ModuleList(Layer(width, s.heads, s.feedforward, s.dropout) for _ in range(s.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, groups: list[TokenGroup]) -> TokenGroup:
        """Return features of as many tokens as `groups` have together."""
        joined = TokenGroup.join(groups)
        x = joined.tokens
        for layer in self.layers:
            x = layer(x, joined.mask)
        return TokenGroup(self.norm(x), joined.mask)
