"""Two cameras that see a moving hand: MJPEG over HTTP, with the lenses and places of the cameras as files. Needs MuJoCo.

The pictures are drawn, the detector that looks at them is the real one. The hand's palm has the position of the
`vla_ros.emulators.hand.EmulatedHand` that other emulated trackers see, and turns as it does from fingers up on.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vla_ros.camera_calibration.files import save_place
from vla_ros.drivers.intrinsics import save_intrinsics
from vla_ros.emulators.base import Emulator
from vla_ros.emulators.hand import REST, EmulatedHand
from vla_ros.emulators.mjpeg import MjpegCamera
from vla_ros.emulators.rendered_hand import HandRenderer, Viewpoint, hand_points, looking, pinhole

Array = npt.NDArray[np.float64]
SIZE, FOVY = (640, 480), 50.0  # [px], [degrees]
AWAY = 0.55  # [m] of the cameras from where the hand rests
SEEN_FROM = (120.0, 160.0)  # [degrees] about the vertical: from behind the hand, where its thumb is
FINGERS_UP = Rotation.from_euler("y", -80.0, degrees=True)
DEADLINE = 20.0  # [s] for the first picture


class KeypointEmulator(Emulator):
    """hand: what is seen, `rate` times a second by both cameras at once. seen: host time [ns] of each picture and the hand's
    pose [7] then, by its number; `number` is that of the last.
    """

    name = "keypoints"

    def __init__(self, rate: float = 30.0) -> None:
        super().__init__()
        self.hand, self.rate, self.number = EmulatedHand(), rate, 0
        self.seen: dict[int, tuple[int, Array]] = {}
        self.views = viewpoints()
        self.cameras = [_HandCamera(rate) for _ in self.views]
        self._folder = tempfile.TemporaryDirectory(prefix="vla_ros_keypoints_")
        self._drawn = threading.Event()

    @property
    def address(self) -> str:
        """The address that a driver takes; the files of the cameras are there while it runs."""
        parts = []
        for number, (camera, prefix) in enumerate((("camera", ""), ("second", "second_"))):
            parts.append(f"{camera}=mjpeg://127.0.0.1:{self.cameras[number].port}/stream")
            parts += [f"{prefix}{what}={self._file(what, number)}" for what in ("lens", "place")]
        return f"keypoints://?{'&'.join(parts)}"

    def start(self) -> None:
        """Write the cameras' files, draw, and listen."""
        for number, view in enumerate(self.views):
            save_intrinsics(view.lens, self._file("lens", number), f"camera{number}")
            save_place(view.T_room_camera, self._file("place", number), "room", f"camera{number}", "emulated")
        self._start_loop(self._draw)
        self._drawn.wait(DEADLINE)
        for camera in self.cameras:
            camera.start()

    def stop(self) -> None:
        """Stop all, and remove the files."""
        self._end_loop()
        for camera in self.cameras:
            camera.stop()
        self._folder.cleanup()

    def pose(self, stamp: int) -> Array:
        """Return the palm's pose [7] at the host time `stamp` [ns]."""
        at = self.hand.at(stamp)
        return np.concatenate([at[:3], (Rotation.from_quat(at[3:]) * FINGERS_UP).as_quat()])

    def _draw(self) -> None:
        renderer = HandRenderer(self.views)
        try:
            due = time.monotonic()
            while not self._stop.is_set():
                now = time.time_ns()
                pose = self.pose(now)
                points = hand_points(pose, self.hand.pinch) if self.hand.seen else None
                pictures = [renderer.picture(view, points) for view in range(len(self.views))]
                self.number += 1
                self.seen[self.number] = (now, pose)
                self.seen.pop(self.number - 1000, None)
                for camera, picture in zip(self.cameras, pictures, strict=True):
                    camera.fault = self.fault
                    camera.show(self.number, picture)
                self._drawn.set()
                due = max(due + 1.0 / self.rate, time.monotonic() - 0.1)
                self._stop.wait(max(0.0, due - time.monotonic()))
        finally:
            renderer.close()

    def _file(self, what: str, number: int) -> Path:
        return Path(self._folder.name) / f"{what}{number}.yaml"


class _HandCamera(MjpegCamera):
    """Sends the pictures that it is shown."""

    def __init__(self, rate: float) -> None:
        self._news = threading.Condition()
        self._shown: tuple[int, npt.NDArray[np.uint8]] | None = None
        super().__init__(width=SIZE[0], height=SIZE[1], rate=rate)

    @property
    def fault(self) -> str:
        """The present fault, one of FAULTS."""
        return self._fault

    @fault.setter
    def fault(self, fault: str) -> None:
        if fault != getattr(self, "_fault", None):
            MjpegCamera.fault.fset(self, fault)  # type: ignore[attr-defined]

    def show(self, number: int, picture: npt.NDArray[np.uint8]) -> None:
        """Take a picture, and its number."""
        with self._news:
            self._shown = (number, picture)
            self._news.notify_all()

    def wait_for_picture(self, last: int) -> int:
        """Wait until there is one newer than `last`, for a second at the most, and return its number."""
        with self._news:
            self._news.wait_for(lambda: self._shown is not None and self._shown[0] > last, 1.0)
            return last if self._shown is None else self._shown[0]

    def picture(self, number: int) -> npt.NDArray[np.uint8]:
        """Return the newest picture."""
        assert self._shown is not None
        return self._shown[1]


def viewpoints() -> list[Viewpoint]:
    """Return the two cameras, that look at where the hand rests."""
    lens = pinhole(*SIZE, FOVY)
    angles = np.radians(SEEN_FROM)
    eyes = [(REST[0] + AWAY * np.cos(a), REST[1] + AWAY * np.sin(a), REST[2]) for a in angles]
    return [looking((float(x), float(y), z), REST, lens) for x, y, z in eyes]
