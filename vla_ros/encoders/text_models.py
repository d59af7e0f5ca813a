"""The instruction by pretrained language models: T5, CLIP's text tower, sentence embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Encoder, TokenGroup
from vla_ros.encoders.lora import Tower, TuneSettings
from vla_ros.encoders.pretrained import Pretrained, library


class TextTokens:
    """Text to int64 [length]: the vocabulary's number + 1, 0 as padding, the rest cut. Single spaces."""

    def __init__(self, tokenizer: Any, length: int, lower: bool) -> None:
        self.tokenizer, self.length, self.lower = tokenizer, length, lower

    def __call__(self, text: str) -> npt.NDArray[np.int64]:
        """Return the tokens."""
        words = " ".join(text.split())
        ids = self.tokenizer(words.lower() if self.lower else words, truncation=True, max_length=self.length)[
            "input_ids"
        ]
        out = np.zeros(self.length, dtype=np.int64)
        out[: len(ids)] = np.asarray(ids, dtype=np.int64) + 1
        return out


@dataclass(frozen=True)
class TextModelSettings:
    """pretrained: a folder with config.json, model.safetensors and a fast tokenizer, or a name on the hub. length: tokens
    that are read. tune: how it is trained on. lower: whether text is read in lower case."""

    pretrained: str
    length: int = 32
    tune: TuneSettings = field(default_factory=lambda: TuneSettings(mode="frozen"))
    lower: bool = True

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length is {self.length}, want 1 or more")

    def text_step(self, stream: StreamSpec) -> TextTokens:
        """Return the step from text to tokens."""
        return TextTokens(Pretrained(stream.key, self.pretrained).tokenizer(), self.length, self.lower)


class TextModel(Encoder):
    """A language model's features, mapped to the policy's width; their mean over the text conditions the images.

    Reads int64 [B, L]: token + 1, 0 is padding. A padding token is masked.
    """

    kinds = ("text",)

    def __init__(self, settings: TextModelSettings, stream: StreamSpec, width: int) -> None:
        super().__init__(settings, stream, width)
        self.source = Pretrained(stream.key, settings.pretrained)
        config_class, model_class = self.classes(library())
        self.config = self.source.config(config_class)
        self.vocabulary = self.source.tokenizer_files()  # now: where they lie may be gone when a checkpoint is written
        network = self.part_read(self.source.network(model_class, self.config))
        self.tower = Tower(network, settings.tune)
        pooler = getattr(network, "pooler", None)
        if isinstance(pooler, nn.Module):
            pooler.requires_grad_(False)  # it makes nothing that is read here
        self.project = nn.Linear(int(self.config.hidden_size), width)
        self.norm = nn.LayerNorm(width)

    def classes(self, transformers: Any) -> tuple[Any, Any]:
        """Return the library's classes of the architecture and of the network."""
        raise NotImplementedError

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, L, width] and their mean for tokens int64 [B, L]."""
        features, mask = self.features(value)
        tokens = self.norm(self.project(features))
        return TokenGroup(tokens, mask, _mean(tokens, mask))

    def features(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's features [B, L, hidden], and which tokens there are, bool [B, L]."""
        mask = value > 0
        read = mask.clone()
        read[:, 0] = True  # an empty text is masked, but attention over nothing is not a number
        out: Any = self.tower(input_ids=(value - 1).clamp(min=0), attention_mask=read.long())
        features: Tensor = out.last_hidden_state
        return features, mask

    def assets(self) -> dict[str, str]:
        """Return the architecture and the vocabulary."""
        return self.source.files(self.config, self.vocabulary)

    def part_read(self, network: nn.Module) -> nn.Module:
        """Return the part of a loaded network that is kept."""
        return network


@ENCODERS.register("t5", TextModelSettings)
class T5(TextModel):
    """The encoder of T5 (Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
    Transformer"), one token a word piece, as Octo reads it."""

    def classes(self, transformers: Any) -> tuple[Any, Any]:
        """Return T5's encoder."""
        return transformers.T5Config, transformers.T5EncoderModel

    def part_read(self, network: nn.Module) -> nn.Module:
        """Return the stack of layers: the rest is a second name of its embeddings."""
        stack: nn.Module = network.get_encoder()  # type: ignore[operator]
        return stack


@ENCODERS.register("clip_text", TextModelSettings)
class ClipText(TextModel):
    """The text tower of CLIP (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
    Supervision"), one token a word piece."""

    def classes(self, transformers: Any) -> tuple[Any, Any]:
        """Return CLIP's text tower."""
        return transformers.CLIPTextConfig, transformers.CLIPTextModel


@ENCODERS.register("sentence", TextModelSettings)
class SentenceEmbedding(TextModel):
    """One token for the whole text: the mean of an encoder's features, scaled to length one, then a linear map.

    Reimers and Gurevych 2019, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks"; BC-Z and RT-1 condition
    images on such an embedding. Any encoder that the library knows by its config.json.
    """

    def classes(self, transformers: Any) -> tuple[Any, Any]:
        """Return whatever network the folder holds."""
        return transformers.AutoConfig, transformers.AutoModel

    def forward(self, value: Tensor, condition: Tensor | None = None) -> TokenGroup:
        """Return tokens [B, 1, width] and the same as pooled vector for tokens int64 [B, L]."""
        features, mask = self.features(value)
        embedding = nn.functional.normalize(_mean(features, mask), dim=1)
        vector = self.norm(self.project(embedding))
        return TokenGroup(vector.unsqueeze(1), mask.any(dim=1, keepdim=True), vector)


def _mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the tokens there are, [B, width]; zeros where there is none."""
    weight = mask.unsqueeze(2).to(tokens.dtype)
    return torch.sum(tokens * weight, dim=1) / weight.sum(dim=1).clamp(min=1.0)
