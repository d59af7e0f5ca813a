"""One robot with every kind of stream, a section for every encoder, and tiny pretrained models on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from vla_ros.contract import Contract, parse_contract
from vla_ros.encoders.bpe import BytePairs

WIDTH = 32
IMAGE, DEPTH, STATE = "observation.images.front", "observation.depth.front", "observation.state"
WRENCH, TAXELS, GEL, TASK = "observation.wrench.tool", "observation.tactile.left", "observation.images.gel", "task"
CONTRACT = """
robot: senses
urdf: none
rate: 30
observation:
  observation.images.front: {topic: /front, kind: image, shape: [48, 64, 3]}
  observation.images.gel: {topic: /gel, kind: image, shape: [48, 64, 3]}
  observation.depth.front: {topic: /front/depth, kind: depth, shape: [48, 64]}
  observation.state: {topic: /joint_states, kind: joints, names: [x.pos, y.pos, gripper.pos]}
  observation.wrench.tool: {topic: /wrench, kind: wrench, history: 4}
  observation.tactile.left: {topic: /left, kind: taxels, shape: [2, 2, 3], history: 2}
  task: {topic: /instruction, kind: text}
action: {space: joint_position, names: [x.pos, y.pos, gripper.pos], command: {interface: forward, topic: /commands}}
limits: {velocity: 1.0, acceleration: 5.0}
"""
CAMERA = {"intrinsics": [60.0, 62.0, 31.5, 23.5], "range": [0.1, 2.0]}
CNN = {"type": "film_cnn", "size": [24, 32], "channels": [8, 16], "blocks": [0], "keypoints": 2, "keypoint_stage": 1}
VIT = {"type": "vit", "size": [32, 32], "patch": 16, "hidden": 32, "layers": 1, "heads": 2}
BOX = [[-0.5, -0.5, 0.0], [0.5, 0.5, 1.5]]
WORDS = ("pick up the red cube", "put the green cube into the bin", "press the blue button", "take the red cup")


def contract() -> Contract:
    """Return a robot with every kind of stream."""
    return parse_contract(CONTRACT, "senses.yaml")


def sections(folder: Path) -> dict[str, tuple[str, dict[str, Any], int]]:
    """Return, by case, the stream that an encoder reads, its section, and how many tokens it promises.

    folder: where the tiny pretrained models lie.
    """
    tower = {"size": [32, 32]}
    lora = {"mode": "lora", "rank": 2}
    text = {"length": 12}
    views = {"camera": CAMERA, "box": BOX, "size": [24, 32], "pixels": 32, "hidden": 32, "heads": 2, "layers": 1}
    points = {"camera": CAMERA, "size": [24, 32], "tokens": 5, "neighbours": 4, "hidden": 16}
    cases = {
        "film_cnn": (IMAGE, CNN, 6 * 8 + 1),
        "aim_cnn": (IMAGE, {"size": [24, 32], "channels": [8, 16]}, 1),
        "resnet": (IMAGE, {"size": [32, 48], "layers": 18, "norm": "group"}, 2),
        "resnet/50": (IMAGE, {"size": [32, 32], "layers": 50, "tune": {"mode": "frozen"}, "stages": 2}, 16),
        "vit": (IMAGE, VIT, 4),
        "vit/conv": (IMAGE, {**VIT, "stem": "conv"}, 4),
        "siglip": (IMAGE, {**tower, "pretrained": str(folder / "siglip")}, 4),
        "siglip/lora": (IMAGE, {**tower, "pretrained": str(folder / "siglip"), "tune": lora}, 4),
        "siglip/full": (IMAGE, {"size": [16, 48], "pretrained": str(folder / "siglip"), "tune": {"mode": "full"}}, 3),
        "dinov2": (IMAGE, {**tower, "pretrained": str(folder / "dinov2")}, 4),
        "dinov2/full": (IMAGE, {"size": [16, 48], "pretrained": str(folder / "dinov2"), "tune": {"mode": "full"}}, 3),
        "dinov2_siglip": (
            IMAGE,
            {**tower, "dinov2": str(folder / "dinov2"), "siglip": str(folder / "siglip"), "tune": lora},
            4,
        ),
        "token_learner": (IMAGE, {"tokens": 3, "hidden": 8, "encoder": CNN}, 3),
        "image_stem": (IMAGE, {"tokens": 3, "heads": 2, "encoder": VIT}, 3),
        "xyz_positions": (IMAGE, {"depth": DEPTH, "camera": CAMERA, "encoder": CNN}, 6 * 8 + 1),
        "tactile_image": (GEL, {"sensor": "digit", "encoder": VIT}, 2 + 4),
        "depth_image": (DEPTH, {"encoder": CNN}, 6 * 8 + 1),
        "pointnet": (DEPTH, points, 5),
        "pointnet/colours": (DEPTH, {**points, "image": IMAGE, "box": BOX}, 5),
        "rendered_views": (DEPTH, views, 5 * 4),
        "rendered_views/colours": (DEPTH, {**views, "image": IMAGE, "views": ["top", "front"]}, 2 * 4),
        "mlp": (STATE, {}, 1),
        "stem": (STATE, {"tokens": 4, "hidden": 16, "heads": 2}, 4),
        "stem/taxels": (TAXELS, {"tokens": 4, "hidden": 16, "heads": 2}, 4),
        "wrench": (WRENCH, {}, 1),
        "wrench_linear": (WRENCH, {}, 1),
        "wrench_mlp": (WRENCH, {}, 1),
        "taxels": (TAXELS, {}, 1),
        "bytes": (TASK, {"max_bytes": 24, "hidden": 16}, 1),
        "byte_pairs": (
            TASK,
            {"vocabulary": str(folder / "vocabulary.json"), "hidden": 16, "heads": 2, "layers": 1, **text},
            12,
        ),
        "t5": (TASK, {"pretrained": str(folder / "t5"), **text}, 12),
        "t5/lora": (TASK, {"pretrained": str(folder / "t5"), "tune": lora, **text}, 12),
        "clip_text": (TASK, {"pretrained": str(folder / "clip"), **text}, 12),
        "sentence": (TASK, {"pretrained": str(folder / "bert"), "tune": {"mode": "full"}, **text}, 1),
    }
    return {
        case: (key, {"type": case.partition("/")[0], **section}, count) for case, (key, section, count) in cases.items()
    }


def make_pretrained(folder: Path) -> None:
    """Write tiny models and vocabularies of every kind, as from_pretrained reads them."""
    import transformers as hf

    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    hf.SiglipVisionModel(
        hf.SiglipVisionConfig(**small, intermediate_size=48, image_size=32, patch_size=16)
    ).save_pretrained(folder / "siglip")
    hf.Dinov2Model(hf.Dinov2Config(**small, mlp_ratio=2, image_size=32, patch_size=16)).save_pretrained(
        folder / "dinov2"
    )
    mean = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3]}
    (folder / "dinov2/preprocessor_config.json").write_text(json.dumps(mean))
    t5 = hf.T5Config(vocab_size=64, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2)
    hf.T5EncoderModel(t5).save_pretrained(folder / "t5")
    clip = hf.CLIPTextConfig(
        **small, vocab_size=64, intermediate_size=48, max_position_embeddings=16, bos_token_id=0, eos_token_id=1
    )
    hf.CLIPTextModel(clip).save_pretrained(folder / "clip")
    bert = hf.BertConfig(**small, vocab_size=64, intermediate_size=48, max_position_embeddings=32)
    hf.BertModel(bert).save_pretrained(folder / "bert")
    for name in ("t5", "clip", "bert"):
        _tokenizer().save_pretrained(folder / name)
    BytePairs.train(WORDS, 280).save(folder / "vocabulary.json")


def _tokenizer() -> Any:
    import tokenizers
    import transformers as hf

    words = dict.fromkeys(word for text in WORDS for word in text.split())
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return hf.PreTrainedTokenizerFast(tokenizer_object=model, pad_token="[PAD]", unk_token="[UNK]")
