"""A camera's intrinsics from views of a board (Zhang 2000, "A flexible new technique for camera calibration")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.camera_calibration.board import View
from vla_ros.drivers.intrinsics import Intrinsics
from vla_ros.errors import DeviceError

FEWEST_VIEWS = 8
ALIKE = 0.02  # of the picture's width: views whose corners differ by less count as one
COVERAGE = 0.35  # of the picture, within the hull of all corners seen
FOCAL_UNCERTAINTY = 0.01  # of the focal length, one standard deviation
TILT = np.deg2rad(12.0)  # of the board to the picture's plane; without, nothing tells a long lens from a near board
FEWEST_TILTED = 4
WORST = 2.0  # [px] of reprojection: beyond that something is wrong with the board's size or the pictures


@dataclass(frozen=True)
class Calibration:
    """A calibrated lens. error: root mean square distance of seen and projected corners [px], errors: by view.

    uncertainty: one standard deviation of fx, fy, cx, cy [px]. coverage: part of the picture that corners were seen in.
    """

    lens: Intrinsics
    error: float
    errors: dict[str, float]
    uncertainty: tuple[float, float, float, float]
    coverage: float


def calibrate(views: Sequence[View]) -> Calibration:
    """Return the intrinsics (plumb_bob) that explain the views. Raises DeviceError for too few or too similar ones."""
    sizes = {view.size for view in views}
    if len(sizes) > 1:
        raise DeviceError(f"pictures of different sizes: {', '.join(f'{w}x{h}' for w, h in sorted(sizes))}")
    different = unlike(views)
    if len(different) < FEWEST_VIEWS:
        alike = len(views) - len(different)
        raise DeviceError(
            f"{len(different)} different views of the board, want {FEWEST_VIEWS}"
            + (f" ({alike} more are too similar to these)" if alike else "")
            + ": move and tilt it between pictures"
        )
    width, height = different[0].size
    covered = _coverage(different)
    if covered < COVERAGE:
        raise DeviceError(
            f"the board was seen in {covered:.0%} of the picture only, want {COVERAGE:.0%}: bring it near, and into corners"
        )
    points = [view.points.astype(np.float32) for view in different]
    pixels = [view.pixels.astype(np.float32).reshape(-1, 1, 2) for view in different]
    error, matrix, coefficients, turns, _, deviations, _, by_view = cv2.calibrateCameraExtended(
        points, pixels, (width, height), None, None
    )
    fx, fy, cx, cy = (float(matrix[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    spread = tuple(float(value) for value in np.asarray(deviations).reshape(-1)[:4])
    doubt = max(spread[0] / fx, spread[1] / fy)
    tilted = sum(abs(cv2.Rodrigues(turn)[0][2, 2]) < np.cos(TILT) for turn in turns)
    if not doubt < FOCAL_UNCERTAINTY or tilted < FEWEST_TILTED:
        raise DeviceError(
            f"the board was tilted in {tilted} of {len(different)} views, want {FEWEST_TILTED}, and the focal length is "
            f"uncertain by {doubt:.1%}, want {FOCAL_UNCERTAINTY:.0%}: tilt the board by 20 to 45 degrees, to all sides"
        )
    if error > WORST:
        raise DeviceError(
            f"reprojection error {error:.2f} px, want below {WORST:g}: is the board flat, and of the size that was given?"
        )
    lens = Intrinsics(width, height, fx, fy, cx, cy, "plumb_bob", tuple(float(c) for c in coefficients.reshape(-1)[:5]))
    errors = {view.source: float(e) for view, e in zip(different, np.asarray(by_view).reshape(-1), strict=True)}
    return Calibration(lens, float(error), errors, (spread[0], spread[1], spread[2], spread[3]), covered)


def unlike(views: Sequence[View]) -> list[View]:
    """Return the views, in order, that differ from all those before."""
    kept: list[View] = []
    for view in views:
        if all(view.differs(other) > ALIKE for other in kept):
            kept.append(view)
    return kept


def _coverage(views: Sequence[View]) -> float:
    """Return the part of the picture that lies within the hull of all corners."""
    corners: npt.NDArray[np.float32] = np.concatenate([view.pixels for view in views]).astype(np.float32)
    width, height = views[0].size
    return float(cv2.contourArea(cv2.convexHull(corners)) / (width * height))
