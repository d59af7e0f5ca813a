"""What a detector of keypoints is: a picture in, named points with their confidence out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

HAND = ("wrist", "thumb", "index", "index_knuckle", "pinky_knuckle")  # of fingers the tip, of knuckles the MCP joint
ARM = ("shoulder", "elbow")


@dataclass(frozen=True)
class Keypoint:
    """Where it is [px], the middle of the picture's first pixel being (0, 0), and how sure that is, from 0 to 1."""

    u: float
    v: float
    confidence: float


Keypoints = Mapping[str, Keypoint]


class KeypointSource(Protocol):
    """A detector that follows one hand or arm through the pictures of one camera."""

    def __call__(self, picture: npt.NDArray[np.uint8], time: float) -> Keypoints:
        """Return what is found in a picture [H, W, 3] RGB taken at `time` [s]; nothing where nothing is found."""

    def close(self) -> None:
        """Let it go."""
