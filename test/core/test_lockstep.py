from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.action import ActionChunk
from vla_ros.lockstep import LockstepPacer

MS = 1_000_000


def chunk(stamp: int) -> ActionChunk:
    return ActionChunk(values=np.zeros((2, 1)), names=("a.pos",), space="joint_position", stamp=stamp, dt=1 / 30)


@pytest.fixture
def pacer() -> LockstepPacer:
    return LockstepPacer(0.01, 1 / 30, needs_wrench=False)


def test_without_a_source_a_tick_is_ready_when_its_joint_state_is_there(pacer: LockstepPacer) -> None:
    assert pacer.ready("") is None
    pacer.joints(0)
    assert pacer.ready("") == 0
    pacer.done(0)
    assert pacer.ready("") is None
    pacer.joints(3_333_333)
    assert pacer.ready("") is None  # between ticks
    pacer.joints(10 * MS)
    assert pacer.ready("") == 10 * MS


def test_with_a_source_a_tick_waits_for_the_chunk_that_is_due(pacer: LockstepPacer) -> None:
    pacer.joints(0)
    assert pacer.ready("policy") is None
    pacer.chunk("teleop", 0, chunk(0))
    assert pacer.ready("policy") is None
    pacer.chunk("policy", 0, chunk(0))
    assert pacer.ready("policy") == 0
    pacer.done(0)
    for tick in (10, 20, 30):  # the chunk stamped 0 is the newest due
        pacer.joints(tick * MS)
        assert pacer.ready("policy") == tick * MS
        pacer.done(tick * MS)
    pacer.joints(40 * MS)
    assert pacer.ready("policy") is None
    pacer.chunk("policy", 33_333_333, None)  # not readable, but an answer
    assert pacer.ready("policy") == 40 * MS


def test_a_watched_source_is_waited_for_on_its_own_grid_whoever_has_the_arm() -> None:
    pacer = LockstepPacer(0.01, 0.8, needs_wrench=False, watched={"teleop": 0.1})
    pacer.joints(0)
    assert pacer.ready("") == 0, "while nobody has it, nobody is waited for"
    pacer.chunk("policy", 0, chunk(0))
    assert pacer.ready("policy") is None
    pacer.chunk("teleop", 0, chunk(0))
    assert pacer.ready("policy") == pacer.ready("teleop") == 0
    pacer.joints(100 * MS)
    assert pacer.ready("policy") is None and pacer.ready("teleop") is None
    pacer.chunk("teleop", 100 * MS, None)
    assert pacer.ready("policy") == pacer.ready("teleop") == 100 * MS
    assert pacer.due(150 * MS, "policy") == 0 and pacer.due(150 * MS, "teleop") == 100 * MS


def test_due_times_are_the_sources_grid_exactly(pacer: LockstepPacer) -> None:
    grid = [round(k * 1e9 / 30) for k in range(400)]
    for k, t in enumerate(grid[:-1]):
        assert pacer.due(t) == t
        assert pacer.due(grid[k + 1] - 1) == t


def test_a_tick_waits_for_the_wrench_when_it_is_needed() -> None:
    pacer = LockstepPacer(0.01, 1 / 30, needs_wrench=True)
    pacer.joints(0)
    assert pacer.ready("") is None
    pacer.wrench(0)
    assert pacer.ready("") == 0


def test_a_reset_of_the_simulator_is_seen_and_old_chunks_do_not_count(pacer: LockstepPacer) -> None:
    for tick in (0, 10, 20):
        assert not pacer.joints(tick * MS)
        pacer.done(tick * MS)
    pacer.chunk("policy", 0, chunk(0))
    assert pacer.joints(0)
    assert pacer.ready("") == 0
    assert pacer.ready("policy") is None
    assert pacer.newest("policy") is None


def test_a_chunk_of_the_trial_before_that_a_reset_overtook_does_not_count(pacer: LockstepPacer) -> None:
    for tick in (0, 10, 50):
        pacer.joints(tick * MS)
        pacer.done(tick * MS)
    assert pacer.joints(0)
    pacer.chunk("policy", 33_333_333, chunk(33_333_333))
    assert pacer.ready("policy") is None and pacer.newest("policy") is None
    pacer.chunk("policy", 0, chunk(0))
    assert pacer.ready("policy") == 0 and pacer.newest("policy") is not None


def test_a_chunk_that_overtakes_the_joint_state_of_its_instant_counts(pacer: LockstepPacer) -> None:
    pacer.joints(0)
    pacer.done(0)
    pacer.chunk("policy", 33_333_333, chunk(33_333_333))
    pacer.joints(40 * MS)
    assert pacer.ready("policy") == 40 * MS


def test_a_reset_before_the_first_step_is_a_reset_too(pacer: LockstepPacer) -> None:
    pacer.joints(0)
    pacer.done(0)
    assert pacer.joints(0)
    assert pacer.ready("") == 0


def test_a_wrench_that_overtakes_the_joint_state_of_a_reset_is_kept() -> None:
    pacer = LockstepPacer(0.01, 1 / 30, needs_wrench=True)
    pacer.joints(50 * MS)
    pacer.wrench(50 * MS)
    pacer.done(50 * MS)
    pacer.wrench(0)
    assert pacer.joints(0)
    assert pacer.ready("") == 0


def test_a_chunk_from_before_its_source_was_selected_is_remembered(pacer: LockstepPacer) -> None:
    pacer.joints(0)
    pacer.chunk("policy", 0, chunk(0))
    newest = pacer.newest("policy")
    assert newest is not None and newest.stamp == 0
    assert pacer.now == 0


@given(trials=st.lists(st.integers(0, 4), min_size=1, max_size=4), order=st.randoms(use_true_random=False))
def test_however_joints_and_wrenches_overtake_each_other_a_tick_has_its_own_wrench_and_none_is_left(
    trials: list[int], order: object
) -> None:
    """Trials of so many ticks after the first, 300 Hz, begun anew before the gate has answered them."""
    stream = [(trial, round(k * 1e9 / 300)) for trial, ticks in enumerate(trials) for k in range(3 * ticks + 1)]
    which = ["joints"] * len(stream) + ["wrench"] * len(stream)
    order.shuffle(which)  # type: ignore[attr-defined]
    counts = accumulate((1 if name == "joints" else 1j for name in which), initial=0)
    pacer, computed = LockstepPacer(0.01, 1 / 30, needs_wrench=True), None
    for name, seen in zip(which, counts, strict=False):
        joints, wrenches = int(complex(seen).real), int(complex(seen).imag)
        (pacer.joints if name == "joints" else pacer.wrench)(stream[joints if name == "joints" else wrenches][1])
        joints, wrenches = joints + (name == "joints"), wrenches + (name == "wrench")
        tick = pacer.ready("")
        if tick is not None:
            trial, newest = stream[joints - 1]
            assert (trial, tick) <= stream[wrenches - 1] and tick <= newest and wrenches
            pacer.done(tick)
            computed = (trial, tick)
    assert computed == stream[-1]
