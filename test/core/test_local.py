"""Lockstep trials in one process: demonstrations, resuming, refusals. That they are the graph's, test/ros/test_local.py shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.contract import load_contract
from vla_ros.data import Dataset
from vla_ros.errors import ContractError, GraphError
from vla_ros.local import demonstrate
from vla_ros.local.arm import GatedArm, stopped


def test_demonstrations_go_on_after_the_last_seed_that_was_tried(tmp_path: Path) -> None:
    lines: list[str] = []
    assert demonstrate("reach", 1, 40, tmp_path / "reach", say=lines.append).saved == 1
    assert demonstrate("reach", 2, 40, tmp_path / "reach", resume=True, say=lines.append).saved == 2
    assert demonstrate("reach", 2, 40, tmp_path / "reach", resume=True, say=lines.append).failed == []
    assert [line.rsplit(" ", 1)[-1] for line in lines] == ["40", "41"], "the third call had nothing to do"
    assert json.loads((tmp_path / "reach/meta/seeds.json").read_text())["reach"]["episodes"] == [[0, 40], [1, 41]]
    data = Dataset(tmp_path / "reach")
    assert data.num_episodes == 2 and all(episode.success for episode in data.episodes)


def test_nothing_moves_until_a_source_is_selected_and_a_force_latches_the_stop() -> None:
    seen: list[tuple[str, int]] = []
    arm = GatedArm(
        load_contract("tabletop_arm"), "reach", lambda key, stamp, value: seen.append((key, stamp)), lambda t: False
    )
    arm.reset(0)
    before = arm.positions()
    for _ in range(10):
        assert arm.advance(lambda now: None).state == "idle"
    assert np.abs(arm.positions() - before).max() < 1e-3
    assert not any("images" in key for key, _ in seen), "nobody looks"
    assert [stamp for key, stamp in seen if key == "observation.tactile.left"] == [10_000_000 * k for k in range(11)]
    arm.gate.estop("tested")
    output = arm.advance(lambda now: None)
    assert stopped(output) == "estop: tested"


def test_a_stream_that_the_simulated_arm_lacks_is_named(tmp_path: Path) -> None:
    file = tmp_path / "tail.yaml"
    file.write_text(
        load_contract("tabletop_arm").text.replace("observation.tactile.left:", "observation.tactile.tail:")
    )
    with pytest.raises(ContractError, match="no stream 'observation.tactile.tail' of kind taxels"):
        GatedArm(load_contract(file), "reach", lambda key, stamp, value: None, lambda t: False)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["collect", "--local", "--no-lockstep"], "real time"),
        (["collect", "--local", "--raw", "--device", "scripted://natnet"], "--raw, --device"),
        (["evaluate", "--local", "--checkpoint", "x"], "real time"),
        (["evaluate", "--local", "--lockstep", "--checkpoint", "x", "--view"], "--view"),
    ],
)
def test_what_needs_the_graph_is_refused(arguments: list[str], what: str) -> None:
    outcome = CliRunner().invoke(app, arguments)
    assert isinstance(outcome.exception, GraphError)
    assert str(outcome.exception) == f"--local has no graph, which {what} needs; it goes with --lockstep"
