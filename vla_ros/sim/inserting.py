"""How the scripted operator puts a peg into a hole that it cannot see exactly.

It goes to the middle of the window in which the hole lies, as who only sees that, and rests the peg on the slope around the
hole, pressing a little. The slope that carries it pushes the wrist towards the hole, and the deeper the peg rests, the less far
it is to go: it slides that way, and only that way; how far off it is along the other side is felt when that slope carries it.
It knows where the hole is, but does nothing on the board that cannot be felt there.
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
FIRM = 0.001  # [m] the tip is wanted so much lower than it rests: some 10 N, of which the slope turns a part aside
MISS = 0.002  # [m] how far from the middle of the window, along each side, the peg comes down at most
BOTH = 0.85  # a peg that is off nearly as far along the other side, so much of it, rests on both slopes
INEXACT = 0.2  # of a slide
DROPPED = 0.0005  # [m] below the slope's lower end: over the hole
# [s]; the shorter the rest, the sooner a policy moves that waits as long as the operator on average
TOUCH_TIME, FIRM_TIME, FEEL_TIME, SLIDE_TIME = 0.4, 0.2, 0.2, 0.3
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
        if _over(operator):
            operator.phase = "push"
            yield from operator.go(_corrected(operator, -DEEP, np.zeros(2)), until=1.0, slowly=TOUCH_TIME)
            continue
        operator.phase = "feel"
        goal = operator.tip.goal
        goal[2] = operator.measured_tip()[2] - FIRM
        yield from operator.go(goal, until=1.0, slowly=FIRM_TIME)
        yield from operator.wait(FEEL_TIME)
        operator.phase = "slide"
        miss = operator.objects[PEG][:2] - operator.objects[BOARD][:2]
        felt = np.abs(miss) > BOTH * np.abs(miss).max()
        miss = np.where(felt, operator.perturbation * operator.rng.uniform(-INEXACT, INEXACT) * miss, miss)
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
    """True when the peg has dropped off the slope."""
    return bool(depth(operator.objects[PEG], operator.objects[BOARD]) > COUNTERSINK[1] + DROPPED)


def _in(operator: ScriptedOperator) -> bool:
    return bool(depth(operator.objects[PEG], operator.objects[BOARD]) > DEPTH)
