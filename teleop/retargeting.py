"""How truly the arm can do what a hand asks for: told live, so that the operator knows when the arm is out of reach."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Array = npt.NDArray[np.float64]
KEPT = 100  # samples, of 10 ms each
LASTING = 30  # samples for which the error must last to be more than lag
MOST = 0.005  # [m] that is not worth a word


class Retargeting:
    """Errors of the last second: between the tip's pose that is asked for and that of the joints found for it."""

    def __init__(self) -> None:
        self._errors: deque[tuple[float, float]] = deque(maxlen=KEPT)  # [m], [rad]
        self._elbow: deque[float] = deque(maxlen=KEPT)  # [rad]

    def take(self, asked: Array, reached: Array, elbow: float | None = None) -> None:
        """Take a pose [7] that was asked for, and the one [7] that the joints give. elbow: by how much it is turned too far
        [rad], where it is led.
        """
        if elbow is not None:
            self._elbow.append(abs(elbow))
        turn = Rotation.from_quat(asked[3:]) * Rotation.from_quat(reached[3:]).inv()
        self._errors.append((float(np.linalg.norm(asked[:3] - reached[:3])), float(turn.magnitude())))

    def clear(self) -> None:
        """Begin anew."""
        self._errors.clear()
        self._elbow.clear()

    @property
    def problem(self) -> str:
        """What the operator should know; "" while the arm can follow."""
        last = [position for position, _ in self._errors][-LASTING:]
        if len(last) < LASTING or min(last) <= MOST:
            return ""
        return f"the hand is {1e3 * last[-1]:.0f} mm away from where the arm can be"

    def summary(self) -> dict[str, str]:
        """Return the errors as text for diagnostics; nothing where no pose was asked for."""
        if not self._errors:
            return {}
        (p50, angle), (most, largest) = np.percentile(np.array(self._errors), [50, 100], axis=0)
        told = {
            "retargeting_error_mm": f"p50 {1e3 * p50:.2f}, max {1e3 * most:.2f}",
            "retargeting_error_deg": f"p50 {np.degrees(angle):.2f}, max {np.degrees(largest):.2f}",
        }
        if self._elbow:
            p50, most = np.degrees(np.percentile(np.array(self._elbow), [50, 100]))
            told["retargeting_error_elbow_deg"] = f"p50 {p50:.2f}, max {most:.2f}"
        return told
