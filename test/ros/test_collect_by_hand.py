"""Demonstrations through an emulated device in the scripted operator's hand, on the real graph in lockstep."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from vla_ros.data import Dataset

SEED = 1000


@pytest.mark.timeout(300)
def test_an_emulated_leader_arm_teaches_and_a_seed_gives_the_same_episode_again(
    ros_domain: int, tmp_path: Path
) -> None:
    from vla_ros.ros.collect import collect

    def collected(name: str, device: str) -> Dataset:
        console = Console(file=io.StringIO())
        outcome = collect("reach", 1, SEED, tmp_path / name, console=console, device=device)
        assert outcome.saved == 1 and outcome.failed == []
        return Dataset(tmp_path / name)

    one, again = collected("one", "scripted://dynamixel"), collected("again", "scripted://dynamixel")
    plain = collected("plain", "scripted")
    for key in ("action", "observation.state"):
        assert (one.column(key) == again.column(key)).all()
        assert np.abs(one.column(key)[-1] - plain.column(key)[-1]).max() < 0.1, "the same disc is touched"
    assert not np.array_equal(one.column("action")[5], plain.column("action")[5]), "but by servo ticks, filtered"
