"""The markers of a gel: dark, round spots; where they are, and a picture without them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
LOCAL = 31  # [px] over which brightness is evened out, and twice that for contrast
DARK = -1.3  # of the local contrast: a marker is darker than this
AREAS = (8, 400)  # [px] of a marker, from and to
LONGEST = 2.2  # a marker's length to its width, at the most
RIM = 9  # [px] across what is taken for a marker's blurred edge, too
AROUND = 13  # [px] of a picture of half the size, across what is looked at to fill a marker in


def even(picture: npt.NDArray[np.uint8]) -> Array:
    """Return a picture [H, W, 3] as grey [H, W] whose local mean is 0 and local contrast 1: shades do not show."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    level = grey - cv2.blur(grey, (LOCAL, LOCAL))
    contrast = np.sqrt(cv2.blur(level * level, (2 * LOCAL + 1, 2 * LOCAL + 1)))
    return np.asarray(level / (contrast + 2.0), dtype=np.float32)


def find_markers(picture: npt.NDArray[np.uint8]) -> Array:
    """Return where dark, round spots are in a picture [H, W, 3], [N, 2] x y [px], weighted by their darkness."""
    level = even(picture)
    labels, good = _spots(level)
    weight = np.where(labels > 0, -level, 0.0).ravel()
    y, x = np.indices(labels.shape)
    total = np.bincount(labels.ravel(), weight, len(good)) + 1e-9
    centres = [np.bincount(labels.ravel(), weight * axis.ravel(), len(good)) / total for axis in (x, y)]
    return np.asarray(np.stack(centres, axis=1)[good], dtype=np.float32)


def marker_mask(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return where a picture [H, W, 3] shows a marker or its edge, [H, W]."""
    labels, good = _spots(even(picture))
    rim = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (RIM, RIM))
    return np.asarray(cv2.dilate(good[labels].astype(np.uint8), rim) > 0)


def without_markers(
    picture: npt.NDArray[np.uint8], markers: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.uint8]:
    """Return a picture [H, W, 3] whose markers, of `marker_mask`, are filled in by the mean of what is around them.

    So that markers that move are not taken for contact.
    """
    where = marker_mask(picture) if markers is None else markers
    if not where.any():
        return picture
    skin = (~where).astype(np.uint8)
    half = (picture.shape[1] // 2, picture.shape[0] // 2)  # fine enough for a mean over that much
    around = cv2.resize(cv2.copyTo(picture, skin), half, interpolation=cv2.INTER_AREA).astype(np.float32)
    share = cv2.resize(skin.astype(np.float32), half, interpolation=cv2.INTER_AREA)
    mean = cv2.blur(around, (AROUND, AROUND)) / (cv2.blur(share, (AROUND, AROUND))[..., None] + 1e-3)
    mean = cv2.resize(np.clip(mean, 0, 255).astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.copyTo(mean, where.astype(np.uint8), picture.copy()))


def _spots(level: Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return which dark spot each pixel of `even` belongs to, [H, W], and of each whether it is a marker."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats((level < DARK).astype(np.uint8), connectivity=8)
    width, height, area = boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT], boxes[:, cv2.CC_STAT_AREA]
    round_enough = np.maximum(width, height) <= LONGEST * np.minimum(width, height)
    good = (area >= AREAS[0]) & (area <= AREAS[1]) & round_enough
    good[0] = False  # all that is no spot
    return labels, good
