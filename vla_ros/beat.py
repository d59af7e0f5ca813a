"""The beat of one machine: the gate ticks on the grid of the monotonic clock, and devices that are asked are asked before.

The clock is the same in every process of a machine. So what a device was asked for meets the gate's next tick, without
either process telling the other; between machines, and for devices that send by themselves, it costs nothing.
"""

from __future__ import annotations

import math

GATE_PERIOD = 0.01  # [s] also the simulator's grid in lockstep
ASKED_BEFORE = 0.005  # [s] before a tick: for the bus, the mapping, two hops of the middleware and a busy machine


def next_tick(now: int, period: int) -> int:
    """Return the first multiple of `period` after `now`, both [ns] of the monotonic clock."""
    return (now // period + 1) * period


def next_question(now: float) -> float:
    """Return when [s, monotonic] a device is to be asked next: the first time from `now` on that lies before a tick."""
    return math.ceil((now + ASKED_BEFORE) / GATE_PERIOD) * GATE_PERIOD - ASKED_BEFORE
