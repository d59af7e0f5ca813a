"""A policy drives, the scripted operator corrects it, and the rows say who had the arm."""

from __future__ import annotations

import io
from itertools import groupby
from pathlib import Path

import pytest
from rich.console import Console

pytest.importorskip("rclpy")

from vla_ros.data import Dataset
from vla_ros.paths import share_path


def test_corrections_of_a_policy_are_recorded_and_labelled(ros_domain: int, tmp_path: Path) -> None:
    from vla_ros.ros.collect import collect

    checkpoint = str(share_path("config/checkpoints/tabletop_act"))
    outcome = collect("reach", 1, 7000, tmp_path / "set", console=Console(file=io.StringIO()), policy=checkpoint)
    assert outcome.saved == 1
    labels = Dataset(tmp_path / "set").column("intervention", 0).ravel().tolist()
    turns = [(held, len(list(rows))) for held, rows in groupby(labels)]
    assert not turns[0][0], "the policy begins"
    assert any(held for held, _ in turns), "and is corrected"
    for held, rows in turns[1:-1]:
        assert 1.5 * 30 - 1 <= rows <= 3.0 * 30 + 1, f"a turn of {rows} rows, held: {held}"
