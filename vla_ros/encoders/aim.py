"""Where in the picture the tool goes next: a heat map that the instruction steers, learned in hindsight.

In a demonstration it is known where the tool was at the next keyframe, and where a camera of known geometry sees that place
in each picture before. So a small fully convolutional network learns "what the words name" as a classification of cells, as
CLIPort's and RVT's heat maps are (Shridhar et al. 2021, arXiv 2109.12098; Goyal et al. 2023, arXiv 2306.14896). Nothing in it
knows a place by heart: what counts is what a cell looks like, so few demonstrations are enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Aim, Encoder, TokenGroup
from vla_ros.encoders.image import Stage

PADDING = 2  # [pixels] of the stem
REACH = 1.5  # [cells] the refined place may be off a cell's middle


@dataclass(frozen=True)
class AimCnnSettings:
    """Settings of `AimCnn`.

    size: [height, width] the picture is resized to, by area. channels: of the stem and of each later stage; stem_stride: 2
    (5x5 kernels) or 4 (8x8, cheaper). blocks: residual blocks of each later stage, which has stride 1. spread: standard
    deviation of the wanted heat map around the place, in picture widths. weight: of the heat map's loss. noise: added to
    the place in training, in half picture widths. look: whether the token also tells what is at the place. joints: whether the
    joints' positions say beside the words what is looked for: open fingers look for something to take, closed ones for where to
    put it.
    """

    size: tuple[int, int] = (72, 96)
    channels: tuple[int, ...] = (16, 16)
    blocks: tuple[int, ...] = (0,)
    stem_stride: int = 2
    spread: float = 0.02
    weight: float = 1.0
    noise: float = 0.01
    look: bool = True
    joints: bool = False

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or len(self.blocks) != len(self.channels) - 1:
            raise ValueError(f"blocks has {len(self.blocks)} values, want one for each of channels but the first")
        if self.stem_stride not in (2, 4) or any(c % 8 for c in self.channels):
            raise ValueError(f"stem_stride is 2 or 4, channels {list(self.channels)} must be multiples of 8")
        if self.spread <= 0.0 or self.weight < 0.0 or self.noise < 0.0:
            raise ValueError(
                f"want spread > 0, weight >= 0, noise >= 0; got {self.spread}, {self.weight}, {self.noise}"
            )


@ENCODERS.register("aim_cnn", AimCnnSettings)
class AimCnn(Encoder):
    """Convolutions, a heat map over their cells, and one token of the place where it is hot.

    The group's `aim` holds the heat map, for `aim_loss`.
    """

    kinds = ("image",)
    aims = True
    cells: Tensor

    def __init__(self, settings: AimCnnSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        channels, kernel = settings.channels, {2: 5, 4: 8}[settings.stem_stride]
        self.noise = self._noise = settings.noise
        self.by_joints = settings.joints
        self.spread, self.weight, self.look = settings.spread, settings.weight, settings.look
        self.stem = nn.Conv2d(3, channels[0], kernel, stride=settings.stem_stride, padding=PADDING, bias=False)
        self.stem_norm = nn.GroupNorm(8, channels[0])
        self.stages = nn.ModuleList(
            Stage(channels[i], channels[i + 1], 1, settings.blocks[i], width) for i in range(len(channels) - 1)
        )
        rows, columns = (_middles(pixels, settings.stem_stride, kernel) for pixels in settings.size)
        self.aspect = settings.size[0] / settings.size[1]
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        self.register_buffer("cells", torch.stack([x, y], dim=-1).reshape(-1, 2), persistent=False)
        self.reach = tuple(2.0 * REACH * settings.stem_stride / pixels for pixels in reversed(settings.size))
        self.steer = nn.Linear(width, channels[-1])
        self.side = nn.Linear(
            width, 2
        )  # "the left one": a preference for places, linear so that it tells no scene apart
        self.offset = nn.Conv2d(channels[-1], 2, 1)
        nn.init.zeros_(self.side.weight)
        nn.init.zeros_(self.side.bias)
        numbers = 3 + (channels[-1] if settings.look else 0)
        self.token = nn.Sequential(nn.Linear(numbers, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, 1, width] and the aim for images [B, 3, h, w] in [-1, 1]."""
        x = torch.relu_(self.stem_norm(self.stem(value)))
        for stage in self.stages:
            x = stage(x, condition)
        words = x.new_zeros(x.shape[0], self.steer.in_features) if condition is None else condition
        features = x.flatten(2)  # [B, C, cells]
        heat = torch.einsum("bc,bcn->bn", self.steer(words), features) + self.side(words) @ self.cells.T
        heat = heat.float()
        hot = heat.softmax(dim=1)
        with torch.autocast(x.device.type, enabled=False):  # bf16 holds a third of a pixel
            off = torch.tanh(self.offset(x).flatten(2).float()) * heat.new_tensor(self.reach)[:, None]  # [B, 2, cells]
            place = (hot.unsqueeze(1) * (self.cells.T + off)).sum(dim=2)  # [B, 2]
            told = place + self.noise * torch.randn_like(place) if self.training and self.noise > 0.0 else place
            seen = [told, hot.amax(dim=1, keepdim=True)]
            if self.look:
                seen.append(torch.einsum("bn,bcn->bc", hot, features.float()))
            token: Tensor = self.token(torch.cat(seen, dim=1))
        return TokenGroup(token.unsqueeze(1), aim=Aim(heat, place))

    def disturb(self, scale: float) -> None:
        """Scale the noise of the place."""
        self.noise = scale * self._noise

    def aim_loss(self, aim: Aim, wanted: Tensor) -> Tensor:
        """Return cross-entropy of the heat map and distance of the place, for wanted places [B, 2]; rows of NaN do not count.

        Places are x right, y down in [-1, 1], as of `vla_ros.camera_geometry`.
        """
        seen = torch.isfinite(wanted).all(dim=1) & (wanted.abs() <= 1.0).all(dim=1)
        wanted = torch.where(seen[:, None], wanted, torch.zeros_like(wanted))
        away = self.cells[None] - wanted[:, None]  # [B, cells, 2] in half pictures
        squared = away[..., 0] ** 2 + (self.aspect * away[..., 1]) ** 2
        likely = (-squared / (2.0 * (2.0 * self.spread) ** 2)).softmax(dim=1)
        cross = -(likely * aim.heat.log_softmax(dim=1)).sum(dim=1) + (likely * likely.clamp(min=1e-9).log()).sum(dim=1)
        distance = (aim.place - wanted).abs().sum(dim=1)
        weight = seen.float()
        return self.weight * ((cross + distance) * weight).sum() / weight.sum().clamp(min=1.0)


def _middles(pixels: int, stride: int, kernel: int) -> Tensor:
    """Return where the middles of the stem's cells lie along a side of so many pixels, in [-1, 1] from edge to edge."""
    count = (pixels + 2 * PADDING - kernel) // stride + 1
    middle = torch.arange(count) * stride - PADDING + (kernel - 1) / 2.0  # [pixels]
    return 2.0 * (middle + 0.5) / pixels - 1.0
