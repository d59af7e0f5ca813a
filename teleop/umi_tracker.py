"""From what a tracker says of its own pose to the tool's: what is broken, jumps or stands still is passed over, not guessed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS
from vla_ros.pose import compose, distance

FASTEST = 5.0  # [m/s] of a hand; faster, a tracker has lost itself
SETTLED = 5  # poses that must agree with each other after a jump, before the new place is believed
FROZEN = 10  # poses that are the same to the last bit: trackers that repeat their last pose when they are lost

Array = npt.NDArray[np.float64]


class ToolTracker:
    """Takes the tracker's poses [x y z qx qy qz qw] in its world, and gives the tool's.

    tool: T_tracker_tool, the tool's pose in the tracker's frame. `problem` says why the last pose was passed over, ""
    when it was not; `passed_over` counts.
    """

    def __init__(self, tool: Sequence[float]) -> None:
        self._tool = np.array(tool, dtype=np.float64)
        self._last: tuple[int, Array] | None = None
        self._agreeing = SETTLED
        self._same = 0
        self._world = ""
        self.problem = ""
        self.passed_over = 0

    def update(self, stamp: int, pose: npt.ArrayLike, world: str = "") -> Array | None:
        """Return the tool's pose [7] in the tracker's world, or None for a pose that is not to be believed.

        stamp: when it was measured [ns]. world: the name of the frame it is in, which must stay the same.
        """
        values = np.asarray(pose, dtype=np.float64).reshape(-1)
        self.problem = self._refusal(stamp, values, world)
        if self.problem:
            self.passed_over += 1
            return None
        values = values.copy()
        values[3:] /= np.linalg.norm(values[3:])
        return compose(values, self._tool)

    def _refusal(self, stamp: int, values: Array, world: str) -> str:
        if values.shape != (7,) or not np.isfinite(values).all():
            return f"pose {values.tolist()} is not seven finite numbers"
        if not 0.9 < float(np.linalg.norm(values[3:])) < 1.1:
            return f"{values[3:].tolist()} is not a unit quaternion"
        if self._world and world != self._world:
            return f"poses are in frame '{world}', before in '{self._world}'"
        self._world = world
        last, self._last = self._last, (stamp, values)
        if last is None:
            return ""
        seconds = (stamp - last[0]) / NANOSECONDS
        if seconds <= 0.0:
            self._last = last
            return "" if seconds == 0.0 and np.array_equal(values, last[1]) else "its stamps go back"
        self._same = self._same + 1 if np.array_equal(values, last[1]) else 0
        if self._same >= FROZEN:
            return f"the same pose {self._same + 1} times: the tracker stands still, or is lost"
        far = float(distance(last[1], values)[0])
        self._agreeing = self._agreeing + 1 if far <= FASTEST * seconds else 0
        if self._agreeing == 0:
            return f"it jumped by {far:.2f} m in {1e3 * seconds:.0f} ms"
        return f"settling after a jump, {self._agreeing} of {SETTLED} poses" if self._agreeing < SETTLED else ""
