"""The wrist wrench, forces [N] and torques [Nm] made unitless by the normaliser, to one token."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup
from vla_ros.encoders.window_mlp import WindowMlp, WindowMlpSettings


@dataclass(frozen=True)
class WrenchWindowSettings:
    """hidden: channels of the temporal convolutions."""

    hidden: int = 32


@ENCODERS.register("wrench", WrenchWindowSettings)
class WrenchWindow(Encoder):
    """Two temporal convolutions over the window [B, T, 6], oldest first, and a mean: one token."""

    kinds = ("wrench",)

    def __init__(self, settings: WrenchWindowSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.layers = nn.Sequential(
            nn.Conv1d(stream.shape[0], settings.hidden, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(settings.hidden, settings.hidden, 3, padding=1),
            nn.GELU(),
        )
        self.out = nn.Linear(settings.hidden, width)

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, 1, width] for normalised wrenches [B, T, 6] or [B, 6]."""
        if value.ndim == 2:
            value = value.unsqueeze(1)
        features = self.layers(value.transpose(1, 2)).mean(dim=2)  # [B, hidden]
        return TokenGroup(self.out(features).unsqueeze(1))


@dataclass(frozen=True)
class WrenchLinearSettings:
    """Nothing to set."""


@ENCODERS.register("wrench_linear", WrenchLinearSettings)
class WrenchLinear(Encoder):
    """A linear map of the newest wrench of the window [B, T, 6]: one token.

    Yu et al. 2025, "ForceVLA" (arXiv 2505.22159), projects the six-axis wrench this way.
    """

    kinds = ("wrench",)

    def __init__(self, settings: WrenchLinearSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.out = nn.Linear(stream.shape[0], width)

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, 1, width] for normalised wrenches [B, T, 6] or [B, 6]."""
        newest = value if value.ndim == 2 else value[:, -1]
        return TokenGroup(self.out(newest).unsqueeze(1))


@dataclass(frozen=True)
class WrenchMlpSettings(WindowMlpSettings):
    """As of `WindowMlp`."""


@ENCODERS.register("wrench_mlp", WrenchMlpSettings)
class WrenchMlp(WindowMlp):
    """MLP over the whole window [B, T, 6], flattened, oldest first: one token that knows the time of each sample."""

    kinds = ("wrench",)
