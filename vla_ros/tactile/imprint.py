"""Slip behind a camera: the imprint of the object moves relative to the skin under it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.tactile.hysteresis import Hysteresis
from vla_ros.tactile.slip import HOLD, Rates

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
FINE = 15  # [px] larger shapes than this are no texture: they are shades, which wander when an object tilts
GAIN = 12.0  # of the texture, for the tracker
EDGE = 7  # [px] from the mask's edge and from markers that is not looked at
MOST, APART, QUALITY = 80, 6, 0.05  # points that are followed, [px] between two, and how sharp to the sharpest
FEWEST = 8  # points, and markers, from which a motion is told
WINDOW = 13  # [px] that are compared
AGREE = 0.4  # [px] within which the way back must end where the way there began
NEAR = 5.0  # [px] within which a marker's distance no longer matters


class PictureSlip:
    """Compares the fine texture that an object's surface leaves in the gel with the markers, from picture to picture.

    Score [px/s]: how fast the texture moves relative to the markers around, over the last `window` [s], so window / 2 late;
    the median over its points. An object that sticks takes the skin along, also when it rolls. An object so smooth that
    it leaves no texture, or a gel without markers, is not seen to slip: `points` says how many were followed, below 8
    the score is 0. speed: [px/s] from which it is slip, until half of it.

    After W. Yuan, R. Li, M. A. Srinivasan and E. H. Adelson, "Measurement of shear and slip with a GelSight tactile sensor",
    ICRA 2015, where markers and the object's texture are held against each other.
    """

    def __init__(self, speed: float = 25.0, window: float = 0.12) -> None:
        self._rates = Rates(window)
        self._decision = Hysteresis(speed, speed / 2, hold=HOLD)
        self._texture: npt.NDArray[np.uint8] | None = None
        self._clear: npt.NDArray[np.uint8] | None = None  # where the texture may be looked at
        self._flow: Array | None = None
        self._slid = np.zeros(2)  # [px] since the contact began
        self.score = 0.0
        self.points = 0

    def update(self, stamp: int, difference: Array, mask: Mask, markers: Mask, flow: Array, touched: bool) -> bool:
        """Return whether it slips at `stamp` [ns]; never without contact.

        difference: [H, W, 3] less the baseline, without markers. mask: of the contact, markers: of `marker_mask`, [H, W].
        flow: [N, 4] of `MarkerFlow`.
        """
        before, clear, old = self._texture, self._clear, self._flow
        self._texture, self._flow = texture(difference), flow
        self._clear = cv2.erode((mask & ~markers).astype(np.uint8), np.ones((EDGE, EDGE), np.uint8))
        self.points = 0
        if not touched:
            self._slid[:] = 0.0
        step = None
        if touched and before is not None and clear is not None and old is not None and old.shape == flow.shape:
            step = self._relative(before, self._texture, clear, old, flow)
        if step is None:
            self._rates.reset()
            self.score = 0.0
        else:
            self._slid = self._slid + step
            self.score = float(np.hypot(*self._rates.update(stamp, self._slid)))
        if not touched:
            self._decision.reset()
            return False
        return self._decision.update(stamp, self.score)

    def _relative(
        self,
        before: npt.NDArray[np.uint8],
        now: npt.NDArray[np.uint8],
        clear: npt.NDArray[np.uint8],
        old: Array,
        new: Array,
    ) -> npt.NDArray[np.float64] | None:
        """Return how far the texture moved relative to the markers, x y [px]; None if either is not seen."""
        found = cv2.goodFeaturesToTrack(before, MOST, QUALITY, APART, mask=clear) if clear.any() else None
        if found is None:
            return None
        there, moved = _follow(before, now, found.reshape(-1, 2))
        seen = np.isfinite(old).all(axis=1) & np.isfinite(new).all(axis=1)
        self.points = len(there)
        if len(there) < FEWEST or seen.sum() < FEWEST:
            return None
        markers, steps = (old[:, :2] + old[:, 2:])[seen], (new[:, 2:] - old[:, 2:])[seen]
        weight = 1 / (((there[:, None] - markers[None]) ** 2).sum(axis=-1) + NEAR**2) ** 2
        skin = weight @ steps / weight.sum(axis=1, keepdims=True)
        return np.asarray(np.median(moved - skin, axis=0), dtype=np.float64)


def texture(difference: Array) -> npt.NDArray[np.uint8]:
    """Return the fine part of a difference image [H, W, 3] as a picture [H, W]; 128 where there is none."""
    grey = cv2.GaussianBlur(cv2.cvtColor(difference.astype(np.float32, copy=False), cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    return np.asarray(np.clip(128 + GAIN * (grey - cv2.blur(grey, (FINE, FINE))), 0, 255).astype(np.uint8))


def _follow(before: npt.NDArray[np.uint8], now: npt.NDArray[np.uint8], points: Array) -> tuple[Array, Array]:
    """Return those of `points` [N, 2] that are found again, and how far they moved, both [M, 2] [px]."""
    search: dict[str, Any] = {
        "winSize": (WINDOW, WINDOW),
        "maxLevel": 2,
        "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.02),
    }
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, now, points, None, **search)
    back, again, _ = cv2.calcOpticalFlowPyrLK(now, before, there, None, **search)
    good = (found.ravel() == 1) & (again.ravel() == 1) & (np.linalg.norm(back - points, axis=1) < AGREE)
    return points[good], (there - points)[good]
