"""When the gate may compute a tick of a lockstep simulation: as soon as all that belongs to it has arrived,
no later.

The simulator publishes what it measured at tick t and waits for the gate's command; so the outcome depends
on stamps alone, never on who was faster. Times are [ns] since the simulator's reset.
"""

from __future__ import annotations

from collections.abc import Mapping

from vla_ros.action import NANOSECONDS, ActionChunk

# Of a demonstration, on the graph and in one process alike:
STEP = 0.3  # [s] granted at once; a multiple of 0.1 s, where the gate's grid meets the dataset's
TAIL = 0.3  # [s] recorded after success, so that a policy learns to stop
WARM_UP = 0.09  # [s] of rest in which the streams fill, ending just before a source's tick


class LockstepPacer:
    """Collects the arrivals of a tick.

    period: of the gate [s]. source_period: of the sources' chunks [s], whose grid is round(k *
    source_period). needs_wrench: whether a tick also waits for the wrench of its instant. watched: sources that are
    waited for whichever is selected, and the periods of theirs [s].
    """

    def __init__(
        self, period: float, source_period: float, needs_wrench: bool, watched: Mapping[str, float] | None = None
    ) -> None:
        self._period = round(period * NANOSECONDS)
        self._source_period = source_period * NANOSECONDS
        self._watched = {name: seconds * NANOSECONDS for name, seconds in (watched or {}).items()}
        self._needs_wrench = needs_wrench
        self._last: int | None = None  # the last computed tick
        self._joints = self._wrench = -1  # newest stamps
        self._ahead = 0  # resets that have been seen in the wrenches, less those in the joint states
        self.clear()

    def clear(self) -> None:
        """Forget what has arrived, as after a reset of the simulator."""
        self._pending: int | None = None
        self._chunks: dict[str, ActionChunk] = {}
        self._seen: dict[str, int] = {}  # newest stamp of each source, of readable chunks or not

    @property
    def now(self) -> int:
        """The tick being waited for, or the last one."""
        return self._pending if self._pending is not None else (self._last or 0)

    def joints(self, stamp: int) -> bool:
        """Take the stamp of a joint state; return True when the simulator was reset: its time does not
        advance.
        """
        was_reset, self._joints = stamp <= self._joints, stamp
        if was_reset:
            self.clear()
            self._ahead -= 1
            self._last = None
        if stamp % self._period == 0 and stamp != self._last:
            self._pending = stamp
        return was_reset

    def wrench(self, stamp: int) -> None:
        """Take the stamp of a wrench. Wrenches and joint states come each in their order, but overtake each other."""
        self._ahead += stamp <= self._wrench
        self._wrench = stamp

    def chunk(self, source: str, stamp: int, chunk: ActionChunk | None) -> None:
        """Take a chunk; None when the message could not be read, which is an answer too."""
        self._seen[source] = stamp
        if chunk is not None:
            self._chunks[source] = chunk

    def newest(self, source: str) -> ActionChunk | None:
        """Return the newest chunk of `source`, which may have come before the source was selected.

        Not one of an instant still to come: an inference that a reset overtook.
        """
        chunk = self._chunks.get(source)
        return chunk if chunk is not None and chunk.stamp <= self._joints else None

    def ready(self, source: str) -> int | None:
        """Return the tick to compute now that `source` ('' for none) is selected; None: wait. Then call
        `done`.
        """
        tick = self._pending
        if tick is None:
            return None
        if self._needs_wrench and (self._ahead < 0 or (self._ahead == 0 and self._wrench < tick)):
            return None
        awaited = {source, *self._watched} if source else set()
        if any(not self.due(tick, name) <= self._seen.get(name, -1) <= self._joints for name in awaited):
            return None
        return tick

    def done(self, tick: int) -> None:
        """Say that `tick` has been computed."""
        self._last, self._pending = tick, None

    def due(self, t: int, source: str = "") -> int:
        """Return the newest time of the source's grid that is not after `t`."""
        period = self._watched.get(source, self._source_period)
        k = int(t / period)
        grid = [round(i * period) for i in (k - 1, k, k + 1)]
        return max(time for time in grid if time <= t)
