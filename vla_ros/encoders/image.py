"""An image to tokens: a small residual network that the instruction steers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup
from vla_ros.encoders.positions import grid_positions


@dataclass(frozen=True)
class FilmCnnSettings:
    """Settings of `FilmCnn`.

    size: [height, width] the image is resized to, by area. channels: of the stem and of each later stage,
    each at its stride. blocks: residual blocks of each later stage. keypoints: spatial-softmax
    points, read from stage `keypoint_stage` (1 is the first after the stem). patches: whether the last
    map's cells become tokens. film: whether the instruction scales and shifts the features of every stage
    after the stem. stem_stride: 2 (5x5 kernels) or 4 (8x8, cheaper). strides: of each later stage; 2
    unless given.
    static: whether keypoints also look for what the instruction does not name. peaks: whether the keypoint token
    tells how sharp each one is. keypoint_noise: added to the coordinates in training, in half image widths. Few
    keypoints, steered by words alone and blurred, cannot tell demonstrations apart by heart: with some two hundred of
    them that cuts the error on new scenes by a third.
    """

    size: tuple[int, int] = (120, 160)
    channels: tuple[int, ...] = (24, 32, 96, 128)
    blocks: tuple[int, ...] = (1, 1, 1)
    keypoints: int = 32
    keypoint_stage: int = 2
    patches: bool = True
    film: bool = True
    static: bool = True
    peaks: bool = True
    keypoint_noise: float = 0.0
    stem_stride: int = 2
    strides: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.channels) - 1:
            raise ValueError(
                f"blocks has {len(self.blocks)} values, want {len(self.channels) - 1}: one less than channels"
            )
        if self.strides and len(self.strides) != len(self.blocks):
            raise ValueError(f"strides has {len(self.strides)} values, want {len(self.blocks)} or none")
        if self.stem_stride not in (2, 4) or any(stride not in (1, 2) for stride in self.strides):
            raise ValueError("stem_stride is 2 or 4, strides are 1 or 2")
        if any(c % 8 for c in self.channels):
            raise ValueError(f"channels {list(self.channels)} must be multiples of 8")
        if self.keypoints > 0 and not 1 <= self.keypoint_stage <= len(self.blocks):
            raise ValueError(f"keypoint_stage {self.keypoint_stage} is not in 1..{len(self.blocks)}")
        if not self.patches and self.keypoints <= 0:
            raise ValueError("keypoints is 0 and patches is false: nothing is left to see")


class FilmNorm(nn.Module):
    """Group normalisation whose scale and shift follow the instruction (FiLM, Perez et al. 2018)."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.film = nn.Linear(condition, 2 * channels) if condition else None
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Return [B, C, h, w] normalised, scaled and shifted."""
        x = self.norm(x)
        if self.film is None or condition is None:
            return x
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, x, 1.0 + scale)


class Residual(nn.Module):
    """conv, FiLM norm, ReLU, conv, norm, plus the input (He et al. 2016)."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = FilmNorm(channels, condition)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, channels)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Return [B, C, h, w]."""
        y = torch.relu_(self.norm1(self.conv1(x), condition))
        return torch.relu_(x + self.norm2(self.conv2(y)))


class Stage(nn.Module):
    """A convolution with a stride, then residual blocks."""

    def __init__(self, before: int, after: int, stride: int, blocks: int, condition: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm = FilmNorm(after, condition)
        self.blocks = nn.ModuleList(Residual(after, condition) for _ in range(blocks))

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Return [B, after, h / stride, w / stride]."""
        x = torch.relu_(self.norm(self.down(x), condition))
        for block in self.blocks:
            x = block(x, condition)
        return x


class SpatialSoftmax(nn.Module):
    """Where each of K features is: expected image coordinates in [-1, 1] (Finn et al. 2016).

    What a feature looks for is learned, plus a part that the instruction says: a product of words and
    pixels, from which "the red one" is learned in a fraction of the steps that scaling and shifting features
    takes.
    """

    grid: Tensor

    def __init__(
        self,
        channels: int,
        keypoints: int,
        height: int,
        width: int,
        condition: int = 0,
        static: bool = True,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.noise = noise
        self.heat = nn.Conv2d(channels, keypoints, 1) if static or not condition else None
        self.steer = nn.Linear(condition, keypoints * channels) if condition else None
        self.temperature = nn.Parameter(torch.zeros(keypoints))
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("grid", torch.stack([x, y], dim=-1).reshape(-1, 2), persistent=False)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return coordinates float32 [B, K, 2] (x right, y down) and peak weights [B, K]."""
        heat = torch.zeros((), device=x.device) if self.heat is None else self.heat(x).flatten(2)
        if self.steer is not None:
            words = x.new_zeros(x.shape[0], self.steer.in_features) if condition is None else condition
            heat = heat + self.steer(words).unflatten(1, (-1, x.shape[1])) @ x.flatten(2)
        heat = heat.float() * self.temperature.exp()[:, None]
        weights = heat.softmax(dim=2)  # [B, K, cells]
        where = [(weights * axis).sum(dim=2) for axis in self.grid.unbind(1)]  # a product in bf16 would round
        points = torch.stack(where, dim=2)
        if self.training and self.noise > 0.0:
            points = points + self.noise * torch.randn_like(points)
        return points, weights.amax(dim=2)


@ENCODERS.register("film_cnn", FilmCnnSettings)
class FilmCnn(Encoder):
    """Residual network with instruction FiLM; patch tokens with 2-D positions, and one token of keypoints.

    The patches carry what is where; the keypoints give positions finer than a cell, which a grasp needs.
    """

    kinds = ("image",)
    positions: Tensor

    def __init__(self, settings: FilmCnnSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        channels, condition, k = settings.channels, width if settings.film else 0, settings.keypoints
        self.keypoint_stage = settings.keypoint_stage if k > 0 else 0
        self.keypoint_noise = settings.keypoint_noise
        self.peaks = settings.peaks
        kernel = {2: 5, 4: 8}[settings.stem_stride]
        self.stem = nn.Conv2d(3, channels[0], kernel, stride=settings.stem_stride, padding=2, bias=False)
        self.stem_norm = nn.GroupNorm(8, channels[0])
        strides = settings.strides or (2,) * len(settings.blocks)
        depth = len(settings.blocks) if settings.patches else self.keypoint_stage
        self.stages = nn.ModuleList(
            Stage(channels[i], channels[i + 1], strides[i], settings.blocks[i], condition) for i in range(depth)
        )
        shapes = _map_shapes(settings.size, (settings.stem_stride, *strides))
        if self.keypoint_stage:
            at = self.keypoint_stage
            self.points = SpatialSoftmax(
                channels[at], k, *shapes[at], condition, settings.static, settings.keypoint_noise
            )
            numbers = (3 if settings.peaks else 2) * k
            self.point_token = nn.Sequential(nn.Linear(numbers, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.patch: nn.Linear | None = None
        if settings.patches:
            self.patch = nn.Linear(channels[depth], width)
            self.register_buffer("positions", grid_positions(*shapes[depth], width), persistent=False)
            self.grid = shapes[depth]

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, cells + 1, width] for images [B, 3, h, w] in [-1, 1], keypoints last."""
        x = torch.relu_(self.stem_norm(self.stem(value)))
        tokens = []
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x, condition)
            if number == self.keypoint_stage:
                tokens.append(self._keypoints(x, condition))
        if self.patch is not None:
            tokens.insert(0, self.patch(x.flatten(2).transpose(1, 2)) + self.positions)
        return TokenGroup(torch.cat(tokens, dim=1))

    def disturb(self, scale: float) -> None:
        """Scale the noise of the keypoints."""
        if self.keypoint_stage:
            self.points.noise = scale * self.keypoint_noise

    def _keypoints(self, x: Tensor, condition: Tensor | None) -> Tensor:
        where, peak = self.points(x, condition)
        with torch.autocast(x.device.type, enabled=False):  # bf16 holds a third of a pixel
            seen = torch.cat([where.flatten(1), peak], dim=1) if self.peaks else where.flatten(1)
            token: Tensor = self.point_token(seen)
        return token.unsqueeze(1)


def _map_shapes(size: tuple[int, int], strides: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the [height, width] of the stem's map and of each stage's."""
    shapes = []
    height, width = size
    for stride in strides:
        height, width = -(-height // stride), -(-width // stride)
        shapes.append((height, width))
    return shapes
