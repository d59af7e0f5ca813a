"""How the scripted operator weighs two cubes by hand.

It takes the cube on the left, lifts it a little and feels its weight: a light one goes on up, a heavy one is put aside into
the bin for the other one. It knows which cube is which, but does nothing that differs before the cube is off the table,
so who learns from it can know as much from the wrist's wrench. A cube alone on the table is the light one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vla_ros.sim.tasks.weigh import BIN, BIN_HALF, HEAVY, LIGHT

if TYPE_CHECKING:
    from vla_ros.sim.operator import ScriptedOperator

Script = Iterator[None]
NEEDED = (LIGHT, HEAVY, BIN)  # the objects that it must see

# [m] of the tip, the cube 4 cm above the table; [s] of feeling there; the shorter, the sooner a policy moves that waits as long
# as the operator on average
FEEL_Z, FEEL_TIME = 0.06, 0.2
GRASP_Z, SPREAD_Z = 0.027, 0.005  # [m] of the tip, clear of the table also where who learns from it is less exact
HIGHER_Z = 0.02  # [m] it is held more or less high, so that no height stands for a weight
INEXACT = 0.5
OVER_Z, ASIDE_Z, HIGH_Z, CLEAR_Z = 0.165, 0.145, 0.27, 0.185  # [m] of the tip


def weigh(operator: ScriptedOperator) -> Script:
    """Lift cubes of `operator`'s scene until the light one is high."""
    while operator.phase != "finished":
        waiting = [name for name in (LIGHT, HEAVY) if not _aside(operator, name)]
        operator.target = max(waiting or [LIGHT], key=lambda name: operator.objects[name][1])
        grasp = GRASP_Z + operator.perturbation * operator.rng.uniform(-SPREAD_Z, SPREAD_Z)
        if len(waiting) == 1:
            yield from operator.pick(HIGH_Z, INEXACT, grasp)
        else:
            height = FEEL_Z + operator.perturbation * operator.rng.uniform(0.0, HIGHER_Z)
            yield from operator.pick(height, INEXACT, grasp)
            yield from operator.arrive()
            yield from operator.wait(FEEL_TIME)
        if not operator.holding():
            continue
        if operator.target == LIGHT:
            operator.phase = "raise"
            yield from operator.go(operator.straight_up(HIGH_Z), until=1.0)
            operator.phase = "finished"
        else:
            yield from _put_aside(operator)


def _put_aside(operator: ScriptedOperator) -> Script:
    operator.phase = "aside"
    yield from operator.go(operator.straight_up(OVER_Z))
    yield from operator.go(_over_bin(operator, OVER_Z))
    yield from operator.go(_over_bin(operator, ASIDE_Z))
    yield from operator.arrive()
    operator.phase = "release"
    operator.move_fingers(0.04)
    yield from operator.fingers_stop()
    operator.phase = "retreat"
    yield from operator.go(operator.straight_up(CLEAR_Z))


def _over_bin(operator: ScriptedOperator, height: float) -> npt.NDArray[np.float64]:
    x, y = operator.objects[BIN][:2]
    return np.array([x, y, height, 0.0, 0.0, 0.0])


def _aside(operator: ScriptedOperator, name: str) -> bool:
    offset = operator.objects[name][:2] - operator.objects[BIN][:2]
    return bool(np.linalg.norm(offset) < BIN_HALF)
