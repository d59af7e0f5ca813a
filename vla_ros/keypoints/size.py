"""A hand does not change its size: where it seems to, a point of it was mistaken."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

KEPT = 30  # palms that are remembered
FEWEST = 5  # of them, before one is judged
OFF = 0.15  # of a side's usual length


class PalmSize:
    """Judges palms by the lengths of their sides, of which the usual ones are the medians of the last palms'."""

    def __init__(self) -> None:
        self._sides: deque[npt.NDArray[np.float64]] = deque(maxlen=KEPT)

    def __call__(self, wrist: npt.ArrayLike, index: npt.ArrayLike, pinky: npt.ArrayLike) -> bool:
        """Return whether a palm of these points [3] [m] has its usual size, and remember it either way."""
        root, near, far = (np.asarray(point, np.float64) for point in (wrist, index, pinky))
        sides = np.array([np.linalg.norm(near - root), np.linalg.norm(far - root), np.linalg.norm(near - far)])
        self._sides.append(sides)
        if len(self._sides) < FEWEST:
            return True
        usual = np.median(self._sides, axis=0)
        return bool((np.abs(sides - usual) <= OFF * usual).all())

    def reset(self) -> None:
        """Begin anew, with another hand."""
        self._sides.clear()
