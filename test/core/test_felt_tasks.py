"""The tasks that cameras alone do not solve: weigh and insert."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sim_support import JOINTS, URDF, make_world, operate

from vla_ros.errors import SimulationError
from vla_ros.kinematics import Kinematics
from vla_ros.sim.operator import ScriptedOperator
from vla_ros.sim.tasks import View, get_task
from vla_ros.sim.tasks.insert import BOARD, CLEARANCE, HEIGHT, LENGTH, PEG, SIDE, depth
from vla_ros.sim.tasks.weigh import HEAVY, LIGHT, MASS, Weigh
from vla_ros.sim.world import World

FELT = ("weigh", "insert")
KINEMATICS = Kinematics(URDF, JOINTS)


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    return {task: make_world(task, width=96, height=72) for task in FELT}


class Swapped(Weigh):
    """Weigh, with the two cubes in each other's place."""

    def draw(self, rng, seed, arm_joints):  # type: ignore[no-untyped-def]
        scene = super().draw(rng, seed, arm_joints)
        swapped = dict(scene.objects) | {LIGHT: scene.objects[HEAVY], HEAVY: scene.objects[LIGHT]}
        return replace(scene, objects=swapped)


@pytest.fixture(scope="module")
def swapped() -> World:
    return World(URDF, Swapped(), 96, 72)


def upright(x: float, y: float, z: float) -> np.ndarray:
    return np.array([x, y, z, 0.0, 0.0, 0.0, 1.0])


# --- the operator ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", FELT)
def test_the_operator_does_it_whatever_the_scene(worlds: dict[str, World], task: str) -> None:
    assert all(operate(worlds[task], seed).world.success() for seed in range(500, 505))


def test_a_heavy_cube_is_put_aside_for_the_light_one(worlds: dict[str, World]) -> None:
    for seed in range(500, 503):
        trial = operate(worlds["weigh"], seed, perturbation=0.0)
        places = trial.world.scene.objects
        assert ("aside" in trial.phases) == (places[HEAVY][1] > places[LIGHT][1])  # it begins on the left
        assert trial.phases[-1] in ("raise", "lift") and trial.phases.count("grasp") == 1 + ("aside" in trial.phases)


def test_the_operator_misses_the_hole_and_slides_into_it(worlds: dict[str, World]) -> None:
    phases = [operate(worlds["insert"], seed).phases for seed in range(510, 514)]
    assert sum("slide" in names for names in phases) >= 3
    assert "slide" not in operate(worlds["insert"], 510, perturbation=0.0).phases


# --- what is felt, and what is seen ----------------------------------------------------------------------


def lifted(world: World, seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Joints at each tick up to the lift and at its end; the wrench and where the cube is in the hand then; the pictures at the
    beginning.
    """
    scene = world.reset(seed)
    first = {camera: world.render(camera) for camera in world.cameras}
    operator = ScriptedOperator("weigh", KINEMATICS)
    operator.reset(seed, scene.instruction)
    joints, setpoint = [], world.joint_state()[0]
    while operator.phase not in ("raise", "aside"):
        target = operator.act(world.time, world.joint_state()[0], world.objects())
        wrench = world.wrench()
        step, setpoint = (target - setpoint) / 9, setpoint + (target - setpoint) / 9
        for _ in range(9):
            world.set_joint_targets(setpoint, step * 300)  # as the controllers do
            world.step(2)
            setpoint = setpoint + step
        setpoint = target
        if operator.phase != "lift":
            joints.append(world.joint_state()[0])
    held = world.objects()[operator.target][:3] - world.tip_pose()[:3]
    return [*joints[:-1], world.joint_state()[0]], wrench, held, first


def test_only_the_wrist_tells_the_light_cube_from_the_heavy_one(worlds: dict[str, World], swapped: World) -> None:
    for seed in (600, 601):
        joints, wrench, held, pictures = lifted(worlds["weigh"], seed)
        other_joints, other_wrench, other_held, other_pictures = lifted(swapped, seed)
        for camera, picture in pictures.items():
            assert np.array_equal(picture, other_pictures[camera])
        assert len(joints) == pytest.approx(len(other_joints), abs=2)
        together = min(len(joints), len(other_joints)) - 1
        apart = np.abs(np.array([*joints[:together], joints[-1]]) - [*other_joints[:together], other_joints[-1]])
        assert apart[:, :6].max() < 1e-3 and apart[:, 6].max() < 2e-3  # [rad], [m] while the fingers close
        assert apart[-1, 6] < 2e-4 and np.abs(held - other_held).max() < 1e-3  # [m]
        weights = sorted([wrench[2], other_wrench[2]])  # z points down, out of the gripper
        assert weights == pytest.approx(sorted(9.81 * mass for mass in MASS.values()), abs=0.5)


def test_the_board_pushes_the_wrist_towards_the_hole(worlds: dict[str, World]) -> None:
    """The peg's lower end rests on the slope beside the hole, on either side of it."""
    pushes = {}
    for side in (-1.0, 1.0):
        world = worlds["insert"]
        world.reset(700)
        board = world.objects()[BOARD]
        down = [1.0, 0.0, 0.0, 0.0]
        q = world.joint_state()[0]
        offset = (board[0], board[1] + side * 0.005)
        x, y, z = world.tip_pose()[:3]
        path = [(x, y, z), (x, y, 0.09), (*offset, 0.09), (*offset, 0.05)]
        for begin, end in zip([path[0], *path], path, strict=False):
            for part in np.linspace(0.0, 1.0, 60):
                goal = (1 - part) * np.array(begin) + part * np.array(end)
                q = KINEMATICS.solve([*goal, *down], q)
                q[6] = 0.0
                world.set_joint_targets(q)
                world.step(6)
                if goal[2] < 0.09 and world.wrench()[2] < -4.0:
                    break
        pushes[side] = world.wrench()
    # tool0's y points to -y of base_link
    assert pushes[-1.0][1] < -0.5 and pushes[1.0][1] > 0.5


def test_the_operator_slides_the_peg_only_where_the_board_pushes_it(worlds: dict[str, World]) -> None:
    world, operator, slides = worlds["insert"], ScriptedOperator("insert", KINEMATICS), 0
    for seed in range(520, 526):
        scene = world.reset(seed)
        operator.reset(seed, scene.instruction)
        phase = ""
        while not operator.done:
            x, y, _ = world.wrench()[:3]
            before = operator.tip.goal if operator.phase else None
            target = operator.act(world.time, world.joint_state()[0], world.objects())
            if before is not None and (phase, operator.phase) == ("feel", "slide"):
                moved = operator.tip.goal[:2] - before[:2]
                push = np.array([x, -y])  # tool0's y points to -y of base_link
                far = np.abs(moved) > 0.0015
                assert (moved[far] * push[far] > 0.0).all()
                slides += int(far.any())
            phase = operator.phase
            for _ in range(3):
                world.set_joint_targets(target)
                world.step(6)
    assert slides >= 6


# --- verdicts --------------------------------------------------------------------------------------------


def weigh_verdict(light: float, heavy: float) -> str:
    task = get_task("weigh")
    scene = task.draw(np.random.default_rng(0), 0, 6)
    objects = dict(scene.objects) | {LIGHT: upright(0.3, 0.1, light), HEAVY: upright(0.3, -0.1, heavy)}
    return task.judge(scene, View(np.zeros(3), 0.02, objects, {}))


@pytest.mark.parametrize(
    ("light", "heavy", "verdict"),
    [
        (0.02, 0.02, "running"),
        (0.06, 0.06, "running"),
        (0.17, 0.17, "running"),
        (0.25, 0.02, "success"),
        (0.02, 0.25, "failure"),
        (-0.3, 0.02, "failure"),
    ],
)
def test_weigh_wants_the_light_cube_high_and_the_heavy_one_low(light: float, heavy: float, verdict: str) -> None:
    assert weigh_verdict(light, heavy) == verdict


@pytest.mark.parametrize(
    ("x", "below", "verdict"),
    [
        (0.0, 0.016, "success"),
        (0.0, 0.010, "running"),
        (0.0, -0.02, "running"),
        (0.03, 0.02, "running"),
        (0.0, 0.2, "failure"),
    ],
)
def test_insert_wants_the_peg_deep_in_the_hole(x: float, below: float, verdict: str) -> None:
    task = get_task("insert")
    scene = task.draw(np.random.default_rng(0), 0, 6)
    board = scene.objects[BOARD]
    peg = upright(board[0] + x, board[1], HEIGHT - below + LENGTH / 2)
    assert task.judge(scene, View(np.zeros(3), 0.01, {PEG: peg, BOARD: board}, {})) == verdict


def test_the_hole_is_one_millimetre_wider_than_the_peg_and_a_board_in_the_way_stops_it(
    worlds: dict[str, World],
) -> None:
    assert CLEARANCE == 0.001
    world = worlds["insert"]
    for aside, falls in ((0.0, True), (0.0004, True), (0.04, False)):
        scene = world.reset(0)
        x, y = scene.objects[BOARD][:2]
        world._place_object(PEG, upright(x + aside, y, HEIGHT + LENGTH / 2 + 0.001))
        world.step(300)
        gone = depth(world.objects()[PEG], scene.objects[BOARD])
        assert (gone > 0.02) == falls
    assert SIDE == 0.020


# --- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "text"), [("weigh", "pick up the heavy one"), ("insert", "open the drawer")])
def test_an_instruction_that_is_not_of_the_task_is_refused(worlds: dict[str, World], task: str, text: str) -> None:
    with pytest.raises(SimulationError, match="instruction"):
        worlds[task].reset(0, text)


@pytest.mark.parametrize("task", FELT)
def test_other_words_change_nothing_of_the_scene(worlds: dict[str, World], task: str) -> None:
    plain, other = worlds[task].reset(3), worlds[task].reset(3, "now take the light peg")
    assert other.instruction == "now take the light peg" and other.target == plain.target
    assert all(np.array_equal(other.objects[name], pose) for name, pose in plain.objects.items())


def test_what_the_operator_must_see_is_named_when_it_is_missing() -> None:
    operator = ScriptedOperator("weigh", KINEMATICS)
    operator.reset(0, "lift the lighter cube")
    with pytest.raises(SimulationError, match="light_cube"):
        operator.act(0.0, np.zeros(7), {"plate": upright(0.3, 0.2, 0.0)})
