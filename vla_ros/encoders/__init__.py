"""Observation encoders: each turns one stream of the contract into a group of tokens for the policy's
backbone."""

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
