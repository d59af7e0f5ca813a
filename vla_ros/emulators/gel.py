"""Emulated cameras behind a skin: a video file of a gel with markers, into which a sphere is pressed and dragged."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.emulators.base import Emulator
from vla_ros.emulators.touching import CYCLE, STICK, Touch, touch_at

HEIGHT, WIDTH = 240, 320  # [px]
RATE = 30  # [Hz]
PITCH, DOT = 31, 6.0  # [px] between markers, and their radius, as a GelSight Mini shows its own at this size
RADIUS = 52.0  # [px] of the contact
SPREAD = 5.0  # [px] that markers move at most outwards when pressed
SHEAR = STICK * WIDTH / 3  # [px] sideways when dragged: as far as the object that sticks to them
REACH = 1.1 * RADIUS  # [px] over which the skin gives way
SHADE = 900.0  # brightness of a slope
GRAIN = 1.5  # of the skin's own brightness, standard deviation
ROUGH, BUMPS = 0.01, 1.8  # the object's roughness, of the depth of its imprint, and how wide its bumps are [px]
LAMPS = ((0.0, 1.0), (0.87, -0.5), (-0.87, -0.5))  # where red, green and blue light comes from
GEL = (118.0, 124.0, 132.0)  # RGB of the skin at rest
SILENT_RATE = "1/10"  # [Hz] of the video of a camera that hangs


def marker_positions() -> npt.NDArray[np.float64]:
    """Return where the markers are at rest, [N, 2] x y [px]."""
    x, y = (np.arange(PITCH / 2 + 5, side - PITCH / 2, PITCH) for side in (WIDTH, HEIGHT))
    x, y = np.meshgrid(x, y)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)


def contact_centre(touch: Touch) -> tuple[float, float]:
    """Return the contact's centre x, y [px]."""
    return WIDTH / 2 + touch.centre * WIDTH / 3, HEIGHT / 2


def displacement(points: npt.NDArray[np.floating], touch: Touch) -> npt.NDArray[np.floating]:
    """Return how far the skin at rest at `points` [..., 2] is moved by a contact, [..., 2] [px].

    A bell around the contact: outwards by up to SPREAD when pressed, and to the right by up to SHEAR when dragged.
    """
    middle = contact_centre(touch)
    x, y = points[..., 0] - middle[0], points[..., 1] - middle[1]
    bell = np.exp((x * x + y * y) * (-0.5 / REACH**2)) * touch.press
    outwards = bell * (np.exp(0.5) * SPREAD / REACH)  # so that the largest length is SPREAD
    return np.stack([outwards * x + bell * (SHEAR * touch.drag), outwards * y], axis=-1)


class Gel:
    """Renders the skin. The texture is fixed by `seed`; pictures are [HEIGHT, WIDTH, 3] uint8 RGB."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        grain = cv2.GaussianBlur(random.normal(0.0, 1.0, (HEIGHT, WIDTH)), (0, 0), 1.2)
        skin = np.array(GEL) + GRAIN * (grain / grain.std())[..., None]
        self._y, self._x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        nearest = np.full((HEIGHT, WIDTH), np.inf)
        for x, y in marker_positions():
            nearest = np.minimum(nearest, np.hypot(self._x - x, self._y - y))
        ink = np.clip(DOT + 0.5 - nearest, 0.0, 1.0)[..., None]  # smooth edges
        self._texture = (skin * (1 - 0.8 * ink)).astype(np.float32)
        bumps = cv2.GaussianBlur(random.normal(0.0, 1.0, (2 * HEIGHT, 2 * WIDTH)), (0, 0), BUMPS)
        self._bumps = (bumps / bumps.std()).astype(np.float32)  # of the object, whose middle is the array's
        self._random = random

    def picture(self, touch: Touch) -> npt.NDArray[np.uint8]:
        """Return the picture of a contact, with a little noise."""
        where = np.stack([self._x, self._y], axis=-1)
        rest = where.copy()  # the point at rest that is now at each pixel: rest + displacement(rest) = where
        for _ in range(3 if touch.press > 0 else 0):
            rest = where - displacement(rest, touch).astype(np.float32)
        moved = cv2.remap(self._texture, rest[..., 0], rest[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        x, y = contact_centre(touch)
        inside = np.clip(1 - ((self._x - x) ** 2 + (self._y - y) ** 2) / RADIUS**2, 0.0, None)
        rough = cv2.remap(
            self._bumps, self._x - np.float32(x - WIDTH), self._y - np.float32(y - HEIGHT), cv2.INTER_LINEAR
        )
        slope_y, slope_x = np.gradient(touch.press * (inside**1.5 + ROUGH * rough * np.minimum(1.0, 3 * inside)))
        lit = np.stack([slope_x * lamp_x + slope_y * lamp_y for lamp_x, lamp_y in LAMPS], axis=-1)
        noisy = moved + SHADE * lit + self._random.standard_normal(moved.shape, dtype=np.float32)
        return np.asarray(np.clip(noisy, 0, 255).astype(np.uint8))


class GelEmulator(Emulator):
    """A video of one cycle, in real time and again and again.

    Faults replace the file: by noise, by half of it, by one that stands still; or remove it, as an unplugged
    camera's /dev/video disappears. touch: [s] of the cycle at which the contact stands still, before `start`.
    """

    name = "gelsight"

    def __init__(self) -> None:
        super().__init__()
        self.touch: float | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="vla_ros_emulated_")
        self._path = Path(self._folder.name) / "video.mp4"

    @property
    def address(self) -> str:
        """The file's address for a driver; the gelsight driver is told that there is no border to cut off."""
        return f"{self.name}://{self._path}" + ("?border=0" if self.name == "gelsight" else "")

    @property
    def path(self) -> str:
        """The file's path, for programs other than ours."""
        return str(self._path)

    def start(self) -> None:
        """Write the video."""
        write_video(self._path, self._pictures(), str(RATE))
        self._good = self._path.read_bytes()
        self._start_loop(self._watch)

    def stop(self) -> None:
        """Remove it."""
        if self._end_loop():
            self._folder.cleanup()

    def _pictures(self) -> Iterator[npt.NDArray[np.uint8]]:
        gel = Gel()
        for index in range(RATE if self.touch is not None else round(CYCLE * RATE)):
            yield gel.picture(touch_at(index / RATE if self.touch is None else self.touch))

    def _watch(self) -> None:
        shown = "none"
        while not self._stop.wait(0.02):
            if (fault := self.fault) == shown:
                continue
            shown = fault
            if fault == "unplug":
                self._path.unlink(missing_ok=True)
                continue
            other = self._path.with_name("other.mp4")
            if fault == "silence":
                write_video(other, iter([Gel().picture(touch_at(0.0))]), SILENT_RATE)
            else:
                garbage = np.random.default_rng(0).bytes(len(self._good))
                half = self._good[: len(self._good) // 2]
                other.write_bytes({"garbage": garbage, "partial": half}.get(fault, self._good))
            os.replace(other, self._path)


class DigitEmulator(GelEmulator):
    """The same as a DIGIT's camera sends it, lying on its side."""

    name = "digit"


def write_video(path: Path, pictures: Iterator[npt.NDArray[np.uint8]], rate: str) -> None:
    """Write RGB pictures of one size to an MP4 file of `rate` [Hz], a fraction as text."""
    from fractions import Fraction

    import av

    with av.open(str(path), "w") as container:
        stream = None
        for picture in pictures:
            if stream is None:
                stream = container.add_stream(
                    "libx264", rate=Fraction(rate), options={"crf": "14", "preset": "veryfast"}
                )
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv444p"
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        if stream is not None:
            for packet in stream.encode():
                container.mux(packet)
