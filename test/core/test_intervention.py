"""Corrections of a policy by a person: who gets the arm when, how smoothly, and how the rows are labelled."""

from __future__ import annotations

import numpy as np
import pytest
from gate_rig import HOME, GateRig, assert_within_limits, moved

from vla_ros.action import ActionChunk
from vla_ros.intervention import Intervention
from vla_ros.teleop.corrections import Corrections

MOVES = ActionChunk(np.zeros((2, 1)), ("a.pos",), "joint_position", 0, 0.1)
HOLDS = ActionChunk(np.zeros((0, 1)), ("a.pos",), "joint_position", 0, 0.1)
RELEASED = ActionChunk(np.zeros((0, 0)), (), "joint_position", 0, 0.1)


def test_taking_the_clutch_takes_the_arm_and_only_releasing_gives_it_back() -> None:
    watch = Intervention()
    assert watch.choose("policy", "policy", MOVES) is None
    assert watch.choose("policy", "teleop", RELEASED) is None
    assert watch.choose("policy", "teleop", MOVES) == "teleop" and watch.running
    assert watch.choose("teleop", "teleop", HOLDS) is None and watch.running, "a lost device holds the arm"
    assert watch.choose("teleop", "policy", MOVES) is None
    assert watch.choose("teleop", "teleop", RELEASED) == "policy" and not watch.running


@pytest.mark.parametrize("selected", ["", "teleop"])
def test_an_arm_that_was_not_the_policys_is_not_given_to_it(selected: str) -> None:
    watch = Intervention()
    for chunk in (MOVES, HOLDS, RELEASED):
        assert watch.choose(selected, "teleop", chunk) is None and not watch.running


def test_a_choice_by_hand_ends_the_correction() -> None:
    watch = Intervention()
    watch.choose("policy", "teleop", MOVES)
    watch.choose("", "policy", MOVES)  # the source was set to nobody
    assert watch.choose("teleop", "teleop", RELEASED) is None


def test_the_gate_hands_over_within_one_period_and_smoothly() -> None:
    rig, watch = GateRig(), Intervention()
    rig.tick()
    rig.gate.select("policy")
    rig.drive(moved(HOME, shoulder_pan=1.0), 30)
    going = rig.commands[-1].velocities[0][0]
    assert going > 0.5
    here = rig.chunk(np.tile(rig.q, (8, 1)), dt=0.01)
    chosen = watch.choose(rig.gate.source, "teleop", here)
    assert chosen == "teleop"
    rig.gate.select(chosen, here.stamp)
    assert rig.gate.offer("teleop", here, rig.now) is None
    output = rig.tick()
    assert output.source == "teleop" and output.state == "active"
    assert rig.commands[-1].velocities[0][0] < going, "braking already"
    rig.drive(here.values[0], 60, source="teleop")
    assert rig.q == pytest.approx(here.values[0], abs=1e-3)
    assert_within_limits(rig)


@pytest.mark.parametrize("seed", range(20))
def test_an_operators_corrections_are_the_seeds_and_the_last_one_stays(seed: int) -> None:
    def turns() -> list[tuple[float, bool]]:
        plan = Corrections(seed, limit=12.0)
        changes = [(0.3 * k, plan.turn(0.3 * k)) for k in range(41)]
        return [(t, held) for t, held in changes if held is not None]

    changes = turns()
    assert changes == turns()
    assert [held for _, held in changes] == [True, False] * (len(changes) // 2) + [True]
    lengths = np.diff([0.0, *(t for t, _ in changes)])
    assert (lengths > 1.5 - 1e-6).all() and (lengths < 3.0 + 1e-6).all()
