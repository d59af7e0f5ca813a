"""Encoding beside the sensor: one stream's encoder of a policy, taken out of its checkpoint.

The tokens are what the policy's own encoder makes of the same sample, so the policy acts the same on either; what it adds
to every token of a stream (its type) it adds itself. An encoder that the instruction steers needs the same words here.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_ros.errors import CheckpointError, PolicyError, unknown_name
from vla_ros.policy.base import Policy
from vla_ros.policy.native import NativePolicy
from vla_ros.policy.registry import plain
from vla_ros.tokens import MARK_LENGTH, Tokens, TokensWanted, instruction_mark


class EdgeEncoder:
    """Makes tokens of stream `key` as the policy itself would. Raises PolicyError where that is not possible."""

    def __init__(self, policy: NativePolicy, key: str) -> None:
        self.wanted = tokens_wanted(policy, key)
        self.contract = policy.contract
        self._policy, self._text = policy, policy.model.text

    @classmethod
    def load(cls, checkpoint: str | Path, key: str = "", topic: str = "") -> EdgeEncoder:
        """Return the encoder of stream `key` of a checkpoint folder; without a key that of the stream on `topic`.

        Raises CheckpointError or PolicyError, in one line.
        """
        from vla_ros.policy.checkpoint import load_native

        policy = load_native(Path(checkpoint))
        if not key:
            on_topic = {stream.topic: stream.key for stream in policy.contract.streams()}
            if topic not in on_topic:
                raise CheckpointError(
                    f"checkpoint '{checkpoint}': {unknown_name('topic', topic, on_topic)}; or name the stream"
                )
            key = on_topic[topic]
        return cls(policy, key)

    def encode(self, value: Any, instruction: str = "") -> Tokens:
        """Return the tokens of one value of the stream, as it stands in an observation.

        instruction: the words that steer the policy; where they steer this encoder too they must be there: ValueError.
        """
        values = {self.wanted.key: value}
        if self.wanted.steered:
            if not instruction:
                raise ValueError(f"{self.wanted.key} is encoded under an instruction, and there is none")
            assert self._text is not None
            values[self._text] = instruction
        with torch.inference_mode():
            tokens = self._policy.model.tokens_of(self.wanted.key, self._policy.tensors(values))
        mark = instruction_mark(instruction) if self.wanted.steered else ""
        return Tokens(tokens[0].float().cpu().numpy(), self.wanted.encoder, mark)


def tokens_wanted(policy: Policy, key: str) -> TokensWanted:
    """Return what tokens of stream `key` a policy takes in place of the stream. Raises PolicyError where it takes none."""
    if not isinstance(policy, NativePolicy):
        raise PolicyError(f"'{key}' as tokens: only policies made of this package's parts take tokens")
    model = policy.model
    kinds = ("image", "depth", "taxels", "wrench")
    valid = [stream.key for stream in policy.contract.streams(*kinds) if stream.key in model.keys]
    if key not in valid:
        raise PolicyError(f"tokens: {unknown_name('stream', key, valid)}, of those that the policy reads")
    if model.encoder_of(key).by_joints:
        raise PolicyError(f"'{key}' cannot be encoded apart: the joints say what its encoder looks for")
    together = [other for other in model.keys if key in model.encoder_of(other).reads]
    if together or model.encoder_of(key).reads:
        beside = ", ".join((*together, *model.encoder_of(key).reads))
        raise PolicyError(f"'{key}' cannot be encoded apart: the policy reads it together with {beside}")
    tokens = _probe(policy, key)
    return TokensWanted(key, (tokens[0].shape[1], tokens[0].shape[2]), _mark(policy, key, tokens[1]), tokens[1])


def _probe(policy: NativePolicy, key: str) -> tuple[torch.Tensor, bool]:
    """Return the tokens of an arbitrary sample, and whether the instruction changes them."""
    stream, encoder = policy.contract.observation[key], policy.model.encoder_of(key)
    sample = np.random.default_rng(0).integers(0, 255, stream.value_shape)
    inputs = policy.tensors({key: sample.astype(np.uint8 if stream.kind == "image" else np.float32)})[key]
    width = policy.config.width
    with torch.inference_mode():
        plain_ = encoder.encode(inputs)
        if plain_.mask is not None and not bool(plain_.mask.all()):
            raise PolicyError(f"'{key}' cannot be encoded apart: its encoder masks some of its tokens")
        if policy.model.text is None:
            return plain_.tokens, False
        words = torch.linspace(-2.0, 2.0, width, device=inputs.device)[None]
        return plain_.tokens, not torch.equal(plain_.tokens, encoder.encode(inputs, words).tokens)


def _mark(policy: NativePolicy, key: str, steered: bool) -> str:
    """Return a hash of all that the tokens depend on: weights, settings, how values are prepared."""
    digest = hashlib.sha256()
    text = policy.model.text
    for name in (key, text) if steered and text is not None else (key,):
        stream = policy.contract.observation[name]
        part = policy.config.encoder_for(stream)
        assert part is not None
        about = [name, stream.kind, list(stream.value_shape), part.type, plain(part.settings), policy.config.width]
        digest.update(json.dumps(about, sort_keys=True).encode())
        for tensor_name, tensor in sorted(policy.model.encoder_of(name).state_dict().items()):
            digest.update(tensor_name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        for statistic in policy.normaliser.statistics(name):
            digest.update(statistic.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:MARK_LENGTH]
