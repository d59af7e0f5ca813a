"""What a task is: what lies on the table, what is asked for, and when it is done.

A task never steps physics. It adds its objects to the model once, draws a scene per seed, and judges a `View`
of the physics state, so that its rules can be tested with literals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from vla_ros.errors import SimulationError
from vla_ros.sim.scene import COLOURS

Verdict = Literal["running", "success", "failure"]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """One draw of a task."""

    task: str
    seed: int
    instruction: str
    target: str  # name of the object that the instruction asks for
    objects: Mapping[str, Array]  # start poses [x y z qx qy qz qw] in base_link
    joint_offset: Array = field(default_factory=lambda: np.zeros(0))  # [rad] added to the arm's home pose
    gripper: float = 0.04  # [m] the gripper's opening at the start


@dataclass(frozen=True)
class View:
    """What a task may judge: the physics state in base_link."""

    tip: Array  # [3] m
    gripper: float  # [m] measured opening of one finger
    objects: Mapping[str, Array]  # name -> pose [7]
    speeds: Mapping[str, float]  # name -> [m/s], free objects only


class Task(Protocol):
    """One file of this folder. Stateless: everything that varies is in the Scene."""

    name: str
    time_limit: float  # [s] a trial longer than this has failed
    hold: float  # [s] a verdict counts when it has held this long
    stiffness: float  # how many times as hard as usual the arm is held in place

    def build(self, spec: Any) -> None:
        """Add the task's objects to the mujoco.MjSpec."""

    def draw(self, rng: np.random.Generator, seed: int, arm_joints: int) -> Scene:
        """Return a random scene; the same generator state gives the same scene."""

    def retarget(self, scene: Scene, instruction: str) -> Scene:
        """Return the scene with another instruction, and the target that it names."""

    def judge(self, scene: Scene, view: View) -> Verdict:
        """Return what the state amounts to at this instant."""


def colour_in(instruction: str) -> str:
    """Return the one colour that the instruction names; SimulationError when there is none or several."""
    words = re.findall(r"[a-z]+", instruction.lower())
    named = [colour for colour in COLOURS if colour in words]
    if len(named) != 1:
        raise SimulationError(f"instruction '{instruction}' must name exactly one colour of {', '.join(COLOURS)}")
    return named[0]


def scatter(
    rng: np.random.Generator, count: int, area: tuple[tuple[float, float], tuple[float, float]], apart: float
) -> Array:
    """Return [count, 2] points of `area` ((x0, x1), (y0, y1)) [m], pairwise at least `apart` [m] apart."""
    low, high = np.array(area).T
    while True:
        points: Array = rng.uniform(low, high, size=(count, 2))
        gaps = np.linalg.norm(points[:, None] - points[None, :], axis=-1)[np.triu_indices(count, 1)]
        if gaps.min() >= apart:
            return points


def start_offset(rng: np.random.Generator, arm_joints: int) -> Array:
    """Return a small random displacement [rad] of the arm's home pose."""
    return rng.uniform(-0.12, 0.12, size=arm_joints)


def flat_pose(x: float, y: float, z: float, yaw: float = 0.0) -> Array:
    """Return the pose [x y z qx qy qz qw] of something standing upright, turned by `yaw` [rad]."""
    return np.array([x, y, z, 0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2)])
