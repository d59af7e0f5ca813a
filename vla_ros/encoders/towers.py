"""An image to tokens by pretrained vision transformers: SigLIP, DINOv2, or both."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup
from vla_ros.encoders.film import Film
from vla_ros.encoders.lora import Tower, TuneSettings
from vla_ros.encoders.pictures import HALF, IMAGENET_MEAN, IMAGENET_STD, Standardise
from vla_ros.encoders.pretrained import Pretrained, library
from vla_ros.errors import PolicyError

PREPROCESSOR = "preprocessor_config.json"


class VisionTower(nn.Module):
    """One pretrained network: images [B, 3, h, w] in [-1, 1] to features [B, cells, hidden], without a class token.

    size: [height, width] of the images; positions are interpolated where it is not the size of pretraining.
    """

    def __init__(self, kind: str, source: Pretrained, size: tuple[int, int], tuning: TuneSettings) -> None:
        super().__init__()
        transformers = library()
        names = {"siglip": ("SiglipVisionConfig", "SiglipVisionModel"), "dinov2": ("Dinov2Config", "Dinov2Model")}
        config_class, model_class = (getattr(transformers, name) for name in names[kind])
        config = source.config(config_class)
        if config.patch_size < 1 or any(side % config.patch_size for side in size):
            raise PolicyError(
                f"encoder '{kind}': size {list(size)} does not split into patches of {config.patch_size}, "
                f"as '{source.name}' has them"
            )
        if kind == "siglip":
            config.vision_use_head = False  # it pools, and the policy wants the cells
        network = source.network(model_class, config)
        mean, std = (HALF, HALF) if kind == "siglip" else (IMAGENET_MEAN, IMAGENET_STD)
        self.source, self.config, self.kind = source, config, kind
        self.statistics = _statistics(source, mean, std)
        self.standardise = Standardise(*self.statistics)
        self.tower = Tower(network, tuning)
        for name, parameter in network.named_parameters():
            if name.endswith("mask_token"):  # of pretraining, and read by nothing here
                parameter.requires_grad_(False)
        self.grid = (size[0] // config.patch_size, size[1] // config.patch_size)
        self.hidden = int(config.hidden_size)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of the last layer, after its norm."""
        options = {"interpolate_pos_encoding": True} if self.kind == "siglip" else {}
        out: Any = self.tower(self.standardise(images), **options)
        features: Tensor = out.last_hidden_state
        return features[:, features.shape[1] - self.grid[0] * self.grid[1] :]

    def files(self) -> dict[str, str]:
        """Return what a checkpoint must hold to build this again."""
        mean, std = self.statistics
        text = json.dumps({"image_mean": list(mean), "image_std": list(std)}) + "\n"
        return self.source.files(self.config, {PREPROCESSOR: text})


def _statistics(
    source: Pretrained, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of the pictures that a network was trained with."""
    path = Path(source.place) / PREPROCESSOR
    if not path.is_file():
        return mean, std
    data = json.loads(path.read_text(encoding="utf-8"))
    return tuple(data.get("image_mean", mean)), tuple(data.get("image_std", std))


@dataclass(frozen=True)
class TowerSettings:
    """pretrained: a folder with config.json and model.safetensors, or a name on the hub. size: [height, width] the image is
    resized to, multiples of the network's patch. tune: how it is trained on. film: whether the instruction modulates the
    features."""

    pretrained: str
    size: tuple[int, int] = (224, 224)
    tune: TuneSettings = field(default_factory=lambda: TuneSettings(mode="frozen"))
    film: bool = True


class TowerEncoder(Encoder):
    """Pretrained features, FiLM, and a linear map to the policy's width: one token a patch."""

    kinds = ("image",)
    kind = ""

    def __init__(self, settings: TowerSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.tower = VisionTower(self.kind, Pretrained(stream.key, settings.pretrained), settings.size, settings.tune)
        self.grid = self.tower.grid
        self.film = Film(width, self.tower.hidden) if settings.film else None
        self.project = nn.Linear(self.tower.hidden, width)

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, cells, width] for images [B, 3, h, w] in [-1, 1]."""
        x = self.tower(value)
        return TokenGroup(self.project(x if self.film is None else self.film(x, condition)))

    def assets(self) -> dict[str, str]:
        """Return the architecture."""
        return self.tower.files()


@ENCODERS.register("siglip", TowerSettings)
class Siglip(TowerEncoder):
    """The vision tower of SigLIP (Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training"), as pi0 reads
    PaliGemma's."""

    kind = "siglip"


@ENCODERS.register("dinov2", TowerSettings)
class Dinov2(TowerEncoder):
    """DINOv2 (Oquab et al. 2024, "DINOv2: Learning Robust Visual Features without Supervision")."""

    kind = "dinov2"


@dataclass(frozen=True)
class JoinedTowerSettings:
    """dinov2, siglip: folder or hub name of each, with patches of one size. The rest as of one tower."""

    dinov2: str
    siglip: str
    size: tuple[int, int] = (224, 224)
    tune: TuneSettings = field(default_factory=lambda: TuneSettings(mode="frozen"))
    film: bool = True


@ENCODERS.register("dinov2_siglip", JoinedTowerSettings)
class Dinov2Siglip(Encoder):
    """DINOv2's features of where things are and SigLIP's of what they are, joined by channel, then an MLP.

    Kim et al. 2024, "OpenVLA: An Open-Source Vision-Language-Action Model". The features are those of the last layers.
    """

    kinds = ("image",)

    def __init__(self, settings: JoinedTowerSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        s = settings
        self.dinov2 = VisionTower("dinov2", Pretrained(stream.key, s.dinov2, "dinov2"), s.size, s.tune)
        self.siglip = VisionTower("siglip", Pretrained(stream.key, s.siglip, "siglip"), s.size, s.tune)
        if self.dinov2.grid != self.siglip.grid:
            raise PolicyError(
                f"encoder 'dinov2_siglip': {s.dinov2} makes {self.dinov2.grid} cells of a picture of {list(s.size)}, "
                f"{s.siglip} {self.siglip.grid}: they must agree"
            )
        self.grid = self.dinov2.grid
        hidden = self.dinov2.hidden + self.siglip.hidden
        self.film = Film(width, hidden) if s.film else None
        self.project = nn.Sequential(nn.Linear(hidden, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, cells, width] for images [B, 3, h, w] in [-1, 1]."""
        x = torch.cat([self.dinov2(value), self.siglip(value)], dim=2)
        return TokenGroup(self.project(x if self.film is None else self.film(x, condition)))

    def assets(self) -> dict[str, str]:
        """Return both architectures."""
        return self.dinov2.files() | self.siglip.files()
