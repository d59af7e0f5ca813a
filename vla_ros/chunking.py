"""Executors: from overlapping action chunks to one target at a time, independent of the policy that made
them.

Between its points a chunk is a cubic that meets them exactly and never leaves the interval of its neighbours
(Fritsch and Carlson 1980), so a target has a continuous velocity that the gate can feed forward. After the
last point the target stays there: a source that goes quiet is the watchdog's business, not the executor's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.errors import GateError, unknown_name
from vla_ros.trajectory import Trajectory

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """What the source wants at one instant: values [D] in the action's units, and their rates of change [D]
    (per s).
    """

    values: FloatArray
    velocities: FloatArray


class Executor(Protocol):
    """Turns accepted chunks into a target for any time."""

    def add(self, chunk: ActionChunk, now: int) -> None:
        """Take a non-empty chunk whose order of names is the contract's. now: time [ns]."""

    def target(self, t: int) -> Target | None:
        """Return the target at `t` [ns], asked for with increasing times; None without a chunk."""

    def clear(self) -> None:
        """Forget all chunks."""


class LatestExecutor:
    """The newest chunk wins; what it differs from the one before fades out linearly over `blend` seconds."""

    def __init__(self, blend: float = 0.06) -> None:
        self._blend = round(blend * NANOSECONDS)
        self.clear()

    def clear(self) -> None:
        """Forget all chunks."""
        self._plan: Trajectory | None = None
        self._previous: Trajectory | None = None  # until the first target after the seam is asked for
        self._seam = 0
        self._offset: FloatArray | None = None

    def add(self, chunk: ActionChunk, now: int) -> None:
        """Replace the present chunk."""
        old = self._plan
        anchor = None
        if old is not None and old.times[0] <= chunk.stamp:
            anchor = self._faded(old, chunk.stamp).values
        self._plan = chunk_trajectory(chunk, anchor)
        if self._previous is None:
            self._previous = old

    def target(self, t: int) -> Target | None:
        """Return the target at `t` [ns]; None without a chunk."""
        if self._plan is None:
            return None
        if self._previous is not None:
            self._join(self._previous, self._plan, t)
            self._previous = None
        return self._faded(self._plan, t)

    def _join(self, old: Trajectory, new: Trajectory, t: int) -> None:
        if t >= old.end:  # the old chunk has nothing to say any more
            self._offset = None
            return
        self._offset = self._faded(old, t).values - new.sample(t)[0]
        self._seam = t

    def _faded(self, plan: Trajectory, t: int) -> Target:
        values, velocities = plan.sample(t)
        if self._offset is not None and t < self._seam + self._blend:
            share = min(1.0, 1.0 - (t - self._seam) / self._blend)
            values = values + share * self._offset
            velocities = velocities - self._offset * (NANOSECONDS / self._blend)
        return Target(values, velocities)


class TemporalEnsembleExecutor:
    """All chunks that speak of an instant, averaged with weights exp(-m i), i = 0 for the oldest (ACT, Zhao
    2023).
    """

    def __init__(self, m: float = 0.01) -> None:
        self._m = m
        self._plans: list[Trajectory] = []

    def clear(self) -> None:
        """Forget all chunks."""
        self._plans.clear()

    def add(self, chunk: ActionChunk, now: int) -> None:
        """Take one more chunk."""
        self._plans.append(chunk_trajectory(chunk, None))

    def target(self, t: int) -> Target | None:
        """Return the weighted mean at `t` [ns]; the newest chunk's end when none reaches so far; None
        without one.
        """
        if not self._plans:
            return None
        self._plans = [plan for plan in self._plans[:-1] if plan.end >= t] + self._plans[-1:]
        speaking = [plan for plan in self._plans if plan.times[0] <= t] or self._plans[-1:]
        weights = np.exp(-self._m * np.arange(len(speaking)))
        weights /= weights.sum()
        samples = [plan.sample(t) for plan in speaking]
        return Target(
            np.asarray(weights @ np.array([position for position, _ in samples])),
            np.asarray(weights @ np.array([velocity for _, velocity in samples])),
        )


EXECUTORS: dict[str, Callable[[], Executor]] = {
    "latest": LatestExecutor,
    "ensemble": TemporalEnsembleExecutor,
}


def make_executor(name: str) -> Executor:
    """Return a new executor: ``latest`` or ``ensemble``. Raises GateError naming the valid ones."""
    if name not in EXECUTORS:
        raise GateError(unknown_name("executor", name, EXECUTORS))
    return EXECUTORS[name]()


def chunk_trajectory(chunk: ActionChunk, anchor: FloatArray | None) -> Trajectory:
    """Return the chunk's points with velocities, preceded by `anchor` [D] at the chunk's stamp when given."""
    times, values = chunk.times(), chunk.values
    if anchor is not None:
        times, values = np.insert(times, 0, chunk.stamp), np.vstack([anchor, values])
    return Trajectory(times, values, monotone_slopes(times, values))


def monotone_slopes(times: npt.NDArray[np.int64], values: FloatArray) -> FloatArray:
    """Return slopes [H, D] (per s) at the points for a cubic that stays between neighbouring values."""
    if len(times) == 1:
        return np.zeros_like(values)
    rates = np.diff(values, axis=0) / (np.diff(times)[:, None] / NANOSECONDS)  # [H-1, D]
    slopes = np.empty_like(values)
    slopes[0], slopes[-1] = rates[0], rates[-1]
    before, after = rates[:-1], rates[1:]
    bound = 3.0 * np.minimum(np.abs(before), np.abs(after))
    slopes[1:-1] = np.where(before * after > 0, np.clip(0.5 * (before + after), -bound, bound), 0.0)
    return slopes
