"""A bare hand that cameras see, from drawn pictures through real cameras' protocols and the real detector to samples."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from keypoint_support import model_or_skip
from ros_support import wait_until
from scipy.spatial.transform import Rotation
from seven_joints import NAMES, elbow_of, seven_contract, urdf

from vla_ros.arm_shape import Elbow
from vla_ros.camera_calibration.files import save_place
from vla_ros.drivers.address import Address
from vla_ros.drivers.intrinsics import save_intrinsics
from vla_ros.drivers.keypoints import KeypointTracker
from vla_ros.drivers.realsense import RealSense
from vla_ros.emulators.hand import SHOULDER
from vla_ros.emulators.keypoints import FINGERS_UP, KeypointArmEmulator, KeypointEmulator
from vla_ros.emulators.rendered_hand import HandRenderer, hand_points, looking, pinhole
from vla_ros.errors import DeviceError
from vla_ros.keypoints.bench import Measured, measure
from vla_ros.keypoints.models import HAND, POSE
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.operation import Operation
from vla_ros.teleop.tracked_hand import TrackedHand

ENDS = (0.0, 0.04)
MILLIMETRE, DEGREE = 1e-3, np.pi / 180.0
UP = FINGERS_UP.as_quat()


@pytest.fixture(scope="module", autouse=True)
def model() -> Path:
    return model_or_skip(HAND)


@pytest.fixture()
def cameras() -> Iterator[KeypointEmulator]:
    with KeypointEmulator() as emulator:
        emulator.hand.amplitude = emulator.hand.swing = 0.0
        yield emulator


def opened(emulator: KeypointEmulator, options: str = "") -> TrackedHand:
    address = Address.parse(emulator.address + options)
    tracker_address = Address.parse(emulator.address)
    hand = TrackedHand(KeypointTracker(tracker_address), address, ENDS)
    hand.open()
    return hand


def rested(hand: TrackedHand, count: int = 20) -> tuple[np.ndarray, float]:
    """The median position of the next samples [m], and the gripper's median opening."""
    poses, grips = [], []
    end = time.monotonic() + 30.0
    while len(poses) < count:
        assert time.monotonic() < end, f"{len(poses)} of {count} samples"
        reading = hand.read(0.2)
        if reading is not None and reading.value.pose is not None:
            poses.append(reading.value.pose)
            grips.append(np.nan if reading.value.gripper is None else reading.value.gripper)
    return np.median(poses, axis=0), float(np.nanmedian(grips))


def test_two_cameras_see_the_hand_and_follow_its_way_to_millimetres(cameras: KeypointEmulator) -> None:
    hand = opened(cameras)
    try:
        before, _ = rested(hand)
        assert np.linalg.norm(before[:3] - cameras.hand.rest) < 20 * MILLIMETRE
        cameras.hand.rest = cameras.hand.rest + [0.03, -0.02, 0.04]
        wait_until(lambda: np.linalg.norm(rested(hand, 3)[0][:3] - before[:3]) > 0.04, what="the hand to have moved")
        after, _ = rested(hand)
        assert np.linalg.norm(after[:3] - before[:3] - [0.03, -0.02, 0.04]) < 6 * MILLIMETRE
        turned = Rotation.from_quat(after[3:]) * Rotation.from_quat(before[3:]).inv()
        assert turned.magnitude() < 8 * DEGREE
    finally:
        hand.close()


def test_a_pinch_closes_the_gripper(cameras: KeypointEmulator) -> None:
    hand = opened(cameras, "&closed=0.02&open=0.075")
    try:
        for pinch, low, high in ((0.0, 0.036, 0.041), (0.5, 0.010, 0.026), (1.0, 0.0, 0.004)):
            cameras.hand.pinch = pinch
            wait_until(lambda: low <= rested(hand, 5)[1] <= high, what=f"the gripper at pinch {pinch}")  # noqa: B023
    finally:
        hand.close()


def test_a_hand_that_leaves_the_picture_is_not_tracked_and_comes_back(cameras: KeypointEmulator) -> None:
    hand = opened(cameras)
    try:
        rested(hand, 3)
        cameras.hand.seen = False
        with pytest.raises(DeviceError, match="'hand' is not tracked; bring it into view"):
            wait_until(lambda: hand.read(0.1) is Ellipsis, what="the hand to be lost")
        cameras.hand.seen = True
        hand.close()
        hand.open()
        rested(hand, 3)
    finally:
        hand.close()


def test_a_camera_that_is_gone_is_told(cameras: KeypointEmulator) -> None:
    hand = opened(cameras)
    try:
        rested(hand, 3)
        cameras.fault = "unplug"
        with pytest.raises(DeviceError, match="mjpeg://127.0.0.1"):
            wait_until(lambda: hand.read(0.1) is Ellipsis, what="the loss of a camera")
    finally:
        hand.close()


def test_a_persons_elbow_is_seen_beside_the_hand_and_turns_as_it_does() -> None:
    model_or_skip(POSE)
    with KeypointArmEmulator() as cameras:
        cameras.hand.amplitude = cameras.hand.swing = 0.0
        cameras.swivel = 0.0
        hand = opened(cameras)
        try:
            before = arms(hand)
            begun = Elbow.of(*before)
            assert begun is not None and np.linalg.norm(before[0] - SHOULDER) < 0.08
            for swivel in (0.5, -0.4):
                cameras.swivel = swivel
                end = time.monotonic() + 30.0
                while True:
                    now = Elbow.of(*arms(hand))
                    turned = None if now is None else begun.turned(now)
                    if turned is not None and abs(turned - swivel) < 0.2:
                        break
                    assert time.monotonic() < end, f"turned by {turned}, want {swivel}"
        finally:
            hand.close()


def test_the_elbow_of_a_redundant_arm_does_what_the_persons_does_and_its_tip_stays(tmp_path: Path) -> None:
    """Drawn pictures, cameras, both detectors, clutch and inverse kinematics; the person's hand rests."""
    model_or_skip(POSE)
    seven = Kinematics(urdf(), NAMES)
    operation = Operation(seven_contract(tmp_path), seven)
    q = np.array([0.2, 0.7, 0.1, 1.2, -0.1, 0.8, 0.0])
    with KeypointArmEmulator() as cameras:
        cameras.hand.amplitude = cameras.hand.swing = cameras.swivel = 0.0
        hand = opened(cameras)
        try:
            arms(hand)  # the detectors have found the person
            operation.clutch.take()
            tip, begun, end = seven.pose(q), None, time.monotonic() + 40.0
            while True:
                reading = hand.read(0.5)
                if reading is None or reading.value.arm is None:
                    assert time.monotonic() < end, "the person is not seen"
                    continue
                operation.see(reading.arrival, dict(zip(NAMES, q.tolist(), strict=True)))
                q = operation.act(replace(reading.value, stamp=reading.arrival)).values[0].copy()
                begun = begun or elbow_of(q)
                turned = begun.turned(elbow_of(q))
                cameras.swivel = 0.5
                if turned is not None and abs(turned - 0.5) < 0.2:
                    break
                assert time.monotonic() < end, f"turned by {turned}, want 0.5"
        finally:
            hand.close()
    assert np.linalg.norm(seven.pose(q)[:3] - tip[:3]) < 15 * MILLIMETRE, "as far as the hand trembles"


def arms(hand: TrackedHand, count: int = 5) -> np.ndarray:
    """The median of shoulder, elbow and hand [3, 3] [m] of the next samples."""
    found: list[np.ndarray] = []
    end = time.monotonic() + 30.0
    while len(found) < count:
        assert time.monotonic() < end, f"{len(found)} of {count} samples"
        reading = hand.read(0.5)
        if reading is not None and reading.value.arm is not None:
            found.append(reading.value.arm)
    return np.asarray(np.median(found, axis=0))


def test_a_realsense_sees_the_hand_by_its_depth() -> None:
    try:
        from software_realsense import SoftwareCamera
    except ImportError as missing:
        pytest.skip(f"pyrealsense2 does not load: {missing}")
    lens, at = pinhole(640, 480, 50.0), np.array([0.1, -0.2, 1.1])
    view = looking((-0.25, 0.1, 1.1), tuple(at.tolist()), lens)
    camera = SoftwareCamera(lens=lens, beside=0.0)
    realsense = RealSense(Address.parse("realsense://?width=640&height=480&fps=30"), lambda: [camera.device])
    tracker = KeypointTracker(Address.parse("keypoints://?tilt=0"), [realsense])
    renderer = HandRenderer([view])
    try:
        tracker.open()
        found = []
        for number in range(1, 25):
            offset = np.array([0.0, 0.0, 0.04 if number > 12 else 0.0])
            points = hand_points([*(at + offset), *UP], 0.0)
            camera.send_depth(number, number / 30, renderer.depth(0, points))
            camera.send_colour(number, number / 30, renderer.picture(0, points))
            reading = tracker.read(2.0)
            assert reading is not None and reading.device_time == pytest.approx(number / 30, abs=1e-6)
            found.append(reading.value.poses.get("hand"))
        seen = [pose for pose in found if pose is not None]
        assert len(seen) > 18
        moved = np.median([p[:3] for p in seen[-6:]], axis=0) - np.median([p[:3] for p in seen[4:10]], axis=0)
        assert np.linalg.norm(moved - [0.0, 0.0, 0.04]) < 6 * MILLIMETRE, "the room's z is up, the camera level"
        away = np.linalg.norm(np.median([p[:3] for p in seen[4:10]], axis=0))
        assert away == pytest.approx(np.linalg.norm(at - view.T_room_camera[:3, 3]), abs=0.03), "the skin is nearer"
    finally:
        tracker.close()
        renderer.close()


@pytest.mark.parametrize(
    "options, words",
    [
        ("", "no camera=, want such as"),
        ("camera=mjpeg://a/b", "how does the camera look"),
        ("camera=mjpeg://a/b&second=mjpeg://c/d", "where are the two cameras"),
        ("camera=mjpeg://a/b&tilt=100", "tilt is '100', want a number from -90 to 90"),
        ("camera=camcorder://a&tilt=0", "unknown camera device 'camcorder'"),
        ("camera=mjpeg://a/b&tilt=0&lens=nowhere.yaml", "camera_info nowhere.yaml"),
        ("camera=mjpeg://a/b&place=nowhere.yaml", "nowhere.yaml.*vla-ros calibrate hand-eye"),
        ("camera=mjpeg://a/b&tilt=0&model=nowhere.task", "no model nowhere.task"),
        ("camera=mjpeg://a/b&tilt=0&follow=arm&arm_model=nowhere.task", "no model nowhere.task"),
        ("camera=mjpeg://a/b&tilt=0&side=left", "side is for follow=arm"),
        ("camera=mjpeg://a/b&tilt=0&follow=arm&side=up", "unknown side 'up'"),
        ("camera=mjpeg://a/b&tilt=0&confidence=2", "confidence is '2'"),
    ],
)
def test_what_is_wrong_with_the_address_is_told(options: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        KeypointTracker(Address.parse(f"keypoints://?{options}" if options else "keypoints"))


def test_a_camera_without_depth_or_of_another_lens_is_told(cameras: KeypointEmulator, tmp_path: Path) -> None:
    one = f"camera=mjpeg://127.0.0.1:{cameras.cameras[0].port}/stream"
    save_intrinsics(pinhole(320, 240, 50.0), tmp_path / "small.yaml", "small")
    save_intrinsics(cameras.views[0].lens, tmp_path / "lens.yaml", "lens")
    save_place(np.eye(4), tmp_path / "place.yaml", "room", "camera", "made up")
    for options, words in (
        (f"{one}&tilt=0", "does not tell its lens; say lens="),
        (f"{one}&tilt=0&lens={tmp_path}/small.yaml", "its pictures are 640x480, lens is of 320x240"),
        (f"{one}&place={tmp_path}/place.yaml&lens={tmp_path}/lens.yaml", "one camera must have depth"),
    ):
        tracker = KeypointTracker(Address.parse(f"keypoints://?{options}"))
        tracker.open()
        try:
            with pytest.raises(DeviceError, match=words):
                wait_until(lambda: tracker.read(0.2) is Ellipsis, what=words)  # noqa: B023
        finally:
            tracker.close()


def test_the_bench_tells_how_truly_a_moving_hand_is_seen() -> None:
    measured = measure(3.0, arm=False)
    assert len(measured.offsets) > 10
    text = measured.text()
    assert "hand found in" in text and "thumb to index finger: p50" in text
    about = np.linalg.norm(np.array(measured.offsets) - np.median(measured.offsets, axis=0), axis=1)
    assert np.percentile(about, 90) < 12 * MILLIMETRE
    with pytest.raises(DeviceError, match="in none of 0 pictures"):
        Measured().text()
