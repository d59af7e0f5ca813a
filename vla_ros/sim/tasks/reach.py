"""reach: bring the tool tip to the coloured disc that the instruction names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vla_ros.sim.scene import COLOURS, add_disc
from vla_ros.sim.tasks.base import Scene, Verdict, View, colour_in, flat_pose, scatter, start_offset

AREA = ((0.27, 0.49), (-0.15, 0.15))  # [m] x, y of the disc centres in base_link
RADIUS = 0.03  # [m]
NEAR = 0.03  # [m] from the centre of the disc to the tip
PHRASES = (
    "touch the {} disc",
    "reach the {} disc",
    "move to the {} disc",
    "go to the {} circle",
    "point at the {} circle",
)


class Reach:
    """Three discs; success when the tip stays within 3 cm of the named one, failure at another one."""

    name = "reach"
    time_limit = 6.0
    hold = 0.3
    stiffness = 1.0

    def build(self, spec: Any) -> None:
        """Add the three discs."""
        for colour in COLOURS:
            add_disc(spec, f"{colour}_disc", colour, RADIUS)

    def draw(self, rng: np.random.Generator, seed: int, arm_joints: int) -> Scene:
        """Draw positions, colour, phrase and start pose."""
        points = scatter(rng, len(COLOURS), AREA, apart=0.09)
        objects = {f"{colour}_disc": flat_pose(x, y, 0.0) for colour, (x, y) in zip(COLOURS, points, strict=True)}
        colour = str(rng.choice(list(COLOURS)))
        instruction = str(rng.choice(PHRASES)).format(colour)
        offset = start_offset(rng, arm_joints)
        return Scene(self.name, seed, instruction, f"{colour}_disc", objects, offset, gripper=0.0)

    def retarget(self, scene: Scene, instruction: str) -> Scene:
        """Go for the colour that the instruction names."""
        return replace(scene, instruction=instruction, target=f"{colour_in(instruction)}_disc")

    def judge(self, scene: Scene, view: View) -> Verdict:
        """Look at which disc the tip is at."""
        touched = [name for name, pose in view.objects.items() if np.linalg.norm(view.tip - pose[:3]) < NEAR]
        if not touched:
            return "running"
        return "success" if touched == [scene.target] else "failure"
