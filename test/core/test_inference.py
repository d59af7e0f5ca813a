"""What a policy node decides: chunks when the observation is valid, an empty chunk when it is not."""

import threading

import numpy as np
import pytest

from vla_ros.action import ActionChunk
from vla_ros.contract import parse_contract
from vla_ros.inference import GridTicks, Inference, ObservationFeed
from vla_ros.observation import Aligner

MS = 1_000_000
CONTRACT = parse_contract(
    """
robot: toy
urdf: toy.urdf
rate: 30
observation:
  observation.state: {topic: /joint_states, kind: joints, names: [a.pos], rate: 100, max_age: 0.05}
  task: {topic: /instruction, kind: text}
action:
  space: joint_position
  names: [a.pos]
  command: {interface: joint_trajectory, topic: /arm/joint_trajectory}
limits: {velocity: 1.0, acceleration: 2.0}
""",
    "toy",
)


class StepAhead:
    """A policy that goes on from the measured position in steps of 0.1 rad."""

    def __init__(self):
        self.resets = 0

    def predict(self, observation):
        start = observation.values["observation.state"]
        values = start + 0.1 * np.arange(1, 4)[:, None]
        return ActionChunk(values, ("a.pos",), "joint_position", observation.stamp, 1 / 30)

    def reset(self):
        self.resets += 1


SEEING = parse_contract(
    """
robot: toy
urdf: toy.urdf
rate: 30
observation:
  observation.images.front: {topic: /front, kind: image, shape: [1, 1, 3], rate: 30, max_age: 0.07}
  observation.state: {topic: /joint_states, kind: joints, names: [a.pos], rate: 100, max_age: 0.05}
action:
  space: joint_position
  names: [a.pos]
  command: {interface: joint_trajectory, topic: /arm/joint_trajectory}
limits: {velocity: 1.0, acceleration: 2.0}
""",
    "toy",
)


@pytest.fixture
def seeing():
    """Pictures 0 and 1, of 0 and 33 ms, and joints up to 30 ms."""
    feed = ObservationFeed(Aligner(SEEING))
    for stamp in (0, 10, 20, 30):
        feed.push("observation.state", stamp * MS, [0.0])
    for number, stamp in enumerate((0, 33)):
        feed.push("observation.images.front", stamp * MS, np.full((1, 1, 3), number, np.uint8))
    return feed


def shown(feed):
    """The number of the picture in the newest observation."""
    return int(feed.latest(45 * MS).values["observation.images.front"][0, 0, 0])


@pytest.fixture
def feed():
    feed = ObservationFeed(Aligner(CONTRACT))
    feed.push("task", 0, "go on")
    feed.push("observation.state", 10 * MS, [1.0])
    return feed


def test_a_valid_observation_becomes_a_numbered_chunk_with_its_task(feed):
    inference = Inference(CONTRACT, StepAhead())
    inference.act(feed.latest(12 * MS))
    chunk = inference.act(feed.latest(12 * MS))
    assert chunk.sequence == 2 and chunk.task == "go on" and chunk.stamp == 10 * MS
    np.testing.assert_allclose(chunk.values[:, 0], [1.1, 1.2, 1.3], atol=1e-6)
    assert inference.reason == ""


def test_a_stale_observation_becomes_an_empty_chunk_and_the_reason_names_the_stream(feed):
    inference = Inference(CONTRACT, StepAhead())
    chunk = inference.act(feed.latest(90 * MS))
    assert chunk.empty
    assert "observation.state" in inference.reason and "80 ms old on /joint_states" in inference.reason
    assert inference.statistics.held == 1


def test_waiting_for_a_complete_observation_ends_when_the_sample_that_is_due_arrives(feed):
    results = []
    waiter = threading.Thread(target=lambda: results.append(feed.wait_complete(33 * MS, feed.epoch, lambda: False)))
    waiter.start()
    feed.push("observation.state", 20 * MS, [2.0])
    assert not results
    feed.push("observation.state", 30 * MS, [3.0])
    waiter.join(timeout=30)
    assert results[0].values["observation.state"][0] == 3.0


def test_waiting_ends_without_an_observation_when_the_clock_jumps_back(feed):
    feed.push("observation.state", 900 * MS, [2.0])
    epoch, results = feed.epoch, []
    waiter = threading.Thread(target=lambda: results.append(feed.wait_complete(2000 * MS, epoch, lambda: False)))
    waiter.start()
    feed.push("observation.state", 0, [0.0])
    waiter.join(timeout=30)
    assert results == [None]
    assert feed.epoch == epoch + 1


def test_a_picture_is_acted_on_once_a_slower_stream_has_reached_its_instant(seeing):
    assert shown(seeing) == 0  # the newest instant that all have reached is before the newest picture
    waiter = threading.Thread(target=seeing.wait_pictures, args=(30.0,))
    waiter.start()
    seeing.push("observation.state", 40 * MS, [0.0])
    waiter.join(timeout=30)
    assert not waiter.is_alive()
    assert shown(seeing) == 1


def test_a_stream_that_is_silent_does_not_keep_the_pictures_waiting_for_ever(seeing):
    seeing.wait_pictures(0.001)
    assert shown(seeing) == 0


def test_lockstep_ticks_lie_exactly_on_the_grid():
    ticks = GridTicks(30.0)
    for _ in range(30_000):
        ticks.advance()
    assert ticks.now == 1_000_000_000_000
    ticks.reset()
    assert ticks.now == 0
