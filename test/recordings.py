"""A small robot and its data, for the tests of recording and reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.contract import Contract, parse_contract
from vla_ros.data import Dataset, DatasetWriter

DEPTH = "observation.depth.front"
FRONT, WRENCH, TAXELS = "observation.images.front", "observation.wrench.tool", "observation.tactile.left"
TEXT = """
robot: small
urdf: none
rate: {rate}
observation:
  observation.images.front: {{topic: /front, kind: image, shape: [48, 64, 3], max_age: 0.07}}
  observation.state:
    {{topic: /joint_states, kind: joints, names: [{names}], align: interpolate, rate: 300, max_age: 0.05}}
  observation.wrench.tool: {{topic: /wrench, kind: wrench, history: 4, rate: 300}}
  observation.tactile.left: {{topic: /left, kind: taxels, shape: [2, 2, 3], rate: 100}}
  task: {{topic: /instruction, kind: text}}
action: {{space: joint_position, names: [{names}], command: {{interface: forward, topic: /commands}}}}
limits: {{velocity: 1.0, acceleration: 5.0}}
"""


def small_contract(rate: float = 30, names: str = "a.pos, b.pos") -> Contract:
    """Return a contract with one stream of each kind that can be recorded."""
    return parse_contract(TEXT.format(rate=rate, names=names), "small.yaml")


def picture(k: int) -> npt.NDArray[np.uint8]:
    """Return a frame that tells its number: a smooth gradient, its brightness rising with k modulo 12."""
    image = np.empty((48, 64, 3), dtype=np.uint8)
    image[:] = np.linspace(20, 60, 64).astype(np.uint8)[None, :, None]
    return image + np.uint8(15 * (k % 12))


def number_of(frame: npt.NDArray[np.uint8]) -> int:
    """Return k modulo 12 of a decoded `picture(k)`."""
    return round((float(frame.mean()) - float(picture(0).mean())) / 15)


def row(k: int) -> dict[str, Any]:
    """Return row k of an episode; every value tells k."""
    return {
        FRONT: picture(k),
        "observation.state": np.array([k, -k], dtype=np.float32),
        WRENCH: np.arange(24, dtype=np.float32).reshape(4, 6) + 100 * k,
        TAXELS: np.arange(12, dtype=np.float32).reshape(2, 2, 3) - k,
        "action": np.array([k + 1, -k - 1], dtype=np.float64),
        "sync.age": np.array([0.0, 0.001, 0.002, 0.003]),
        "sync.stamp": np.array([k, k, k, k]) * 33_333_333,
    }


def deep_contract() -> Contract:
    """Return the small contract with a depth camera."""
    stream = f"  {DEPTH}: {{topic: /depth, kind: depth, shape: [48, 64]}}\n  task:"
    return parse_contract(small_contract().text.replace("  task:", stream), "deep.yaml")


def depth(k: int) -> npt.NDArray[np.float32]:
    """Return a slope from 0.3 m to 6 m that moves with k; nothing was measured in one corner."""
    slope = np.linspace(0.3, 6.0, 64, dtype=np.float32)[None] + np.linspace(0, 0.5, 48, dtype=np.float32)[:, None]
    slope += np.float32(0.01 * k)
    slope[:8, :8] = np.nan
    return slope


def deep_row(k: int) -> dict[str, Any]:
    """Return row k of an episode of `deep_contract`."""
    return row(k) | {DEPTH: depth(k), "sync.age": np.zeros(5), "sync.stamp": np.zeros(5)}


def record(
    root: Path,
    lengths: tuple[int, ...],
    contract: Contract | None = None,
    tasks: tuple[str, ...] = ("do it",),
) -> None:
    """Append episodes with these lengths; the instructions take turns, every second episode failed."""
    with DatasetWriter(root, contract or small_contract()) as writer:
        for i, length in enumerate(lengths):
            writer.start_episode(tasks[i % len(tasks)])
            for k in range(length):
                writer.add_frame(row(k))
            writer.save_episode(success=i % 2 == 0)


def assert_same_pictures(one: Dataset, two: Dataset, key: str, episode: int, other: int | None = None) -> None:
    """Check that two encodings of an episode show the same pictures, none of them shifted by a row.

    Two runs of x264 may differ in single pixels, but not by half of what two pictures after each other do.
    """
    a = one.frames(key, episode).astype(int)
    b = two.frames(key, episode if other is None else other).astype(int)
    assert a.shape == b.shape, key
    assert np.abs(a - b).mean() <= 0.5 * np.abs(a[1:] - b[:-1]).mean(), key
