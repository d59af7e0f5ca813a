"""How long each encoder takes on this machine, how many tokens it makes and how large it is."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_ros.contract import StreamSpec
from vla_ros.encoders.base import ENCODERS, Companion, Encoder
from vla_ros.encoders.bpe import BytePairs
from vla_ros.encoders.byte_pairs import FILE
from vla_ros.encoders.pretrained import CONFIG, FOLDER, library, restoring
from vla_ros.errors import PolicyError, unknown_name

WIDTH = 256
BATCHES = (1, 8)
IMAGE, DEPTH, WRENCH, PAD = (
    "observation.images.c",
    "observation.depth.c",
    "observation.wrench.w",
    "observation.tactile.t",
)
STREAMS = {
    "image": StreamSpec(IMAGE, "/c", "image", (240, 320, 3)),
    "depth": StreamSpec(DEPTH, "/d", "depth", (240, 320)),
    "joints": StreamSpec("observation.state", "/j", "joints", (7,), tuple(f"j{i}.pos" for i in range(7))),
    "wrench": StreamSpec(WRENCH, "/w", "wrench", (6,), history=16),
    "taxels": StreamSpec(PAD, "/t", "taxels", (4, 4, 3), history=8),
    "text": StreamSpec("task", "/i", "text"),
}
CAMERA = {"intrinsics": [277.0, 277.0, 159.5, 119.5], "range": [0.1, 2.0]}
BOX = [[-0.5, -0.5, 0.0], [0.5, 0.5, 1.5]]
RESNET = {"type": "resnet", "size": [224, 224], "layers": 18}
CNN = {"type": "film_cnn", "size": [120, 160]}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "film_cnn": ("image", CNN),
    "aim_cnn": ("image", {"type": "aim_cnn"}),
    "resnet (18)": ("image", RESNET),
    "resnet (50)": ("image", {**RESNET, "layers": 50}),
    "vit": ("image", {"type": "vit"}),
    "siglip": ("image", {"type": "siglip", "pretrained": "base"}),
    "dinov2": ("image", {"type": "dinov2", "pretrained": "base"}),
    "dinov2_siglip": ("image", {"type": "dinov2_siglip", "dinov2": "base", "siglip": "base"}),
    "token_learner": ("image", {"type": "token_learner", "encoder": RESNET}),
    "image_stem": ("image", {"type": "image_stem", "encoder": RESNET}),
    "xyz_positions": ("image", {"type": "xyz_positions", "depth": DEPTH, "camera": CAMERA, "encoder": RESNET}),
    "tactile_image": ("image", {"type": "tactile_image", "sensor": "digit", "encoder": {"type": "vit"}}),
    "depth_image": ("depth", {"type": "depth_image", "encoder": CNN}),
    "pointnet": ("depth", {"type": "pointnet", "camera": CAMERA, "image": IMAGE}),
    "rendered_views": ("depth", {"type": "rendered_views", "camera": CAMERA, "box": BOX, "image": IMAGE}),
    "mlp": ("joints", {"type": "mlp"}),
    "stem": ("joints", {"type": "stem"}),
    "wrench": ("wrench", {"type": "wrench"}),
    "wrench_linear": ("wrench", {"type": "wrench_linear"}),
    "wrench_mlp": ("wrench", {"type": "wrench_mlp"}),
    "taxels": ("taxels", {"type": "taxels"}),
    "bytes": ("text", {"type": "bytes"}),
    "byte_pairs": ("text", {"type": "byte_pairs", "vocabulary": "bench"}),
    "t5": ("text", {"type": "t5", "pretrained": "small"}),
    "clip_text": ("text", {"type": "clip_text", "pretrained": "base"}),
    "sentence": ("text", {"type": "sentence", "pretrained": "MiniLM-L6"}),
}


@dataclass(frozen=True)
class Timing:
    """name: of the case. kind: of the stream. tokens: of a sample. parameters, trained: how many numbers, and how many of
    them learn. seconds: the fastest forward pass at each of BATCHES."""

    name: str
    kind: str
    tokens: int
    parameters: int
    trained: int
    seconds: tuple[float, ...]

    @property
    def row(self) -> str:
        """One line of the table."""
        times = " | ".join(f"{1e3 * s:.1f}" for s in self.seconds)
        return f"| {self.name} | {self.kind} | {self.tokens} | {_count(self.parameters)} | {_count(self.trained)} | {times} |"


HEADER = "\n".join(
    (
        "| encoder | stream | tokens | parameters | trained | " + " | ".join(f"batch {b} [ms]" for b in BATCHES) + " |",
        "|---|---|---|---|---|" + "---|" * len(BATCHES),
    )
)


def bench(names: Sequence[str] = (), seconds: float = 2.0) -> Iterator[Timing]:
    """Yield the timing of each case whose name begins with one of `names`, or of all; `seconds` is spent on each batch size.

    Raises PolicyError for a name that no case begins with.
    """
    for name in names:
        if not any(case.startswith(name) for case in CASES):
            raise PolicyError(unknown_name("encoder", name, CASES))
    for case, (kind, section) in CASES.items():
        if not names or any(case.startswith(name) for name in names):
            yield _measure(case, kind, section, seconds)


def _measure(case: str, kind: str, section: dict[str, Any], seconds: float) -> Timing:
    stream = STREAMS[kind]
    part = ENCODERS.parse(section, case)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="vla_ros_bench_") as folder:
        _write_architectures(Path(folder), section, stream)
        with restoring(Path(folder)):  # the usual architectures with random weights: nothing is downloaded
            encoder = ENCODERS.get(part)(part.settings, stream, WIDTH).eval()
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as a policy has it
    times = []
    tokens = 0
    for batch in BATCHES:
        inputs = _inputs(encoder, part.settings, stream, batch)
        with torch.inference_mode():
            tokens = encoder.encode(*inputs[:2], None, inputs[2]).tokens.shape[1]
        times.append(_fastest(encoder, inputs, seconds))
    sizes = [(p.numel(), p.requires_grad) for p in encoder.parameters()]
    return Timing(case, kind, tokens, sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns), tuple(times))


def _fastest(encoder: Encoder, inputs: tuple[Tensor, Tensor | None, dict[str, Companion]], seconds: float) -> float:
    """Return the fastest of several passes [s]; of one thread, its time on the processor: waiting for it is not counted."""
    value, condition, others = inputs
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: list[float] = []
    end = time.perf_counter() + seconds
    with torch.inference_mode():
        while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
            start = clock()
            encoder.encode(value, condition, None, others)
            times.append(clock() - start)
    return min(times)


def _inputs(
    encoder: Encoder, settings: Any, stream: StreamSpec, batch: int
) -> tuple[Tensor, Tensor | None, dict[str, Companion]]:
    """Return a batch as the preprocessing makes it, an instruction's vector, and the streams that are read beside."""
    if stream.kind == "text":
        length = getattr(settings, "max_bytes", None) or settings.length
        return torch.randint(1, 200, (batch, length)), None, {}
    others: dict[str, Companion] = {}
    if stream.kind in ("image", "depth"):
        height, width = settings.size
        pictures = {
            IMAGE: torch.rand(batch, height, width, 3).permute(0, 3, 1, 2) * 2 - 1,
            DEPTH: 0.3 + torch.rand(batch, height, width),
        }
        value = pictures[stream.key]
        others = {key: Companion(pictures[key]) for key in encoder.reads}
    else:
        value = torch.randn(batch, *stream.value_shape)
    return value, torch.randn(batch, WIDTH), others


def _write_architectures(folder: Path, section: dict[str, Any], stream: StreamSpec) -> None:
    """Write the files that a checkpoint would hold for an encoder of the sizes that are usual."""
    at = folder / FOLDER / stream.key.replace(".", "-")
    at.mkdir(parents=True)
    kind = section["type"]
    if kind == "byte_pairs":
        BytePairs.train(["put the red cube into the bin"] * 2, 512).save(at / FILE)
        return
    if kind not in ("siglip", "dinov2", "dinov2_siglip", "t5", "clip_text", "sentence"):
        return
    hf = library()
    size = {"image_size": 224, "patch_size": 14}
    configs = {
        "siglip": lambda: hf.SiglipVisionConfig(**size),
        "dinov2": lambda: hf.Dinov2Config(**size),
        "t5": hf.T5Config,
        "clip_text": hf.CLIPTextConfig,
        "sentence": lambda: hf.BertConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=6),
    }
    for name in ("dinov2", "siglip") if kind == "dinov2_siglip" else (kind,):
        place = at / name if kind == "dinov2_siglip" else at
        place.mkdir(exist_ok=True)
        (place / CONFIG).write_text(configs[name]().to_json_string(use_diff=False), encoding="utf-8")
        if stream.kind == "text":
            _one_word(hf).save_pretrained(place)


def _one_word(hf: Any) -> Any:
    """Return a vocabulary of one word: what is measured is the network."""
    import tokenizers

    model = tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(model), unk_token="[UNK]")


def _count(number: int) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)
