"""From keypoints in pictures to points in space, by a depth picture or by two cameras; what cannot be told is None.

Points [3] are in metres. A camera's frame is its optical one: x right, y down, z forward (REP 103).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vla_ros.drivers.intrinsics import Intrinsics
from vla_ros.keypoints.base import Keypoint

Array = npt.NDArray[np.float64]
AROUND = 2  # [px] to each side within which depth is looked at
KNOWN = 0.5  # share of those pixels that must have a depth
NEAREST, FARTHEST = 0.1, 4.0  # [m]
APART = 0.02  # [m] that two lines of sight may pass each other by
PARALLEL = 0.03  # sine of the angle between them below which they meet nowhere in particular
SMALLEST, LARGEST = 0.045, 0.15  # [m] from a wrist to the index finger's knuckle
THINNEST = 0.3  # sine of the angle at the wrist between the two knuckles; of a real hand it is 0.6


def at_depth(point: Keypoint, depth: npt.NDArray[np.uint16], lens: Intrinsics) -> Array | None:
    """Return where a keypoint is in the camera's frame [3], by the median of the depths [H, W] [mm] around it.

    lens: that of the depth picture. None outside it and where there is no depth.
    """
    height, width = depth.shape
    column, row = round(point.u), round(point.v)
    if not (0 <= column < width and 0 <= row < height):
        return None
    rows, columns = slice(max(0, row - AROUND), row + AROUND + 1), slice(max(0, column - AROUND), column + AROUND + 1)
    around = depth[rows, columns].reshape(-1)
    known = around[around > 0]
    if len(known) < KNOWN * len(around):
        return None
    far = float(np.median(known)) * 1e-3
    if not NEAREST <= far <= FARTHEST:
        return None
    return np.asarray(far * np.append(lens.sight([[point.u, point.v]])[0], 1.0))


def triangulated(
    first: Keypoint,
    second: Keypoint,
    lenses: tuple[Intrinsics, Intrinsics],
    T_first_second: npt.ArrayLike,
    apart: float = APART,
) -> Array | None:
    """Return where a keypoint seen by two cameras is in the first one's frame [3]: midway between the two lines of sight.

    T_first_second: the second camera in the first one's frame [4, 4]. None where the lines pass each other by more than
    `apart` [m], meet behind a camera, or are all but parallel.
    """
    place = np.asarray(T_first_second, np.float64)
    one = np.append(lenses[0].sight([[first.u, first.v]])[0], 1.0)
    two = place[:3, :3] @ np.append(lenses[1].sight([[second.u, second.v]])[0], 1.0)
    one, two = one / np.linalg.norm(one), two / np.linalg.norm(two)
    if np.linalg.norm(np.cross(one, two)) < PARALLEL:
        return None
    between = place[:3, 3]
    along = np.linalg.lstsq(np.stack([one, -two], axis=1), between, rcond=None)[0]
    ends = along[0] * one, between + along[1] * two
    if along.min() < NEAREST or along.max() > FARTHEST or np.linalg.norm(ends[0] - ends[1]) > apart:
        return None
    return np.asarray((ends[0] + ends[1]) / 2.0)


def palm(wrist: npt.ArrayLike, index: npt.ArrayLike, pinky: npt.ArrayLike) -> Array | None:
    """Return a palm's pose [x y z qx qy qz qw] from wrist and the knuckles of index and little finger [3] [m].

    Its origin is the middle of the three, x points from the wrist to between the knuckles, y to the index finger's side, z
    out of the back of a right hand (out of the palm of a left one). None where the three make no hand: too small, too large,
    or in line.
    """
    root, near, far = (np.asarray(point, np.float64) for point in (wrist, index, pinky))
    sides = [float(np.linalg.norm(end - root)) for end in (near, far)]
    if not all(SMALLEST < side < LARGEST for side in sides):
        return None
    out = np.cross(far - root, near - root)
    if np.linalg.norm(out) < THINNEST * sides[0] * sides[1]:
        return None
    x, z = (near + far) / 2.0 - root, out / np.linalg.norm(out)
    x /= np.linalg.norm(x)
    turn = Rotation.from_matrix(np.stack([x, np.cross(z, x), z], axis=1)).as_quat()
    return np.concatenate([(root + near + far) / 3.0, turn])
