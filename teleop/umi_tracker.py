"""From what a tracker says of its own pose to the tool's: what is broken, jumps or stands still is passed over, not guessed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS
from vla_ros.pose import compose
from vla_ros.teleop.leap import SETTLING, LeapFilter

RISING = 5  # stamps that rise among themselves, after which a clock that was set back is believed
FROZEN = 10  # poses that are the same to the last bit: trackers that repeat their last pose when they are lost

Array = npt.NDArray[np.float64]


class ToolTracker:
    """Takes the tracker's poses [x y z qx qy qz qw] in its world, and gives the tool's.

    tool: T_tracker_tool, the tool's pose in the tracker's frame. max_age: that of the poses' stream [s]; the new place after a
    jump is believed later than that, so that nobody takes the jump for a motion. `problem` says why the last pose was passed
    over, "" when it was not; `passed_over` counts.
    """

    def __init__(self, tool: Sequence[float], max_age: float = 0.1) -> None:
        self._tool = np.array(tool, dtype=np.float64)
        self._leap = LeapFilter(max(SETTLING, max_age), slack=0.0)
        self._last: tuple[int, Array] | None = None
        self._behind, self._rising = 0, 0  # the last stamp that went back [ns], and how many have risen since
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
        if (last := self._last) is not None and stamp <= last[0]:
            if stamp == last[0]:
                return "" if np.array_equal(values, last[1]) else "its stamps stand still"
            self._rising = self._rising + 1 if stamp > self._behind else 1
            self._behind = stamp
            if self._rising < RISING:
                return "its stamps go back"
            last = None
            self._leap.reset()
        self._last, self._rising = (stamp, values), 0
        self._same = self._same + 1 if last is not None and np.array_equal(values, last[1]) else 0
        if self._same >= FROZEN:
            return f"the same pose {self._same + 1} times: the tracker stands still, or is lost"
        if self._leap(stamp / NANOSECONDS, values):
            return ""
        far, since = self._leap.away(stamp / NANOSECONDS, values)
        return f"it jumped by {far:.2f} m; its new place is believed after {self._leap.settling:g} s, {since:.2f} s now"
