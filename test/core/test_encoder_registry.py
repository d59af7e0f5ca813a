"""What every registered encoder promises: tokens of its shape, masks, gradients, checkpoints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from encoder_support import CONTRACT, DEPTH, IMAGE, STATE, TASK, WIDTH, WORDS, contract, make_pretrained, sections

from vla_ros.encoders import ENCODERS
from vla_ros.encoders.base import Companion, Encoder
from vla_ros.observation import Observation
from vla_ros.policy import load_policy
from vla_ros.policy.checkpoint import save_checkpoint
from vla_ros.policy.config import parse_policy
from vla_ros.policy.model import ActionModel
from vla_ros.policy.native import NativePolicy
from vla_ros.policy.normaliser import Normaliser
from vla_ros.policy.preprocess import Preprocess

ROBOT = contract()
CASES = sorted(sections(Path()))
ABSENT = torch.tensor([True, False, True])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pretrained")
    make_pretrained(where)
    return where


def config(section: dict[str, Any], key: str, **more: Any):
    encoders = {STATE: {"type": "mlp"}, TASK: {"type": "bytes", "hidden": 16}, key: section}
    data = {
        "width": WIDTH,
        "chunk": 4,
        "encoders": encoders,
        "backbone": {"type": "transformer", "layers": 1, "heads": 2, "feedforward": 32, "dropout": 0.0},
        "decoder": {"type": "cvae_chunk", "layers": 1, "heads": 2, "feedforward": 32, "latent": 4, "dropout": 0.0},
        "optional": [key for key in ROBOT.observation if key != STATE],
        **more,
    }
    return parse_policy(data, "senses.yaml")


def normaliser() -> Normaliser:
    rng = np.random.default_rng(0)
    shapes = {s.key: s.value_shape for s in ROBOT.streams("joints", "wrench", "taxels")} | {"action": (4, 3)}
    return Normaliser.fit({key: rng.normal(size=(10, *shape)) for key, shape in shapes.items()})


def look(seed: int) -> dict[str, Any]:
    """What the robot sees: pictures, a slope whose depth is not measured in a corner, numbers, an instruction."""
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {}
    for s in ROBOT.streams():
        if s.kind == "image":
            values[s.key] = rng.integers(0, 256, s.shape, dtype=np.uint8)
        elif s.kind == "depth":
            values[s.key] = (0.5 + 0.01 * np.arange(64) + 0.1 * rng.random(s.shape)).astype(np.float32)
            values[s.key][:8, :8] = np.nan
        elif s.kind == "text":
            values[s.key] = WORDS[seed % len(WORDS)]
        else:
            values[s.key] = rng.normal(size=s.value_shape).astype(np.float32)
    return values


def batch(steps: Preprocess, count: int = 3) -> dict[str, torch.Tensor]:
    arrays = [steps.arrays(look(seed), {}) for seed in range(count)]
    return steps.tensors({key: torch.from_numpy(np.stack([a[key] for a in arrays])) for key in arrays[0]})


class Setup:
    """One encoder as configured, alone and in a policy, with inputs for it."""

    def __init__(self, folder: Path, case: str) -> None:
        torch.manual_seed(0)
        self.key, self.section, self.count = sections(folder)[case]
        self.config = config(self.section, self.key)
        self.model = ActionModel(self.config, ROBOT)
        self.steps = Preprocess(self.config, ROBOT, normaliser())
        self.inputs = batch(self.steps)
        module = self.model.encoders[self.key.replace(".", "-")]
        assert isinstance(module, Encoder)
        self.encoder = module
        self.others = {key: Companion(value) for key, value in self.inputs.items()}
        self.condition = None if self.key == TASK else torch.randn(3, WIDTH)

    def encode(self, value: torch.Tensor, present: torch.Tensor | None = None):
        return self.encoder.encode(value, self.condition, present, self.others)


def spoiled(value: torch.Tensor, absent: torch.Tensor) -> torch.Tensor:
    """The batch with rubbish where a sensor is absent: not a number, huge numbers, other words."""
    out = value.clone()
    if value.dtype == torch.int64:
        out[absent] = 5
    else:
        out[absent] = torch.nan
        out[absent, ..., 0] = 1e30
    return out


def test_every_registered_encoder_is_tested_here() -> None:
    assert {case.partition("/")[0] for case in CASES} == set(ENCODERS.names)


def test_the_page_about_encoders_names_each_and_shows_sections_that_are_right() -> None:
    page = (Path(__file__).parents[2] / "docs/encoders.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(named) == list(ENCODERS.names)
    shown = [yaml.safe_load(block)["encoders"] for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    parts = [ENCODERS.parse(section, key).type for block in shown for key, section in block.items()]
    assert len(parts) >= 10


@pytest.mark.parametrize("case", CASES)
def test_a_stream_becomes_tokens_of_the_promised_shape(folder: Path, case: str) -> None:
    setup = Setup(folder, case)
    group = setup.encode(setup.inputs[setup.key])
    assert group.tokens.shape == (3, setup.count, WIDTH) and torch.isfinite(group.tokens).all()
    assert group.mask is None or (group.mask.shape == (3, setup.count) and group.mask.any(dim=1).all())
    assert setup.key != TASK or (group.pooled is not None and group.pooled.shape == (3, WIDTH))
    grid = setup.encoder.grid
    assert grid is None or grid[0] * grid[1] <= setup.count
    alone = setup.encoder.eval().encode(setup.inputs[setup.key][:1], None, None, {})  # no words, no companions
    assert alone.tokens.shape == (1, setup.count, WIDTH) and torch.isfinite(alone.tokens).all()


@pytest.mark.parametrize("case", CASES)
def test_what_is_masked_reaches_no_output_and_no_gradient(folder: Path, case: str) -> None:
    setup = Setup(folder, case)
    model, key = setup.model.eval(), setup.key
    results = []
    for value in (setup.inputs[key], spoiled(setup.inputs[key], ~ABSENT)):
        inputs = {**setup.inputs, key: value}
        present = {key: ABSENT}
        model.zero_grad()
        torch.manual_seed(0)
        terms = (
            model.loss(inputs, torch.zeros(3, 4, 3), torch.ones(3, 4, dtype=torch.bool), present)
            if key != STATE
            else {}
        )
        features = model.features(inputs, present)
        loss = terms.get("loss", features.tokens[ABSENT].square().mean())
        loss.backward()
        assert features.mask is not None
        read = features.tokens.masked_fill(~features.mask.unsqueeze(2), 0.0).detach()
        results.append((read, loss.detach(), [p.grad for p in model.parameters()]))
    (one, loss, grads), (other, other_loss, other_grads) = results
    assert torch.isfinite(loss)
    torch.testing.assert_close(other, one)
    torch.testing.assert_close(other_loss, loss)
    assert [a is None for a in grads] == [b is None for b in other_grads]
    torch.testing.assert_close([b for b in other_grads if b is not None], [a for a in grads if a is not None])


@pytest.mark.parametrize("case", ["xyz_positions", "pointnet/colours", "rendered_views/colours"])
def test_a_masked_stream_that_another_encoder_reads_reaches_no_output(folder: Path, case: str) -> None:
    setup = Setup(folder, case)
    model = setup.model.eval()
    other = setup.encoder.reads[0]
    spoiled_inputs = {**setup.inputs, other: spoiled(setup.inputs[other], ~ABSENT)}
    clean, rubbish, known = (
        model.features(inputs, present).tokens
        for inputs, present in (
            (setup.inputs, {other: ABSENT}),
            (spoiled_inputs, {other: ABSENT}),
            (setup.inputs, None),
        )
    )
    torch.testing.assert_close(rubbish, clean)  # which also fails for what is not a number
    torch.testing.assert_close(clean[ABSENT], known[ABSENT])
    assert (clean[~ABSENT] - known[~ABSENT]).abs().max() > 1e-6


@pytest.mark.parametrize("case", CASES)
def test_what_is_trainable_gets_a_gradient_and_what_is_frozen_none(folder: Path, case: str) -> None:
    setup = Setup(folder, case)
    for module in setup.encoder.modules():  # FiLM starts as the identity and B of LoRA as zero: move off that point
        for name in ("linear", "film"):
            if isinstance(getattr(module, name, None), torch.nn.Linear):
                torch.nn.init.normal_(getattr(module, name).weight, std=0.1)
        if hasattr(module, "lora_b"):
            torch.nn.init.normal_(module.lora_b, std=0.1)
    setup.others = {key: Companion(value, ABSENT) for key, value in setup.inputs.items()}
    group = setup.encode(setup.inputs[setup.key])
    (group.tokens * torch.randn_like(group.tokens)).sum().backward()
    for name, parameter in setup.encoder.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        else:
            assert parameter.grad is None, name
    mode = setup.section.get("tune", {}).get("mode", "frozen" if "pretrained" in setup.section else "full")
    trained = {name for name, p in setup.encoder.named_parameters() if p.requires_grad and ".network." in name}
    if mode == "frozen":
        assert trained == set()
    elif mode == "lora":
        assert trained and all("lora_" in name for name in trained)
    elif "pretrained" in setup.section:
        assert trained


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_brings_the_encoder_back_without_the_pretrained_folder(
    folder: Path, tmp_path: Path, case: str
) -> None:
    where = tmp_path / "pretrained"
    where.symlink_to(folder)
    setup = Setup(where, case)
    policy = NativePolicy(setup.config, ROBOT, setup.model, normaliser(), torch.device("cpu"))
    save_checkpoint(
        tmp_path / "c", setup.config, ROBOT, setup.model.state_dict(), normaliser(), {}, assets=setup.model.assets()
    )
    where.unlink()
    seen = Observation(7, look(0))
    loaded = load_policy(tmp_path / "c")
    np.testing.assert_allclose(loaded.predict(seen).values, policy.predict(seen).values, atol=1e-6)
    tensors = loaded.model.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(tensors[name], tensor) for name, tensor in setup.model.state_dict().items())
    again = loaded.model.assets()  # type: ignore[attr-defined]
    assert again == setup.model.assets()  # and may be saved again
    names = {path.suffix for path in (tmp_path / "c").rglob("*") if path.is_file()}
    assert names <= {".yaml", ".safetensors", ".json", ".txt", ".jinja"}


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("mlp", "stem")])
def test_a_policy_acts_without_the_stream(folder: Path, case: str) -> None:
    setup = Setup(folder, case)
    policy = NativePolicy(setup.config, ROBOT, setup.model, normaliser(), torch.device("cpu"))
    values = look(0)
    del values[setup.key]
    assert np.isfinite(policy.predict(Observation(7, values)).values).all()


def test_depth_that_an_image_encoder_reads_may_be_missing_or_not_measured(folder: Path) -> None:
    setup = Setup(folder, "xyz_positions")
    setup.encoder.eval()
    image = setup.inputs[IMAGE]
    nothing = setup.encoder.encode(image, setup.condition, None, {}).tokens
    blind = {DEPTH: Companion(torch.zeros_like(setup.inputs[DEPTH]))}
    gone = {DEPTH: Companion(torch.full_like(setup.inputs[DEPTH], torch.nan), torch.zeros(3, dtype=torch.bool))}
    for others in (blind, gone):
        torch.testing.assert_close(setup.encoder.encode(image, setup.condition, None, others).tokens, nothing)
    assert (setup.encode(image).tokens - nothing).abs().max() > 1e-3


def test_a_stream_that_is_read_beside_another_must_be_in_the_contract(folder: Path) -> None:
    key, section, _ = sections(folder)["xyz_positions"]
    with pytest.raises(
        Exception, match=r"encoder of 'observation.images.front' reads unknown stream 'observation.deep'"
    ):
        (
            ActionModel(config({**section, "depth": "observation.deep"}, key), ROBOT),
            Preprocess(config({**section, "depth": "observation.deep"}, key), ROBOT, normaliser()),
        )


def test_the_contract_of_these_tests_has_every_kind_of_stream() -> None:
    assert {s.kind for s in ROBOT.streams()} == {"image", "depth", "joints", "wrench", "taxels", "text"}
    assert CONTRACT
