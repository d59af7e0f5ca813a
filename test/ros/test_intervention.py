"""A person corrects a policy: the arm is handed over at the next tick, smoothly, and back, and not by a pulled cable."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from ros_support import RosTest

pytest.importorskip("rclpy")
from gate_graph import HOME, GateGraph
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory

from vla_ros.ros import qos
from vla_ros.ros.convert import from_time, to_time

PERIOD = 0.01  # [s]
FAR = HOME + np.array([0.8, 0, 0, 0, 0, 0, 0])


@pytest.fixture
def gate(ros: RosTest) -> Iterator[GateGraph]:
    with GateGraph(ros, intervention=True, source="policy") as graph:
        graph.start_feeding()
        yield graph


def keep_sending(gate: GateGraph, source: str, target: np.ndarray) -> None:
    """Let `source` send chunks to `target` from now on; an empty target is an empty chunk."""
    values = np.tile(target, (8, 1)) if target.size else np.zeros((0, 7))
    gate.ros.node.create_timer(0.02, lambda: gate.send_chunk(values, source))


def test_taking_the_clutch_takes_the_arm_smoothly_and_releasing_gives_it_back(gate: GateGraph) -> None:
    handed = gate.ros.collect(Header, "/gate/intervention", qos.reliable(10, latched=True))
    keep_sending(gate, "policy", FAR)
    gate.ros.wait_for(lambda: gate.q[0] > 0.2, what="the policy on its way")
    moving, target = gate.commands[-1], gate.q.copy()
    assert any(moving.points[0].velocities)
    for _ in range(40):  # a person's device ties itself to where the arm is at that moment
        gate.send_chunk(np.tile(target, (8, 1)), "teleop")
        before = len(gate.commands)
        gate.ros.wait_for(lambda before=before: len(gate.commands) > before)
    assert gate.sources[-1] == "teleop" and [header.frame_id for header in handed] == ["intervention"]
    assert gate.q == pytest.approx(target, abs=0.02), "braked, and came back to where the clutch was taken"
    stamps = np.array([from_time(command.header.stamp) for command in gate.commands])
    path = np.array([command.points[0].positions for command in gate.commands])[:, 0]
    speed = np.array([command.points[0].velocities for command in gate.commands])[:, 0]
    even = np.abs(np.diff(stamps) - PERIOD * 1e9) < 1e6
    assert (np.abs(np.diff(speed))[even] <= 8.0 * PERIOD * 1.01).all(), "no more than the contract's acceleration"
    assert (np.abs(np.diff(path))[even] <= 1.5 * PERIOD * 1.01).all()

    released = JointTrajectory()
    released.header.stamp = to_time(gate.ros.node.get_clock().now().nanoseconds)
    gate._chunks["teleop"].publish(released)
    gate.ros.wait_for(lambda: gate.sources[-1] == "policy", what="the policy having the arm again")
    gate.ros.wait_for(lambda: gate.q[0] > 0.7, what="the policy on its way again")
    gate.ros.wait_for(lambda: [header.frame_id for header in handed] == ["intervention", ""])


def test_a_device_that_is_lost_in_a_correction_holds_the_arm(gate: GateGraph) -> None:
    keep_sending(gate, "policy", FAR)
    gate.ros.wait_for(lambda: gate.q[0] > 0.1, what="the policy on its way")
    gate.send_chunk(np.tile(gate.q, (8, 1)), "teleop")
    gate.ros.wait_for(lambda: gate.sources[-1:] == ["teleop"])
    keep_sending(gate, "teleop", np.array([]))
    gate.wait_state("hold: source 'teleop' asks to hold")
    gate.wait_at_rest()
    assert gate.sources[-1] == "teleop" and gate.q[0] < 0.7
