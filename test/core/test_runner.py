"""A world run in lockstep waits for answers and grants, repeats itself, and is reset visibly. No ROS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from vla_ros.errors import SimulationError
from vla_ros.robot import load_urdf
from vla_ros.sim.controllers import TrajectoryPoint
from vla_ros.sim.runner import VISIBLE_JUMP, Runner, Trial
from vla_ros.sim.tasks import get_task
from vla_ros.sim.world import World

MS = 1_000_000


class Tape:
    """Outputs that remember what they were told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.joints: dict[int, np.ndarray] = {}
        self.snapshot: Any = None  # the last
        self.arrived = threading.Condition()

    def say(self, instruction: str) -> None:
        self._add("say", instruction)

    def sensors(self, world: World, stamp: int) -> None:
        self.joints[stamp] = world.joint_state()[0]
        self._add("sensors", stamp)

    def pictures(self, world: World, snapshot: Any, stamp: int) -> None:
        self._add("again" if snapshot is self.snapshot else "pictures", stamp)
        self.snapshot = snapshot

    def status(self, world: World) -> None:
        self._add("status", world.steps)

    def clock(self, stamp: int) -> None:
        self._add("clock", stamp)

    def of(self, kind: str) -> list[Any]:
        return [value for name, value in self.events if name == kind]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.arrived:
            assert self.arrived.wait_for(condition, 20.0), self.events[-10:]

    def _add(self, kind: str, value: Any) -> None:
        with self.arrived:
            self.events.append((kind, value))
            self.arrived.notify_all()


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    urdf = load_urdf("urdf/tabletop_arm.urdf.xacro")
    return {task: World(urdf, get_task(task), 32, 24) for task in ("reach", "pick_place")}


@pytest.fixture
def tape() -> Tape:
    return Tape()


@pytest.fixture
def runner(worlds: dict[str, World], tape: Tape) -> Iterator[Runner]:
    yield from running(worlds, tape, lockstep=True)


def running(worlds: dict[str, World], tape: Tape, lockstep: bool) -> Iterator[Runner]:
    failures: list[BaseException] = []
    joints = worlds["reach"].joint_names
    made = Runner(worlds.__getitem__, Trial("reach", 0), joints, tape, lockstep, failures.append)
    made.start()
    yield made
    made.stop()
    assert failures == []


def answer(runner: Runner, stamp: int, offset: float = 0.0) -> None:
    """Send the command of a tick, as the gate does: a move of all joints by `offset` from where they are."""
    names = runner.world.joint_names
    target = (runner.world.joint_state()[0] + offset).tolist()
    assert runner.follow(names, stamp, [TrajectoryPoint(20 * MS, target, [0.0] * len(names))]) is None


def run_to(runner: Runner, tape: Tape, end: int, offset: float = 0.0) -> None:
    """Answer every tick up to and without `end`."""
    for tick in range(0, end, 10 * MS):
        tape.wait_for(lambda tick=tick: tick in tape.of("clock"))
        answer(runner, tick, offset)
    tape.wait_for(lambda: end in tape.of("clock"))


def test_nothing_is_published_before_the_first_reset(runner: Runner, tape: Tape):
    assert tape.events == []
    runner.reset(Trial("reach", 1))
    assert tape.events[0] == ("say", runner.world.scene.instruction)


def test_the_words_come_before_the_scene_is_seen(runner: Runner, tape: Tape):
    scene = runner.reset(Trial("reach", 1))
    assert [event[0] for event in tape.events[:4]] == ["say", "sensors", "pictures", "clock"]
    assert tape.events[0][1] == scene.instruction


def test_time_stands_still_without_an_answer_and_without_a_grant(runner: Runner, tape: Tape):
    runner.reset(Trial("reach", 1))
    runner.grant(20 * MS)
    answer(runner, 10 * MS)  # not the tick being waited for
    tape.wait_for(lambda: 0 in tape.of("clock"))
    assert max(tape.of("sensors")) == 0
    run_to(runner, tape, 20 * MS)
    answer(runner, 20 * MS)
    tape.wait_for(lambda: 12 in tape.of("status"))  # it pauses for a grant, and says so
    assert max(tape.of("sensors")) == 20 * MS


def test_streams_are_published_on_their_grids(runner: Runner, tape: Tape):
    runner.reset(Trial("reach", 1))
    runner.grant(100 * MS)
    run_to(runner, tape, 100 * MS)
    assert tape.of("sensors") == [round(k * 1e9 / 300) for k in range(31)]
    assert tape.of("pictures") == [round(k * 1e9 / 30) for k in range(4)]
    assert set(range(0, 101 * MS, 10 * MS)) <= set(tape.of("clock"))


def test_the_same_seed_and_commands_give_the_same_motion(runner: Runner, tape: Tape):
    traces = []
    for _ in range(2):
        runner.reset(Trial("pick_place", 7))
        tape.events.clear()
        tape.joints.clear()
        runner.reset(Trial("reach", 3))
        runner.grant(60 * MS)
        run_to(runner, tape, 60 * MS, offset=0.01)
        traces.append([tape.joints[stamp].tolist() for stamp in sorted(tape.joints) if stamp <= 60 * MS])
    assert traces[0] == traces[1]


def test_an_early_reset_to_another_scene_is_announced_by_a_jump_ahead(runner: Runner, tape: Tape):
    runner.reset(Trial("reach", 1))
    runner.reset(Trial("reach", 2))
    stamps = tape.of("sensors")
    assert stamps == [0, VISIBLE_JUMP, 0]
    assert tape.of("pictures") == [0, VISIBLE_JUMP, 0]


def test_a_reset_to_the_untouched_scene_publishes_it_afresh(runner: Runner, tape: Tape):
    first = runner.reset(Trial("reach", 1))
    assert runner.reset(Trial("reach", 1)).instruction == first.instruction
    assert tape.of("sensors") == [0, VISIBLE_JUMP, 0]


def test_while_time_stands_still_the_newest_pictures_are_offered_to_who_joins(runner: Runner, tape: Tape):
    runner.reset(Trial("reach", 1))
    runner.grant(1000 * MS)
    run_to(runner, tape, 20 * MS)
    tape.events.clear()
    tape.wait_for(lambda: tape.of("again") != [])
    assert set(tape.of("again")) == {0}  # the last camera instant


def test_a_reset_takes_back_the_grant(runner: Runner, tape: Tape):
    runner.reset(Trial("reach", 1))
    runner.grant(1000 * MS)
    run_to(runner, tape, 10 * MS)
    runner.reset(Trial("reach", 2))
    tape.events.clear()
    answer(runner, 0)
    runner.reset(Trial("reach", 3))  # served after the answer, had that moved anything
    assert set(tape.of("sensors")) == {VISIBLE_JUMP, 0}


def test_an_instruction_replaces_the_scenes_own(runner: Runner, tape: Tape):
    scene = runner.reset(Trial("pick_place", 1, "pick up the blue cube and put it in the bin"))
    assert scene.instruction == tape.of("say")[-1] == "pick up the blue cube and put it in the bin"
    assert "blue" in scene.target


def test_an_instruction_without_a_colour_is_an_error_and_the_runner_goes_on(runner: Runner, tape: Tape):
    with pytest.raises(SimulationError, match="exactly one colour"):
        runner.reset(Trial("pick_place", 1, "do something"))
    assert runner.reset(Trial("pick_place", 1)).seed == 1


def test_forward_commands_answer_the_present_tick(runner: Runner, tape: Tape):
    runner.reset(Trial("reach", 1))
    runner.grant(10 * MS)
    assert runner.forward(runner.world.joint_state()[0].tolist(), answers=True) is None
    tape.wait_for(lambda: 10 * MS in tape.of("clock"))


def test_real_time_stamps_follow_the_system_clock_and_never_go_back(worlds: dict[str, World], tape: Tape):
    for runner in running(worlds, tape, lockstep=False):
        before = time.time_ns()
        tape.wait_for(lambda: len(tape.of("sensors")) > 100)
        runner.reset(Trial("reach", 2))
        stamps = tape.of("sensors")
        assert stamps == sorted(stamps)
        assert before - 100 * MS < stamps[0] <= stamps[-1] < time.time_ns() + 100 * MS


def test_commands_on_their_way_during_a_reset_in_real_time_go_unheard(worlds: dict[str, World], tape: Tape):
    for runner in running(worlds, tape, lockstep=False):
        tape.wait_for(lambda: len(tape.of("sensors")) > 10)
        home = runner.world.joint_state()[0]
        runner.reset(Trial("reach", 2))
        start = runner.world.joint_state()[0]
        answer(runner, runner.now, offset=1.0)
        seen = len(tape.of("sensors"))
        tape.wait_for(lambda seen=seen: len(tape.of("sensors")) > seen + 30)
        assert np.abs(runner.world.joint_state()[0] - start).max() < 0.05
        assert home.shape == start.shape
