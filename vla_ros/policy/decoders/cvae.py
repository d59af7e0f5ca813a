"""The chunk decoder of ACT: a conditional variational autoencoder over action sequences.

Zhao, Kumar, Levine and Finn 2023, "Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware". A
style encoder reads the demonstrated chunk and the state and gives a latent z, which explains what differs
between demonstrators; at inference z is zero, the prior's mean. Here z joins the decoder's memory as a
token, where ACT adds it to the encoder's input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.encoders.base import TokenGroup
from vla_ros.encoders.positions import sine_positions
from vla_ros.policy.attention import Layer, check_heads, truncated_normal
from vla_ros.policy.decoders.base import DECODERS, Decoder, DecoderShape


@dataclass(frozen=True)
class CvaeChunkSettings:
    """layers, heads, feedforward, dropout of the decoder; style_layers of the style encoder; latent: size of
    z;
    kl_weight: weight of the KL divergence beside the L1 loss."""

    layers: int = 2
    heads: int = 4
    feedforward: int = 512
    dropout: float = 0.1
    style_layers: int = 1
    latent: int = 16
    kl_weight: float = 10.0


@DECODERS.register("cvae_chunk", CvaeChunkSettings)
class CvaeChunk(Decoder):
    """H learned queries read the features and z; a linear head gives the H actions."""

    def __init__(self, settings: CvaeChunkSettings, shape: DecoderShape) -> None:
        super().__init__(settings, shape)
        s, width = settings, shape.width
        check_heads(width, s.heads)
        self.latent = s.latent
        self.kl_weight = s.kl_weight
        self.style_state = nn.Linear(shape.state, width)
        self.style_action = nn.Linear(shape.action, width)
        self.style_token = truncated_normal(1, 1, width)
        self.register_buffer("style_positions", sine_positions(shape.chunk, width), persistent=False)
        self.style = nn.ModuleList(Layer(width, s.heads, s.feedforward, s.dropout) for _ in range(s.style_layers))
        self.style_norm = nn.LayerNorm(width)
        self.style_out = nn.Linear(width, 2 * s.latent)
        self.latent_in = nn.Linear(s.latent, width)
        self.queries = truncated_normal(1, shape.chunk, width, std=1.0)
        self.layers = nn.ModuleList(
            Layer(width, s.heads, s.feedforward, s.dropout, cross=True) for _ in range(s.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, shape.action)

    def loss(self, features: TokenGroup, state: Tensor, actions: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Return "loss" = "l1" + kl_weight * "kl"; L1 is the mean over valid steps, KL is in nats per
        sample."""
        mean, log_variance = self._posterior(state, actions, valid)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        predicted = self._decode(features, z)
        weight = valid.unsqueeze(2).float()
        l1 = ((predicted - actions).abs() * weight).sum() / (weight.sum() * actions.shape[2]).clamp(min=1.0)
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum(dim=1).mean()
        return {"loss": l1 + self.kl_weight * kl, "l1": l1, "kl": kl}

    def sample(self, features: TokenGroup) -> Tensor:
        """Return the chunk [B, H, D] of the prior's mean, z = 0."""
        tokens = features.tokens
        return self._decode(features, tokens.new_zeros(tokens.shape[0], self.latent))

    def _posterior(self, state: Tensor, actions: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        batch = actions.shape[0]
        steps = self.style_action(actions) + self.style_positions
        x = torch.cat([self.style_token.expand(batch, -1, -1), self.style_state(state).unsqueeze(1), steps], dim=1)
        mask = torch.cat([torch.ones_like(valid[:, :1]).expand(-1, 2), valid], dim=1)
        for layer in self.style:
            x = layer(x, mask)
        mean, log_variance = self.style_out(self.style_norm(x[:, 0])).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-10.0, 10.0)

    def _decode(self, features: TokenGroup, z: Tensor) -> Tensor:
        memory = TokenGroup.join([features, TokenGroup(self.latent_in(z).unsqueeze(1))])
        x = self.queries.expand(z.shape[0], -1, -1)
        for layer in self.layers:
            x = layer(x, None, memory.tokens, memory.mask)
        with torch.autocast(x.device.type, enabled=False):  # the last rounding would be the arm's
            actions: Tensor = self.head(self.norm(x).float())
        return actions
