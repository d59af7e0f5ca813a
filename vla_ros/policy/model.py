"""The network of a native policy: encoders, backbone and decoder put together."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vla_ros.contract import Contract
from vla_ros.encoders import ENCODERS
from vla_ros.encoders.base import Companion, Encoder, TokenGroup
from vla_ros.policy.attention import truncated_normal
from vla_ros.policy.backbones import BACKBONES
from vla_ros.policy.config import PolicyConfig
from vla_ros.policy.decoders import DECODERS
from vla_ros.policy.decoders.base import DecoderShape


class ActionModel(nn.Module):
    """Observation tensors to a chunk of normalised actions.

    Inputs are one tensor a stream (see `vla_ros.policy.preprocess`), by stream key. A stream that is absent
    from them gives no tokens; `present` masks single samples of a stream, bool [B].
    """

    def __init__(self, config: PolicyConfig, contract: Contract) -> None:
        super().__init__()
        streams = config.streams(contract)
        self.keys = [s.key for s in streams]
        self.text = next((s.key for s in streams if s.kind == "text"), None)
        self.state_key = contract.state.key
        self.encoders = nn.ModuleDict()
        for stream in streams:
            part = config.encoder_for(stream)
            assert part is not None
            self.encoders[module_name(stream.key)] = ENCODERS.get(part)(part.settings, stream, config.width)
        self.by_joints: nn.Linear | None = None
        if any(_encoder(encoder).by_joints for encoder in self.encoders.values()):
            self.by_joints = nn.Linear(contract.state.value_shape[-1], config.width)
        self.types = truncated_normal(len(streams), config.width)
        self.no_text = nn.Parameter(torch.zeros(config.width))
        actions = len(contract.action.names)
        self.goal_weight = config.goal
        # Not the joints: a scene's random start pose tells demonstrations apart, and is learned by heart.
        self.seen = [s.key for s in streams if s.kind in ("image", "text")]
        self.goal: nn.Module | None = None
        if config.goal > 0.0:
            self.goal = nn.Sequential(
                nn.Linear(len(self.seen) * config.width, 256),
                nn.GELU(),
                nn.Linear(256, 256),
                nn.GELU(),
                nn.Linear(256, actions),
            )
            self.goal_token = nn.Linear(actions, config.width)
            self.absent = nn.Parameter(torch.zeros(1, config.width))
        self.backbone = BACKBONES.get(config.backbone)(config.backbone.settings, config.width)
        shape = DecoderShape(config.width, config.chunk, actions, contract.state.shape[0])
        self.decoder = DECODERS.get(config.decoder)(config.decoder.settings, shape)

    def features(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor] | None = None,
        tokens: Mapping[str, Tensor] | None = None,
    ) -> TokenGroup:
        """Return the backbone's features of a batch; tokens: as of `sample`."""
        return self._features(inputs, present, tokens)[0]

    def loss(
        self,
        inputs: Mapping[str, Tensor],
        actions: Tensor,
        valid: Tensor,
        present: Mapping[str, Tensor] | None = None,
        goals: Tensor | None = None,
        aims: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the loss terms for normalised actions [B, H, D], valid bool [B, H], and normalised goals [B, D].

        aims: of the streams whose encoders tell where the tool goes, the places [B, 2] where it went.
        """
        groups = self._encode(inputs, present, {})
        told = {key: aim for key in aims or {} if key in groups and (aim := groups[key].aim) is not None}
        features, goal = self._reason(groups, inputs)
        terms = self.decoder.loss(features, inputs[self.state_key], actions, valid)
        for key, aim in told.items():
            off = self.encoder_of(key).aim_loss(aim, (aims or {})[key])
            terms["aim"] = terms["aim"] + off if "aim" in terms else off
        if told:
            terms["loss"] = terms["loss"] + terms["aim"]
        if goal is not None and goals is not None:
            terms["goal"] = (goal - goals).abs().mean()
            terms["loss"] = terms["loss"] + self.goal_weight * terms["goal"]
        return terms

    def sample(self, inputs: Mapping[str, Tensor], tokens: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return normalised actions, float32 [B, H, D].

        tokens: of streams that were encoded elsewhere (see `tokens_of`), float [B, T, width], in place of their inputs.
        """
        return self.decoder.sample(self.features(inputs, tokens=tokens))

    def tokens_of(self, key: str, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return what stream `key`'s encoder makes of its input, [B, T, width], steered by the text where that is given."""
        condition: Tensor | None = None
        if self.text is not None and self.text in inputs:
            condition = self.encoder_of(self.text).encode(inputs[self.text]).pooled
        return self.encoder_of(key).encode(inputs[key], condition).tokens

    def encoder_of(self, key: str) -> Encoder:
        """Return a stream's encoder."""
        return _encoder(self.encoders[module_name(key)])

    def _features(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor] | None,
        tokens: Mapping[str, Tensor] | None = None,
    ) -> tuple[TokenGroup, Tensor | None]:
        return self._reason(self._encode(inputs, present, tokens or {}), inputs)

    def _reason(self, groups: dict[str, TokenGroup], inputs: Mapping[str, Tensor]) -> tuple[TokenGroup, Tensor | None]:
        goal: Tensor | None = None
        if self.goal is not None:
            seen = [self._summary(groups.get(key), inputs) for key in self.seen]
            goal = self.goal(torch.cat(seen, dim=1)).float()
            groups["goal"] = TokenGroup(self.goal_token(goal.to(seen[0].dtype)).unsqueeze(1))
        features: TokenGroup = self.backbone(list(groups.values()))
        return features, goal

    def _summary(self, group: TokenGroup | None, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the mean of a stream's present tokens, [B, width]; a learned stand-in where there is none."""
        if group is None:
            return self.absent.expand(next(iter(inputs.values())).shape[0], -1)
        if group.mask is None:
            return group.tokens.mean(dim=1)
        weight = group.mask.unsqueeze(2).to(group.tokens.dtype)
        count = weight.sum(dim=1)
        mean = (group.tokens * weight).sum(dim=1) / count.clamp(min=1.0)
        return torch.where(count > 0, mean, self.absent.to(mean.dtype))

    def _encode(
        self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None, tokens: Mapping[str, Tensor]
    ) -> dict[str, TokenGroup]:
        here = present or {}
        streams = {key: Companion(value, here.get(key)) for key, value in inputs.items()}
        groups: dict[str, TokenGroup] = {}
        condition: Tensor | None = None
        for number, key in enumerate(self.keys):
            if key in tokens:
                groups[key] = TokenGroup(tokens[key] + self.types[number])
                continue
            if key not in inputs:
                continue
            encoder = _encoder(self.encoders[module_name(key)])
            steered = self._by_joints(condition, inputs, here) if encoder.by_joints else condition
            group = encoder.encode(inputs[key], steered, here.get(key), streams if encoder.reads else None)
            if key == self.text and group.pooled is not None:
                condition = group.pooled
                if key in here:
                    condition = torch.where(here[key][:, None], condition, self.no_text.to(condition.dtype))
            groups[key] = TokenGroup(group.tokens + self.types[number], group.mask, aim=group.aim)
        return groups

    def _by_joints(
        self, condition: Tensor | None, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> Tensor | None:
        """Return the words' condition [B, width] and what the joints add to it, where they are there."""
        state = inputs.get(self.state_key)
        if self.by_joints is None or state is None:
            return condition
        joints: Tensor = self.by_joints(state)
        if self.state_key in present:
            joints = joints.masked_fill(~present[self.state_key][:, None], 0.0)
        return joints if condition is None else condition + joints

    def assets(self) -> dict[str, str]:
        """Return the text files of all encoders that belong to a checkpoint, by relative path."""
        return {
            f"{name}/{file}": text
            for name, encoder in self.encoders.items()
            for file, text in _encoder(encoder).assets().items()
        }

    def disturb(self, scale: float) -> None:
        """Scale the noise that encoders add in training; 1 is what their settings say."""
        for encoder in self.encoders.values():
            _encoder(encoder).disturb(scale)

    def parameter_count(self) -> int:
        """Return the number of learned numbers."""
        return sum(p.numel() for p in self.parameters())


def module_name(key: str) -> str:
    """Return the name of a stream's encoder among the model's modules, which may not hold a dot."""
    return key.replace(".", "-")


def _encoder(module: nn.Module) -> Encoder:
    assert isinstance(module, Encoder)
    return module
