import numpy as np
import pytest
from gate_rig import HOME, GateRig, S


@pytest.fixture
def rig() -> GateRig:
    rig = GateRig()
    rig.gate.select("policy")
    rig.tick(50)
    return rig


def assert_refused(rig: GateRig, reason: str, values: object = None, **changes: object) -> None:
    """Check that a chunk is refused with `reason` on one line, is counted, and moves nothing."""
    counted = rig.gate.refused["policy"]
    rows = np.tile(HOME + 0.1, (5, 1)) if values is None else np.asarray(values)
    refusal = rig.offer(rows, **changes)
    assert refusal is not None and reason in refusal
    assert "\n" not in refusal
    assert rig.gate.refused["policy"] == counted + 1
    rig.tick(20)
    assert rig.q == pytest.approx(HOME)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number(rig: GateRig, bad: float) -> None:
    values = np.tile(HOME, (5, 1))
    values[3, 2] = bad
    assert_refused(rig, f"{bad} for 'elbow.pos' at step 3 of the chunk is not finite", values)


def test_an_unknown_name_with_the_nearest_one(rig: GateRig) -> None:
    names = (
        "shoulder_pan.pos",
        "shoulder_lift.pos",
        "elbo.pos",
        "wrist_1.pos",
        "wrist_2.pos",
        "wrist_3.pos",
        "gripper.pos",
    )
    assert_refused(rig, "unknown action 'elbo.pos' (did you mean 'elbow.pos'?)", names=names)


def test_a_missing_name(rig: GateRig) -> None:
    names = rig.contract.action.names[:-1]
    assert_refused(rig, "lacks action 'gripper.pos'", np.zeros((5, 6)), names=names)


def test_a_name_given_twice(rig: GateRig) -> None:
    names = (*rig.contract.action.names[:-1], "elbow.pos")
    assert_refused(rig, "names 'elbow.pos' twice", names=names)


def test_a_chunk_of_another_space(rig: GateRig) -> None:
    assert_refused(rig, "space 'ee_pose', the contract's is 'joint_position'", space="ee_pose")


def test_a_chunk_made_from_an_old_observation(rig: GateRig) -> None:
    assert_refused(rig, "stale chunk: its observation is 0.310 s old, at most 0.3 s", age=0.31)


def test_a_chunk_from_the_future(rig: GateRig) -> None:
    assert_refused(rig, "stamped 0.500 s in the future", age=-0.5)


def test_a_step_that_is_too_short(rig: GateRig) -> None:
    assert_refused(rig, "dt is 1e-06 s", dt=1e-6)


def test_a_chunk_older_than_the_last_one_or_another_of_the_same_observation(rig: GateRig) -> None:
    assert rig.offer(np.tile(HOME, (5, 1)), stamp=rig.now) is None
    assert_refused(rig, "out of order", stamp=rig.now - S // 100)
    assert rig.offer(np.tile(HOME, (5, 1)), stamp=rig.now) is None
    assert_refused(rig, "out of order", stamp=rig.now, values=np.tile(HOME + 0.01, (5, 1)))


def test_a_chunk_said_again_after_the_source_asked_to_hold(rig: GateRig) -> None:
    chunk = rig.chunk(np.tile(HOME, (5, 1)))
    assert rig.gate.offer("policy", chunk, rig.now) is None
    assert rig.gate.offer("policy", rig.empty_chunk(), rig.now) is None  # of the same observation: granted
    assert "out of order" in str(rig.gate.offer("policy", chunk, rig.now))
    assert "asks to hold" in rig.tick().reason


def test_a_sequence_number_that_goes_back(rig: GateRig) -> None:
    assert rig.offer(np.tile(HOME, (5, 1)), sequence=7) is None
    rig.tick()
    assert_refused(rig, "chunk number 6 after number 7", sequence=6)


def test_a_permuted_order_of_names_is_put_right(rig: GateRig) -> None:
    names, order = rig.contract.action.names, [3, 0, 6, 1, 5, 2, 4]
    target = HOME + [0.05, -0.04, 0.03, 0.02, 0.01, -0.02, -0.01]
    permuted = np.tile(target[order], (8, 1))
    for _ in range(30):
        assert rig.offer(permuted, names=tuple(names[i] for i in order)) is None
        rig.tick(3)
    assert rig.q == pytest.approx(target)


def test_a_chunk_in_another_frame() -> None:
    rig = GateRig("tabletop_arm_ee")
    rig.gate.select("policy")
    rig.tick()
    assert "frame 'world', the contract's is 'base_link'" in str(rig.offer(rig.commands[-1].action, frame="world"))


def test_a_quaternion_that_is_none() -> None:
    rig = GateRig("tabletop_arm_ee")
    rig.gate.select("policy")
    rig.tick()
    action = rig.commands[-1].action.copy()
    action[3:7] = 0.0
    assert "quaternion at step 0 has length 0.000" in str(rig.offer(action))


def test_a_quaternion_that_is_not_quite_of_unit_length_is_normalised() -> None:
    rig = GateRig("tabletop_arm_ee")
    rig.gate.select("policy")
    rig.tick()
    action = rig.commands[-1].action.copy()
    action[3:7] *= 1.2
    rig.drive(action, 30)
    assert rig.q == pytest.approx(HOME, abs=1e-5)


def test_an_empty_chunk_is_taken_whatever_its_age_and_names(rig: GateRig) -> None:
    assert rig.offer(np.tile(HOME, (5, 1)), age=0.2) is None
    rig.tick(20)
    assert rig.offer(np.zeros((0, 7)), age=0.35, names=()) is None
    assert rig.tick().reason == "source 'policy' asks to hold"
