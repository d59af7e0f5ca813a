"""A policy built from parts: observation in, chunk out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from picture_policy import TINY, build, look
from picture_world import picture_contract
from scipy.spatial.transform import Rotation

from vla_ros.contract import load_contract, parse_contract
from vla_ros.errors import ObservationError, PolicyError
from vla_ros.kinematics import Kinematics
from vla_ros.observation import Observation
from vla_ros.policy.config import TargetSettings, read_policy_file
from vla_ros.policy.model import ActionModel
from vla_ros.policy.targets import Anchors, Targets
from vla_ros.pose import distance, relative


def test_a_chunk_carries_the_contract_and_the_observation():
    policy = build()
    chunk = policy.predict(look(policy, task="put the red cube in the bin"))
    assert chunk.values.shape == (6, 3)
    assert chunk.names == policy.contract.action.names
    assert (chunk.space, chunk.stamp, chunk.dt, chunk.frame) == ("joint_position", 7, 1 / 30, "")
    assert chunk.task == "put the red cube in the bin"
    np.testing.assert_allclose(chunk.base_state, [0.05, -0.1, 0.04], atol=1e-6)


def test_the_same_observation_gives_the_same_chunk_and_reset_numbers_from_zero():
    policy = build()
    one, two = policy.predict(look(policy)), policy.predict(look(policy))
    assert (one.values == two.values).all()
    assert (one.sequence, two.sequence) == (0, 1)
    policy.reset()
    assert policy.predict(look(policy)).sequence == 0


def test_capabilities_say_what_is_read():
    c = build().capabilities
    assert c.inputs[0] == "task"
    assert c.optional == ("observation.tactile.left",)
    assert (c.space, c.chunk, c.language, c.relative) == ("joint_position", 6, True, False)


def test_a_missing_stream_that_is_needed_is_named():
    policy = build()
    with pytest.raises(ObservationError, match="needs 'observation.wrench.tool': absent"):
        policy.predict(look(policy, **{"observation.wrench.tool": None}))
    seen = look(policy)
    stale = Observation(
        7, seen.values, invalid={"observation.images.front": "120 ms old on /front, at most 70 ms allowed"}
    )
    with pytest.raises(ObservationError, match="observation.images.front.*120 ms old"):
        policy.predict(stale)


def test_an_optional_stream_may_be_missing_and_is_not_taken_for_zeros():
    policy = build()
    without = policy.predict(look(policy, **{"observation.tactile.left": None})).values
    zeros = policy.predict(look(policy, **{"observation.tactile.left": np.zeros((2, 2, 3), np.float32)})).values
    assert np.abs(without - zeros).max() > 1e-6


def test_a_masked_stream_is_the_same_as_an_absent_one():
    policy = build()
    model, key = policy.model, "observation.tactile.left"
    seen = look(policy)
    arrays = policy._preprocess.arrays(seen.values, {})
    inputs = policy._preprocess.tensors({k: torch.from_numpy(v).unsqueeze(0) for k, v in arrays.items()})
    absent = model.features({k: v for k, v in inputs.items() if k != key})
    masked = model.features(inputs, {key: torch.tensor([False])})
    kept = masked.mask[0] if masked.mask is not None else torch.ones(0)
    torch.testing.assert_close(masked.tokens[0][kept], absent.tokens[0], atol=1e-5, rtol=1e-5)


def test_relative_targets_are_anchored_to_the_measured_state():
    contract = picture_contract()
    targets = Targets(TargetSettings("relative", ("gripper*",)), contract)
    state, actions = torch.tensor([[0.1, 0.2, 0.03]]), torch.tensor([[[0.15, 0.2, 0.0]]])
    encoded = targets.encode(actions, state)
    torch.testing.assert_close(encoded, torch.tensor([[[0.05, 0.0, 0.0]]]))
    torch.testing.assert_close(targets.decode(encoded, state), actions)


def test_relative_chunks_move_with_the_state():
    policy = build(TINY.replace("mode: absolute", "mode: relative"))
    for parameter in policy.model.decoder.head.parameters():
        torch.nn.init.zeros_(parameter)
    here, there = np.array([0.0, 0.0, 0.04], np.float32), np.array([0.2, 0.1, 0.04], np.float32)
    one = policy.predict(look(policy, **{"observation.state": here})).values
    two = policy.predict(look(policy, **{"observation.state": there})).values
    np.testing.assert_allclose(two - one, np.tile([0.2, 0.1, 0.0], (6, 1)), atol=1e-6)


def test_poses_come_out_with_unit_quaternions():
    text = load_contract("tabletop_arm_ee").text
    contract = parse_contract(text.replace("[240, 320, 3]", "[60, 80, 3]"), "ee.yaml")
    policy = build(contract=contract)
    rng = np.random.default_rng(0)
    values: dict[str, object] = {
        s.key: rng.integers(0, 255, s.shape).astype(np.uint8)
        if s.kind == "image"
        else rng.normal(size=s.value_shape).astype(np.float32)
        for s in contract.streams("image", "joints", "wrench", "taxels")
    }
    chunk = policy.predict(Observation(0, {**values, "task": "go"}))
    assert (chunk.space, chunk.frame) == ("ee_pose", "base_link")
    np.testing.assert_allclose(np.linalg.norm(chunk.values[:, 3:7], axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("name", ["tabletop_arm_ee", "umi_gripper"])
def test_relative_poses_are_what_the_tool_sees_from_where_it_is(name: str):
    contract = load_contract(name)
    targets = Targets(TargetSettings("relative"), contract)
    rng = np.random.default_rng(0)
    anchor, poses = (np.concatenate([rng.normal(size=(n, 3)), Rotation.random(n, rng).as_quat()], 1) for n in (1, 6))
    actions = torch.tensor(np.concatenate([poses, np.full((6, 1), 0.03)], axis=1))[None]
    encoded = targets.encode(actions, torch.tensor(anchor))
    np.testing.assert_allclose(encoded[0, :, :7], relative(anchor, poses), atol=1e-12)
    assert (encoded[0, :, 7] == 0.03).all()
    decoded = targets.decode(encoded, torch.tensor(anchor))[0].numpy()
    far, turned = distance(decoded[:, :7], poses)
    assert far.max() < 1e-12
    assert turned.max() < 1e-7


def test_relative_poses_are_anchored_to_the_tool_that_the_joints_or_the_tracker_tell():
    arm, hand = load_contract("tabletop_arm_ee"), load_contract("umi_gripper")
    q = np.linspace(0.1, 0.7, 7)
    (pose,) = Anchors(TargetSettings("relative"), arm)(lambda key: {"observation.state": q[None]}[key])
    np.testing.assert_allclose(pose, Kinematics.of(arm).pose(q), atol=1e-6)
    anchors = Anchors(TargetSettings("relative"), hand)
    assert anchors.key == "observation.pose.tool"
    np.testing.assert_array_equal(anchors(lambda key: {"observation.pose.tool": pose[None]}[key]), pose[None])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("chunk: 6", "chunks: 6", "unknown key 'chunks' .did you mean 'chunk'"),
        ("chunk: 6", "chunk: 0", "chunk >= 1"),
        ("mode: absolute", "mode: delta", "'delta' is not one of absolute, relative"),
        ("type: transformer", "type: transfomer", "did you mean 'transformer'"),
        ("type: cvae_chunk", "type: diffusion", "unknown decoder 'diffusion'.*valid: cvae_chunk"),
        ("latent: 4", "latent: four", "decoder.latent: want int, got 'four'"),
        (
            "heads: 2, feedforward: 32, latent",
            "heads: 5, feedforward: 32, latent",
            "width 32 does not split into 5 heads",
        ),
        ("observation.wrench.*", "observation.force.*", "unknown stream 'observation.force"),
        ("{type: bytes, hidden: 16}", "{type: mlp}", "'mlp' reads joints, pose, but 'task' is of kind 'text'"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_place_and_the_valid_values(old, new, message):
    with pytest.raises((PolicyError, ValueError), match=message):
        build(TINY.replace(old, new))


def test_a_wrong_policy_name_suggests_the_right_one():
    with pytest.raises(PolicyError, match="unknown policy 'actt'.*did you mean 'act'"):
        read_policy_file("actt")


@pytest.mark.parametrize("name", ["act", "act_small", "act_aim", "act_felt"])
def test_the_shipped_policies_fit_the_shipped_contract_and_the_size_limit(name):
    config, training, _ = read_policy_file(name)
    model = ActionModel(config, load_contract("tabletop_arm"))
    assert model.parameter_count() * 4 < 16e6
    assert training["steps"] > 0


def test_a_file_that_is_no_policy_is_refused(tmp_path: Path):
    (tmp_path / "p.yaml").write_text("modle: {}\n")
    with pytest.raises(PolicyError, match="unknown key 'modle'.*did you mean 'model'"):
        read_policy_file(tmp_path / "p.yaml")
