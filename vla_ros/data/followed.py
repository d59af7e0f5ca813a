"""The action of a recording without a robot: where the hand takes the tool next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.contract import Contract
from vla_ros.observation import Aligner


class FollowedTool:
    """Reads actions [D] of a robot-free contract from the streams that the hand moves: the tool's pose, the opening."""

    def __init__(self, contract: Contract, aligner: Aligner) -> None:
        self._pose, self._state = contract.action.follows, contract.state
        self._columns = [self._state.names.index(name) for name in contract.action.names[7:]]
        self._aligner = aligner

    def lacking(self, t: int) -> str:
        """Return which of the streams has not reached `t` [ns] yet, "" when both have."""
        for key in (self._pose, self._state.key):
            buffer = self._aligner.buffers[key]
            if buffer.newest is None or buffer.newest < t:
                return f"{key}: nothing new on {buffer.spec.topic}"
        return ""

    def at(self, t: int) -> tuple[npt.NDArray[np.float64] | None, str]:
        """Return the action to be reached at `t` [ns], or None and why there is none: a stream lacks it, or is too old."""
        seen = self._aligner.align(t)
        for key in (self._pose, self._state.key):
            if key in seen.invalid:
                return None, f"{key}: {seen.invalid[key]}"
            buffer = self._aligner.buffers[key]
            if (gap := buffer.gap(t)) > buffer.spec.max_age:  # where the hand was meanwhile nobody knows
                return (
                    None,
                    f"{key}: silent for {gap:.2f} s on {buffer.spec.topic}, at most {buffer.spec.max_age:g} s allowed",
                )
        pose, state = seen.values[self._pose], seen.values[self._state.key]
        return np.concatenate([pose, state[self._columns]]).astype(np.float64), ""
