"""A hand that cameras see, without markers: ``keypoints://?camera=realsense://&tilt=20``; see `vla_ros.keypoints`.

camera: the address of a driver of cameras. Metres come from its depth, or from a second camera, `second`. lens,
second_lens: their camera_info files, where the cameras do not tell their lenses themselves. place, second_place: where they
are in the room, files of ``vla-ros calibrate hand-eye``; one alone may have `tilt` instead [degrees], by how much it looks
down, its x axis level. yaw: [degrees] about the vertical. model, arm_model: MediaPipe's files. confidence: below which a
hand is none. With follow=arm the person's arm is looked for too; side: which, right or left.

Bodies: "hand", the palm (`lift.palm`); "hand thumb" and "hand index", the tips; "shoulder" and "elbow" of the arm. What
is not seen surely enough, by both cameras or with depth, is not among them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from vla_ros.camera_calibration.files import load_place
from vla_ros.drivers.address import Address
from vla_ros.drivers.base import CameraDriver, Frame, Reading
from vla_ros.drivers.intrinsics import Intrinsics, load_intrinsics
from vla_ros.drivers.registry import make_driver
from vla_ros.drivers.tracked import Array, Tracked
from vla_ros.errors import DeviceError
from vla_ros.keypoints.base import ARM, Keypoints, KeypointSource
from vla_ros.keypoints.lift import APART, at_depth, palm, triangulated
from vla_ros.keypoints.media_pipe import ARMS, MediaPipeArm, MediaPipeHand, check_installed
from vla_ros.keypoints.models import HAND, POSE, find_model
from vla_ros.keypoints.size import PalmSize

TOGETHER = 0.020  # [s] within which two cameras' pictures count as taken together
ARM_APART = 0.05  # [m]; joints under clothes are not found as exactly as a hand's
PAUSE = 0.005  # [s] between two looks for a picture
WAITING = 10  # pictures that are passed over at once, at most
FORWARD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # R_room_camera of one that looks along x
STILL = np.array([0.0, 0.0, 0.0, 1.0])
OPTIONS = ("camera", "second", "lens", "second_lens", "place", "second_place", "tilt", "yaw")


class KeypointTracker:
    """A tracker (`vla_ros.drivers.tracked`). cameras: the drivers, instead of those that the address names."""

    options: tuple[str, ...] = (*OPTIONS, "model", "arm_model", "side", "confidence")
    hand = "hand"

    def __init__(self, address: Address, cameras: Sequence[CameraDriver] = ()) -> None:
        check_installed()
        named = [address.text_of(name, "") for name in ("camera", "second")]
        if not named[0] and not cameras:
            raise DeviceError(f"{address.text}: no camera=, want such as keypoints://?camera=realsense://&tilt=20")
        self._cameras = list(cameras) or [_camera(text) for text in named if text]
        self.device, self.rejected = f"keypoints of {self._cameras[0].device}", 0
        lenses = [address.text_of(name, "") for name in ("lens", "second_lens")][: len(self._cameras)]
        self._lenses = [load_intrinsics(path) if path else None for path in lenses]
        self._places = _places(address, len(self._cameras))
        self._confidence = address.number("confidence", 0.5, 0.05, 0.99)
        self._model = find_model(HAND, address.text_of("model", ""))
        arm, self._side = address.options.get("follow") == "arm", address.text_of("side", "right", ARMS)
        if not arm and (given := [name for name in ("arm_model", "side") if name in address.options]):
            raise DeviceError(f"{address.text}: {given[0]} is for follow=arm")
        self._arm_model = find_model(POSE, address.text_of("arm_model", "")) if arm else None
        self.bodies = ("hand", "hand thumb", "hand index", *(ARM if arm else ()))
        self._sources: list[list[KeypointSource]] = []
        self._newest: list[Reading[Frame] | None] = []
        self._size, self._sequence = PalmSize(), 0

    def open(self) -> None:
        """Open cameras and detectors. Raises DeviceError."""
        self.close()
        self._newest = [None] * len(self._cameras)
        self._size.reset()
        try:
            for camera in self._cameras:
                camera.open()
            self._sources = [self._detectors() for _ in self._cameras]
        except DeviceError:
            self.close()
            raise

    def read(self, timeout: float) -> Reading[Tracked] | None:
        """Return where the hand is in the newest pictures; None if there are none within `timeout` [s]."""
        if timeout <= 0:  # what waited was passed over for the newest, at the last call
            return None
        readings = self._pictures(timeout)
        if readings is None:
            return None
        self._sequence += 1
        arrival = min(reading.arrival for reading in readings)
        taken = readings[0].device_time if len(readings) == 1 else None  # two cameras have no clock in common
        return Reading(Tracked(self._seen(readings)), arrival, taken, self._sequence)

    def close(self) -> None:
        """Let cameras and detectors go."""
        for camera in self._cameras:
            camera.close()
        for sources in self._sources:
            for source in sources:
                source.close()
        self._sources = []

    def _detectors(self) -> list[KeypointSource]:
        found: list[KeypointSource] = [MediaPipeHand(self._model, self._confidence)]
        if self._arm_model is not None:
            found.append(MediaPipeArm(self._arm_model, self._side, self._confidence))
        return found

    def _pictures(self, timeout: float) -> list[Reading[Frame]] | None:
        """Return the newest picture of each camera, taken together."""
        end = time.monotonic() + timeout
        while True:
            for number, camera in enumerate(self._cameras):
                self._newest[number] = _drained(camera) or self._newest[number]
            self.rejected = sum(camera.rejected for camera in self._cameras)
            readings = [reading for reading in self._newest if reading is not None]
            arrivals = [reading.arrival for reading in readings]
            if len(readings) == len(self._cameras) and max(arrivals) - min(arrivals) <= TOGETHER * 1e9:
                self._newest = [None] * len(self._cameras)
                return readings
            left = end - time.monotonic()
            if left <= 0:
                return None
            late = int(np.argmin([0 if reading is None else reading.arrival for reading in self._newest]))
            self._newest[late] = self._cameras[late].read(min(left, PAUSE)) or self._newest[late]

    def _seen(self, readings: list[Reading[Frame]]) -> dict[str, Array]:
        """Return the poses [7] in the room of what the pictures show."""
        points: list[Keypoints] = []
        for reading, sources in zip(readings, self._sources, strict=True):
            colour = reading.value.colour
            if colour is None:
                raise DeviceError(f"{self.device}: sends no colours")
            merged = [source(colour, reading.arrival / 1e9) for source in sources]
            points.append({name: point for each in merged for name, point in each.items()})
        lifted = self._by_depth(readings[0].value, points[0]) if len(readings) == 1 else self._by_two(readings, points)
        place = self._places[0]
        room = {name: place[:3, :3] @ point + place[:3, 3] for name, point in lifted.items()}
        poses: dict[str, Array] = {
            name: np.concatenate([room[name], STILL]) for name in ("shoulder", "elbow") if name in room
        }
        root = [room[name] for name in ("wrist", "index_knuckle", "pinky_knuckle") if name in room]
        hand = palm(*root) if len(root) == 3 and self._size(*root) else None
        if hand is None:
            return poses
        tips = {f"hand {name}": np.concatenate([room[name], STILL]) for name in ("thumb", "index") if name in room}
        return {"hand": hand, **tips, **poses}

    def _by_depth(self, frame: Frame, points: Keypoints) -> dict[str, Array]:
        lens = self._lens(0, frame)
        if frame.depth is None or frame.depth_intrinsics is not None:
            raise DeviceError(
                f"{self.device}: one camera must have depth, pixel by pixel that of its colours; otherwise say second="
            )
        lifted = {name: at_depth(point, frame.depth, lens) for name, point in points.items()}
        return {name: point for name, point in lifted.items() if point is not None}

    def _by_two(self, readings: list[Reading[Frame]], points: list[Keypoints]) -> dict[str, Array]:
        lenses = (self._lens(0, readings[0].value), self._lens(1, readings[1].value))
        T_first_second = np.linalg.inv(self._places[0]) @ self._places[1]
        lifted = {
            name: triangulated(
                points[0][name], points[1][name], lenses, T_first_second, ARM_APART if name in ARM else APART
            )
            for name in points[0]
            if name in points[1]
        }
        return {name: point for name, point in lifted.items() if point is not None}

    def _lens(self, number: int, frame: Frame) -> Intrinsics:
        """Return the lens of the picture that camera `number` has sent."""
        option, colour = ("lens", "second_lens")[number], frame.colour
        lens = self._lenses[number] or frame.intrinsics
        if lens is None:
            raise DeviceError(
                f"{self._cameras[number].device}: does not tell its lens; say {option}= a file of vla-ros calibrate camera"
            )
        if colour is not None and (lens.height, lens.width) != colour.shape[:2]:
            raise DeviceError(
                f"{self._cameras[number].device}: its pictures are {colour.shape[1]}x{colour.shape[0]}, {option} is of "
                f"{lens.width}x{lens.height}"
            )
        return lens


def _camera(text: str) -> CameraDriver:
    return make_driver("camera", text)


def _drained(camera: CameraDriver) -> Reading[Frame] | None:
    """Return the newest picture that waits; None where none does."""
    newest = None
    for _ in range(WAITING):
        reading = camera.read(0.0)
        if reading is None:
            break
        newest = reading
    return newest


def _places(address: Address, cameras: int) -> list[Array]:
    """Return T_room_camera [4, 4] of each camera. Raises DeviceError where the address does not say it."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", address.number("yaw", 0.0, -360.0, 360.0), degrees=True).as_matrix()
    files = [address.text_of(name, "") for name in ("place", "second_place")][:cameras]
    if all(files):
        if "tilt" in address.options:
            raise DeviceError(f"{address.text}: place and tilt: want one of them")
        return [turn @ load_place(Path(file)) for file in files]
    if cameras > 1:
        raise DeviceError(
            f"{address.text}: where are the two cameras? Say place= and second_place=, files of vla-ros calibrate hand-eye"
        )
    if "tilt" not in address.options:
        raise DeviceError(f"{address.text}: how does the camera look? Say tilt= [degrees] down, or place=")
    level = np.eye(4)
    down = math.radians(address.number("tilt", 0.0, -90.0, 90.0))
    level[:3, :3] = Rotation.from_rotvec([0.0, down, 0.0]).as_matrix() @ FORWARD
    return [turn @ level]
