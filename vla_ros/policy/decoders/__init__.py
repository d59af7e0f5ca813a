"""Decoders: features in, a chunk of normalised actions out."""

from vla_ros.policy.decoders.base import DECODERS, Decoder
from vla_ros.policy.decoders.cvae import CvaeChunk, CvaeChunkSettings

__all__ = ["DECODERS", "CvaeChunk", "CvaeChunkSettings", "Decoder"]
