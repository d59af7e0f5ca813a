"""Calibration of cameras: from rendered boards back to the lens that they were rendered by, and to the camera's place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from vla_ros.camera_calibration import Board, View, calibrate, solve_hand_eye
from vla_ros.cli import app
from vla_ros.drivers import Intrinsics
from vla_ros.drivers.intrinsics import load_intrinsics, save_intrinsics
from vla_ros.errors import DeviceError

BOARD = Board()
LENS = Intrinsics(640, 480, 600.0, 605.0, 325.0, 236.0, "plumb_bob", (-0.2, 0.08, 0.001, -0.001, 0.0))
CENTRE = np.array([0.105, 0.075, 0.0])  # of the board
Array = np.ndarray


def pose(shift: tuple[float, ...] | Array, degrees: tuple[float, ...] | Array) -> Array:
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(), shift
    return made


def facing(rng: np.random.Generator, tilt: float = 35.0, distance: tuple[float, float] = (0.24, 0.34)) -> Array:
    """A random T_camera_board with the board in the picture, tilted by up to `tilt` [degrees]."""
    z = rng.uniform(*distance)
    turned = pose((0, 0, 0), (rng.uniform(-tilt, tilt), rng.uniform(-tilt, tilt), rng.uniform(-25, 25)))
    turned[:3, 3] = np.array([rng.uniform(-0.3, 0.3) * z, rng.uniform(-0.2, 0.2) * z, z]) - turned[:3, :3] @ CENTRE
    return turned


def rendered(lens: Intrinsics, T_camera_board: Array) -> Array:
    """What the lens sees of the board on a grey table: every pixel's line of sight is cut with the board's plane."""
    square = 60
    texture = cv2.copyMakeBorder(BOARD.picture(square), 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=255)
    rays = np.concatenate((lens.rays(), np.ones((lens.height, lens.width, 1))), axis=2)
    normal, origin = T_camera_board[:3, 2], T_camera_board[:3, 3]
    depth = (normal @ origin) / (rays @ normal)
    local = (rays * depth[..., None] - origin) @ T_camera_board[:3, :3]
    u, v = (local[..., :2] * (square / BOARD.square) + 60 - 0.5).astype(np.float32).transpose(2, 0, 1)
    return cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=128)


def views(count: int, tilt: float = 35.0, distance: tuple[float, float] = (0.24, 0.34), seed: int = 0) -> list[View]:
    rng = np.random.default_rng(seed)
    seen = [BOARD.view(rendered(LENS, facing(rng, tilt, distance)), f"{k:02d}.png") for k in range(count)]
    return [view for view in seen if view]


def test_rendered_boards_give_back_the_lens() -> None:
    seen = views(16)
    assert len(seen) >= 14
    found = calibrate(seen)
    assert found.error < 0.2
    assert [found.lens.fx, found.lens.fy] == pytest.approx([600.0, 605.0], rel=0.005)
    assert [found.lens.cx, found.lens.cy] == pytest.approx([325.0, 236.0], abs=2.5)
    corners = np.array([[x, y, 1.0] for x in (-0.4, 0.0, 0.4) for y in (-0.3, 0.0, 0.3)])
    np.testing.assert_allclose(found.lens.project(corners), LENS.project(corners), atol=1.0)
    assert set(found.errors) <= {view.source for view in seen}


def test_a_view_tells_the_board_s_pose() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        T_camera_board = facing(rng)
        view = BOARD.view(rendered(LENS, T_camera_board), "view")
        assert view is not None
        np.testing.assert_allclose(view.pose(LENS), T_camera_board, atol=4e-3)


def test_too_few_views_are_refused() -> None:
    with pytest.raises(DeviceError, match="different views of the board, want 8: move and tilt"):
        calibrate(views(5))


def test_the_same_view_again_and_again_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"1 different views of the board, want 8 \(11 more are too similar"):
        calibrate(views(1) * 12)


def test_a_board_in_one_corner_is_refused() -> None:
    seen = [replace(view, pixels=view.pixels / 3.0) for view in views(14)]
    with pytest.raises(DeviceError, match="was seen in .* of the picture only"):
        calibrate(seen)


def test_a_board_that_was_never_tilted_is_refused() -> None:
    """Without tilt nothing tells a longer lens from a nearer board."""
    with pytest.raises(DeviceError, match="the board was tilted in 0 of .* views, want 4"):
        calibrate(views(14, tilt=0.5))


def test_a_picture_without_the_board_shows_nothing() -> None:
    assert BOARD.view(np.full((480, 640), 128, np.uint8), "grey") is None


def arm_and_views(in_hand: bool, noise: float, count: int = 12) -> tuple[Array, list[Array], list[Array]]:
    """The true camera, tip poses and board poses. noise [m] of the board's position, and as much [rad] * 2."""
    rng = np.random.default_rng(3)
    camera = pose((0.05, -0.02, 0.08), (5, -10, 85)) if in_hand else pose((0.8, 0.1, 0.5), (-115, 3, 80))
    board = pose((0.5, 0.1, 0.0), (180, 0, 20)) if in_hand else pose((0.0, 0.02, 0.05), (0, 10, 40))
    tips, seen = [], []
    for _ in range(count):
        tip = pose(rng.uniform(-0.15, 0.15, 3) + (0.5, 0.1, 0.4), rng.uniform(-35, 35, 3) + (180, 0, 0))
        hand = tip if in_hand else np.linalg.inv(tip)
        off = pose(rng.normal(0, noise, 3), np.rad2deg(rng.normal(0, 2 * noise, 3)))
        tips.append(tip)
        seen.append(np.linalg.inv(hand @ camera) @ board @ off)
    return camera, tips, seen


@pytest.mark.parametrize("in_hand", [True, False], ids=["in hand", "to hand"])
def test_exact_poses_give_the_exact_camera(in_hand: bool) -> None:
    camera, tips, seen = arm_and_views(in_hand, noise=0.0)
    found = solve_hand_eye(tips, seen, in_hand)
    np.testing.assert_allclose(found.camera, camera, atol=1e-7)
    assert found.unseen.max() < 1e-6


@pytest.mark.parametrize("in_hand", [True, False], ids=["in hand", "to hand"])
def test_noisy_poses_give_the_camera_and_an_honest_residual(in_hand: bool) -> None:
    camera, tips, seen = arm_and_views(in_hand, noise=0.001, count=20)
    found = solve_hand_eye(tips, seen, in_hand)
    off = np.linalg.inv(camera) @ found.camera
    assert np.linalg.norm(off[:3, 3]) < 0.003
    assert Rotation.from_matrix(off[:3, :3]).magnitude() < np.deg2rad(0.3)
    residual, unseen = (np.sqrt((errors[:, 0] ** 2).mean()) for errors in (found.residuals, found.unseen))
    assert 0.0005 < residual < unseen < 0.004
    assert found.summary().startswith("residual ")


@pytest.mark.skipif(not hasattr(cv2, "calibrateHandEye"), reason="this OpenCV has no calibrateHandEye")
def test_opencv_agrees() -> None:
    _, tips, seen = arm_and_views(True, noise=0.001, count=20)
    turns, shifts = [tip[:3, :3] for tip in tips], [tip[:3, 3] for tip in tips]
    turn, shift = cv2.calibrateHandEye(
        turns, shifts, [view[:3, :3] for view in seen], [view[:3, 3] for view in seen], method=cv2.CALIB_HAND_EYE_PARK
    )
    found = solve_hand_eye(tips, seen, in_hand=True).camera
    np.testing.assert_allclose(found[:3, :3], turn, atol=5e-3)
    np.testing.assert_allclose(found[:3, 3], shift.reshape(3), atol=3e-3)


def test_an_arm_that_turns_about_one_axis_only_is_refused() -> None:
    tips = [pose((0.1 * k, 0.0, 0.5), (180, 0, 12 * k)) for k in range(8)]
    camera, board = pose((0.05, 0, 0.1), (0, 0, 90)), pose((0.5, 0, 0), (180, 0, 0))
    with pytest.raises(DeviceError, match="turned about one axis only"):
        solve_hand_eye(tips, [np.linalg.inv(tip @ camera) @ board for tip in tips], in_hand=True)


def test_four_views_are_too_few() -> None:
    _, tips, seen = arm_and_views(True, 0.0, count=4)
    with pytest.raises(DeviceError, match="4 views with a pose, want at least 5"):
        solve_hand_eye(tips, seen, in_hand=True)


def test_the_commands_go_from_pictures_to_files(tmp_path: Path) -> None:
    rng, pictures = np.random.default_rng(7), tmp_path / "pictures"
    pictures.mkdir()
    T_tip_camera, T_base_board = pose((0.05, -0.02, 0.08), (5, -10, 85)), pose((0.5, 0.1, 0.0), (180, 0, 20))
    poses = {}
    for k in range(14):
        T_camera_board = facing(rng)
        tip = T_base_board @ np.linalg.inv(T_camera_board) @ np.linalg.inv(T_tip_camera)
        poses[f"{k:02d}.png"] = [*map(float, tip[:3, 3]), *map(float, Rotation.from_matrix(tip[:3, :3]).as_quat())]
        cv2.imwrite(str(pictures / f"{k:02d}.png"), rendered(LENS, T_camera_board))
    (pictures / "poses.yaml").write_text(yaml.safe_dump(poses), encoding="utf-8")

    lens_file, place_file = tmp_path / "camera.yaml", tmp_path / "place.yaml"
    command = ["calibrate", "camera", "--pictures", str(pictures), "--output", str(lens_file)]
    said = CliRunner().invoke(app, command, catch_exceptions=False)
    assert said.exit_code == 0 and "reprojection error" in said.output
    assert load_intrinsics(lens_file).fx == pytest.approx(600.0, rel=0.01)

    save_intrinsics(LENS, lens_file, "camera")
    command = ["calibrate", "hand-eye", "--pictures", str(pictures), "--camera", str(lens_file), "--mounting", "hand"]
    said = CliRunner().invoke(app, [*command, "--output", str(place_file)], catch_exceptions=False)
    assert said.exit_code == 0 and "of views left out" in said.output
    place = yaml.safe_load(place_file.read_text(encoding="utf-8"))
    assert (place["parent"], place["child"]) == ("tool0", "camera_optical")
    assert place["xyz"] == pytest.approx([0.05, -0.02, 0.08], abs=0.003)
    off = Rotation.from_quat(place["xyzw"]).inv() * Rotation.from_matrix(T_tip_camera[:3, :3])
    assert off.magnitude() < 0.01
