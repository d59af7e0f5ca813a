"""What the gate accepts as a chunk, and the one-line reason when it refuses one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import Contract
from vla_ros.errors import ActionError, unknown_name

FloatArray = npt.NDArray[np.float64]
FUTURE = 0.02  # [s] a stamp may be ahead of the gate's clock, for clocks of two machines
SHORTEST_STEP = 1e-3  # [s] between two targets
FARTHEST = 1e3  # [m] poses and joints further out are clipped, so that arithmetic on them stays finite


@dataclass(frozen=True)
class Received:
    """What identifies the last accepted chunk of a source: its stamp [ns] and sequence number (0: not
    given).
    """

    stamp: int
    sequence: int


class ChunkCheck:
    """Checks chunks against a contract and puts their columns into the contract's order."""

    def __init__(self, contract: Contract) -> None:
        self._action, self._max_age = contract.action, contract.limits.chunk_age

    def __call__(self, chunk: ActionChunk, now: int, last: Received | None) -> ActionChunk:
        """Return `chunk` with the contract's order of names, finite, with continuous unit quaternions.

        now: time [ns]. last: the last accepted chunk of this source. An empty chunk asks to hold, which is
        granted whatever its age and names. Raises ActionError with the reason of a refusal.
        """
        self._check_order(chunk, now, last)
        if chunk.empty:
            return chunk
        age = (now - chunk.stamp) / NANOSECONDS
        if age > self._max_age:
            raise ActionError(f"stale chunk: its observation is {age:.3f} s old, at most {self._max_age:g} s allowed")
        if chunk.space != self._action.space:
            raise ActionError(f"chunk is in space '{chunk.space}', the contract's is '{self._action.space}'")
        if chunk.space == "ee_pose" and chunk.frame not in ("", self._action.frame):
            raise ActionError(f"chunk is in frame '{chunk.frame}', the contract's is '{self._action.frame}'")
        if chunk.dt < SHORTEST_STEP:
            raise ActionError(f"chunk dt is {chunk.dt:g} s, want at least {SHORTEST_STEP:g} s")
        values = chunk.values[:, self._columns(chunk.names)]
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, column = bad[0]
            name = self._action.names[column]
            raise ActionError(f"{values[row, column]} for '{name}' at step {row} of the chunk is not finite")
        values = np.clip(values, -FARTHEST, FARTHEST)
        if chunk.space == "ee_pose":
            values[:, 3:7] = _unit_quaternions(values[:, 3:7])
        return replace(chunk, values=values, names=self._action.names)

    def _check_order(self, chunk: ActionChunk, now: int, last: Received | None) -> None:
        ahead = (chunk.stamp - now) / NANOSECONDS
        if ahead > FUTURE:
            raise ActionError(f"chunk is stamped {ahead:.3f} s in the future: are the clocks synchronised?")
        if last is None:
            return
        if chunk.stamp < last.stamp or (chunk.stamp == last.stamp and not chunk.empty):
            late = (last.stamp - chunk.stamp) / NANOSECONDS
            raise ActionError(f"out of order: chunk is stamped {late:.3f} s before the last one, or the same")
        if chunk.sequence and chunk.sequence <= last.sequence:
            raise ActionError(f"out of order: chunk number {chunk.sequence} after number {last.sequence}")

    def _columns(self, names: tuple[str, ...]) -> list[int]:
        wanted = self._action.names
        for name in names:
            if name not in wanted:
                raise ActionError("chunk has " + unknown_name("action", name, wanted))
            if names.count(name) > 1:
                raise ActionError(f"chunk names '{name}' twice")
        missing = [name for name in wanted if name not in names]
        if missing:
            raise ActionError(f"chunk lacks action '{missing[0]}'; the contract's are {', '.join(wanted)}")
        return [names.index(name) for name in wanted]


def _unit_quaternions(quaternions: FloatArray) -> FloatArray:
    """Return [H, 4] quaternions normalised, each on the side of the one before."""
    norms = np.linalg.norm(quaternions, axis=1)
    wrong = np.flatnonzero((norms < 0.5) | (norms > 2.0))
    if len(wrong):
        raise ActionError(f"quaternion at step {wrong[0]} has length {norms[wrong[0]]:.3f}, want 1")
    unit = quaternions / norms[:, None]
    turns = np.sign(np.sum(unit[1:] * unit[:-1], axis=1))
    unit[1:] *= np.cumprod(np.where(turns < 0, -1.0, 1.0))[:, None]
    return np.asarray(unit)
