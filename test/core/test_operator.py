import numpy as np
import pytest
from sim_support import JOINTS, URDF, Trial, make_world, operate

from vla_ros.errors import SimulationError
from vla_ros.kinematics import Kinematics
from vla_ros.sim.motion import Motion, multiply, quaternion, rotation_vector
from vla_ros.sim.operator import ScriptedOperator
from vla_ros.sim.scene import COLOURS
from vla_ros.sim.tasks import TASKS
from vla_ros.sim.world import World

KINEMATICS = Kinematics(URDF, JOINTS)
HERE = [0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    return {task: make_world(task) for task in TASKS}


def test_it_picks_and_places_whatever_the_scene(worlds: dict[str, World]) -> None:
    results = [operate(worlds["pick_place"], seed).world.success() for seed in range(500, 515)]
    assert all(results)


def test_it_reaches_whatever_the_scene(worlds: dict[str, World]) -> None:
    results = [operate(worlds["reach"], seed).world.success() for seed in range(500, 530)]
    assert all(results)


@pytest.mark.parametrize("task", ("reach", "pick_place"))
def test_it_goes_for_the_colour_that_the_instruction_names(worlds: dict[str, World], task: str) -> None:
    for colour in COLOURS:
        trial = operate(worlds[task], 42, f"now the {colour} one")
        assert trial.world.success() and trial.world.scene.target.startswith(colour)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_repeats_the_same_trial_exactly(worlds: dict[str, World], task: str) -> None:
    first, again = operate(worlds[task], 77), operate(worlds[task], 77)
    assert np.array_equal(first.targets, again.targets) and np.array_equal(first.joints, again.joints)


def speeds(trial: Trial) -> np.ndarray:
    return np.abs(np.diff(trial.targets, axis=0)) / 0.03  # targets come every 30 ms


@pytest.mark.parametrize("task", TASKS)
def test_its_motion_is_smooth_and_stays_below_the_gate_limits(worlds: dict[str, World], task: str) -> None:
    for seed in range(600, 606):
        trial = operate(worlds[task], seed)
        velocity = np.diff(trial.targets, axis=0) / 0.03
        assert np.abs(velocity[:, :6]).max() < 1.3
        assert np.abs(velocity[:, 6]).max() < 0.22
        assert np.abs(np.diff(velocity[:, :6], axis=0) / 0.03).max() < 9.5


def test_it_works_briskly(worlds: dict[str, World]) -> None:
    picks = [operate(worlds["pick_place"], seed) for seed in range(700, 706)]
    assert np.mean([trial.world.status()["time"] for trial in picks]) < 6.5
    for trial in picks:  # no long idling: a policy that imitates it must not learn to stand still
        moving = (speeds(trial) > [0.02] * 6 + [0.005]).any(axis=1)
        assert moving.mean() > 0.8
    reaches = [operate(worlds["reach"], seed).world.status()["time"] for seed in range(700, 706)]
    assert np.mean(reaches) < 2.5


def test_detours_are_seeded_and_can_be_switched_off(worlds: dict[str, World]) -> None:
    plain = operate(worlds["pick_place"], 81, perturbation=0.0)
    detour = operate(worlds["pick_place"], 81)
    assert plain.world.success()
    assert len(plain.targets) <= len(detour.targets)


def test_a_cube_lost_on_the_way_is_picked_up_again(worlds: dict[str, World]) -> None:
    lost = []

    def drop_once(phase: str, targets: np.ndarray) -> np.ndarray:
        if phase == "lift" and len(lost) < 25:
            lost.append(phase)
            return np.array([*targets[:6], 0.04])
        return targets

    trial = operate(worlds["pick_place"], 90, override=drop_once, perturbation=0.0)
    assert trial.world.success()
    assert trial.phases.count("grasp") == 2


def test_it_starts_from_wherever_the_arm_is(worlds: dict[str, World]) -> None:
    operator = ScriptedOperator("reach", KINEMATICS)
    world = worlds["reach"]
    scene = world.reset(5)
    operator.reset(5, scene.instruction)
    q = np.array([0.5, -0.4, -0.3, 0.6, 0.3, 0.8, 0.01])
    assert operator.act(0.0, q, world.objects()) == pytest.approx(q, abs=2e-3)


def test_it_says_when_it_is_done_and_then_stays(worlds: dict[str, World]) -> None:
    world, operator = worlds["reach"], ScriptedOperator("reach", KINEMATICS)
    scene = world.reset(6)
    operator.reset(6, scene.instruction)
    for _ in range(150):
        target = operator.act(world.time, world.joint_state()[0], world.objects())
        world.set_joint_targets(target)
        world.step(18)
    assert operator.done
    assert np.array_equal(operator.act(world.time + 1, world.joint_state()[0], world.objects()), target)


@pytest.mark.parametrize(
    ("task", "instruction", "objects", "message"),
    [
        (
            "reach",
            "touch the red disc",
            {"blue_disc": [0.3, 0, 0, 0, 0, 0, 1]},
            "unknown object 'red_disc'.*blue_disc",
        ),
        (
            "pick_place",
            "the red cube",
            {"red_cube": HERE},
            "unknown object 'bin'.*red_cube",
        ),
        ("reach", "touch the disc", {}, "exactly one colour"),
    ],
)
def test_what_it_cannot_do_is_refused(task: str, instruction: str, objects: dict, message: str) -> None:
    operator = ScriptedOperator(task, KINEMATICS)
    operator.reset(0, instruction)
    with pytest.raises(SimulationError, match=message):
        operator.act(0.0, np.zeros(7), objects)


def test_an_unknown_task_or_a_robot_without_gripper_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"unknown task .* 'fold'.*pick_place, reach"):
        ScriptedOperator("fold", KINEMATICS)
    with pytest.raises(SimulationError, match="needs a joint 'gripper'"):
        ScriptedOperator("reach", Kinematics(URDF, JOINTS[:6]))


# --- motion ----------------------------------------------------------------------------------------------


def test_overlapping_moves_add_up_without_a_jump_in_velocity() -> None:
    motion = Motion(np.array([0.0]))
    motion.move_to(np.array([1.0]), 0.0, 1.0)
    motion.move_to(np.array([0.5]), 0.6, 0.8)
    path = np.array([motion.at(t)[0] for t in np.arange(0.0, 2.0, 0.001)])
    acceleration = np.diff(path, 2) / 0.001**2
    assert path[-1] == pytest.approx(0.5)
    assert np.abs(acceleration).max() < 5.8 + 5.8 * 0.5 / 0.64
    assert np.abs(np.diff(acceleration)).max() < 0.2


def test_rotation_vectors_and_quaternions_agree() -> None:
    rng = np.random.default_rng(0)
    for vector in rng.uniform(-1.5, 1.5, size=(50, 3)):
        assert rotation_vector(quaternion(vector)) == pytest.approx(vector)
        assert rotation_vector(-quaternion(vector)) == pytest.approx(vector)
        assert multiply(quaternion(vector), quaternion(-vector)) == pytest.approx([0, 0, 0, 1], abs=1e-12)
    assert rotation_vector(quaternion(np.zeros(3))) == pytest.approx(np.zeros(3))
