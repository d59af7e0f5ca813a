"""A taxel pad to one token."""

from __future__ import annotations

from dataclasses import dataclass

from vla_ros.encoders.base import ENCODERS
from vla_ros.encoders.window_mlp import WindowMlp, WindowMlpSettings


@dataclass(frozen=True)
class TaxelMlpSettings(WindowMlpSettings):
    """As of `WindowMlp`."""


@ENCODERS.register("taxels", TaxelMlpSettings)
class TaxelMlp(WindowMlp):
    """MLP over a pad's shear and normal forces [B, h, w, 3], one token; over the whole window [B, T, h, w, 3] where the
    contract gives the stream a history.

    Huang et al. 2025, "Tactile-VLA" (arXiv 2507.09160), makes one fused token of a window this way. Forces are in the
    sensor's unit, made unitless by the normaliser.
    """

    kinds = ("taxels",)
