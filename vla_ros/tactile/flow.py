"""How the markers of a gel move: found as dark spots, followed by pyramidal Lucas-Kanade optical flow.

B. D. Lucas and T. Kanade, "An iterative image registration technique", IJCAI 1981; J.-Y. Bouguet, "Pyramidal
implementation of the Lucas Kanade feature tracker", Intel 2000; both as in OpenCV.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.tactile.markers import even, find_markers

Array = npt.NDArray[np.float32]
FEWEST = 12  # markers; a gel with fewer is followed by its texture
WINDOW = 21  # [px] that are compared
LEVELS = 2  # of the pyramid: finds motions of up to about 40 px
AGREE = 0.5  # [px] within which the way back must end where the way there began
UNLIKE = 16.0  # mean difference of the two windows, in the unit of CONTRAST: what was found is no longer the marker
CONTRAST = 40  # grey levels of one local contrast
GRID = 16  # [px] between points of a gel without markers


class MarkerFlow:
    """Follows the markers of a gel from where they are in a picture without contact, `rest` [H, W, 3] RGB uint8.

    A gel with fewer than 12 dark spots is followed at the corners of its texture, where it has any. Each picture is compared
    with `rest`, beginning where the markers were last, so errors do not add up; a marker moves by no more than about
    40 px from one picture to the next.
    """

    def __init__(self, rest: npt.NDArray[np.uint8]) -> None:
        self._rest = _bytes(even(rest))
        markers = find_markers(rest)
        if len(markers) < FEWEST:
            corners = cv2.goodFeaturesToTrack(self._rest, 200, 0.01, GRID)
            markers = np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)
        self.markers: Array = np.asarray(markers, dtype=np.float32)
        self._moved = np.zeros_like(self.markers)

    def update(self, picture: npt.NDArray[np.uint8]) -> Array:
        """Return [N, 4] x y dx dy [px]: where each marker is at rest, and how far it is from there. NaN: not found."""
        flow = np.concatenate([self.markers, np.full_like(self.markers, np.nan)], axis=1)
        if not len(self.markers):
            return flow
        now = _bytes(even(picture))
        search: dict[str, Any] = {
            "winSize": (WINDOW, WINDOW),
            "maxLevel": LEVELS,
            "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
            "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.02),
        }
        there, found, unlike = cv2.calcOpticalFlowPyrLK(
            self._rest, now, self.markers, self.markers + self._moved, **search
        )
        back, again, _ = cv2.calcOpticalFlowPyrLK(now, self._rest, there, there.copy(), **search)
        right = (found.ravel() == 1) & (again.ravel() == 1)
        right &= (np.linalg.norm(back - self.markers, axis=1) < AGREE) & (unlike.ravel() < UNLIKE)
        right &= (there >= 0).all(axis=1) & (there <= np.array(now.shape[::-1]) - 1).all(axis=1)
        self._moved[right] = (there - self.markers)[right]
        flow[right, 2:] = self._moved[right]
        return flow


def markers_in(flow: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.floating]:
    """Return the rows of a marker flow [N, 4] whose markers are now inside the mask [H, W]; lost ones are not."""
    seen = flow[np.isfinite(flow).all(axis=1)]
    x, y = np.rint(seen[:, :2] + seen[:, 2:]).astype(int).T
    inside = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
    inside[inside] = mask[y[inside], x[inside]]
    return np.asarray(seen[inside])


def flow_figures(flow: npt.NDArray[np.floating]) -> dict[str, float]:
    """Return what a marker flow [N, 4] amounts to; NaN where fewer than 4 markers are seen.

    flow_x, flow_y [px]: the mean. divergence, curl [px/px]: of the linear field fitted to it; pressing spreads markers
    (divergence), a twist turns them (curl). incoherence: 0 if that field explains all motion, 1 if none of it.
    """
    seen = flow[np.isfinite(flow).all(axis=1)].astype(np.float64)
    names = ("flow_x", "flow_y", "divergence", "curl", "incoherence")
    if len(seen) < 4:
        return dict.fromkeys(names, float("nan"))
    mean = seen[:, 2:].mean(axis=0)
    basis = np.column_stack([seen[:, :2] - seen[:, :2].mean(axis=0), np.ones(len(seen))])
    field, *_ = np.linalg.lstsq(basis, seen[:, 2:], rcond=None)
    rest, power = seen[:, 2:] - basis @ field, float((seen[:, 2:] ** 2).sum())
    incoherence = float((rest**2).sum()) / power if power > 1e-9 else 0.0
    values = (mean[0], mean[1], field[0, 0] + field[1, 1], field[0, 1] - field[1, 0], incoherence)
    return dict(zip(names, (float(value) for value in values), strict=True))


def _bytes(level: Array) -> npt.NDArray[np.uint8]:
    return np.clip(128 + CONTRAST * level, 0, 255).astype(np.uint8)
