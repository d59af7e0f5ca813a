"""The line that tells how a recording goes."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

OVER = 3.0  # [s] that the rate is of


@dataclass
class Progress:
    """What is told of the running recording; any thread may write it and ask for the line.

    number, wanted: of the episode, and of all. what: task and attempt. state: such as recording. rows: of the episode.
    backlog: frames that wait to be encoded, None before it is known. disk_left [GB].
    """

    wanted: int
    fps: float
    what: str = ""
    number: int = 0
    state: str = ""
    failed: int = 0
    backlog: int | None = None
    disk_left: float | None = None
    rows: int = 0
    _seen: deque[tuple[float, int]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, number: int, what: str, state: str) -> None:
        """Tell of the next attempt: it has no rows yet."""
        with self._lock:
            self.number, self.what, self.state, self.rows = number, what, state, 0
            self._seen.clear()

    def filled(self, now: float, rows: int) -> None:
        """Tell that at time `now` [s] of a steady clock the episode has so many rows."""
        with self._lock:
            self.rows = rows
            self._seen.append((now, rows))
            while now - self._seen[0][0] > OVER:
                self._seen.popleft()

    @property
    def rate(self) -> float:
        """Rows a second of the last seconds."""
        with self._lock:
            if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
                return 0.0
            (then, before), (now, rows) = self._seen[0], self._seen[-1]
            return (rows - before) / (now - then)

    def line(self) -> str:
        """Return the line, without the keys."""
        words = [f"{self.what}: {self.state} episode {self.number} of {self.wanted}"]
        words += [f"{self.rows / self.fps:.1f} s", f"{self.rate:.0f} rows/s"]
        words += [f"{self.failed} failed"] if self.failed else []
        words += [f"backlog {self.backlog}"] if self.backlog is not None else []
        words += [f"{self.disk_left:.1f} GB disk left"] if self.disk_left is not None else []
        return ", ".join(words)
