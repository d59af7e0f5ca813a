"""weigh: two cubes look alike; lift the lighter one. No camera and no joint tells which it is, the hand that lifts it does."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from vla_ros.errors import SimulationError
from vla_ros.sim.model import PAD_SUFFIX
from vla_ros.sim.scene import add_bin, add_cube
from vla_ros.sim.tasks.base import Scene, Verdict, View, flat_pose, start_offset

LIGHT, HEAVY, BIN = "light_cube", "heavy_cube", "bin"
MASS = {LIGHT: 0.05, HEAVY: 0.70}  # [kg]
SLIPPERY = 0.05  # friction of cube and table: fingers that push one aside do not tell its weight
HARD = (0.0035, 1.0), (0.99, 0.995, 0.0005, 0.5, 2.0)  # contacts of pads and cubes: the fingers' opening tells no mass
CUBE = 0.04  # [m]
FRONT = (0.30, 0.42)  # [m] x of the cubes' centres in base_link
SIDE = (0.04, 0.12)  # [m] |y|: one cube left of the middle, one right
MAX_YAW = 0.25  # [rad]
BIN_POSITION = (0.22, 0.28)  # [m] where a cube that is too heavy is put aside
BIN_HALF, BIN_HEIGHT = 0.040, 0.115  # [m] inner half width, height of the walls: a cube in it is hidden from the front
HIGH, TOO_HIGH = 0.22, 0.20  # [m] the light cube's centre is at least so high; the heavy one at most
WORDS = {"light", "lighter", "lightest"}
PHRASES = (
    "lift the lighter cube",
    "pick up the lighter cube",
    "take the light cube up",
    "raise the lighter block",
    "lift the light block",
    "pick the lightest cube up",
)


class Weigh:
    """Two cubes of one look and a bin; success when the light cube is held high, failure when the heavy one is.

    A cube may be lifted a little to feel its weight: 20 cm are too much for the heavy one.
    """

    name = "weigh"
    time_limit = 16.0
    hold = 0.2
    stiffness = 16.0  # as if the arm made up for its load: else joints that give way would tell the weight

    def build(self, spec: Any) -> None:
        """Add the two cubes, which differ in mass alone, and the bin."""
        for name, mass in MASS.items():
            add_cube(spec, name, "blue", CUBE, mass)
            geom = spec.geom(name)
            geom.friction, geom.priority = (SLIPPERY, 0.01, 0.0001), 1  # the pads, of the same priority, keep theirs
        for geom in spec.geoms:
            if geom.name in MASS or geom.name.endswith(PAD_SUFFIX):
                geom.solref, geom.solimp = HARD  # MuJoCo's soft contacts give way the more, the lighter a body is
        add_bin(spec, BIN, BIN_HALF, BIN_HEIGHT)

    def draw(self, rng: np.random.Generator, seed: int, arm_joints: int) -> Scene:
        """Draw positions, which cube is the light one, phrase and start pose."""
        sides = (1.0, -1.0) if rng.random() < 0.5 else (-1.0, 1.0)
        objects = {
            name: flat_pose(rng.uniform(*FRONT), side * rng.uniform(*SIDE), CUBE / 2, rng.uniform(-MAX_YAW, MAX_YAW))
            for name, side in zip(MASS, sides, strict=True)
        }
        objects[BIN] = flat_pose(*BIN_POSITION, 0.0)
        instruction = str(rng.choice(PHRASES))
        return Scene(self.name, seed, instruction, LIGHT, objects, start_offset(rng, arm_joints))

    def retarget(self, scene: Scene, instruction: str) -> Scene:
        """Take other words for the same wish."""
        if not WORDS.intersection(re.findall(r"[a-z]+", instruction.lower())):
            raise SimulationError(
                f"instruction '{instruction}' must ask for the cube that is {', '.join(sorted(WORDS))}"
            )
        return replace(scene, instruction=instruction)

    def judge(self, scene: Scene, view: View) -> Verdict:
        """Look at how high the cubes are."""
        light, heavy = view.objects[LIGHT][2], view.objects[HEAVY][2]
        if heavy > TOO_HIGH or min(light, heavy) < -0.05:  # or one fell off the table
            return "failure"
        return "success" if light > HIGH else "running"
