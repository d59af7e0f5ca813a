"""Alignment: as-of, nearest, interpolated, histories, ages, validity and clock jumps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.contract import load_contract, parse_contract
from vla_ros.errors import ObservationError
from vla_ros.observation import Aligner

MS = 1_000_000
CONTRACT = """
robot: toy
urdf: toy.urdf
rate: 10
observation:
  observation.state: {topic: /joint_states, kind: joints, names: [a.pos], align: interpolate, rate: 100, max_age: 0.05}
  observation.images.top: {topic: /top, kind: image, shape: [1, 1, 3], rate: 10, latency: 0.02, max_age: 0.15}
  observation.depth.top: {topic: /depth, kind: depth, shape: [1, 1], rate: 10, align: nearest, max_age: 0.15}
  observation.wrench.tool: {topic: /wrench, kind: wrench, history: 3, rate: 100, max_age: 0.05}
  task: {topic: /instruction, kind: text}
action:
  space: joint_position
  names: [a.pos]
  command: {interface: joint_trajectory, topic: /arm/joint_trajectory}
limits: {velocity: 1.0, acceleration: 2.0}
"""
STATE, IMAGE, DEPTH, WRENCH = (
    "observation.state",
    "observation.images.top",
    "observation.depth.top",
    "observation.wrench.tool",
)


@pytest.fixture
def aligner():
    return Aligner(parse_contract(CONTRACT, "toy"))


def pixel(value):
    return np.full((1, 1, 3), value, np.uint8)


def fill(aligner, until_ms=200, start_ms=0):
    """Feed every stream at its rate; joint position = time in seconds, image = frame number."""
    aligner.push("task", start_ms * MS, "go")
    for t in range(start_ms, until_ms + 1, 10):
        aligner.push(STATE, t * MS, [t / 1000])
        aligner.push(WRENCH, t * MS, np.full(6, t))
        if t % 100 == 0:
            aligner.push(IMAGE, t * MS, pixel(t // 100))
            aligner.push(DEPTH, t * MS, [[t / 100]])


def test_joints_are_interpolated_at_the_instant(aligner):
    fill(aligner)
    assert aligner.align(123 * MS).values[STATE][0] == pytest.approx(0.123)


def test_an_image_is_the_newest_one_captured_at_or_before_the_instant(aligner):
    fill(aligner)
    # frames are stamped 0, 100, 200 ms and were captured 20 ms earlier
    assert aligner.align(79 * MS).values[IMAGE][0, 0, 0] == 0
    assert aligner.align(80 * MS).values[IMAGE][0, 0, 0] == 1
    assert aligner.align(110 * MS).stamps[IMAGE] == 80 * MS


def test_nearest_may_look_ahead(aligner):
    fill(aligner)
    assert aligner.align(60 * MS).values[DEPTH][0, 0] == 1.0
    assert aligner.align(40 * MS).values[DEPTH][0, 0] == 0.0


def test_a_history_holds_the_last_samples_oldest_first(aligner):
    fill(aligner)
    np.testing.assert_array_equal(aligner.align(105 * MS).values[WRENCH][:, 0], [80, 90, 100])


def test_a_stream_without_data_is_absent_and_named_not_filled(aligner):
    aligner.push(STATE, 0, [0.0])
    aligner.push(WRENCH, 0, np.zeros(6))
    observation = aligner.align(0)
    assert not observation.valid
    assert set(observation.values) == {STATE}
    assert "no data yet on /top" in observation.invalid[IMAGE]
    assert "1 of 3 samples" in observation.invalid[WRENCH]


def test_a_stale_stream_is_invalid_and_says_how_old_it_is(aligner):
    fill(aligner)
    for t in range(210, 300, 10):
        aligner.push(STATE, t * MS, [0.0])
    observation = aligner.align(290 * MS)
    assert observation.age[IMAGE] == pytest.approx(0.11)
    assert set(observation.invalid) == {WRENCH}
    assert "90 ms old on /wrench, at most 50 ms" in observation.invalid[WRENCH]


def test_the_latest_observation_is_of_the_instant_all_streams_have_reached(aligner):
    fill(aligner, until_ms=250)
    observation = aligner.latest(255 * MS)
    assert observation.stamp == 180 * MS  # the newest image was captured then
    assert observation.values[STATE][0] == pytest.approx(0.18)
    assert observation.valid


def test_the_latest_observation_becomes_invalid_when_one_stream_stops(aligner):
    fill(aligner, until_ms=200)
    for t in range(210, 400, 10):
        aligner.push(STATE, t * MS, [0.0])
        aligner.push(WRENCH, t * MS, np.zeros(6))
        aligner.push(DEPTH, t * MS, [[0.0]])
    assert set(aligner.latest(340 * MS).invalid) == {IMAGE}


def test_live_and_recorded_alignment_agree(aligner):
    """What a policy saw at an instant is what a recorder that aligns later stores for that instant."""
    recorded = Aligner(parse_contract(CONTRACT, "toy"))
    fill(recorded, until_ms=400)
    aligner.push("task", 0, "go")
    for now in range(0, 400, 10):
        aligner.push(STATE, now * MS, [now / 1000])
        aligner.push(WRENCH, now * MS, np.full(6, now))
        if now % 100 == 0:
            aligner.push(IMAGE, now * MS, pixel(now // 100))
            aligner.push(DEPTH, now * MS, [[now / 100]])
        live = aligner.latest(now * MS)
        later = recorded.align(live.stamp)
        if live.valid:
            for key, value in live.values.items():
                if key != DEPTH:  # nearest may look ahead, which only a recording can
                    np.testing.assert_array_equal(value, later.values[key])


@settings(deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=60), st.integers(0, 400))
def test_alignment_never_uses_a_sample_from_after_the_instant(stamps, at):
    aligner = Aligner(parse_contract(CONTRACT, "toy"))
    for stamp in sorted(stamps):
        aligner.push(IMAGE, stamp * MS, pixel(stamp % 256))
    observation = aligner.align(at * MS)
    known = [s - 20 for s in stamps if s - 20 <= at]
    if known:
        assert observation.stamps[IMAGE] == max(known) * MS
    else:
        assert IMAGE in observation.invalid


def test_a_stream_is_late_until_the_newest_sample_due_has_come(aligner):
    fill(aligner, until_ms=100)
    aligner.push(IMAGE, 120 * MS, pixel(1))
    assert aligner.late(100 * MS) == set()
    assert aligner.late(109 * MS) == set()
    assert aligner.late(110 * MS) == {STATE, WRENCH}


def test_a_clock_that_jumps_back_empties_the_buffers_but_keeps_the_instruction(aligner):
    fill(aligner, until_ms=1000)
    aligner.push(STATE, 0, [7.0])
    observation = aligner.align(0)
    assert aligner.jumps == 1
    assert observation.values == {STATE: np.array([7.0], np.float32), "task": "go"}


def test_samples_of_the_new_time_survive_a_late_notice_of_the_jump(aligner):
    fill(aligner, until_ms=1000)
    fill(aligner, until_ms=0)
    aligner.clock_jumped(0)
    assert set(aligner.align(0).values) == {STATE, DEPTH, "task"} | {IMAGE}


def test_samples_still_under_way_when_the_clock_jumped_are_dropped_and_the_stream_goes_on_in_the_new_time(
    aligner,
):
    fill(aligner, until_ms=1000)
    assert aligner.push(STATE, 0, [7.0])
    assert not aligner.push(IMAGE, 1100 * MS, pixel(99))  # of the time before
    assert IMAGE not in aligner.align(0).values
    aligner.push(IMAGE, 20 * MS, pixel(1))
    assert aligner.align(0).values[IMAGE][0, 0, 0] == 1
    assert aligner.jumps == 1


def test_a_stream_that_was_silent_since_the_jump_is_heard_again_once_time_has_passed_its_old_end(aligner):
    fill(aligner, until_ms=300)
    aligner.push(STATE, 0, [0.0])
    for t in range(10, 600, 10):
        aligner.push(STATE, t * MS, [0.0])
    aligner.push(IMAGE, 420 * MS, pixel(5))
    assert aligner.align(500 * MS).values[IMAGE][0, 0, 0] == 5


def test_a_message_that_overtook_another_is_dropped_not_taken_for_a_jump(aligner):
    fill(aligner, until_ms=100)
    aligner.push(STATE, 85 * MS, [9.0])
    assert aligner.jumps == 0
    assert aligner.buffers[STATE].late == 1


def test_buffers_stay_bounded(aligner):
    fill(aligner, until_ms=20_000)
    assert len(aligner.buffers[STATE]) < 400
    assert len(aligner.buffers[IMAGE]) < 40


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (STATE, [0.0, 1.0], "shape [2]"),
        (STATE, [np.nan], "not a finite number"),
        (IMAGE, np.zeros((1, 1, 3), np.float32), "float32"),
        ("task", 3, "want text"),
        ("observation.stat", [0.0], "did you mean 'observation.state'"),
    ],
)
def test_a_value_that_does_not_fit_the_contract_is_refused(aligner, key, value, words):
    with pytest.raises(ObservationError) as error:
        aligner.push(key, 0, value)
    assert words in str(error.value)


def test_a_picture_from_before_a_dropout_is_not_taken_for_fresh_when_the_camera_is_back():
    aligner = Aligner(load_contract("tabletop_arm"))
    front, wrist = (stream.key for stream in aligner.contract.streams("image"))
    aligner.push("task", 0, "go")
    for now in range(0, 2034, 2):
        for stream in aligner.contract.streams():
            if stream.kind not in ("image", "text"):
                shape = (len(stream.names),) if stream.kind == "joints" else stream.shape
                aligner.push(stream.key, now * MS, np.zeros(shape))
        if now % 34 == 28:
            aligner.push(wrist, now * MS, np.zeros((240, 320, 3), np.uint8))
        if (now % 34 == 10 and not 1000 < now < 2000) or now == 2032:
            aligner.push(front, now * MS, np.zeros((240, 320, 3), np.uint8))
    observation = aligner.latest(2034 * MS)
    assert observation.stamps[front] < 1000 * MS  # of the instant that the wrist's camera sets
    assert "ms old on" in observation.invalid[front]
