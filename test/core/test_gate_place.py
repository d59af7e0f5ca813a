"""Where the gate takes a resting arm to be: sag and grasp are no displacement, a hand's move is one."""

from __future__ import annotations

import numpy as np
import pytest
from gate_rig import HOME, GateRig, moved, moving

from vla_ros.gate_output import GateOutput

SAG = moved(np.zeros(7), shoulder_lift=0.05)  # [rad] by which a servo gives way under the arm's weight
OBJECT = 0.036  # [m] at which a finger is stopped


class WeakRig(GateRig):
    """Servos that do what is sent late by `lag` [s], stopped short by their load and by what the fingers hold."""

    def __init__(self, lag: float) -> None:
        self.lag = lag
        super().__init__(q=moved(HOME, gripper=0.005))
        self.follows = False

    def tick(self, count: int = 1) -> GateOutput:
        for _ in range(count):
            output = super().tick()
            wanted = self.positions[-1] + SAG
            wanted[6] = max(wanted[6], OBJECT)
            self.q = self.q + (wanted - self.q) * 0.01 / self.lag
        return output


@pytest.fixture(params=[0.03, 0.1, 0.3])
def weak(request: pytest.FixtureRequest) -> WeakRig:
    rig = WeakRig(request.param)
    rig.gate.select("policy")
    rig.tick()
    return rig


@pytest.mark.parametrize("state", ["idle", "estop", "hold"])
def test_an_arm_that_sags_does_not_sink_nor_let_go(weak: WeakRig, state: str) -> None:
    weak.drive(moved(HOME, elbow=0.3, gripper=-0.03), 150)
    if state == "idle":
        weak.gate.select(None)
    elif state == "estop":
        weak.gate.estop("a test")
    weak.tick(60)
    left = weak.positions[-1]
    assert weak.tick(1000).state == state
    assert weak.positions[-1] == pytest.approx(left)
    assert np.abs(weak.q - left).max() > 0.03


def test_a_grasp_is_kept_when_the_arm_is_handed_over(weak: WeakRig) -> None:
    weak.drive(moved(HOME, gripper=-0.03), 150)
    weak.gate.select("teleop")
    weak.tick(300)
    weak.drive(moved(HOME, elbow=0.1, gripper=-0.03), 150, "teleop")
    assert weak.output is not None and weak.output.state == "active"
    assert weak.positions[-1][6] == pytest.approx(0.0)


@pytest.fixture
def rig() -> GateRig:
    rig = GateRig()
    rig.gate.select("policy")
    rig.tick()
    return rig


def test_an_arm_that_a_hand_moved_during_a_hold_starts_from_where_it_rests(rig: GateRig) -> None:
    moving(rig)
    rig.tick(100)  # no more chunks
    assert rig.output is not None and rig.output.state == "hold"
    rig.follows = False
    rig.q = moved(rig.q, shoulder_pan=0.6)
    rig.tick(10)
    assert rig.positions[-1] == pytest.approx(rig.q)


def test_nothing_begins_from_an_old_measurement(rig: GateRig) -> None:
    rig.gate.block("another node publishes commands")
    rig.tick(50)
    rig.feed = False
    rig.tick(100)
    rig.commands.clear()
    rig.gate.block("")
    assert rig.tick(5).command is None
    rig.feed = True
    assert rig.tick().command is not None
