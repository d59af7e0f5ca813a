"""Clouds from depth, and what is made of them, against plain geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from encoder_support import DEPTH, IMAGE, WIDTH, contract
from scipy.spatial.transform import Rotation

from vla_ros.encoders.depth import DepthImage, DepthImageSettings
from vla_ros.encoders.geometry import BackProjection, CameraSettings, farthest_points, render
from vla_ros.encoders.image import FilmCnnSettings
from vla_ros.encoders.points import PointNet, PointNetSettings
from vla_ros.encoders.views import VIEWS, RenderedViews, RenderedViewsSettings
from vla_ros.encoders.xyz import XyzPositions, XyzPositionSettings
from vla_ros.errors import PolicyError
from vla_ros.policy.preprocess import ResizeDepth
from vla_ros.policy.registry import Part

ROBOT = contract()
POSE = (0.4, -0.2, 0.7, 0.653, -0.271, 0.271, -0.653)
CAMERA = CameraSettings((60.0, 62.0, 30.0, 25.0), POSE, (0.1, 2.0))
CNN = Part("film_cnn", FilmCnnSettings(size=(24, 32), channels=(8, 16), blocks=(0,), keypoints=0))


def by_numpy(depth: np.ndarray) -> np.ndarray:
    """Points [H, W, 3] of a depth picture in the pose's frame, pixel by pixel."""
    turn = Rotation.from_quat(POSE[3:])
    out = np.zeros((*depth.shape, 3))
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            ray = np.array([(u - 30.0) / 60.0, (v - 25.0) / 62.0, 1.0])
            out[v, u] = turn.apply(depth[v, u] * ray) + POSE[:3]
    return out


def a_depth(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.3, 1.5, (48, 64)).astype(np.float32)


def test_back_projection_is_what_geometry_says_and_holes_are_not_valid() -> None:
    depth = a_depth()
    depth[3, 4], depth[5, 6], depth[7, 8], depth[9, 10] = np.nan, 0.0, 5.0, np.inf
    points, valid = BackProjection(CAMERA, (48, 64), (48, 64))(torch.from_numpy(depth).unsqueeze(0))
    holes = {(3, 4), (5, 6), (7, 8), (9, 10)}
    assert {tuple(x) for x in (~valid[0]).nonzero().tolist()} == holes
    good = valid[0].numpy()
    np.testing.assert_allclose(points[0].numpy()[good], by_numpy(np.where(good, depth, 0.0))[good], atol=1e-5)
    assert torch.isfinite(points).all()


def test_a_thinned_picture_shows_the_same_points() -> None:
    depth = a_depth()
    small = ResizeDepth((16, 32))(depth)  # the middle row of three, the right column of two
    points, _ = BackProjection(CAMERA, (48, 64), (16, 32))(torch.from_numpy(small).unsqueeze(0))
    flat = np.full((48, 64), 0.8, dtype=np.float32)
    middle = by_numpy(flat)[1::3].reshape(16, 32, 2, 3).mean(axis=2)
    even, _ = BackProjection(CAMERA, (48, 64), (16, 32))(torch.full((1, 16, 32), 0.8))
    np.testing.assert_allclose(even[0].numpy(), middle, atol=1e-5)
    assert small.shape == (16, 32) and set(small.ravel()) <= set(depth.ravel()) and points.shape == (1, 16, 32, 3)


def test_depth_is_never_averaged_and_what_was_not_measured_is_zero() -> None:
    depth = np.array([[1.0, 1.0, 3.0, 3.0], [1.0, 1.0, np.nan, np.inf]], dtype=np.float32)
    assert ResizeDepth((2, 2))(depth).tolist() == [[1.0, 3.0], [1.0, 0.0]]


def test_the_position_of_a_cell_is_the_mean_of_its_points() -> None:
    settings = XyzPositionSettings(encoder=CNN, depth=DEPTH, camera=CAMERA)
    encoder = XyzPositions(settings, ROBOT.observation[IMAGE], WIDTH)
    depth = np.full((24, 32), 0.9, dtype=np.float32)
    depth[:4, :8] = 0.0  # the first cells' pixels
    points, known = encoder.cell_points(torch.from_numpy(depth).unsqueeze(0))
    assert encoder.grid == (6, 8) and points.shape == (1, 48, 3)
    assert known[0].tolist() == [False] * 2 + [True] * 46
    full = by_numpy(np.full((48, 64), 0.9))
    wanted = full.reshape(6, 8, 8, 8, 3).mean(axis=(1, 3)).reshape(48, 3)
    np.testing.assert_allclose(points[0, 2:].numpy(), wanted[2:], atol=1e-5)
    one = encoder.encode(torch.zeros(1, 3, 24, 32), None, None, None).tokens
    assert one.shape == (1, 48, WIDTH)


def test_positions_cannot_be_added_to_tokens_that_lie_nowhere() -> None:
    blind = Part(
        "film_cnn", FilmCnnSettings(size=(24, 32), channels=(8, 16), blocks=(0,), keypoint_stage=1, patches=False)
    )
    with pytest.raises(PolicyError, match="'film_cnn' of 'observation.images.front' gives no tokens of picture cells"):
        XyzPositions(XyzPositionSettings(blind, DEPTH, CAMERA), ROBOT.observation[IMAGE], WIDTH)


def test_farthest_points_cover_the_cloud_and_skip_what_is_not_valid() -> None:
    rng = np.random.default_rng(1)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float32)
    cloud = np.concatenate([corners + 0.01 * rng.random((8, 3)) for _ in range(20)] + [np.full((5, 3), 50.0)])
    valid = torch.ones(1, len(cloud), dtype=torch.bool)
    valid[0, -5:] = False
    index, fresh = farthest_points(torch.from_numpy(cloud).float().unsqueeze(0), valid, 8)
    chosen = cloud[index[0]].round().astype(int)
    assert fresh.all() and {tuple(c) for c in chosen} == {tuple(c) for c in corners.astype(int)}
    several, _ = farthest_points(torch.from_numpy(cloud).float().unsqueeze(0), valid, 40)
    gaps = np.linalg.norm(cloud[:-5, None] - cloud[several[0]][None], axis=2).min(axis=1)
    assert gaps.max() < 0.02


def test_points_that_repeat_are_not_new_and_an_empty_cloud_has_none() -> None:
    cloud = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 0, 0], [9, 9, 9]]]).repeat(2, 1, 1)
    valid = torch.tensor([[True, True, True, False], [False] * 4])
    index, fresh = farthest_points(cloud, valid, 3)
    assert fresh.tolist() == [[True, True, False], [False] * 3]
    assert 3 not in index[0].tolist()


def test_a_cloud_with_few_points_has_masked_tokens_and_one_without_none_at_all() -> None:
    encoder = PointNet(PointNetSettings(CAMERA, (24, 32), 6, 4, 16), ROBOT.observation[DEPTH], WIDTH)
    depth = torch.zeros(2, 24, 32)
    depth[0, 3, 3:5] = 1.0
    group = encoder(depth)
    assert group.mask is not None and group.mask.sum(dim=1).tolist() == [2, 0]
    assert torch.isfinite(group.tokens).all()


def test_a_cloud_token_tells_where_it_is_and_not_in_which_order_points_came() -> None:
    torch.manual_seed(0)
    encoder = PointNet(PointNetSettings(CAMERA, (24, 32), 6, 4, 16), ROBOT.observation[DEPTH], WIDTH)
    depth = torch.from_numpy(ResizeDepth((24, 32))(a_depth())).unsqueeze(0)
    near, far = encoder(depth).tokens, encoder(depth + 0.2).tokens
    assert (near - far).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("view", "row", "column"),
    [("top", 7, 31), ("front", 24, 0), ("back", 24, 31), ("left", 24, 7), ("right", 24, 24)],
)
def test_a_point_is_drawn_at_its_pixel(view: str, row: int, column: int) -> None:
    box = torch.tensor([[-0.5, -0.5, 0.0], [0.5, 0.5, 1.0]])
    point = torch.tensor([[[0.27, -0.47, 0.23]]])  # 27 cm ahead, 47 cm to the right, 23 cm up
    axes = torch.tensor([VIEWS[view]])
    picture = render(point, torch.tensor([[[7.0]]]), torch.ones(1, 1, dtype=torch.bool), axes, box, 32)
    assert picture.shape == (1, 1, 3, 32, 32)
    assert (picture[0, 0, 2] > 0).nonzero().tolist() == [[row, column]]
    assert picture[0, 0, 0, row, column] == 7.0
    right, down, forward = axes[0]
    assert torch.equal(torch.linalg.cross(down, forward), right)  # no view is a mirror image


def test_the_nearest_point_of_a_pixel_is_seen_and_what_is_outside_is_not() -> None:
    box = torch.tensor([[-0.5, -0.5, 0.0], [0.5, 0.5, 1.0]])
    points = torch.tensor([[[0.1, 0.1, 0.2], [0.1, 0.1, 0.8], [0.1, 0.1, 0.5], [0.1, 0.1, 1.2], [0.3, 0.3, 0.5]]])
    colour = torch.arange(1.0, 6.0).reshape(1, 5, 1)
    valid = torch.tensor([[True, True, True, True, False]])
    top, bottom = torch.tensor(VIEWS["top"]), torch.tensor(VIEWS["top"]) * torch.tensor([[1.0], [-1.0], [-1.0]])
    picture = render(points, colour, valid, torch.stack([top, bottom]), box, 8)
    assert (picture[0, :, 2] > 0).sum(dim=(1, 2)).tolist() == [1, 1]
    assert (
        picture[0, 0, 0].max() == 2.0 and picture[0, 1, 0].max() == 1.0
    )  # from above the highest, from below the lowest
    assert picture[0, 0, 1].max() == pytest.approx(0.2) and picture[0, 1, 1].max() == pytest.approx(0.2)


def test_what_a_camera_measures_is_drawn_where_it_lies_in_the_workspace() -> None:
    down = CameraSettings(
        (60.0, 60.0, 31.5, 23.5), (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0), (0.1, 2.0)
    )  # looks at the table
    settings = RenderedViewsSettings(
        down, ((-0.5, -0.5, -0.1), (0.5, 0.5, 0.9)), (48, 64), ("top",), 50, 10, 32, 1, 2, IMAGE
    )
    encoder = RenderedViews(settings, ROBOT.observation[DEPTH], WIDTH)
    depth = torch.zeros(1, 48, 64)
    depth[0, 12, 44] = 1.0  # right of and above the picture's middle: +x in the camera is +x here, and +v is -y
    picture, some = encoder.pictures(depth)
    x, y = (44 - 31.5) / 60.0, -(12 - 23.5) / 60.0
    assert (picture[0, 0, -1] > 0).nonzero().tolist() == [[int((0.5 - x) * 50), int((0.5 - y) * 50)]]
    assert some.tolist() == [True] and encoder(torch.zeros(1, 48, 64)).mask.any().item() is False
    seen = picture.detach()[0, 0, :, picture[0, 0, -1] > 0]
    np.testing.assert_allclose(seen[3:6, 0], [2 * x, 2 * y, -0.8], atol=1e-5)


def test_depth_as_a_picture_says_what_was_not_measured() -> None:
    encoder = DepthImage(DepthImageSettings(CNN, (0.5, 2.0)), ROBOT.observation[DEPTH], WIDTH)
    picture = encoder.picture(torch.tensor([[[0.5, 2.0, 1.25, 0.0, torch.nan, 3.0]]]))
    assert picture.shape == (1, 3, 1, 6)
    np.testing.assert_allclose(picture[0, 0, 0], [-1, 1, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(picture[0, 1, 0], [1, -1, -0.6, 0, 0, 0], atol=1e-6)
    assert picture[0, 2, 0].tolist() == [1, 1, 1, -1, -1, -1]
