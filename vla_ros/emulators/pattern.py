"""A picture that moves and tells its number, for emulated cameras."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

BITS = 16  # of the number
COLUMNS = 8  # of its fields, in two rows at the top left; a field is a tenth of the picture's width


def paint(number: int, width: int = 640, height: int = 480) -> npt.NDArray[np.uint8]:
    """Return picture `number` [height, width, 3] RGB: a disc on a circle, and the number's bits in black and white."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[...] = np.linspace(60, 180, width, dtype=np.uint8)[None, :, None]
    angle, radius = number * 2.0 * np.pi / 90.0, height // 8
    centre = (int(width * (0.5 + 0.25 * np.cos(angle))), int(height * (0.65 + 0.15 * np.sin(angle))))
    cv2.circle(picture, centre, radius, (200, 40, 40), -1)
    side = width // 10
    for bit in range(BITS):
        y, x = side * (bit // COLUMNS), side * (bit % COLUMNS)
        picture[y : y + side, x : x + side] = 235 if number >> bit & 1 else 20
    return picture


def number_in(picture: npt.NDArray[np.uint8]) -> int:
    """Return the number, modulo 2**16, of a picture of `paint`, also after compression and resizing."""
    side = picture.shape[1] / 10.0
    grey = picture.mean(axis=2)
    middles = [(int(side * (bit // COLUMNS + 0.5)), int(side * (bit % COLUMNS + 0.5))) for bit in range(BITS)]
    return sum(1 << bit for bit, (y, x) in enumerate(middles) if grey[y, x] > 128)
