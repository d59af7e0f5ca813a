"""Corrections of a policy by a person: who gets the arm when, how smoothly, and how the rows are labelled."""

from __future__ import annotations

import numpy as np
import pytest
from gate_rig import HOME, GateRig, assert_within_limits, moved

from vla_ros.action import ActionChunk
from vla_ros.contract import load_contract
from vla_ros.intervention import Intervention
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.corrections import Corrections
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.gamepad import ABS, CLUTCH, EVENT, KEY, RIGHT_TRIGGER, Pad
from vla_ros.teleop.keyboard import Keys
from vla_ros.teleop.operation import Operation

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


# A device in the person's hand

SAMPLE = 10_000_000  # [ns]
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper")


class Correction:
    """A velocity device, its operation and who has the arm; the arm stands still, its gripper 5 mm open."""

    def __init__(self) -> None:
        contract = load_contract("tabletop_arm")
        self.operation, self.watch = Operation(contract, Kinematics.of(contract), period=0.01), Intervention()
        self.operation.clutch.take()  # the node's, as of a device with a clutch of its own
        self.arm, self.now, self.has = dict(zip(JOINTS, (*HOME[:6], 0.005), strict=True)), 0, "policy"

    def sample(self, clutch: bool, gripper: float | None = None) -> ActionChunk:
        """Let the device say whether its clutch is held."""
        self.now += SAMPLE
        self.operation.see(self.now, self.arm)
        said = TeleopSample(self.now, twist=np.zeros(6), gripper=gripper, clutch=clutch)
        return self.take(self.operation.act(said))

    def gone(self, late: bool = False) -> ActionChunk:
        """Let the node see that the device is gone."""
        self.now += SAMPLE
        return self.take(self.operation.pause(self.now) if late else self.operation.hold(self.now, "unplugged"))

    def take(self, chunk: ActionChunk) -> ActionChunk:
        self.has = self.watch.choose(self.has, "teleop", chunk) or self.has
        return chunk


def test_a_device_that_comes_back_with_nothing_pressed_does_not_give_the_arm_to_the_policy() -> None:
    correction = Correction()
    correction.sample(clutch=True)
    assert correction.has == "teleop"
    correction.gone()
    for _ in range(3):
        correction.sample(clutch=False)
        assert correction.has == "teleop"
    correction.sample(clutch=True)
    correction.sample(clutch=False)
    assert correction.has == "policy", "taken again, and released"


@pytest.mark.parametrize("late", [False, True])
def test_the_nodes_clutch_gives_the_arm_back_while_the_device_is_gone(late: bool) -> None:
    correction = Correction()
    correction.sample(clutch=True)
    correction.gone(late)
    correction.gone(late)
    assert correction.has == "teleop"
    correction.operation.clutch.release()
    correction.gone(late)
    assert correction.has == "policy"


def test_the_nodes_clutch_taken_while_the_device_is_gone_holds_the_arm_until_the_devices_own_is_taken() -> None:
    correction = Correction()
    correction.sample(clutch=True)
    correction.gone()
    correction.operation.clutch.take()
    correction.gone()
    correction.sample(clutch=False)
    assert correction.has == "teleop"
    assert not correction.sample(clutch=True).empty


@pytest.mark.parametrize("device", [Keys(gripper=(0.0, 0.04)), Pad(gripper=(0.0, 0.04))])
def test_a_correction_keeps_what_the_policy_holds_whatever_an_earlier_one_told_the_gripper(device: Keys | Pad) -> None:
    correction = Correction()
    pulls = b"".join(EVENT.pack(0, 0, ABS, RIGHT_TRIGGER, value) for value in (255, 0))
    presses, releases = (EVENT.pack(0, 0, KEY, CLUTCH, value) for value in (1, 0))
    if isinstance(device, Keys):
        presses, pulls, releases = b" ", b"g", b" "

    def press(data: bytes) -> ActionChunk:
        device.press(data, 0.0)
        said = device.sample(0, 0.0)
        return correction.sample(said.clutch, said.gripper)

    press(presses)
    press(pulls)
    press(releases)
    assert correction.has == "policy"
    press(presses)
    for _ in range(20):
        assert press(b"").values[:, -1] == pytest.approx(0.005)


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
