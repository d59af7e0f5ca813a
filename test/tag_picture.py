"""Pictures of a gripper's two tags through a fisheye lens: every pixel's line of sight meets the tags' plane."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.drivers.intrinsics import Intrinsics

# The proportions of a GoPro's wide lens in UMI, at 960x720.
LENS = Intrinsics(960, 720, 280.0, 279.5, 478.0, 362.0, "equidistant", (-0.012, -0.039, 0.0186, -0.005))
SIZE, APART, DISTANCE, HEIGHT = 0.016, 0.02, 0.072, 0.025  # [m] HEIGHT: of the tags' middle below the optical axis
FINER = 2  # lines of sight a pixel, in each direction


class TagCamera:
    """Draws tags that face the camera; `centre` [m] is where the fingers meet."""

    def __init__(self, lens: Intrinsics = LENS, centre: float = 0.002, distance: float = DISTANCE) -> None:
        self.lens, self.centre, self.distance = lens, centre, distance
        fine = lens.resized(lens.width * FINER, lens.height * FINER)
        rays = fine.rays()
        self._plane = rays.astype(np.float32) * np.float32(distance)  # [m] where a line of sight meets the plane
        known = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
        self._tags = {key: cv2.aruco.generateImageMarker(known, key, 240) for key in range(4)}
        rng = np.random.default_rng(0)
        floor = cv2.resize(rng.uniform(70, 170, (9, 12)).astype(np.float32), (fine.width, fine.height))
        self._floor = floor.clip(0, 255).astype(np.uint8)

    def picture(self, width: float, hidden: tuple[int, ...] = (), noise: float = 2.0) -> npt.NDArray[np.uint8]:
        """Return the view, uint8 [H, W, 3], of fingers that are `width` [m] apart; tags of `hidden` are not seen."""
        half = (APART + width) / 2.0
        places = {0: self.centre - half, 1: self.centre + half}
        fine = self._floor.copy()
        for key, x in places.items():
            if key not in hidden:
                self._draw(fine, self._tags[key], x)
        lens = self.lens
        grey = cv2.resize(fine, (lens.width, lens.height), interpolation=cv2.INTER_AREA)
        grey = grey + np.random.default_rng(round(width * 1e6)).normal(scale=noise, size=grey.shape)
        return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)

    def _draw(self, fine: npt.NDArray[np.uint8], tag: npt.NDArray[np.uint8], x: float) -> None:
        margin, half = SIZE / 8, SIZE / 2
        reach = half + margin
        corners = [[x + a, HEIGHT + b, self.distance] for a in (-reach, reach) for b in (-reach, reach)]
        pixels = self.lens.project(corners) * FINER
        (left, top), (right, bottom) = (
            (pixels.min(axis=0) - 20).astype(int).clip(0),
            (pixels.max(axis=0) + 20).astype(int),
        )
        part = np.s_[top:bottom, left:right]
        u, v, fine = self._plane[part][..., 0] - x, self._plane[part][..., 1] - HEIGHT, fine[part]
        paper = (np.abs(u) < half + margin) & (np.abs(v) < half + margin)
        inside = (np.abs(u) < half) & (np.abs(v) < half)
        fine[paper] = 235
        scale = tag.shape[0] / SIZE
        columns = ((u[inside] + half) * scale).astype(int).clip(0, tag.shape[1] - 1)
        rows = ((v[inside] + half) * scale).astype(int).clip(0, tag.shape[0] - 1)
        fine[inside] = np.where(tag[rows, columns] > 127, 235, 15)


def sweep(camera: TagCamera, widths: npt.ArrayLike) -> list[npt.NDArray[np.uint8]]:
    """Return a picture of each width [m]."""
    return [camera.picture(float(width)) for width in np.asarray(widths)]
