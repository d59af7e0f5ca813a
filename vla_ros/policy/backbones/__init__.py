"""Backbones: token groups of all streams in, features for the decoder out."""

from vla_ros.policy.backbones.base import BACKBONES, Backbone
from vla_ros.policy.backbones.transformer import TransformerEncoder, TransformerEncoderSettings

__all__ = ["BACKBONES", "Backbone", "TransformerEncoder", "TransformerEncoderSettings"]
