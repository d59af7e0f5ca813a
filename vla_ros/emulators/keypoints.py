"""Two cameras that see a moving hand, or a person: MJPEG over HTTP, with the cameras' lenses and places as files. Needs MuJoCo.

The pictures are drawn, the detector that looks at them is the real one. The hand's palm has the position of the
`vla_ros.emulators.hand.EmulatedHand` that other emulated trackers see, and turns as it does from fingers up on.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vla_ros.camera_calibration.files import save_place
from vla_ros.drivers.intrinsics import Intrinsics, save_intrinsics
from vla_ros.emulators.base import Emulator
from vla_ros.emulators.hand import REST, EmulatedHand
from vla_ros.emulators.mjpeg import MjpegCamera
from vla_ros.emulators.rendered_hand import HandRenderer, Viewpoint, hand_points, looking, pinhole
from vla_ros.emulators.rendered_person import PersonRenderer
from vla_ros.errors import DeviceError, SimulationError

Array = npt.NDArray[np.float64]
FOVY = 50.0  # [degrees]
AWAY = 0.55  # [m] of the cameras from where the hand rests
SEEN_FROM = (120.0, 160.0)  # [degrees] about the vertical: from behind the hand, where its thumb is
FINGERS_UP = Rotation.from_euler("y", -80.0, degrees=True)
HELD_UP = (0.30, -0.24, 1.30)  # [m] a person's hand
PERSON_AT, PERSON_FROM, PERSON_AWAY = (0.1, -0.2, 1.3), (-35.0, -65.0), 1.5
EYES = 1.45  # [m] the height of the cameras that see a person
SWING, SLOWLY = 0.5, 0.15  # [rad], [Hz] of the elbow
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
        self.views = self.viewpoints()
        self.cameras = [_HandCamera(rate, view.lens) for view in self.views]
        self._folder = tempfile.TemporaryDirectory(prefix="vla_ros_keypoints_")
        self._drawn = threading.Event()
        self._failure: Exception | None = None

    @property
    def address(self) -> str:
        """The address that a driver takes; the files of the cameras are there while it runs."""
        parts = []
        for number, (camera, prefix) in enumerate((("camera", ""), ("second", "second_"))):
            parts.append(f"{camera}=mjpeg://127.0.0.1:{self.cameras[number].port}/stream")
            parts += [f"{prefix}{what}={self._file(what, number)}" for what in ("lens", "place")]
        return f"keypoints://?{'&'.join(parts)}"

    def start(self) -> None:
        """Write the cameras' files, draw, and listen. Raises DeviceError where nothing can be drawn."""
        for number, view in enumerate(self.views):
            save_intrinsics(view.lens, self._file("lens", number), f"camera{number}")
            save_place(view.T_room_camera, self._file("place", number), "room", f"camera{number}", "emulated")
        self._start_loop(self._draw)
        if not self._drawn.wait(DEADLINE) or self._failure is not None:
            self.stop()
            raise DeviceError(f"emulated {self.name}: no picture was drawn: {self._failure or 'MuJoCo takes too long'}")
        for camera in self.cameras:
            camera.start()

    def stop(self) -> None:
        """Stop all, and remove the files."""
        self._end_loop()
        for camera in self.cameras:
            camera.stop()
        self._folder.cleanup()

    def viewpoints(self) -> list[Viewpoint]:
        """Return the two cameras, that look at where the hand rests."""
        return _around(REST, AWAY, SEEN_FROM, REST[2], pinhole(640, 480, FOVY))

    def renderer(self) -> HandRenderer:
        """Return what draws; called in the thread that draws."""
        return HandRenderer(self.views)

    def pose(self, stamp: int) -> Array:
        """Return the palm's pose [7] at the host time `stamp` [ns]."""
        at = self.hand.at(stamp)
        return np.concatenate([at[:3], (Rotation.from_quat(at[3:]) * FINGERS_UP).as_quat()])

    def arrange(self, renderer: HandRenderer, stamp: int) -> None:
        """Prepare what is drawn besides the hand, as of `stamp` [ns]."""

    def _draw(self) -> None:
        try:
            renderer = self.renderer()
        except (ImportError, RuntimeError, SimulationError) as error:  # MuJoCo itself raises RuntimeError
            self._failure = error
            self._drawn.set()
            return
        try:
            due = time.monotonic()
            while not self._stop.is_set():
                now = time.time_ns()
                pose = self.pose(now)
                points = hand_points(pose, self.hand.pinch) if self.hand.seen else None
                self.arrange(renderer, now)
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


class KeypointArmEmulator(KeypointEmulator):
    """A person whose elbow moves too. swivel: of the elbow [rad] (`hand.elbow_at`); None: it swings by itself."""

    name = "keypoints_arm"

    def __init__(self, rate: float = 15.0) -> None:
        super().__init__(rate)
        self.hand.rest = np.array(HELD_UP)
        self.swivel: float | None = None

    @property
    def address(self) -> str:
        """The address that a driver takes."""
        return f"{super().address}&follow=arm"

    def viewpoints(self) -> list[Viewpoint]:
        """Return the two cameras, that see the person's right arm."""
        return _around(PERSON_AT, PERSON_AWAY, PERSON_FROM, EYES, pinhole(960, 720, FOVY))

    def renderer(self) -> HandRenderer:
        """Return what draws the person."""
        return PersonRenderer(self.views)

    def arrange(self, renderer: HandRenderer, stamp: int) -> None:
        """Turn the elbow."""
        assert isinstance(renderer, PersonRenderer)
        renderer.swivel = self.turned(stamp)

    def turned(self, stamp: int) -> float:
        """Return the elbow's angle [rad] at the host time `stamp` [ns]."""
        phase = 2.0 * math.pi * SLOWLY * (stamp - self.hand.began) / 1e9
        return SWING * math.sin(phase) if self.swivel is None else self.swivel


def _around(
    at: tuple[float, float, float], away: float, angles: tuple[float, ...], height: float, lens: Intrinsics
) -> list[Viewpoint]:
    """Return cameras at `height` [m], `away` [m] from what they look at in these directions [degrees]."""
    eyes = [(at[0] + away * math.cos(a), at[1] + away * math.sin(a), height) for a in np.radians(angles).tolist()]
    return [looking(eye, at, lens) for eye in eyes]


class _HandCamera(MjpegCamera):
    """Sends the pictures that it is shown."""

    def __init__(self, rate: float, lens: Intrinsics) -> None:
        self._news = threading.Condition()
        self._shown: tuple[int, npt.NDArray[np.uint8]] | None = None
        super().__init__(width=lens.width, height=lens.height, rate=rate)

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
