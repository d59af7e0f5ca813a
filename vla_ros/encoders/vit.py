"""An image to tokens by a transformer of its own, trained with the policy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup
from vla_ros.encoders.film import Film
from vla_ros.encoders.positions import grid_positions
from vla_ros.policy.attention import Layer, check_heads

STEMS = ("patch", "conv")


@dataclass(frozen=True)
class VitSettings:
    """size: [height, width] the image is resized to, multiples of `patch`. hidden, layers, heads: of the transformer.

    stem: `patch`, one linear map a patch, or `conv`, 3x3 convolutions of stride 2 (Octo's shallow stem; `patch` is then
    a power of two). film: whether the instruction modulates every layer.
    """

    size: tuple[int, int] = (224, 224)
    patch: int = 16
    hidden: int = 192
    layers: int = 4
    heads: int = 3
    stem: str = "patch"
    film: bool = True

    def __post_init__(self) -> None:
        if self.stem not in STEMS:
            raise ValueError(f"stem '{self.stem}' is not one of {', '.join(STEMS)}")
        if self.patch < 2 or any(side % self.patch for side in self.size):
            raise ValueError(f"size {list(self.size)} does not split into patches of {self.patch}")
        if self.stem == "conv" and self.patch & (self.patch - 1):
            raise ValueError(f"patch {self.patch} is not a power of two, which stem conv needs")
        if self.layers < 0:
            raise ValueError(f"layers is {self.layers}, want 0 or more")
        check_heads(self.hidden, self.heads)


def patch_stem(channels: int, hidden: int, patch: int, stem: str) -> nn.Module:
    """Return a module from [B, channels, h, w] to [B, hidden, h / patch, w / patch]."""
    if stem == "patch":
        return nn.Conv2d(channels, hidden, patch, stride=patch)
    steps = patch.bit_length() - 1
    widths = [channels, *(max(8, hidden // 2 ** (steps - 1 - i) // 8 * 8) for i in range(steps))]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], hidden, 1))


@ENCODERS.register("vit", VitSettings)
class Vit(Encoder):
    """Vision transformer, pre-norm, one token a patch with fixed 2-D positions; FiLM after each layer.

    Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words". With `stem: conv` and few layers it is
    the tokenizer of Octo (Octo Model Team 2024).
    """

    kinds = ("image",)
    positions: Tensor

    def __init__(self, settings: VitSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        s = settings
        self.grid = (s.size[0] // s.patch, s.size[1] // s.patch)
        self.stem = patch_stem(3, s.hidden, s.patch, s.stem)
        self.layers = nn.ModuleList(Layer(s.hidden, s.heads, 4 * s.hidden, 0.0) for _ in range(s.layers))
        self.films = nn.ModuleList(Film(width, s.hidden) for _ in range(s.layers + 1)) if s.film else None
        self.norm = nn.LayerNorm(s.hidden)
        self.project = nn.Linear(s.hidden, width)
        self.register_buffer("positions", grid_positions(*self.grid, s.hidden), persistent=False)

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, patches, width] for images [B, 3, h, w] in [-1, 1]."""
        x = self.stem(value).flatten(2).transpose(1, 2) + self.positions
        x = self._modulated(0, x, condition)
        for number, layer in enumerate(self.layers, start=1):
            x = self._modulated(number, layer(x), condition)
        return TokenGroup(self.project(self.norm(x)))

    def _modulated(self, number: int, x: Tensor, condition: Tensor | None) -> Tensor:
        if self.films is None:
            return x
        modulated: Tensor = self.films[number](x, condition)
        return modulated
