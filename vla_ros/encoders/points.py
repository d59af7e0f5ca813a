"""A point cloud to tokens, each the surroundings of one point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, Others, TokenGroup
from vla_ros.encoders.colours import Colours
from vla_ros.encoders.geometry import BackProjection, CameraSettings, farthest_points, gather
from vla_ros.encoders.xyz import Fourier


@dataclass(frozen=True)
class PointNetSettings:
    """camera: of the depth stream. size: [height, width] the depth is thinned to, one point a pixel. tokens: points that
    are chosen as centres. neighbours: points around each. hidden: of the networks. image: key of the image stream with the
    same view, for colours; none unless given. box: lowest and highest x, y, z [m] of the points that count; all unless
    given."""

    camera: CameraSettings
    size: tuple[int, int] = (48, 64)
    tokens: int = 32
    neighbours: int = 16
    hidden: int = 64
    image: str = ""
    box: tuple[tuple[float, float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.box and (len(self.box) != 2 or any(a >= b for a, b in zip(*self.box, strict=True))):
            raise ValueError(f"box {[list(b) for b in self.box]}: want its lowest and its highest corner")
        if not 1 <= self.neighbours <= self.size[0] * self.size[1]:
            raise ValueError(f"neighbours is {self.neighbours}, want 1 to {self.size[0] * self.size[1]}")
        if self.tokens < 1:
            raise ValueError(f"tokens is {self.tokens}, want 1 or more")

    @property
    def companions(self) -> tuple[str, ...]:
        """Keys of further streams that are read."""
        return (self.image,) if self.image else ()


@ENCODERS.register("pointnet", PointNetSettings)
class PointNet(Encoder):
    """Depth to a cloud, farthest points as centres, a shared MLP and a maximum over each one's nearest points.

    Qi et al. 2016, "PointNet"; centres and neighbourhoods of "PointNet++" (2017). A
    centre that repeats another, where few points were measured, is a masked token.
    """

    kinds = ("depth",)

    def __init__(self, settings: PointNetSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        s = settings
        self.tokens, self.neighbours, self.reads = s.tokens, s.neighbours, s.companions
        self.project = BackProjection(s.camera, (stream.shape[0], stream.shape[1]), s.size)
        self.colours = Colours(s.image)
        self.box = torch.tensor(s.box) if s.box else None
        self.point = nn.Sequential(
            nn.Linear(3 + self.colours.channels, s.hidden), nn.GELU(), nn.Linear(s.hidden, s.hidden), nn.GELU()
        )
        self.centre = Fourier(s.hidden)
        self.out = nn.Sequential(nn.Linear(2 * s.hidden, 2 * s.hidden), nn.GELU(), nn.Linear(2 * s.hidden, width))

    def forward(self, value: Tensor, condition: Tensor | None = None, others: Others | None = None) -> TokenGroup:
        """Return tokens [B, tokens, width] for depth [B, h, w] [m]."""
        grid, measured = self.project(value)
        points, valid = grid.flatten(1, 2), measured.flatten(1)
        if self.box is not None:
            low, high = self.box.to(points.device)
            valid = valid & ((points >= low) & (points <= high)).all(dim=2)
        with torch.no_grad():
            index, fresh = farthest_points(points, valid, self.tokens)
            centres = gather(points, index)
            around, near = self._around(points, valid, centres)
        features = torch.cat([points, self.colours(value, others).flatten(1, 2)], dim=2)
        local = gather(features, around.flatten(1)).reshape(*around.shape, -1)  # [B, K, neighbours, 3 + C]
        local = torch.cat([local[..., :3] - centres.unsqueeze(2), local[..., 3:]], dim=3)
        seen = self.point(local).masked_fill(~near.unsqueeze(3), -torch.inf).amax(dim=2)
        seen = seen.masked_fill(~fresh.unsqueeze(2), 0.0)
        return TokenGroup(self.out(torch.cat([seen, self.centre(centres)], dim=2)), fresh)

    def _around(self, points: Tensor, valid: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
        """Return each centre's nearest points, indices [B, K, neighbours], and which of them are valid."""
        distance = torch.cdist(centres, points).masked_fill(~valid.unsqueeze(1), torch.inf)
        nearest = distance.topk(self.neighbours, dim=2, largest=False)
        return nearest.indices, torch.isfinite(nearest.values)
