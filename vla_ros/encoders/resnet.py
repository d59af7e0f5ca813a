"""An image to tokens by a residual network that takes the weights of torchvision's."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup
from vla_ros.encoders.film import Film
from vla_ros.encoders.lora import TuneSettings, tune
from vla_ros.encoders.pictures import IMAGENET_MEAN, IMAGENET_STD, Standardise
from vla_ros.encoders.positions import grid_positions
from vla_ros.encoders.pretrained import fill, from_file

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
NORMS = ("batch", "group")


@dataclass(frozen=True)
class ResNetSettings:
    """size: [height, width] the image is resized to. layers: 18, 34 or 50.

    weights: a safetensors file of torchvision's tensor names; none: random weights. norm: `batch`, whose statistics are
    those of the weights and stay (as in ACT), or `group`, for training from nothing. film: whether the instruction
    modulates the maps of every stage (BC-Z). stages: 1 to 4 of them; each halves the map. tune: `full` or `frozen`.
    """

    size: tuple[int, int] = (224, 224)
    layers: int = 18
    weights: str = ""
    norm: str = "batch"
    film: bool = True
    stages: int = 4
    tune: TuneSettings = field(default_factory=TuneSettings)

    def __post_init__(self) -> None:
        if self.layers not in BLOCKS:
            raise ValueError(f"layers is {self.layers}, want one of {', '.join(map(str, BLOCKS))}")
        if self.norm not in NORMS:
            raise ValueError(f"norm '{self.norm}' is not one of {', '.join(NORMS)}")
        if self.norm == "group" and self.weights:
            raise ValueError(
                "torchvision's weights are of batch normalisation: norm must be batch where weights are given"
            )
        if not 1 <= self.stages <= 4:
            raise ValueError(f"stages is {self.stages}, want 1 to 4")
        if self.tune.mode == "lora":
            raise ValueError("tune.mode: a residual network has no linear layers for lora; valid: full, frozen")


class FixedBatchNorm(nn.Module):
    """Batch normalisation with the statistics of pretraining; a small batch's own would harm. Scale and shift learn."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, h, w]."""
        mean, variance = self.running_mean, self.running_var
        return functional.batch_norm(x, mean, variance, self.weight, self.bias, training=False)


def _norm(kind: str, channels: int) -> nn.Module:
    return FixedBatchNorm(channels) if kind == "batch" else nn.GroupNorm(min(32, channels // 4), channels)


class Block(nn.Module):
    """Two 3x3 convolutions (layers 18, 34), or 1x1, 3x3, 1x1 with a quarter of the channels (50), plus the input."""

    def __init__(self, before: int, channels: int, stride: int, deep: bool, norm: str) -> None:
        super().__init__()
        after = 4 * channels if deep else channels
        first, second = (1, stride) if deep else (stride, 1)
        self.conv1 = nn.Conv2d(before, channels, 1 if deep else 3, first, padding=0 if deep else 1, bias=False)
        self.bn1 = _norm(norm, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, second, padding=1, bias=False)
        self.bn2 = _norm(norm, channels)
        self.conv3 = nn.Conv2d(channels, after, 1, bias=False) if deep else None
        self.bn3 = _norm(norm, after) if deep else None
        self.downsample: nn.Sequential | None = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), _norm(norm, after))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, after, h / stride, w / stride]."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.conv3 is not None and self.bn3 is not None:
            y = self.bn3(self.conv3(torch.relu(y)))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """The network without its classifier; tensor names are torchvision's (conv1, bn1, layer1.0.conv1, ...)."""

    def __init__(self, layers: int, norm: str, stages: int) -> None:
        super().__init__()
        deep = layers >= 50
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = _norm(norm, 64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = stages
        before = 64
        for stage in range(stages):
            channels, stride = 64 * 2**stage, 1 if stage == 0 else 2
            after = 4 * channels if deep else channels
            blocks = [
                Block(before if i == 0 else after, channels, stride if i == 0 else 1, deep, norm)
                for i in range(BLOCKS[layers][stage])
            ]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            before = after
        self.channels = before

    def stem(self, x: Tensor) -> Tensor:
        """Return [B, 64, h / 4, w / 4]."""
        y: Tensor = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        return y

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Return the map after stage `number`, from 1."""
        y: Tensor = getattr(self, f"layer{number}")(x)
        return y


@ENCODERS.register("resnet", ResNetSettings)
class ResNetImage(Encoder):
    """ResNet-18, -34 or -50 with FiLM after each stage; one token a cell of the last map, with 2-D positions.

    He et al. 2015, "Deep Residual Learning for Image Recognition". ACT (Zhao et al. 2023) reads ResNet-18 this way,
    CLIPort ResNet-50, BC-Z a ResNet-18 under FiLM.
    """

    kinds = ("image",)
    positions: Tensor

    def __init__(self, settings: ResNetSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.tower = ResNet(settings.layers, settings.norm, settings.stages)
        beyond = tuple(f"layer{n}." for n in range(settings.stages + 1, 5))
        fill(
            self.tower,
            from_file(stream.key, settings.weights),
            settings.weights,
            ("fc.", "num_batches_tracked", *beyond),
        )
        tune(self.tower, settings.tune)
        self.standardise = Standardise(IMAGENET_MEAN, IMAGENET_STD)
        widths = [(4 if settings.layers >= 50 else 1) * 64 * 2**i for i in range(settings.stages)]
        self.films = nn.ModuleList(Film(width, c) for c in widths) if settings.film else None
        self.project = nn.Linear(self.tower.channels, width)
        halvings = settings.stages + 1
        rows, columns = (-(-side // 2**halvings) for side in settings.size)
        self.grid = (rows, columns)
        self.register_buffer("positions", grid_positions(rows, columns, width), persistent=False)

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, cells, width] for images [B, 3, h, w] in [-1, 1]."""
        x = self.tower.stem(self.standardise(value))
        for number in range(1, self.tower.stages + 1):
            x = self.tower.stage(number, x)
            if self.films is not None:
                x = self.films[number - 1](x, condition)
        return TokenGroup(self.project(x.flatten(2).transpose(1, 2)) + self.positions)
