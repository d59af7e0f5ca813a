"""Optional streams at work: masked while they are missing or too old, used again when they are back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import yaml
from picture_policy import TINY, build, look
from picture_world import PictureData

from vla_ros.contract import parse_contract
from vla_ros.data.features import AGE, sync_names
from vla_ros.inference import Inference, ObservationFeed
from vla_ros.observation import Aligner, Observation
from vla_ros.policy.config import parse_policy
from vla_ros.train.batches import Sampler
from vla_ros.train.config import TrainingConfig
from vla_ros.train.prepare import prepare

MS = 1_000_000
STATE, IMAGE, PAD = "observation.state", "observation.images.top", "observation.tactile.left"
CONTRACT = parse_contract(
    """
robot: toy
urdf: toy.urdf
rate: 10
observation:
  observation.state: {topic: /joint_states, kind: joints, names: [a.pos], rate: 100, max_age: 0.05}
  observation.images.top: {topic: /top, kind: image, shape: [1, 1, 3], rate: 10, max_age: 0.15}
  observation.tactile.left: {topic: /pad, kind: taxels, shape: [1, 1, 3], rate: 50, max_age: 0.05}
  task: {topic: /instruction, kind: text}
action:
  space: joint_position
  names: [a.pos]
  command: {interface: joint_trajectory, topic: /arm/joint_trajectory}
limits: {velocity: 1.0, acceleration: 2.0}
""",
    "toy",
)


def fill(aligner: Aligner | ObservationFeed, begin: int, end: int, *without: str) -> None:
    """Feed every stream at its rate from `begin` to `end` [ms], but those named."""
    for t in range(begin, end + 1, 10):
        if STATE not in without:
            aligner.push(STATE, t * MS, [t / 1000])
        if t % 20 == 0 and PAD not in without:
            aligner.push(PAD, t * MS, np.full((1, 1, 3), t))
        if t % 100 == 0 and IMAGE not in without:
            aligner.push(IMAGE, t * MS, np.zeros((1, 1, 3), np.uint8))


@pytest.fixture
def aligner() -> Aligner:
    aligner = Aligner(CONTRACT, optional=(PAD,))
    aligner.push("task", 0, "go")
    return aligner


def test_an_optional_stream_that_never_came_is_masked_and_holds_nobody_up(aligner: Aligner) -> None:
    fill(aligner, 0, 200, PAD)
    seen = aligner.latest(205 * MS)
    assert seen.valid and seen.stamp == 200 * MS
    assert PAD not in seen.values and "no data yet on /pad" in seen.masked[PAD]
    assert aligner.has_reached(200 * MS)


def test_an_optional_stream_that_stops_is_used_until_it_is_too_old_then_masked_then_used_again(
    aligner: Aligner,
) -> None:
    fill(aligner, 0, 200)
    fill(aligner, 210, 240, PAD)
    fresh = aligner.latest(240 * MS)
    assert fresh.valid and not fresh.masked and PAD in fresh.values
    fill(aligner, 250, 400, PAD)
    stale = aligner.latest(400 * MS)
    assert stale.valid and stale.stamp == 400 * MS and "200 ms old on /pad" in stale.masked[PAD]
    fill(aligner, 410, 500)
    again = aligner.latest(500 * MS)
    assert not again.masked and again.values[PAD][0, 0, 0] == 500


def test_a_needed_stream_that_stops_still_makes_the_observation_invalid(aligner: Aligner) -> None:
    fill(aligner, 0, 200)
    fill(aligner, 210, 500, IMAGE, PAD)
    seen = aligner.latest(500 * MS)
    assert not seen.valid and set(seen.lacking) == {IMAGE} and set(seen.masked) == {PAD}
    assert not aligner.has_reached(500 * MS)


def test_live_and_recorded_alignment_mask_the_same_stream(aligner: Aligner) -> None:
    recorded = Aligner(CONTRACT)
    recorded.push("task", 0, "go")
    for both in (aligner, recorded):
        fill(both, 0, 200)
        fill(both, 210, 400, PAD)
    live = aligner.latest(400 * MS)
    later = recorded.align(live.stamp)
    assert set(later.invalid) == set(live.masked) == {PAD}
    for key in (STATE, IMAGE, "task"):
        np.testing.assert_array_equal(later.values[key], live.values[key])


def test_a_policy_acts_without_the_optional_stream_exactly_as_if_it_had_never_been_there() -> None:
    policy = build()
    pads = policy.capabilities.optional
    assert pads and all(key.startswith("observation.tactile.") for key in pads)
    seen = look(policy)
    stale = Observation(seen.stamp, seen.values, invalid=dict.fromkeys(pads, "too old"), optional=frozenset(pads))
    inference = Inference(policy.contract, policy)
    chunk = inference.act(stale)
    assert set(inference.without) == set(pads) and inference.reason == ""
    absent = look(policy, **dict.fromkeys(pads))
    np.testing.assert_array_equal(chunk.values, policy.predict(absent).values)
    assert not np.array_equal(chunk.values, policy.predict(seen).values)


def test_a_needed_stream_makes_the_policy_hold_and_the_reason_does_not_name_the_optional_one(aligner: Aligner) -> None:
    fill(aligner, 0, 500, IMAGE, PAD)
    inference = Inference(CONTRACT, build())
    assert inference.act(aligner.latest(500 * MS)).empty
    assert "no data yet on /top" in inference.reason and "/pad" not in inference.reason


def test_the_state_is_never_optional() -> None:
    policy = build(TINY.replace("optional: [observation.tactile.*]", "optional: ['observation.*']"))
    assert policy.contract.state.key not in policy.capabilities.optional


def test_lockstep_gives_an_optional_stream_up_once_and_waits_for_it_again_when_it_is_back() -> None:
    feed = ObservationFeed(Aligner(CONTRACT, optional=(PAD,)))
    feed.push("task", 0, "go")
    fill(feed, 0, 200, PAD)
    seen = feed.wait_complete(100 * MS, feed.epoch, lambda: False, patience=0.01)
    assert seen is not None and seen.valid and PAD in seen.masked
    # With endless patience this returns at once: the stream is no longer waited for.
    assert feed.wait_complete(200 * MS, feed.epoch, lambda: False, patience=1e9) is not None

    feed.push(PAD, 200 * MS, np.ones((1, 1, 3)))
    fill(feed, 210, 300, PAD)
    results: list[Any] = []
    waiter = threading.Thread(
        target=lambda: results.append(feed.wait_complete(300 * MS, feed.epoch, lambda: False, patience=1e9))
    )
    waiter.start()
    fill(feed, 220, 280, STATE, IMAGE)
    assert not results
    feed.push(PAD, 300 * MS, np.full((1, 1, 3), 7.0))
    waiter.join(timeout=30)
    assert not results[0].masked and results[0].values[PAD][0, 0, 0] == 7.0


def test_lockstep_waits_for_a_needed_stream_however_long_it_takes() -> None:
    feed = ObservationFeed(Aligner(CONTRACT, optional=(PAD,)))
    feed.push("task", 0, "go")
    fill(feed, 0, 100, IMAGE, PAD)
    asked = iter([False, False, False])
    assert feed.wait_complete(100 * MS, feed.epoch, lambda: next(asked, True), patience=0.0) is None


class AgedData(PictureData):
    """Demonstrations whose left pad fell silent in the second half of each episode."""

    def column(self, key: str) -> npt.NDArray[np.float32]:
        if key != AGE:
            return super().column(key)
        order = sync_names(self.contract)
        ages = np.zeros((self.num_frames, len(order)), np.float32)
        length = self.episodes[0].length
        ages[np.arange(self.num_frames) % length >= length // 2, order.index(self.pad)] = 1.0
        return ages

    @property
    def pad(self) -> str:
        """The pad."""
        return next(s.key for s in self.contract.streams("taxels"))


def test_training_masks_the_rows_in_which_the_recording_held_a_sample_too_old_to_act_on(tmp_path: Path) -> None:
    data = AgedData(2, size=(30, 40), rows=10, touch=True)
    policy, config = parse_policy(yaml.safe_load(TINY), "tiny"), TrainingConfig(validation=0.0)
    prepared = prepare(data, policy, config, 0, tmp_path)
    fresh = prepared.rows.present[data.pad]
    assert fresh.tolist() == 2 * ([True] * 5 + [False] * 5)
    sampler = Sampler(prepared.rows, policy.chunk, config, {data.pad}, 0.0, torch.device("cpu"))
    assert not sampler.draw(torch.arange(5, 10), 20).present[data.pad].any()
    assert sampler.draw(torch.arange(0, 5), 20).present[data.pad].all()
