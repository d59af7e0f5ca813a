"""The action of a recording without a robot: where the hand went while its tracker was silent nobody makes up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vla_ros.contract import load_contract, parse_contract
from vla_ros.data import Dataset, DatasetWriter, EpisodeRecorder

SECOND = 1_000_000_000
POSE, STATE, WRIST = "observation.pose.tool", "observation.state", "observation.images.wrist"


def hand(t: float) -> np.ndarray:
    return np.array([0.1 * np.sin(2.5 * t), 0.0, 0.3, 0.0, 0.0, 0.0, 1.0])


def record(root: Path, silent: tuple[float, float], until: float = 2.0) -> EpisodeRecorder:
    """Record from 0.2 s on a hand whose tracker says nothing within `silent` [s]."""
    contract = parse_contract(load_contract("umi_gripper").text.replace("[240, 320, 3]", "[24, 32, 3]"), "hand.yaml")
    recorder = EpisodeRecorder(contract, DatasetWriter(root, contract))
    samples = [(round(k * SECOND / 100), POSE, hand(k / 100)) for k in range(round(until * 100))]
    samples = [sample for sample in samples if not silent[0] < sample[0] / SECOND < silent[1]]
    for k in range(round(until * 30)):
        stamp = round(k * SECOND / 30)
        samples += [(stamp, WRIST, np.full((24, 32, 3), k, dtype=np.uint8)), (stamp, STATE, np.array([0.04]))]
    begun = False
    for stamp, key, value in sorted(samples, key=lambda sample: sample[0]):
        recorder.aligner.push(key, stamp, value)
        if not begun and stamp >= SECOND // 5:
            recorder.start(stamp, "put the cup on the saucer")
            begun = True
        if begun:
            recorder.advance(stamp)
    return recorder


def test_a_tracker_that_is_found_again_ends_the_episode_before_it_was_lost(tmp_path: Path) -> None:
    recorder = record(tmp_path / "set", silent=(0.805, 1.5))
    assert recorder.problem.startswith(f"{POSE}: silent for 0.70 s on /gripper/pose, at most 0.1 s allowed for row")
    first = recorder.first / SECOND
    recorder.save()
    data = Dataset(tmp_path / "set")
    times = first + np.arange(data.num_frames) / 30
    assert times[-1] + 1 / 30 == pytest.approx(0.8, abs=1e-6)
    np.testing.assert_allclose(data.column("action")[:, :7], [hand(t + 1 / 30) for t in times], atol=1e-4)
    np.testing.assert_allclose(data.column(POSE), [hand(t) for t in times], atol=1e-4)


def test_a_short_silence_is_interpolated(tmp_path: Path) -> None:
    recorder = record(tmp_path / "set", silent=(0.805, 0.89))
    assert recorder.problem == "" and recorder.rows > 45
