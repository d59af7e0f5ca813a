"""A tiny untrained policy of the picture world, and observations for it."""

from __future__ import annotations

import numpy as np
import torch
import yaml
from picture_world import Scene, observe, picture_contract

from vla_ros.contract import Contract
from vla_ros.observation import Observation
from vla_ros.policy.config import parse_policy
from vla_ros.policy.model import ActionModel
from vla_ros.policy.native import NativePolicy
from vla_ros.policy.normaliser import Normaliser

TINY = """
width: 32
chunk: 6
targets: {mode: absolute}
optional: [observation.tactile.*]
encoders:
  observation.images.*: {type: film_cnn, size: [30, 40], channels: [8, 16, 16], blocks: [0, 0], keypoints: 4}
  observation.state: {type: mlp, hidden: 16}
  observation.wrench.*: {type: wrench}
  observation.tactile.*: {type: taxels}
  task: {type: bytes, hidden: 16}
backbone: {type: transformer, layers: 1, heads: 2, feedforward: 32}
decoder: {type: cvae_chunk, layers: 1, heads: 2, feedforward: 32, latent: 4}
"""


def build(text: str = TINY, contract: Contract | None = None) -> NativePolicy:
    torch.manual_seed(0)
    contract = contract or picture_contract((60, 80), touch=True)
    config = parse_policy(yaml.safe_load(text), "tiny.yaml")
    stats = {
        s.key: np.random.default_rng(0).normal(size=(10, *s.value_shape))
        for s in contract.streams("joints", "wrench", "taxels")
    }
    stats["action"] = np.random.default_rng(1).normal(size=(10, config.chunk, len(contract.action.names)))
    return NativePolicy(config, contract, ActionModel(config, contract), Normaliser.fit(stats), torch.device("cpu"))


def look(policy: NativePolicy, **changes: object) -> Observation:
    rng = np.random.default_rng(0)
    seen = observe(Scene.random(rng), np.array([0.05, -0.1, 0.04]), policy.contract, stamp=7)
    values = dict(seen.values)
    for s in policy.contract.streams("wrench", "taxels"):
        values[s.key] = rng.normal(size=s.value_shape).astype(np.float32)
    values.update(changes)
    return Observation(7, {k: v for k, v in values.items() if v is not None})
