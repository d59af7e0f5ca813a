"""From aligned observation to chunk: what a policy node decides, without ROS.

A policy that must not act says so with an empty chunk, which makes the gate brake at once; it never goes silent
and never fills in for a sensor that is missing or late.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import Contract
from vla_ros.observation import Aligner, Observation
from vla_ros.tokens import outdated

PICTURE_PATIENCE = 0.015  # [s] for the other streams to reach the pictures' instant; taxels at 100 Hz come within 0.01
PATIENCE = 5.0  # [s] for which lockstep, whose time stands still meanwhile, waits for an optional stream


class Predictor(Protocol):
    """What inference needs of a policy."""

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the chunk for one aligned observation."""
        ...

    def reset(self) -> None:
        """Forget the running episode."""
        ...


def empty_chunk(contract: Contract, stamp: int, task: str = "", sequence: int = 0) -> ActionChunk:
    """Return the chunk that says "nothing to say: hold"."""
    action = contract.action
    frame = action.frame if action.space == "ee_pose" else ""
    nothing = np.zeros((0, len(action.names)))
    return ActionChunk(
        nothing, action.names, action.space, stamp, 1.0 / contract.rate, frame, task=task, sequence=sequence
    )


@dataclass
class InferenceStatistics:
    """Counts since the start, and the last forward times [s]."""

    ticks: int = 0
    missed: int = 0  # ticks that passed while the previous inference was still running
    held: int = 0  # ticks answered with an empty chunk
    forward: deque[float] = field(default_factory=lambda: deque(maxlen=1000))

    def summary(self) -> dict[str, str]:
        """Return the figures as text for diagnostics."""
        times = np.array(self.forward) if self.forward else np.zeros(1)
        return {
            "ticks": str(self.ticks),
            "missed": str(self.missed),
            "held": str(self.held),
            "forward_p50_ms": f"{np.percentile(times, 50) * 1e3:.1f}",
            "forward_p99_ms": f"{np.percentile(times, 99) * 1e3:.1f}",
        }


class Inference:
    """Turns observations into numbered chunks, and remembers why it last held."""

    def __init__(self, contract: Contract, policy: Predictor) -> None:
        self.contract = contract
        self.policy = policy
        self.statistics = InferenceStatistics()
        self.reason = ""  # why the last chunk was empty; "" when it was not
        self.without: dict[str, str] = {}  # optional streams that the last chunk was made without, and why
        self._sequence = 0

    def act(self, observation: Observation) -> ActionChunk:
        """Return the next chunk: the policy's prediction, or an empty one if the observation is not valid.

        An optional stream that is missing or too old does not make it so: the policy masks it.
        """
        self._sequence += 1
        self.statistics.ticks += 1
        task = str(observation.values.get("task", ""))
        if unfit := outdated(observation.values, task):
            observation = replace(observation, invalid={**unfit, **observation.invalid})
        self.without = observation.masked
        if not observation.valid:
            self.reason = "; ".join(f"{key}: {why}" for key, why in observation.lacking.items())
            self.statistics.held += 1
            return empty_chunk(self.contract, observation.stamp, task, self._sequence)
        started = time.perf_counter()
        chunk = self.policy.predict(observation)
        self.statistics.forward.append(time.perf_counter() - started)
        self.reason = ""
        return replace(chunk, task=task, sequence=self._sequence)

    def reset(self) -> None:
        """Start a new episode."""
        self.policy.reset()
        self.reason, self.without = "", {}


class ObservationFeed:
    """An aligner shared between the thread that receives messages and the one that infers."""

    def __init__(self, aligner: Aligner) -> None:
        self._aligner = aligner
        self._changed = threading.Condition()
        self._given_up: set[str] = set()  # optional streams that lockstep no longer waits for
        self._due: int | None = None  # instant [ns] that somebody waits for: until then nobody need be woken

    def push(self, key: str, stamp: int, value: Any) -> bool:
        """Add a sample; see `Aligner.push`."""
        with self._changed:
            taken = self._aligner.push(key, stamp, value)
            self._given_up.discard(key)
            if self._due is None or self._aligner.has_reached(self._due):
                self._changed.notify_all()
            return taken

    def refuse(self, key: str, why: str) -> None:
        """Remember that a sample of stream `key` was no good: the reason for holding tells."""
        with self._changed:
            self._aligner.refused[key] = why

    @property
    def epoch(self) -> int:
        """How often the clock has jumped back."""
        return self._aligner.jumps

    def latest(self, now: int) -> Observation:
        """Return the newest observation; see `Aligner.latest`."""
        with self._changed:
            return self._aligner.latest(now)

    def wait_reached(self, t: int, timeout: float) -> None:
        """Wait until all streams have reached the instant `t` [ns], at most `timeout` seconds."""
        with self._changed:
            self._due = t
            self._changed.wait_for(lambda: self._aligner.has_reached(t), timeout)
            self._due = None

    def wait_pictures(self, timeout: float = PICTURE_PATIENCE) -> None:
        """Wait until all streams have reached the instant of the newest pictures, at most `timeout` seconds.

        Until then the newest observation is of a time before them, and holds the pictures before them.
        """
        with self._changed:
            t = self._aligner.pictured()
        if t is not None:
            self.wait_reached(t, timeout)

    def wait_complete(
        self, t: int, epoch: int, stopped: Callable[[], bool], patience: float = PATIENCE
    ) -> Observation | None:
        """Wait until nothing up to `t` [ns] is still on its way and return the observation at `t`.

        An optional stream is waited for `patience` [s] of real time, then not again until it is heard. Return None
        when stopped, or when the clock jumps back meanwhile (`epoch` is no longer the feed's).
        """
        end = time.monotonic() + patience
        with self._changed:
            while not stopped() and self.epoch == epoch:
                late = self._aligner.late(t) - self._given_up
                if late and late <= self._aligner.optional and time.monotonic() >= end:
                    self._given_up |= late
                    late = set()
                if not late:
                    return self._aligner.align(t)
                left = end - time.monotonic()
                self._changed.wait(timeout=min(0.5, left) if left > 0.0 else 0.5)
        return None

    def wake(self) -> None:
        """Make a waiting thread look again, for shutting down."""
        with self._changed:
            self._changed.notify_all()


class GridTicks:
    """The instants k * steps / rate [ns] since the clock's zero at which a source acts in lockstep."""

    def __init__(self, rate: float, steps: int = 1) -> None:
        self._rate, self._steps, self._k = rate, steps, 0

    def reset(self) -> None:
        """Begin at zero again."""
        self._k = 0

    @property
    def now(self) -> int:
        """The present tick [ns]."""
        return round(self._k * self._steps * NANOSECONDS / self._rate)

    def advance(self) -> None:
        """Go on to the next tick."""
        self._k += 1
