"""Observation encoders: each turns one stream of the contract into a group of tokens for the policy's
backbone.

Importing this package registers them all; the libraries that some need are loaded when one is built.
"""

from vla_ros.encoders import (  # noqa: F401  # each registers its encoders
    aim,
    byte_pairs,
    depth,
    points,
    resnet,
    stem,
    tactile_image,
    text_models,
    token_learner,
    towers,
    views,
    vit,
    xyz,
)
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup
from vla_ros.encoders.image import FilmCnn, FilmCnnSettings
from vla_ros.encoders.language import ByteInstruction, ByteInstructionSettings
from vla_ros.encoders.state import StateMlp, StateMlpSettings
from vla_ros.encoders.taxels import TaxelMlp, TaxelMlpSettings
from vla_ros.encoders.wrench import WrenchWindow, WrenchWindowSettings

__all__ = [
    "ENCODERS",
    "ByteInstruction",
    "ByteInstructionSettings",
    "Encoder",
    "FilmCnn",
    "FilmCnnSettings",
    "StateMlp",
    "StateMlpSettings",
    "TaxelMlp",
    "TaxelMlpSettings",
    "TokenGroup",
    "WrenchWindow",
    "WrenchWindowSettings",
]
