"""A point cloud to tokens through orthographic pictures of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, Others, TokenGroup
from vla_ros.encoders.colours import Colours
from vla_ros.encoders.geometry import BackProjection, CameraSettings, render
from vla_ros.encoders.positions import grid_positions
from vla_ros.encoders.vit import patch_stem
from vla_ros.policy.attention import Layer, check_heads, truncated_normal

# Each view's right, down and forward, in a base frame with x forward, y left and z up.
VIEWS = {
    "top": ((0.0, -1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "front": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0)),
    "back": ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)),
    "left": ((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, -1.0, 0.0)),
    "right": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
}


@dataclass(frozen=True)
class RenderedViewsSettings:
    """camera: of the depth stream, its pose in the base frame (x forward, y left, z up). box: lowest and highest x, y, z
    [m] of the workspace that is shown. size: [height, width] the depth is thinned to, one point a pixel. views: names.
    pixels: edge of a picture. patch: pixels a token. hidden, layers, heads: of the transformer over all pictures' tokens.
    image: key of the image stream with the same view, for colours; none unless given."""

    camera: CameraSettings
    box: tuple[tuple[float, float, float], tuple[float, float, float]]
    size: tuple[int, int] = (120, 160)
    views: tuple[str, ...] = ("top", "front", "left", "right", "back")
    pixels: int = 96
    patch: int = 16
    hidden: int = 96
    layers: int = 2
    heads: int = 4
    image: str = ""

    def __post_init__(self) -> None:
        if any(a >= b for a, b in zip(*self.box, strict=True)):
            raise ValueError(f"box {[list(b) for b in self.box]}: want its lowest and its highest corner")
        unknown = [view for view in self.views if view not in VIEWS]
        if unknown or not self.views:
            raise ValueError(f"views {list(self.views)}: want some of {', '.join(VIEWS)}")
        if self.patch < 2 or self.pixels % self.patch:
            raise ValueError(f"pixels {self.pixels} does not split into patches of {self.patch}")
        check_heads(self.hidden, self.heads)

    @property
    def companions(self) -> tuple[str, ...]:
        """Keys of further streams that are read."""
        return (self.image,) if self.image else ()


@ENCODERS.register("rendered_views", RenderedViewsSettings)
class RenderedViews(Encoder):
    """The cloud of a depth stream, seen orthographically from around the workspace; each picture's patches are tokens.

    Goyal et al. 2023, "RVT: Robotic View Transformer for 3D Object Manipulation" (arXiv 2306.14896). A picture holds each
    pixel's colour, position in the workspace, depth, and whether a point is there. A sample without any point is masked.
    """

    kinds = ("depth",)
    positions: Tensor
    axes: Tensor
    box: Tensor

    def __init__(self, settings: RenderedViewsSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        s = settings
        self.pixels, self.reads = s.pixels, s.companions
        self.project = BackProjection(s.camera, (stream.shape[0], stream.shape[1]), s.size)
        self.colours = Colours(s.image)
        self.register_buffer("axes", torch.tensor([VIEWS[view] for view in s.views]), persistent=False)
        self.register_buffer("box", torch.tensor(s.box), persistent=False)
        self.stem = patch_stem(self.colours.channels + 5, s.hidden, s.patch, "patch")
        self.view = truncated_normal(len(s.views), 1, s.hidden)
        self.layers = nn.ModuleList(Layer(s.hidden, s.heads, 4 * s.hidden, 0.0) for _ in range(s.layers))
        self.norm = nn.LayerNorm(s.hidden)
        self.out = nn.Linear(s.hidden, width)
        cells = s.pixels // s.patch
        self.register_buffer("positions", grid_positions(cells, cells, s.hidden), persistent=False)

    def forward(self, value: Tensor, condition: Tensor | None = None, others: Others | None = None) -> TokenGroup:
        """Return tokens [B, views * cells, width] for depth [B, h, w] [m]."""
        pictures, some = self.pictures(value, others)
        x = self.stem(pictures.flatten(0, 1)).flatten(2).transpose(1, 2) + self.positions  # [B * V, cells, hidden]
        x = (x.unflatten(0, pictures.shape[:2]) + self.view).flatten(1, 2)
        for layer in self.layers:
            x = layer(x)
        tokens = self.out(self.norm(x))
        return TokenGroup(tokens, some[:, None].expand(tokens.shape[:2]))

    def pictures(self, depth: Tensor, others: Others | None = None) -> tuple[Tensor, Tensor]:
        """Return pictures [B, V, C + 5, pixels, pixels]: colours, x, y, z in the box from -1 to 1, depth, presence; and
        which samples have a point in the box, bool [B]."""
        grid, measured = self.project(depth)
        points, valid = grid.flatten(1, 2), measured.flatten(1)
        inside = 2.0 * (points - self.box[0]) / (self.box[1] - self.box[0]) - 1.0
        features = torch.cat([self.colours(depth, others).flatten(1, 2), inside], dim=2)
        shown = render(points, features, valid, self.axes, self.box, self.pixels)
        return shown, (shown[:, :, -1] > 0.0).flatten(1).any(dim=1)
