"""A person made of capsules and ellipsoids who holds up a hand, as MuJoCo draws it: what a detector of arms is shown.

The person faces x, feet at the origin of the room, 1.75 m tall; the right arm is the one that moves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.emulators.hand import SHOULDER, elbow_at
from vla_ros.emulators.rendered_hand import SKIN, WRIST, HandRenderer, Viewpoint

Array = npt.NDArray[np.float64]
SHIRT, TROUSERS, HAIR = (0.25, 0.35, 0.6, 1.0), (0.2, 0.2, 0.25, 1.0), (0.25, 0.17, 0.12, 1.0)
WHITE, BLACK, LIPS = (1.0, 1.0, 1.0, 1.0), (0.1, 0.1, 0.1, 1.0), (0.7, 0.35, 0.33, 1.0)
HEAD = (  # centre, half axes [m], colour
    ((0.0, 0.0, 1.62), (0.095, 0.075, 0.12), SKIN),
    ((-0.02, 0.0, 1.67), (0.095, 0.083, 0.10), HAIR),
    ((0.098, 0.0, 1.60), (0.016, 0.013, 0.022), SKIN),
    ((0.088, 0.0, 1.56), (0.008, 0.025, 0.007), LIPS),
    *(((0.088, y, 1.635), (0.010, 0.014, 0.008), WHITE) for y in (-0.032, 0.032)),
    *(((0.096, y, 1.635), (0.004, 0.007, 0.007), BLACK) for y in (-0.032, 0.032)),
    *(((0.088, y, 1.658), (0.008, 0.020, 0.004), HAIR) for y in (-0.032, 0.032)),
    *(((0.0, y, 1.62), (0.020, 0.012, 0.030), SKIN) for y in (-0.077, 0.077)),
)
TRUNK = (
    ((0.0, 0.0, 1.28), (0.11, 0.17, 0.24), SHIRT),
    ((0.0, 0.0, 1.05), (0.11, 0.15, 0.18), SHIRT),
    ((0.06, 0.25, 0.80), (0.04, 0.025, 0.09), SKIN),  # the left hand
)
LIMBS = (  # ends, radius [m], colour
    ((0.0, 0.0, 1.46), (0.0, 0.0, 1.54), 0.05, SKIN),
    ((0.0, -0.15, 1.42), (0.0, 0.15, 1.42), 0.055, SHIRT),
    *(((0.0, y, 0.95), (0.02, 1.2 * y, 0.52), 0.075, TROUSERS) for y in (-0.09, 0.09)),
    *(((0.02, 1.2 * y, 0.52), (0.0, 1.2 * y, 0.10), 0.055, TROUSERS) for y in (-0.09, 0.09)),
    ((0.0, 0.19, 1.41), (0.0, 0.24, 1.12), 0.045, SHIRT),
    ((0.0, 0.24, 1.12), (0.05, 0.25, 0.88), 0.036, SKIN),
)


class PersonRenderer(HandRenderer):
    """Draws the person whose right hand has the given points. swivel: of the elbow [rad], see `elbow_at`."""

    def __init__(self, views: list[Viewpoint]) -> None:
        super().__init__(views)
        self.swivel = 0.0

    def _draw_arm(self, points: Array, axes: Array) -> None:
        for centre, size, colour in (*HEAD, *TRUNK):
            self._ellipsoid(np.array(centre), np.eye(3), size, colour)
        for start, end, radius, colour in LIMBS:
            self._capsule(np.array(start), np.array(end), radius, colour)
        elbow = elbow_at(points[WRIST], self.swivel)
        self._capsule(SHOULDER, elbow, 0.045, SHIRT)
        self._capsule(elbow, points[WRIST], 0.030, SKIN)
