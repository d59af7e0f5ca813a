"""Poses that leap: what no hand does is passed over, and a new place is believed once the arm has stopped for it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_ros.teleop.leap import SETTLING, LeapFilter

STEP = 0.01  # [s]


def pose(x: float, turn: float = 0.0) -> np.ndarray:
    return np.array([x, 0.0, 1.0, *Rotation.from_rotvec([0.0, 0.0, turn]).as_quat()])


def believed(filtered: LeapFilter, start: float, places: list[np.ndarray]) -> list[bool]:
    return [filtered(start + STEP * k, place) for k, place in enumerate(places)]


@settings(deadline=None)
@given(speed=st.floats(-4.9, 4.9), turning=st.floats(-29.0, 29.0))
def test_what_a_hand_does_passes(speed: float, turning: float) -> None:
    places = [pose(speed * STEP * k, turning * STEP * k) for k in range(50)]
    assert all(believed(LeapFilter(), 0.0, places))


def test_a_single_wild_pose_is_passed_over_and_the_hand_goes_on() -> None:
    filtered = LeapFilter()
    assert believed(filtered, 0.0, [pose(0.0), pose(0.001), pose(0.4), pose(0.003)]) == [True, True, False, True]
    assert filtered.leapt is None


def test_a_flip_in_place_is_a_leap_too() -> None:
    assert believed(LeapFilter(), 0.0, [pose(0.0), pose(0.0, np.pi), pose(0.0)]) == [True, False, True]


def test_a_new_place_is_believed_once_it_has_lasted() -> None:
    filtered = LeapFilter()
    count = round(SETTLING / STEP)
    told = believed(filtered, 0.0, [pose(0.0), *[pose(0.3)] * (count + 5)])
    assert told[:2] == [True, False] and not any(told[1 : count - 1]) and all(told[count + 2 :])
    assert filtered.leapt == 0.3


def test_after_a_gap_the_hand_may_be_elsewhere() -> None:
    filtered = LeapFilter()
    assert filtered(0.0, pose(0.0)) and filtered(5.0, pose(0.4)) and not filtered(5.01, pose(-0.4))
    filtered.reset()
    assert filtered(5.02, pose(-0.4))


def test_what_is_only_nearer_than_the_last_leap_is_a_leap_still() -> None:
    assert believed(LeapFilter(), 0.0, [pose(0.0), pose(1.0), pose(0.45), pose(0.001)]) == [True, False, False, True]


def test_places_that_go_on_leaping_are_not_believed() -> None:
    filtered = LeapFilter()
    places = [pose(0.0), *[pose(1.0 + k % 2) for k in range(200)]]
    assert not any(believed(filtered, 0.0, places)[1:])
