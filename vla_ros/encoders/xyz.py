"""Where in space each cell of a picture is, added to what it looks like."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Others, TokenGroup, Wrapper, WrapperSettings
from vla_ros.encoders.geometry import BackProjection, CameraSettings
from vla_ros.errors import PolicyError


class Fourier(nn.Module):
    """Points [..., 3] [m] to [..., width]: sines and cosines of wavelengths from 4 m to 2 cm, then an MLP."""

    rates: Tensor

    def __init__(self, width: int, bands: int = 8) -> None:
        super().__init__()
        wavelengths = torch.logspace(math.log10(4.0), math.log10(0.02), bands)
        self.register_buffer("rates", 2.0 * math.pi / wavelengths, persistent=False)
        self.layers = nn.Sequential(nn.Linear(6 * bands, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, points: Tensor) -> Tensor:
        """Return the embedding."""
        angles = (points.unsqueeze(-1) * self.rates).flatten(-2)
        embedded: Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return embedded


@dataclass(frozen=True)
class XyzPositionSettings(WrapperSettings):
    """depth: key of the depth stream with the same view as the image. camera: of the image stream."""

    depth: str
    camera: CameraSettings

    @property
    def companions(self) -> tuple[str, ...]:
        """Keys of further streams that are read: the depth, and the inner encoder's."""
        return (self.depth, *super().companions)


@ENCODERS.register("xyz_positions", XyzPositionSettings)
class XyzPositions(Wrapper):
    """The tokens of the image encoder inside, each plus the embedding of its cell's back-projected mean point.

    Qu et al. 2025, "SpatialVLA", Ego3D position encoding: in the camera's frame unless the camera's
    pose is given. A cell without depth gets a learned embedding instead; so does every cell where the stream is missing.
    """

    def __init__(self, settings: XyzPositionSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        if self.grid is None:
            raise PolicyError(
                f"encoder '{settings.encoder.type}' of '{stream.key}' gives no tokens of picture cells, "
                "to which xyz_positions could be added"
            )
        self.key = settings.depth
        self.reads = settings.companions
        self.project = BackProjection(settings.camera, (stream.shape[0], stream.shape[1]), settings.size)
        self.embed = Fourier(width)
        self.unknown = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, value: Tensor, condition: Tensor | None = None, others: Others | None = None) -> TokenGroup:
        """Return the inner encoder's tokens with positions, for images [B, 3, h, w] in [-1, 1] and depth [B, h', w'] [m]."""
        group = self.tokens_inside(value, condition, others)
        assert self.grid is not None
        cells = self.grid[0] * self.grid[1]
        depth = (others or {}).get(self.key)
        if depth is None:
            added = self.unknown.expand(len(value), cells, -1)
        else:
            points, known = self.cell_points(depth.value)
            added = torch.where(known.unsqueeze(2), self.embed(points), self.unknown)
        tokens = torch.cat([group.tokens[:, :cells] + added, group.tokens[:, cells:]], dim=1)
        return TokenGroup(tokens, group.mask, group.pooled)

    def cell_points(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of the points measured in each cell, [B, cells, 3] [m], and where there is one, bool [B, cells]."""
        assert self.grid is not None
        height, width = self.project.rays.shape[:2]
        if depth.shape[1:] != (height, width):  # prepared for another encoder, at its size
            depth = nn.functional.interpolate(depth.unsqueeze(1), (height, width), mode="nearest-exact").squeeze(1)
        points, valid = self.project(depth)
        pool = nn.AdaptiveAvgPool2d(self.grid)
        weight = valid.unsqueeze(1).to(points.dtype)
        sums = pool(points.permute(0, 3, 1, 2) * weight).flatten(2).transpose(1, 2)
        share = pool(weight).flatten(2).transpose(1, 2)  # [B, cells, 1]
        return sums / share.clamp(min=1e-6), share.squeeze(2) > 0.0
