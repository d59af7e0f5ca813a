"""Goals of demonstrations: where the arm is when the gripper next moves, or at the end."""

import numpy as np

from vla_ros.train.keyframes import goals, keyframes


def test_keyframes_are_where_the_gripper_moves_and_the_end():
    opening = np.array([0.04] * 5 + [0.0] * 4 + [0.04] * 3)[:, None]
    assert keyframes(opening).tolist() == [4, 8, 11]


def test_without_a_moving_gripper_the_end_is_the_only_keyframe():
    assert keyframes(np.full((6, 1), 0.02)).tolist() == [5]
    assert keyframes(np.zeros((6, 0))).tolist() == [5]


def test_each_row_of_each_episode_knows_where_it_is_going():
    joint = np.arange(12.0)
    gripper = np.array([0.04] * 5 + [0.0] * 7)
    actions = np.stack([joint, gripper], axis=1).astype(np.float32)
    both = np.concatenate([actions, actions[:3] + 100])
    found = goals(both, np.array([12, 3]), ("a.pos", "gripper.pos"))
    assert found[:, 0].tolist() == [4.0] * 4 + [11.0] * 8 + [102.0] * 3
