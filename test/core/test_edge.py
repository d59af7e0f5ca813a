"""Tokens made beside the sensor: the same actions as with pixels, and nothing else is taken for them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from picture_policy import TINY, build, look

from vla_ros.data.features import dataset_features
from vla_ros.errors import CheckpointError, ContractError, DatasetError, ObservationError, PolicyError
from vla_ros.inference import Inference
from vla_ros.observation import Aligner, Observation
from vla_ros.policy.checkpoint import save_checkpoint
from vla_ros.policy.edge import EdgeEncoder, tokens_wanted
from vla_ros.policy.native import NativePolicy
from vla_ros.tokens import Tokens, encode_message, instruction_mark, outdated, tokens_from_message, with_tokens

FRONT = "observation.images.front"


def message(tokens: Tokens, precision: str = "float32") -> SimpleNamespace:
    text, data = encode_message(tokens, precision)
    stamp = SimpleNamespace(sec=1, nanosec=5)
    return SimpleNamespace(format=text, data=data.tobytes(), header=SimpleNamespace(stamp=stamp))


def encoded(policy: NativePolicy, seen: Observation, precision: str = "float32") -> Observation:
    """Return the observation with the front picture as tokens that went over the wire."""
    tokens = EdgeEncoder(policy, FRONT).encode(seen.values[FRONT], seen.values["task"])
    return Observation(seen.stamp, {**seen.values, FRONT: tokens_from_message(message(tokens, precision))})


@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-6), ("float16", 1e-3)])
def test_a_policy_acts_the_same_on_tokens_as_on_the_picture(precision: str, bound: float) -> None:
    policy = build()
    seen = look(policy)
    pixels = policy.predict(seen).values
    tokens = policy.predict(encoded(policy, seen, precision)).values
    assert np.abs(tokens - pixels).max() <= bound
    blind = Observation(seen.stamp, {**seen.values, FRONT: np.zeros_like(seen.values[FRONT])})
    assert np.abs(policy.predict(blind).values - pixels).max() > 10 * bound, "the picture matters"


def test_a_pad_and_a_wrench_can_be_encoded_at_the_edge_too() -> None:
    policy = build()
    seen = look(policy)
    for stream in policy.contract.streams("wrench", "taxels"):
        tokens = EdgeEncoder(policy, stream.key).encode(seen.values[stream.key])
        changed = Observation(seen.stamp, {**seen.values, stream.key: tokens})
        np.testing.assert_allclose(policy.predict(changed).values, policy.predict(seen).values, atol=1e-6)


def test_tokens_carry_the_mark_of_their_encoder_and_of_their_instruction() -> None:
    policy, other = build(), build(TINY.replace("keypoints: 4", "keypoints: 3"))
    torch.manual_seed(1)
    wanted = tokens_wanted(policy, FRONT)
    tokens = EdgeEncoder(policy, FRONT).encode(look(policy).values[FRONT], "take it")
    wanted.check(tokens)
    assert tokens.encoder == tokens_wanted(build(), FRONT).encoder, "the same weights have the same mark"
    assert tokens.instruction == instruction_mark("take it") and wanted.steered
    with pytest.raises(ObservationError, match="but the policy's is .*give the sensor's node the policy's checkpoint"):
        tokens_wanted(other, FRONT).check(tokens)
    with torch.no_grad():
        next(policy.model.encoder_of(FRONT).parameters()).add_(1e-3)
    with pytest.raises(ObservationError, match="tokens of encoder"):
        tokens_wanted(policy, FRONT).check(tokens)
    with pytest.raises(ObservationError, match=r"shape \[1, 32\], the policy wants"):
        wanted.check(Tokens(tokens.values[:1], tokens.encoder, tokens.instruction))
    with pytest.raises(ObservationError, match="made without an instruction"):
        wanted.check(Tokens(tokens.values, tokens.encoder))
    with pytest.raises(ValueError, match="there is none"):
        EdgeEncoder(policy, FRONT).encode(look(policy).values[FRONT])


def test_tokens_of_another_instruction_make_the_policy_hold() -> None:
    policy = build()
    seen = encoded(policy, look(policy))
    assert outdated(seen.values, seen.values["task"]) == {}
    inference = Inference(policy.contract, policy)
    assert not inference.act(seen).empty
    assert inference.act(Observation(7, {**seen.values, "task": "something else"})).empty
    assert inference.reason == f"{FRONT}: encoded under another instruction"


def test_an_encoder_that_the_instruction_does_not_steer_needs_none() -> None:
    policy = build(TINY.replace("keypoints: 4", "keypoints: 0, film: false"))
    wanted = tokens_wanted(policy, FRONT)
    tokens = EdgeEncoder(policy, FRONT).encode(look(policy).values[FRONT])
    assert not wanted.steered and tokens.instruction == ""
    wanted.check(tokens)


def test_the_aligner_keeps_age_and_stamp_of_tokens_and_takes_no_pixels_for_them() -> None:
    policy = build()
    contract = with_tokens(policy.contract, [FRONT])
    assert contract.observation[FRONT].topic == policy.contract.observation[FRONT].topic + "/tokens"
    assert with_tokens(contract, [FRONT]).observation == contract.observation
    assert policy.contract.differences(contract) == []
    aligner, seen = Aligner(contract), look(policy)
    with pytest.raises(ObservationError, match="want tokens, got ndarray"):
        aligner.push(FRONT, 0, seen.values[FRONT])
    tokens = EdgeEncoder(policy, FRONT).encode(seen.values[FRONT], "go")
    aligner.push(FRONT, 5, tokens)
    aligned = aligner.align(1_000_005)
    assert aligned.values[FRONT] is tokens and aligned.stamps[FRONT] == 5 and aligned.age[FRONT] == pytest.approx(1e-3)
    aligner.refused[FRONT] = "of another encoder"
    assert "refused: of another encoder" in aligner.align(10_000_000_000).invalid[FRONT]
    with pytest.raises(ContractError, match="did you mean 'observation.images.front'"):
        with_tokens(policy.contract, ["observation.images.frnt"])


def test_a_dataset_refuses_to_keep_tokens() -> None:
    contract = with_tokens(build().contract, [FRONT])
    with pytest.raises(DatasetError, match="comes as tokens"):
        dataset_features(contract, {})


@pytest.mark.parametrize(
    ("text", "data", "words"),
    [
        ("rgb8; jpeg compressed bgr8", b"", "carries no tokens"),
        ("tokens 2x2 float32 encoder=00 instruction=", b"123", "3 bytes, want 16"),
        ("tokens 1x1 float32 encoder=00 instruction=", np.float32(np.nan).tobytes(), "not finite"),
    ],
)
def test_a_message_that_carries_no_tokens_is_refused(text: str, data: bytes, words: str) -> None:
    with pytest.raises(ObservationError, match=words):
        tokens_from_message(SimpleNamespace(format=text, data=data))


def test_a_stream_that_cannot_be_encoded_apart_is_refused(tmp_path) -> None:
    policy = build()
    with pytest.raises(PolicyError, match="'observation.images.frnt'"):
        tokens_wanted(policy, "observation.images.frnt")
    with pytest.raises(PolicyError, match="of those that the policy reads"):
        tokens_wanted(policy, "observation.state")
    save_checkpoint(tmp_path, policy.config, policy.contract, policy.model.state_dict(), policy.normaliser, {"seed": 0})
    front = policy.contract.observation[FRONT]
    assert EdgeEncoder.load(tmp_path, topic=front.topic).wanted == tokens_wanted(policy, FRONT)
    with pytest.raises(CheckpointError, match="unknown topic '/other'"):
        EdgeEncoder.load(tmp_path, topic="/other")
