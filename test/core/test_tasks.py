from dataclasses import replace

import numpy as np
import pytest
from sim_support import URDF, make_world

from vla_ros.errors import SimulationError
from vla_ros.sim.scene import COLOURS
from vla_ros.sim.tasks import TASKS, Scene, View, colour_in, get_task
from vla_ros.sim.tasks.pick_place import BIN_POSITION, CUBE
from vla_ros.sim.world import World

ARM = 6
COLOURED = ("reach", "pick_place")  # tasks whose instruction names a colour
IN_BIN = (*BIN_POSITION, 0.024)


def draw(task: str, seed: int) -> Scene:
    return get_task(task).draw(np.random.default_rng(seed), seed, ARM)


def scenes(task: str, count: int = 200) -> list[Scene]:
    return [draw(task, seed) for seed in range(count)]


def pose(x: float, y: float, z: float) -> np.ndarray:
    return np.array([x, y, z, 0.0, 0.0, 0.0, 1.0])


# --- scenes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_scene_and_another_seed_another(task: str) -> None:
    first, again, other = draw(task, 7), draw(task, 7), draw(task, 8)
    assert first.instruction == again.instruction and first.target == again.target
    assert all(np.array_equal(first.objects[name], again.objects[name]) for name in first.objects)
    assert not np.array_equal(first.objects[first.target], other.objects[first.target])


@pytest.mark.parametrize("task", COLOURED)
def test_each_colour_is_asked_for_and_its_objects_cover_twenty_by_twenty_five_centimetres(task: str) -> None:
    drawn = scenes(task)
    for colour in COLOURS:
        places = np.array([scene.objects[scene.target][:2] for scene in drawn if scene.target.startswith(colour)])
        assert len(places) > 40
        extent = np.ptp(places, axis=0)
        assert extent[0] >= 0.20 and extent[1] >= 0.25


@pytest.mark.parametrize("task", COLOURED)
def test_every_instruction_names_the_target_and_several_wordings_occur(task: str) -> None:
    drawn = scenes(task)
    assert all(scene.target.startswith(colour_in(scene.instruction)) for scene in drawn)
    assert len({scene.instruction for scene in drawn}) >= 12


@pytest.mark.parametrize("task", COLOURED)
def test_objects_do_not_overlap(task: str) -> None:
    for scene in scenes(task):
        centres = np.array([place[:2] for name, place in scene.objects.items() if name != "bin"])
        gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1)[np.triu_indices(len(centres), 1)]
        assert gaps.min() > CUBE * np.sqrt(2) + 0.02


@pytest.mark.parametrize("task", TASKS)
def test_nothing_has_happened_when_a_trial_begins(task: str) -> None:
    world = make_world(task)
    for seed in range(40):
        scene = world.reset(seed)
        world.step(60)
        assert world.status()["message"] == "running"
        for name, start in scene.objects.items():
            assert world.objects()[name] == pytest.approx(start, abs=2e-3)


@pytest.mark.parametrize("task", COLOURED)
def test_another_instruction_changes_the_target_and_nothing_else(task: str) -> None:
    world = make_world(task)
    plain = world.reset(3)
    other = next(colour for colour in COLOURS if colour not in plain.instruction)
    changed = world.reset(3, f"please take the {other} one")
    assert changed.target.startswith(other) and changed.target != plain.target
    for name, place in plain.objects.items():
        assert np.array_equal(changed.objects[name], place)


# --- verdicts: pick_place --------------------------------------------------------------------------------

PICK = replace(draw("pick_place", 0), target="red_cube")
STILL = {"red_cube": 0.0, "green_cube": 0.0, "blue_cube": 0.0}


def placed(red: tuple[float, float, float], green: tuple[float, float, float] = (0.3, -0.1, 0.02)) -> View:
    objects = {"red_cube": pose(*red), "green_cube": pose(*green), "blue_cube": pose(0.4, 0.0, 0.02)}
    objects["bin"] = pose(*BIN_POSITION, 0.0)
    return View(np.array([0.3, 0.0, 0.2]), 0.04, objects, STILL)


def judge(view: View) -> str:
    return get_task("pick_place").judge(PICK, view)


def test_the_named_cube_at_rest_in_the_bin_is_a_success() -> None:
    assert judge(placed(IN_BIN)) == "success"


def test_a_cube_on_the_table_is_not_yet_anything() -> None:
    assert judge(placed((0.3, 0.1, 0.02))) == "running"


def test_another_cube_in_the_bin_is_a_failure_even_beside_the_named_one() -> None:
    assert judge(placed((0.3, 0.1, 0.02), green=IN_BIN)) == "failure"
    assert judge(placed(IN_BIN, green=(BIN_POSITION[0] + 0.05, BIN_POSITION[1], 0.024))) == "failure"


def test_a_cube_held_over_the_bin_or_still_moving_is_not_a_success() -> None:
    assert judge(placed((*BIN_POSITION, 0.09))) == "running"
    assert judge(replace(placed(IN_BIN), speeds={**STILL, "red_cube": 0.2})) == "running"


def test_a_cube_still_between_closed_fingers_is_not_a_success() -> None:
    assert judge(replace(placed(IN_BIN), tip=np.array(IN_BIN), gripper=0.02)) == "running"


def test_a_cube_that_fell_off_the_table_is_a_failure() -> None:
    assert judge(placed((0.9, 0.0, -0.4))) == "failure"


# --- verdicts: reach -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tip", "verdict"),
    [
        ((0.30, 0.0, 0.01), "success"),
        ((0.30, 0.02, 0.02), "success"),
        ((0.30, 0.0, 0.035), "running"),
        ((0.35, 0.0, 0.01), "running"),
        ((0.40, 0.0, 0.01), "failure"),
    ],
)
def test_reach_wants_the_tip_within_three_centimetres_of_the_named_disc(
    tip: tuple[float, float, float], verdict: str
) -> None:
    scene = replace(draw("reach", 0), target="red_disc")
    discs = {
        "red_disc": pose(0.30, 0.0, 0.0),
        "green_disc": pose(0.40, 0.0, 0.0),
        "blue_disc": pose(0.5, 0.1, 0.0),
    }
    assert get_task("reach").judge(scene, View(np.array(tip), 0.0, discs, {})) == verdict


# --- verdicts in the world -------------------------------------------------------------------------------


def test_a_trial_in_which_nothing_happens_fails_when_its_time_is_up() -> None:
    world = make_world("reach")
    world.reset(0)
    world.step(int(world.task.time_limit / world.dt) - 12)
    assert not world.failure()
    world.step(24)
    assert world.failure() and not world.success()
    assert world.status()["time"] == pytest.approx(world.task.time_limit, abs=0.02)


class Touchy:
    """Reach, judged a success from the start: shows what the world makes of a task's opinion."""

    name, time_limit, hold, stiffness = "touchy", 5.0, 0.3, 1.0

    def __init__(self) -> None:
        self._reach = get_task("reach")
        self.build, self.draw, self.retarget = self._reach.build, self._reach.draw, self._reach.retarget

    def judge(self, scene: Scene, view: View) -> str:
        return "success"


def test_a_verdict_counts_only_after_it_has_held_and_then_stays() -> None:
    world = World(URDF, Touchy())
    world.reset(0)
    world.step(int(0.29 / world.dt))
    assert not world.success()
    world.step(24)
    assert world.success()
    ended = world.status()["time"]
    world.step(600)
    assert world.success() and world.status()["time"] == ended == pytest.approx(0.31, abs=0.011)


# --- refusals --------------------------------------------------------------------------------------------


def test_an_unknown_task_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(SimulationError, match=r"unknown task 'pick_plce' \(did you mean 'pick_place'\?\).*reach"):
        get_task("pick_plce")


@pytest.mark.parametrize("text", ["", "pick up the cube", "put the red cube beside the blue cube", "fired up"])
def test_an_instruction_must_name_exactly_one_colour(text: str) -> None:
    with pytest.raises(SimulationError, match="exactly one colour of red, green, blue"):
        colour_in(text)


@pytest.mark.parametrize("text", ["the RED cube", "take the red, please", "put the red cube by the red line"])
def test_a_colour_is_found_however_it_is_written(text: str) -> None:
    assert colour_in(text) == "red"
