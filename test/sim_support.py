"""The simulated world without ROS: a scripted operator drives it through a 100 Hz rate limiter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.sim.operator import ScriptedOperator
from vla_ros.sim.tasks import get_task
from vla_ros.sim.world import World

URDF = load_urdf("urdf/tabletop_arm.urdf.xacro")
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper")
MAX_SPEED = np.array([1.5] * 6 + [0.2])  # [rad/s, m/s] of the limiter, as in the robot's contract
TICK = 6  # [physics steps] 10 ms

Array = npt.NDArray[np.float64]


@dataclass
class Trial:
    """What happened in one trial: 30 Hz operator targets, 100 Hz measured joints."""

    world: World
    targets: list[Array] = field(default_factory=list)
    joints: list[Array] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)


def make_world(task: str, **size: int) -> World:
    return World(URDF, get_task(task), **size)


def operate(
    world: World,
    seed: int,
    instruction: str | None = None,
    override: Callable[[str, Array], Array] | None = None,
    perturbation: float = 1.0,
) -> Trial:
    """Let the operator do the trial of `seed` until its verdict; `override(phase, targets)` may tamper."""
    scene = world.reset(seed, instruction)
    operator = ScriptedOperator(world.task.name, Kinematics(URDF, world.joint_names), perturbation=perturbation)
    operator.reset(seed, scene.instruction)
    trial = Trial(world)
    setpoint = world.joint_state()[0]
    for tick in ticks(world):
        if tick % 3 == 0:  # 33 Hz
            target = operator.act(world.time, world.joint_state()[0], world.objects())
            trial.targets.append(target)
            if not trial.phases or trial.phases[-1] != operator.phase:
                trial.phases.append(operator.phase)
        wanted = target if override is None else override(operator.phase, target)
        step = np.clip((wanted - setpoint) / (3 - tick % 3), -MAX_SPEED * 0.01, MAX_SPEED * 0.01)
        setpoint = setpoint + step
        world.set_joint_targets(setpoint, step / 0.01)
        world.step(TICK)
        trial.joints.append(world.joint_state()[0])
    return trial


def ticks(world: World) -> Iterator[int]:
    """Count 10 ms ticks until the world has a verdict."""
    tick = 0
    while not (world.success() or world.failure()):
        yield tick
        tick += 1
