"""What the checks of a dataset find: one fault at one place, and how bad it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SERIOUS = "serious"  # training on it teaches something wrong, or fails
NOTICE = "notice"  # worth a look


@dataclass(frozen=True)
class Finding:
    """A fault.

    kind: the check that found it. episode: its index, -1 for the dataset as a whole. time: since the
    episode's start [s]. stream: the column or camera it is in, empty for all. text: what it is, with figures.
    """

    severity: str
    kind: str
    episode: int
    time: float
    stream: str
    text: str

    def line(self) -> str:
        """Return the finding as one line for a terminal."""
        place = f"episode {self.episode}" if self.episode >= 0 else "dataset"
        at = f"{self.time:7.2f} s" if self.episode >= 0 else " " * 9
        return f"{self.severity:8}{place:14}{at}  {self.stream or '-':26}  {self.kind}: {self.text}"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return asdict(self)


def runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, past the last) of every run of True in `flags` [N]."""
    padded = np.concatenate([[False], flags, [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(padded))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
