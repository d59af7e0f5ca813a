"""pick_place: put the cube that the instruction names into the bin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vla_ros.sim.scene import COLOURS, add_bin, add_cube
from vla_ros.sim.tasks.base import Array, Scene, Verdict, View, colour_in, flat_pose, scatter, start_offset

AREA = ((0.27, 0.49), (-0.17, 0.10))  # [m] x, y of the cube centres in base_link
CUBE = 0.04  # [m]
MAX_YAW = 0.35  # [rad]
BIN = "bin"
BIN_POSITION = (0.36, 0.26)  # [m]
BIN_HALF, BIN_HEIGHT = 0.075, 0.05  # [m] inner half width, height of the walls
AT_REST = 0.02  # [m/s]
PHRASES = (
    "pick up the {} cube and put it in the bin",
    "put the {} cube in the bin",
    "place the {} cube into the bin",
    "grab the {} cube and drop it in the bin",
    "move the {} block to the bin",
    "take the {} block and put it into the bin",
)


class PickPlace:
    """Three cubes and a bin; success when the named cube rests in the bin and the gripper has let go."""

    name = "pick_place"
    time_limit = 12.0
    hold = 0.2
    stiffness = 1.0

    def build(self, spec: Any) -> None:
        """Add the three cubes and the bin."""
        for colour in COLOURS:
            add_cube(spec, f"{colour}_cube", colour, CUBE)
        add_bin(spec, BIN, BIN_HALF, BIN_HEIGHT)

    def draw(self, rng: np.random.Generator, seed: int, arm_joints: int) -> Scene:
        """Draw positions, colour, phrase and start pose."""
        points = scatter(rng, len(COLOURS), AREA, apart=0.095)
        yaws = rng.uniform(-MAX_YAW, MAX_YAW, size=len(COLOURS))
        objects = {
            f"{colour}_cube": flat_pose(x, y, CUBE / 2, yaw)
            for colour, (x, y), yaw in zip(COLOURS, points, yaws, strict=True)
        }
        objects[BIN] = flat_pose(*BIN_POSITION, 0.0)
        colour = str(rng.choice(list(COLOURS)))
        instruction = str(rng.choice(PHRASES)).format(colour)
        offset = start_offset(rng, arm_joints)
        # Sometimes the fingers are not open: whoever learns the task learns to open empty fingers.
        gripper = float(rng.uniform(0.0, 0.04)) if rng.random() < 0.3 else 0.04
        return Scene(self.name, seed, instruction, f"{colour}_cube", objects, offset, gripper)

    def retarget(self, scene: Scene, instruction: str) -> Scene:
        """Go for the colour that the instruction names."""
        return replace(scene, instruction=instruction, target=f"{colour_in(instruction)}_cube")

    def judge(self, scene: Scene, view: View) -> Verdict:
        """Look at where the cubes are, and whether the named one rests there alone."""
        cubes = {name: pose for name, pose in view.objects.items() if name != BIN}
        if any(_inside(pose, view.objects[BIN]) for name, pose in cubes.items() if name != scene.target):
            return "failure"
        target = cubes[scene.target]
        if target[2] < -0.05:
            return "failure"  # fell off the table
        let_go = view.gripper > CUBE / 2 + 0.003 or np.linalg.norm(view.tip - target[:3]) > 0.06
        at_rest = view.speeds[scene.target] < AT_REST
        return "success" if _inside(target, view.objects[BIN]) and at_rest and let_go else "running"


def _inside(cube: Array, bin_pose: Array) -> bool:
    """True when the cube's centre is between the walls and below their rim."""
    offset = cube[:3] - bin_pose[:3]
    return bool((np.abs(offset[:2]) < BIN_HALF).all() and offset[2] < BIN_HEIGHT)
