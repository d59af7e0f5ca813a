"""Undistort, crop and resize: pictures and intrinsics change together."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla_ros.camera_calibration.files import load_poses
from vla_ros.drivers import Frame, Intrinsics
from vla_ros.drivers.intrinsics import load_intrinsics, save_intrinsics
from vla_ros.drivers.picture import Preparation
from vla_ros.errors import DeviceError

LENS = Intrinsics(640, 480, 500.0, 510.0, 330.0, 235.0, "plumb_bob", (-0.3, 0.1, 0.001, -0.002, 0.0))
FISHEYE = Intrinsics(640, 480, 300.0, 300.0, 320.0, 240.0, "equidistant", (0.1, -0.02, 0.003, 0.0))
POINTS = ((-0.35, -0.2, 1.0), (0.3, 0.25, 1.2), (0.0, 0.0, 0.7), (0.4, -0.2, 1.1))


def picture_of(lens: Intrinsics, point: tuple[float, float, float]) -> np.ndarray:
    """A bright spot where the lens shows the point, drawn with an accuracy of 1/16 pixel."""
    u, v = lens.project([point])[0]
    picture = np.zeros((lens.height, lens.width, 3), np.uint8)
    cv2.circle(picture, (round(u * 16), round(v * 16)), 5 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
    return picture


def spot_in(picture: np.ndarray) -> np.ndarray:
    weight = picture.astype(float).mean(axis=2)
    v, u = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("lens", [LENS, FISHEYE], ids=["plumb_bob", "equidistant"])
@pytest.mark.parametrize("undistort", [True, False])
@pytest.mark.parametrize("size", [(240, 200), (800, 700), (0, 0)])
def test_a_point_is_where_the_prepared_lens_shows_it(lens: Intrinsics, undistort: bool, size: tuple[int, int]) -> None:
    prepare = Preparation(undistort=undistort, crop=(60, 40, 520, 400), resize=size)
    for point in POINTS:
        frame = prepare(Frame(picture_of(lens, point), intrinsics=lens))
        assert frame.intrinsics is not None and frame.colour is not None
        assert frame.colour.shape == (frame.intrinsics.height, frame.intrinsics.width, 3)
        assert frame.intrinsics.ideal == undistort
        np.testing.assert_allclose(spot_in(frame.colour), frame.intrinsics.project([point])[0], atol=0.3)


def test_depth_of_the_colours_is_prepared_without_mixing_values() -> None:
    depth = np.where(np.arange(640) < 320, 500, 2000).astype(np.uint16)[None].repeat(480, axis=0)
    prepare = Preparation(undistort=True, crop=(60, 40, 520, 400), resize=(130, 100))
    frame = prepare(Frame(np.zeros((480, 640, 3), np.uint8), depth, LENS))
    assert frame.depth is not None and frame.depth.shape == (100, 130) and frame.depth.dtype == np.uint16
    assert set(np.unique(frame.depth)) == {500, 2000}


def test_depth_with_a_lens_of_its_own_stays_as_it_is() -> None:
    depth = np.ones((240, 320), np.uint16)
    frame = Preparation(resize=(64, 48))(Frame(np.zeros((480, 640, 3), np.uint8), depth, LENS, LENS.resized(320, 240)))
    assert frame.depth is depth and frame.colour is not None and frame.colour.shape == (48, 64, 3)


def test_rays_lead_back_to_the_pixels() -> None:
    rays = LENS.rays()
    assert rays.shape == (480, 640, 2)
    for u, v in ((0, 0), (639, 479), (100, 300)):
        np.testing.assert_allclose(LENS.project([[*rays[v, u], 1.0]])[0], (u, v), atol=0.1)


def test_a_crop_outside_of_the_picture_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"crop \[600, 0, 100, 100\] is not within the picture of 640x480"):
        Preparation(crop=(600, 0, 100, 100))(Frame(np.zeros((480, 640, 3), np.uint8)))


def test_undistorting_an_unknown_lens_is_refused() -> None:
    with pytest.raises(DeviceError, match="undistort needs the camera's intrinsics"):
        Preparation(undistort=True)(Frame(np.zeros((480, 640, 3), np.uint8)))


def test_a_camera_info_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    save_intrinsics(LENS, tmp_path / "camera.yaml", "front")
    assert load_intrinsics(tmp_path / "camera.yaml") == LENS


def test_a_camera_info_file_of_camera_calibration_is_read(tmp_path: Path) -> None:
    (tmp_path / "ost.yaml").write_text(
        """
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [430.15433, 0.0, 311.71339, 0.0, 430.60920, 219.70735, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.337586, 0.111431, -0.000604, -0.000070, 0.000000]
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [345.6, 0, 313.2, 0, 0, 385.2, 217.1, 0, 0, 0, 1, 0]}
""",
        encoding="utf-8",
    )
    lens = load_intrinsics(tmp_path / "ost.yaml")
    assert (lens.fx, lens.cy, lens.distortion[0]) == (430.15433, 219.70735, -0.337586)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_width: 640", "has no 'camera_matrix'"),
        ("[1, 2", "not in the format"),
        ("just words", "not in the format"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "odd.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DeviceError, match=said) as refusal:
        load_intrinsics(tmp_path / "odd.yaml")
    assert "\n" not in str(refusal.value)


NUMBERS = st.one_of(st.floats(), st.integers(), st.none(), st.text(max_size=3), st.lists(st.floats(), max_size=6))
FILES = st.fixed_dictionaries(
    {},
    optional={
        "image_width": NUMBERS,
        "image_height": NUMBERS,
        "distortion_model": st.sampled_from(["plumb_bob", "equidistant", "odd", 3, None, []]),
        "camera_matrix": st.one_of(
            NUMBERS, st.fixed_dictionaries({"data": st.lists(NUMBERS, min_size=8, max_size=10)})
        ),
        "distortion_coefficients": st.one_of(NUMBERS, st.fixed_dictionaries({"data": NUMBERS})),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(FILES, NUMBERS), cut=st.integers(0, 400))
def test_whatever_is_in_a_camera_info_file_it_is_read_or_refused(tmp_path: Path, content: object, cut: int) -> None:
    (tmp_path / "random.yaml").write_text(yaml.safe_dump(content)[:cut], encoding="utf-8")
    with suppress(DeviceError):
        assert load_intrinsics(tmp_path / "random.yaml").fx > 0
    with suppress(DeviceError):
        assert isinstance(load_poses(tmp_path / "random.yaml"), dict)
