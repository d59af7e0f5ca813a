"""A lockstep trial gets going whoever joins late: what was published before a node was there reaches it."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from vla_ros.cli import SHIPPED
from vla_ros.paths import share_path
from vla_ros.ros.graph import bring_up
from vla_ros.ros.trials import TrialDriver
from vla_ros.ros.up import Graph

CHECKPOINT = str(share_path(SHIPPED))


def test_a_policy_that_joins_after_the_scene_was_published_sees_it(ros_domain: int) -> None:
    specs = bring_up(task="reach", checkpoint=CHECKPOINT, lockstep=True)
    *others, policy = specs
    assert policy.name == "policy_node"
    with Graph(others) as graph, TrialDriver() as driver:
        graph.wait_ready()
        driver.start("reach", 1, "policy")
        graph.start(policy)
        graph.wait_ready(120.0)
        status = driver.watch(0.2, lockstep=True, alive=graph.check)
    assert status.time >= 0.2


def test_a_gate_that_joins_after_the_scene_was_published_answers_it(ros_domain: int) -> None:
    simulator, gate = bring_up(task="reach", lockstep=True)
    with Graph([simulator]) as graph, TrialDriver() as driver:
        graph.wait_ready()
        driver.reset("reach", 1)
        graph.start(gate)
        status = driver.watch(0.2, lockstep=True, alive=graph.check)
    assert status.time >= 0.2


def test_a_reset_to_the_same_untouched_scene_begins_it_again(ros_domain: int) -> None:
    with Graph(bring_up(task="reach", lockstep=True)) as graph, TrialDriver() as driver:
        graph.wait_ready()
        for _ in range(2):
            driver.reset("reach", 1)
        status = driver.watch(0.1, lockstep=True, alive=graph.check)
    assert status.time >= 0.1
