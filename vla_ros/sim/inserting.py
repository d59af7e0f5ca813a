"""How the scripted operator puts a peg into a hole that it cannot see exactly.

It goes to the middle of the window in which the hole lies, as who only sees that, rests the peg on the board, and slides it where
the contact tells: the board pushes up on the side of the peg that is not yet over the hole. It knows where the hole is, but
a first slide is inexact too, and what it does on the board follows from what can be felt there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vla_ros.sim.tasks.insert import BOARD, CLEARANCE, COUNTERSINK, DEPTH, HEIGHT, LENGTH, PEG, WINDOW, depth

if TYPE_CHECKING:
    from vla_ros.sim.operator import ScriptedOperator

Script = Iterator[None]
NEEDED = (PEG, BOARD, WINDOW)  # the objects that it must see

GRASP_Z = 0.035  # [m] of the tip over the peg's lower end
ABOVE, PRESS, DEEP = 0.012, 0.0015, DEPTH + 0.005  # [m] over the board's top; below what it rests on; below the top
MISS = 0.002  # [m] how far from the middle of the window, along each side, the peg comes down at most
ALIGNED = 0.0012  # [m] from the hole's centre: the slope brings the peg in
# [s]; a policy is asked twice a second: it must meet what is felt at rest
FEEL_TIME, TOUCH_TIME, SLIDE_TIME = 0.4, 0.4, 0.3
CLOSED = 0.0


def insert(operator: ScriptedOperator) -> Script:
    """Take the peg of `operator`'s scene and put it into the hole."""
    operator.phase = "grasp"
    operator.move_fingers(CLOSED)
    yield from operator.fingers_stop()
    operator.phase = "carry"
    yield from operator.go(operator.straight_up(HEIGHT + ABOVE + GRASP_Z))
    miss = operator.objects[WINDOW][:2] - operator.objects[BOARD][:2]
    miss = operator.perturbation * (miss + operator.rng.uniform(-MISS, MISS, size=2))
    yield from operator.go(_over_hole(operator, ABOVE, miss), until=0.9)
    operator.phase = "touch"
    yield from operator.go(_over_hole(operator, _rest(miss) - PRESS, miss), until=1.0, slowly=TOUCH_TIME)
    while not _in(operator):
        operator.phase = "feel"
        yield from operator.wait(FEEL_TIME)
        if _over(operator):
            operator.phase = "push"
            yield from operator.go(_corrected(operator, -DEEP, np.zeros(2)), until=1.0, slowly=TOUCH_TIME)
        else:
            operator.phase = "slide"
            miss = miss * operator.rng.uniform(-0.3, 0.4)
            yield from operator.go(_corrected(operator, _rest(miss) - PRESS, miss), until=1.0, slowly=SLIDE_TIME)
    operator.phase = "finished"


def _rest(miss: npt.NDArray[np.float64]) -> float:
    """Return where the peg's lower end comes to rest on the slope, `miss` [2] m beside the hole: [m] over the top."""
    wide, deep = COUNTERSINK
    return float(np.clip((np.abs(miss).max() - CLEARANCE / 2) / wide, -0.5, 1.0) - 1.0) * deep


def _over_hole(operator: ScriptedOperator, height: float, miss: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the tip's goal for the peg's lower end `height` [m] over the board's top and `miss` [2] m beside the hole.

    However the fingers hold the peg: it slips a little when it is pressed on the board.
    """
    held = operator.measured_tip()[:3] - operator.objects[PEG][:3] + [0.0, 0.0, LENGTH / 2]
    x, y = operator.objects[BOARD][:2] + miss
    return np.array([x + held[0], y + held[1], HEIGHT + height + held[2], 0.0, 0.0, 0.0])


def _corrected(operator: ScriptedOperator, height: float, miss: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """As `_over_hole`, for a peg that the board pushes aside: the goal moves by what the peg is off."""
    goal = _over_hole(operator, height, miss)
    goal[:2] = operator.tip.goal[:2] + operator.objects[BOARD][:2] + miss - operator.objects[PEG][:2]
    return goal


def _over(operator: ScriptedOperator) -> bool:
    """True when the peg is over the hole, not over its sloping edge."""
    offset = operator.objects[PEG][:2] - operator.objects[BOARD][:2]
    return bool(np.abs(offset).max() < ALIGNED)


def _in(operator: ScriptedOperator) -> bool:
    return bool(depth(operator.objects[PEG], operator.objects[BOARD]) > DEPTH)
