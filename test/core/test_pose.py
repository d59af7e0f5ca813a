"""Poses as rows of seven numbers, held to SciPy's rotations, and a contract without a robot."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from vla_ros.contract import load_contract, parse_contract
from vla_ros.errors import ContractError, ObservationError
from vla_ros.kinematics import Kinematics
from vla_ros.observation import Aligner
from vla_ros.pose import between, compose, continuous, distance, from_axis_angle, inverse, relative

RNG = np.random.default_rng(0)


def some(count: int) -> np.ndarray:
    return np.concatenate([RNG.normal(size=(count, 3)), Rotation.random(count, RNG).as_quat()], axis=1)


def matrices(poses: np.ndarray) -> np.ndarray:
    out = np.tile(np.eye(4), (len(poses), 1, 1))
    out[:, :3, :3], out[:, :3, 3] = Rotation.from_quat(poses[:, 3:]).as_matrix(), poses[:, :3]
    return out


def test_poses_are_composed_and_inverted_as_matrices_are():
    a, b = some(20), some(20)
    np.testing.assert_allclose(matrices(compose(a, b)), matrices(a) @ matrices(b), atol=1e-12)
    np.testing.assert_allclose(matrices(inverse(a)), np.linalg.inv(matrices(a)), atol=1e-12)
    np.testing.assert_allclose(matrices(relative(a, b)), np.linalg.inv(matrices(a)) @ matrices(b), atol=1e-12)
    assert (relative(a, b)[:, 6] >= 0).all()
    assert distance(compose(a, relative(a, b)), b)[1].max() < 1e-7


def test_rotation_vectors_and_the_way_between_two_poses_are_scipys():
    vectors = RNG.normal(size=(20, 3))
    ours = from_axis_angle(np.zeros((20, 3)), vectors)[:, 3:]
    assert (Rotation.from_quat(ours).inv() * Rotation.from_rotvec(vectors)).magnitude().max() < 1e-12
    a, b = some(2)
    slerp = Slerp([0.0, 1.0], Rotation.from_quat([a[3:], b[3:]]))
    for weight in (0.0, 0.3, 1.0):
        pose = between(a, b, weight)
        assert (Rotation.from_quat(pose[3:]).inv() * slerp(weight)).magnitude() < 1e-7
        np.testing.assert_allclose(pose[:3], (1 - weight) * a[:3] + weight * b[:3])


def test_signs_of_quaternions_are_made_continuous():
    t = np.linspace(0.0, 7.0, 50)
    smooth = Rotation.from_rotvec(np.outer(t, [0, 0, 1])).as_quat(canonical=True)  # flips where qw passes zero
    fixed = continuous(np.concatenate([np.zeros((50, 3)), smooth], axis=1))[:, 3:]
    assert np.sum(fixed[1:] * fixed[:-1], axis=1).min() > 0.9


def test_a_pose_stream_is_interpolated_and_takes_no_broken_quaternion():
    aligner = Aligner(load_contract("umi_gripper"))
    key = "observation.pose.tool"
    first, second = np.array([0, 0, 0, 0, 0, 0, 1.0]), np.array([0.02, 0, 0, 0, 0, -0.1, -np.sqrt(0.99)])
    aligner.push(key, 1_000_000_000, first)
    aligner.push(key, 1_010_000_000, second)
    seen = aligner.align(1_005_000_000).values[key]
    np.testing.assert_allclose(seen, between(first, second, 0.5), atol=1e-6)
    assert seen[6] > 0.99
    with pytest.raises(ObservationError, match="not a unit quaternion"):
        aligner.push(key, 1_020_000_000, np.zeros(7))


def test_a_contract_without_a_robot_says_what_its_action_follows():
    contract = load_contract("umi_gripper")
    assert contract.robot_free
    assert (contract.action.space, contract.action.names[7:]) == ("ee_pose", ("gripper.pos",))
    with pytest.raises(ContractError, match="has no robot: its actions follow 'observation.pose.tool'"):
        Kinematics.of(contract)
    wrong = contract.text.replace("follows: observation.pose.tool", "follows: observation.pose.hand")
    with pytest.raises(ContractError, match="follows: unknown stream 'observation.pose.hand'.*observation.pose.tool"):
        parse_contract(wrong, "hand.yaml")
    with pytest.raises(ContractError, match="is of space ee_pose, not joint_position"):
        parse_contract(contract.text.replace("space: ee_pose", "space: joint_position"), "hand.yaml")
