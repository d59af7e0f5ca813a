"""From keypoints to metres: literal cameras, known points, and what cannot be told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_ros.drivers.intrinsics import Intrinsics
from vla_ros.emulators.rendered_hand import OPEN, hand_points
from vla_ros.keypoints.base import Keypoint
from vla_ros.keypoints.lift import at_depth, palm, triangulated
from vla_ros.keypoints.size import FEWEST, PalmSize

LENS = Intrinsics(640, 480, 600.0, 610.0, 319.5, 239.5)
BENT = Intrinsics(640, 480, 600.0, 610.0, 315.0, 242.0, "plumb_bob", (0.08, -0.12, 0.001, -0.001, 0.02))
FISHEYE = Intrinsics(640, 480, 350.0, 350.0, 320.0, 240.0, "equidistant", (0.02, -0.01, 0.003, -0.001))
LENSES = pytest.mark.parametrize("lens", [LENS, BENT, FISHEYE], ids=["ideal", "distorted", "fisheye"])
points = st.tuples(st.floats(-0.25, 0.25), st.floats(-0.18, 0.18), st.floats(0.5, 1.5)).map(np.array)


def beside(metres: float, turned: float) -> np.ndarray:
    """T_first_second of a camera to the right of the first that looks `turned` [rad] to its left."""
    place = np.eye(4)
    place[:3, :3] = Rotation.from_rotvec([0.0, -turned, 0.0]).as_matrix()
    place[:3, 3] = metres, 0.0, 0.0
    return place


def seen(lens: Intrinsics, point: np.ndarray, T_first_camera: np.ndarray | None = None) -> Keypoint:
    place = np.eye(4) if T_first_camera is None else np.linalg.inv(T_first_camera)
    u, v = lens.project([place[:3, :3] @ point + place[:3, 3]])[0]
    return Keypoint(float(u), float(v), 0.9)


def flat(millimetres: int) -> np.ndarray:
    return np.full((480, 640), millimetres, np.uint16)


def test_millimetres_of_depth_become_metres_in_the_optical_frame() -> None:
    assert at_depth(Keypoint(319.5, 239.5, 1.0), flat(1500), LENS) == pytest.approx([0.0, 0.0, 1.5])
    assert at_depth(Keypoint(319.5 + 60, 239.5 + 61, 1.0), flat(1500), LENS) == pytest.approx([0.15, 0.15, 1.5])


@LENSES
@settings(max_examples=25, deadline=None)
@given(point=points)
def test_a_point_comes_back_from_its_pixel_and_depth(lens: Intrinsics, point: np.ndarray) -> None:
    lifted = at_depth(seen(lens, point), flat(round(point[2] * 1e3)), lens)
    assert lifted == pytest.approx(point * (round(point[2] * 1e3) / 1e3 / point[2]), abs=2e-4)


def test_a_hole_in_the_depth_is_bridged_by_its_surroundings_or_nothing_is_said() -> None:
    depth, point = flat(800), Keypoint(100.0, 100.0, 1.0)
    depth[99:102, 99:102] = 0
    assert at_depth(point, depth, LENS)[2] == pytest.approx(0.8)  # type: ignore[index]
    depth[98:103, 98:101] = 0
    assert at_depth(point, depth, LENS) is None
    speckled = flat(800)
    speckled[100, 99:102] = 3000
    assert at_depth(point, speckled, LENS)[2] == pytest.approx(0.8)  # type: ignore[index]


@pytest.mark.parametrize(
    "u, v, depth", [(-3, 100, 800), (100, 480, 800), (640, 100, 800), (100, 100, 20), (100, 100, 9000)]
)
def test_outside_the_picture_or_its_reach_nothing_is_said(u: float, v: float, depth: int) -> None:
    assert at_depth(Keypoint(u, v, 1.0), flat(depth), LENS) is None


@LENSES
@settings(max_examples=25, deadline=None)
@given(point=points, base=st.floats(0.2, 0.6))
def test_two_cameras_see_where_a_point_is(lens: Intrinsics, point: np.ndarray, base: float) -> None:
    T_first_second = beside(base, base)  # turned towards the middle
    found = triangulated(seen(LENS, point), seen(lens, point, T_first_second), (LENS, lens), T_first_second)
    assert found == pytest.approx(point, abs=2e-4)


def test_half_a_pixel_is_a_millimetre_at_one_metre_and_two_fifths_apart() -> None:
    place, point = beside(0.4, 0.4), np.array([0.1, 0.0, 1.0])
    other = seen(LENS, point, place)
    found = triangulated(seen(LENS, point), Keypoint(other.u + 0.5, other.v, 0.9), (LENS, LENS), place)
    assert found is not None and 0.0005 < np.linalg.norm(found - point) < 0.004


def test_lines_that_do_not_meet_are_of_two_different_things() -> None:
    place, point = beside(0.4, 0.4), np.array([0.1, 0.0, 1.0])
    other = seen(LENS, point, place)
    wrong = Keypoint(other.u, other.v + 40.0, 0.9)
    assert triangulated(seen(LENS, point), wrong, (LENS, LENS), place) is None
    behind = Keypoint(other.u + 400.0, other.v, 0.9)
    assert triangulated(seen(LENS, point), behind, (LENS, LENS), place) is None
    assert triangulated(seen(LENS, point), seen(LENS, point), (LENS, LENS), np.eye(4)) is None, "one camera twice"


def test_a_palm_points_along_its_fingers_and_out_of_the_back_of_a_right_hand() -> None:
    """A right hand flat on the table, fingers along x, thumb to the left (y): z is up."""
    pose = palm([0.0, 0.0, 0.0], [0.09, 0.03, 0.0], [0.09, -0.03, 0.0])
    assert pose is not None
    assert pose[:3] == pytest.approx([0.06, 0.0, 0.0]) and pose[3:] == pytest.approx([0, 0, 0, 1])


@settings(max_examples=50, deadline=None)
@given(points, st.tuples(*[st.floats(-2.0, 2.0)] * 3), st.floats(0.0, 1.0))
def test_a_palms_pose_is_that_of_the_hand(place: np.ndarray, turn: tuple[float, ...], pinch: float) -> None:
    quaternion = Rotation.from_rotvec(turn).as_quat()
    hand = hand_points([*place, *quaternion], pinch)
    pose = palm(hand[0], hand[5], hand[17])
    assert pose is not None and pose[:3] == pytest.approx(place, abs=1e-9)
    assert abs(pose[3:] @ quaternion) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    "wrist, index, pinky",
    [
        ([0, 0, 0], [0.03, 0.01, 0], [0.03, -0.01, 0]),
        ([0, 0, 0], [0.25, 0.1, 0], [0.09, -0.03, 0]),
        ([0, 0, 0], [0.09, 0, 0], [0.08, 0.005, 0]),
    ],
    ids=["small", "large", "in line"],
)
def test_three_points_that_make_no_hand_give_no_pose(
    wrist: list[float], index: list[float], pinky: list[float]
) -> None:
    assert palm(wrist, index, pinky) is None


def test_a_hand_that_seems_to_change_its_size_is_not_believed() -> None:
    size, wrist, index, pinky = PalmSize(), OPEN[0], OPEN[5], OPEN[17]
    assert all(size(wrist, index, pinky) for _ in range(FEWEST + 3))
    assert not size(wrist, index, pinky + [0.02, 0.0, 0.0]), "one knuckle 20 mm off"
    assert size(wrist, index, pinky + [0.004, 0.0, 0.0]), "what detectors are off by"
    for _ in range(40):
        size(wrist, 1.4 * index, 1.4 * pinky)
    assert size(wrist, 1.4 * index, 1.4 * pinky), "another person's"
