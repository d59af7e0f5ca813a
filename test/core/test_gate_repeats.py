"""A chunk said again tells the gate that its source lives, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from gate_rig import HOME, PERIOD, GateRig, moved, moving


@pytest.fixture
def rig() -> GateRig:
    rig = GateRig()
    rig.gate.select("policy")
    return rig


@pytest.mark.parametrize("executor", ["latest", "ensemble"])
def test_a_chunk_said_again_is_a_sign_of_life_and_changes_no_motion(executor: str) -> None:
    rigs = [GateRig(executor=executor) for _ in range(2)]
    quiet = round(100 * rigs[0].gate.contract.limits.quiet)  # [ticks]
    for rig, repeated in zip(rigs, (False, True), strict=True):
        rig.gate.select("policy")
        rig.drive(moved(HOME, shoulder_pan=0.3), 20)
        chunk = rig.chunk(np.linspace(rig.q, moved(rig.q, shoulder_pan=0.9), 30))
        assert rig.gate.offer("policy", chunk, rig.now) is None
        for tick in range(quiet - 1):
            if repeated and tick % 10 == 9:
                assert rig.gate.offer("policy", chunk, rig.now) is None
            assert rig.tick().state == "active"
    assert np.array_equal(rigs[0].positions, rigs[1].positions)
    assert rigs[0].tick(3).state == "hold"
    assert rigs[1].tick(3).state == "active"
    assert rigs[1].gate.refused["policy"] == 0


def test_a_chunk_that_is_over_is_no_sign_of_life(rig: GateRig) -> None:
    chunk = moving(rig).chunk(np.tile(rig.q, (12, 1)))  # 0.4 s
    for _ in range(90):
        rig.gate.offer("policy", chunk, rig.now)
        rig.tick()
    assert rig.output is not None and "quiet" in rig.output.reason
    assert rig.gate.refused["policy"] == 90 - 41


def test_a_lockstep_source_that_owes_nothing_is_alive(rig: GateRig) -> None:
    chunk = moving(rig).chunk(np.linspace(rig.q, moved(rig.q, shoulder_pan=0.9), 60))
    assert rig.gate.offer("policy", chunk, rig.now) is None
    for _ in range(80):
        rig.gate.confirm(chunk.stamp, rig.now + PERIOD)
        assert rig.tick().state == "active"
    for _ in range(40):
        rig.gate.confirm(rig.now, rig.now + PERIOD)  # a later chunk was due, and not accepted
        rig.tick()
    assert rig.output is not None and "quiet" in rig.output.reason


def test_a_chunk_made_before_its_source_was_selected_is_passed_over(rig: GateRig) -> None:
    rig.tick()
    old = rig.chunk(np.tile(HOME + 0.1, (30, 1)))
    rig.gate.select("")
    rig.tick()
    rig.gate.select("policy", rig.now)
    assert rig.gate.offer("policy", old, rig.now) is None
    assert "waiting for a chunk" in rig.tick().reason
    assert rig.q == pytest.approx(HOME)
    assert rig.offer(np.tile(HOME + 0.1, (30, 1))) is None
    assert rig.tick().state == "active"
