"""Trials and demonstrations without ROS are those of the graph, bit for bit."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from recordings import assert_same_pictures
from rich.console import Console

from vla_ros.data import Dataset
from vla_ros.local import demonstrate
from vla_ros.local import evaluate as local_evaluate
from vla_ros.paths import share_path
from vla_ros.ros.collect import collect
from vla_ros.ros.evaluate import Evaluation
from vla_ros.ros.evaluate import evaluate as graph_evaluate

SHIPPED = share_path("config/checkpoints/tabletop_act")


@pytest.mark.parametrize("task", ["reach", "insert"])
def test_a_demonstration_without_the_graph_has_the_rows_of_one_on_it(
    ros_domain: int, task: str, tmp_path: Path
) -> None:
    demonstrate(task, 2, 1000, tmp_path / "local", say=lambda line: None)
    collect(task, 2, 1000, tmp_path / "graph", console=Console(file=io.StringIO()))
    local, graph = Dataset(tmp_path / "local"), Dataset(tmp_path / "graph")
    assert [(e.length, e.task) for e in local.episodes] == [(e.length, e.task) for e in graph.episodes]
    for key in graph.features:
        if graph.features[key].dtype not in ("video", "string"):
            assert np.array_equal(local.column(key), graph.column(key)), key
    for stream in graph.contract.streams("image"):
        for episode in range(2):
            assert_same_pictures(local, graph, stream.key, episode)


def test_a_trial_without_the_graph_ends_as_on_it_at_the_same_time(ros_domain: int) -> None:
    local = local_evaluate(SHIPPED, "pick_place", 2, 1_000_000, 24, say=lambda line: None)
    graph = graph_evaluate(Evaluation(SHIPPED, "pick_place", 2, 1_000_000, lockstep=True), say=lambda line: None)
    assert local.trials == graph.trials
    other = local_evaluate(
        SHIPPED, "pick_place", 1, 1_000_000, 24, "put the blue cube in the bin", say=lambda line: None
    )
    assert other.trials[0].instruction == "put the blue cube in the bin" and other.trials[0] != local.trials[0]
