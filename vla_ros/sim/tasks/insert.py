"""insert: put the peg into the hole. It lies somewhere in a black window, which the gripper hides; the wrist feels where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vla_ros.errors import SimulationError
from vla_ros.sim.scene import add_board, add_peg, add_window
from vla_ros.sim.tasks.base import Array, Scene, Verdict, View, flat_pose

PEG, BOARD, WINDOW = "peg", "board", "window"
SIDE, LENGTH, MASS = 0.020, 0.060, 0.08  # [m], [m], [kg] of the square peg
CLEARANCE = 0.001  # [m] the hole is so much wider than the peg
COUNTERSINK = (0.010, 0.0047)  # [m] the hole's edge slopes: so much wider at the top on each side, so much deeper
HEIGHT, HALF = 0.025, 0.11  # [m] of the board; its hole goes down to the table
PEG_AT = (0.36, -0.16)  # [m] where the peg stands in base_link, the fingers around it
SPREAD = 0.003  # [m] of that place
SEEN = ((0.335, 0.385), (0.01, 0.06))  # [m] x, y of the window's centre
WINDOW_HALF, FRAME_HALF = 0.036, 0.125  # [m]
HIDDEN = 0.007  # [m] the hole is off the window's centre at most, along each side
DEPTH = 0.014  # [m] below the board's top: a peg so deep is in
START = (-0.4098, 0.3746, 0.3511, -0.7257, 0.0, -0.6098)  # [rad] from the home pose to the tip at the peg
PHRASES = (
    "put the peg into the hole",
    "insert the peg",
    "push the peg into the hole",
    "place the peg in the hole of the board",
)


class Insert:
    """A peg that stands between the open fingers, and a board with a hole 1 mm wider than the peg, its edge countersunk.

    The board is black, and of it a window is seen; where in the window the hole is, no camera sees.

    Success when the peg is 14 mm deep in the hole.
    """

    name = "insert"
    time_limit = 10.0
    hold = 0.2
    stiffness = 1.0

    def build(self, spec: Any) -> None:
        """Add the peg, the board, and the frame around what is seen of it."""
        add_peg(spec, PEG, SIDE, LENGTH, MASS)
        add_board(spec, BOARD, HALF, HEIGHT, (SIDE + CLEARANCE) / 2, COUNTERSINK)
        add_window(spec, WINDOW, WINDOW_HALF, FRAME_HALF, HEIGHT + 0.001)

    def draw(self, rng: np.random.Generator, seed: int, arm_joints: int) -> Scene:
        """Draw the places of peg and hole, and the phrase."""
        peg = np.array(PEG_AT) + rng.uniform(-SPREAD, SPREAD, size=2)
        seen = rng.uniform(*np.transpose(SEEN))
        hole = seen + rng.uniform(-HIDDEN, HIDDEN, size=2)
        objects = {PEG: flat_pose(peg[0], peg[1], LENGTH / 2), BOARD: flat_pose(hole[0], hole[1], 0.0)}
        objects[WINDOW] = flat_pose(seen[0], seen[1], 0.0)
        instruction = str(rng.choice(PHRASES))
        offset = np.zeros(arm_joints)
        offset[: len(START)] = START[:arm_joints]
        return Scene(self.name, seed, instruction, PEG, objects, offset)

    def retarget(self, scene: Scene, instruction: str) -> Scene:
        """Take other words for the same wish."""
        if "peg" not in instruction.lower():
            raise SimulationError(f"instruction '{instruction}' must name the peg")
        return replace(scene, instruction=instruction)

    def judge(self, scene: Scene, view: View) -> Verdict:
        """Look at how deep the peg is, and whether it stands in the hole at all."""
        peg, board = view.objects[PEG], view.objects[BOARD]
        if peg[2] < LENGTH / 2 - 0.05:
            return "failure"  # fell off the table
        return "success" if depth(peg, board) > DEPTH else "running"


def depth(peg: Array, board: Array) -> float:
    """Return how deep the peg's lower end is below the board's top [m]; negative where it is not over the hole."""
    aside = np.abs(peg[:2] - board[:2]).max()
    below = HEIGHT - (peg[2] - LENGTH / 2)
    return float(below) if aside < SIDE / 2 else -float(abs(below))
