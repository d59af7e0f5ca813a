"""The hand-held gripper: its opening from pictures of two tags through a fisheye lens, and its tool from a tracker."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tag_picture import LENS, TagCamera, sweep
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.drivers.intrinsics import save_intrinsics
from vla_ros.errors import CalibrationError
from vla_ros.pose import compose
from vla_ros.teleop.umi_opening import GripperTags, OpeningReader, calibrate_gripper, load_gripper, save_gripper
from vla_ros.teleop.umi_tracker import RISING, ToolTracker

WIDTHS = (0.0, 0.08)


@pytest.fixture(scope="module")
def camera() -> TagCamera:
    return TagCamera()


@pytest.fixture(scope="module")
def calibration_pictures(camera: TagCamera) -> list[np.ndarray]:
    return sweep(camera, np.concatenate([np.linspace(*WIDTHS, 12), np.linspace(*WIDTHS[::-1], 10)]))


@pytest.fixture(scope="module")
def gripper(calibration_pictures: list[np.ndarray]) -> GripperTags:
    return calibrate_gripper(calibration_pictures, LENS, WIDTHS)


@pytest.mark.parametrize(("hidden", "told", "most"), [((), "both", 0.3), ((0,), "right", 0.6), ((1,), "left", 0.6)])
def test_the_opening_is_told_within_a_fraction_of_a_millimetre(
    camera: TagCamera, gripper: GripperTags, hidden: tuple[int, ...], told: str, most: float
):
    reader = OpeningReader(gripper, LENS)
    widths = np.random.default_rng(1).uniform(*WIDTHS, 12)
    seen = [reader.read(camera.picture(width, hidden)) for width in widths]
    assert [opening.tags if opening else None for opening in seen] == [told] * 12
    errors = 1e3 * np.array([opening.width - width for opening, width in zip(seen, widths, strict=True) if opening])
    print(f"tags seen: {told}: error of the opening rms {np.sqrt((errors**2).mean()):.3f} mm, "
          f"max {np.abs(errors).max():.3f} mm of 12 pictures")  # fmt: skip
    assert np.abs(errors).max() < most


def test_without_a_tag_nothing_is_said(camera: TagCamera, gripper: GripperTags):
    reader = OpeningReader(gripper, LENS)
    assert reader.read(camera.picture(0.04, hidden=(0, 1))) is None
    assert OpeningReader(GripperTags(0.02, 0.1, left=2, right=3), LENS).read(camera.picture(0.04)) is None


def test_a_tag_at_the_wrong_distance_is_not_a_fingers(gripper: GripperTags):
    far = TagCamera(distance=0.12).picture(0.03)
    assert OpeningReader(gripper, LENS).read(far) is None


def test_the_calibration_finds_ends_middle_and_distance(gripper: GripperTags, tmp_path: Path):
    assert gripper.opened - gripper.closed == pytest.approx(0.08, abs=0.001)
    assert gripper.centre == pytest.approx(0.002, abs=2e-4)
    assert gripper.distance == pytest.approx(0.072, abs=0.001)
    save_gripper(gripper, tmp_path / "gripper.yaml")
    assert load_gripper(tmp_path / "gripper.yaml") == gripper


def test_one_tag_that_is_none_of_the_fingers_does_not_spoil_the_calibration(
    calibration_pictures: list[np.ndarray], gripper: GripperTags
):
    poster = TagCamera(distance=0.12).picture(0.06)
    found = calibrate_gripper(iter([*calibration_pictures, poster]), LENS, WIDTHS)
    assert (found.closed, found.opened) == pytest.approx((gripper.closed, gripper.opened), abs=1e-4)


def test_a_calibration_is_refused_in_one_line(camera: TagCamera, tmp_path: Path):
    with pytest.raises(CalibrationError, match=r"both in 3 of 3 pictures, want 20"):
        calibrate_gripper(sweep(camera, [0.0, 0.04, 0.08]), LENS, WIDTHS)
    with pytest.raises(CalibrationError, match=r"the tags move by 0\.\d mm only"):
        calibrate_gripper([camera.picture(0.04)] * 20, LENS, WIDTHS)
    with pytest.raises(CalibrationError, match="exchange left and right"):
        calibrate_gripper([camera.picture(0.04)] * 20, LENS, WIDTHS, left=1, right=0)
    with pytest.raises(CalibrationError, match="calibrated for 960x720"):
        OpeningReader(GripperTags(0.02, 0.1), LENS).read(np.zeros((10, 20, 3), dtype=np.uint8))
    (tmp_path / "gripper.yaml").write_text("closed: 0.02\nopened: 0.1\nsise: 0.02\n")
    with pytest.raises(CalibrationError, match=r"unknown key 'sise' \(did you mean 'size'\?\)"):
        load_gripper(tmp_path / "gripper.yaml")


def test_the_command_calibrates_from_a_folder_of_pictures(calibration_pictures: list[np.ndarray], tmp_path: Path):
    for number, picture in enumerate(calibration_pictures):
        cv2.imwrite(str(tmp_path / f"{number:03d}.png"), picture)
    save_intrinsics(LENS, tmp_path / "camera.yaml", "gripper")
    words = ["calibrate", "gripper", str(tmp_path), "--camera", str(tmp_path / "camera.yaml")]
    output = tmp_path / "gripper.yaml"
    result = CliRunner().invoke(app, [*words, "--output", str(output), "--tool", "0,0,0.2,0,0,0,1"])
    assert result.exit_code == 0, result.output
    assert "22 of 22 pictures show both tags" in result.output
    assert load_gripper(output).tool == (0.0, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0)


def test_the_tool_is_where_the_tracker_carries_it_and_jumps_are_passed_over():
    tool = [0.0, 0.05, 0.2, 0.0, 0.0, 0.0, 1.0]
    tracker = ToolTracker(tool)
    for k in range(5):
        pose = np.array([0.01 * k, 0, 0, 0, 0, np.sqrt(0.5), np.sqrt(0.5)])
        np.testing.assert_allclose(tracker.update(k * 10_000_000, pose, "map"), compose(pose, tool))
    there = np.array([1.0, 0, 0, 0, 0, np.sqrt(0.5), np.sqrt(0.5)])
    assert tracker.update(50_000_000, there, "map") is None
    assert tracker.problem.startswith("it jumped by 0.96 m; its new place is believed after 0.3 s")
    believed = [tracker.update((6 + k) * 10_000_000, there + [0.001 * k, *[0] * 6], "map") for k in range(30)]
    assert [pose is not None for pose in believed] == [False] * 29 + [True]
    assert tracker.update(400_000_000, [np.nan] * 7, "map") is None
    assert tracker.update(400_000_000, there, "odom") is None
    assert tracker.problem == "poses are in frame 'odom', before in 'map'"


def test_a_tracker_that_repeats_its_last_pose_is_lost():
    tracker = ToolTracker([0, 0, 0, 0, 0, 0, 1])
    still = [0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0]
    believed = [tracker.update(k * 10_000_000, still) is not None for k in range(20)]
    assert believed[0]
    assert not believed[-1]
    assert "stands still, or is lost" in tracker.problem


@pytest.mark.parametrize("max_age", [0.1, 0.5])
@pytest.mark.parametrize("far", [0.06, 0.12, 1.0])
def test_a_jump_leaves_a_hole_that_no_recorder_bridges(max_age: float, far: float):
    tracker = ToolTracker([0, 0, 0, 0, 0, 0, 1], max_age)
    stamps = []
    for k in range(200):
        there = [(far if k >= 50 else 0.0) + 0.001 * k, 0, 0, 0, 0, 0, 1]
        if tracker.update(k * 10_000_000, there) is not None:
            stamps.append(k / 100)
    assert np.diff(stamps).max() > max_age
    assert stamps[-1] == 1.99


def test_one_wild_pose_leaves_no_hole():
    tracker = ToolTracker([0, 0, 0, 0, 0, 0, 1])
    told = [tracker.update(k * 10_000_000, [0.5 if k == 5 else 0.001 * k, 0, 0, 0, 0, 0, 1]) for k in range(10)]
    assert [pose is not None for pose in told] == [k != 5 for k in range(10)]


def test_one_stamp_far_ahead_does_not_silence_the_tool():
    tracker = ToolTracker([0, 0, 0, 0, 0, 0, 1])
    assert tracker.update(100_000_000_000, [0, 0, 0, 0, 0, 0, 1]) is not None
    told = [tracker.update(1_000_000_000 + k * 10_000_000, [0.001 * k, 0, 0, 0, 0, 0, 1]) for k in range(10)]
    assert [pose is not None for pose in told] == [k >= RISING - 1 for k in range(10)]
    assert tracker.update(500_000_000, [0, 0, 0, 0, 0, 0, 1]) is None
    assert tracker.problem == "its stamps go back"
