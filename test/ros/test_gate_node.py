"""A gate_node in its own process: what is on the wire, and what it does when things go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from gate_graph import HOME, SOURCE_PROCESS, GateGraph
from rclpy.node import Node
from ros_support import RosTest
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.ros import lifeline
from vla_ros.ros.convert import from_time
from vla_ros.ros.environment import child_environment

TARGET = HOME + [0.6, 0.2, -0.3, 0.0, 0.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def shared(module_ros: RosTest) -> Iterator[GateGraph]:
    with GateGraph(module_ros) as graph:
        graph.start_feeding()
        yield graph


@pytest.fixture
def gate(shared: GateGraph) -> Iterator[GateGraph]:
    """The gate, released, without a source, at rest."""
    yield shared
    shared.feed, shared.force = True, 0.0
    shared.set_source("")
    shared.ros.call(Trigger, "/gate_node/release")
    shared.wait_state("idle")
    shared.wait_at_rest()


def drive(gate: GateGraph) -> None:
    """Select the policy and send chunks until the arm moves."""
    target = np.tile(gate.farther(HOME, TARGET), (30, 1))
    assert gate.set_source("policy").successful
    timer = gate.ros.node.create_timer(1 / 30, lambda: gate.send_chunk(target))
    try:
        gate.wait_motion()
    finally:
        gate.ros.node.destroy_timer(timer)


def test_commands_come_at_100_hz_with_positive_times_and_end_at_rest(gate: GateGraph) -> None:
    drive(gate)
    gate.wait_state("quiet")
    stamps = np.array([from_time(command.header.stamp) for command in gate.commands])
    assert np.median(np.diff(stamps)) == pytest.approx(1e7, rel=0.02)
    for command in gate.commands:
        assert tuple(command.joint_names) == gate.contract.joint_names
        times = [from_time(point.time_from_start) for point in command.points]
        assert times[0] == 20_000_000
        assert (np.diff(times) > 0).all()
        assert len(command.points) >= 2
        assert not any(command.points[-1].velocities)


def test_the_action_topic_says_what_was_sent(gate: GateGraph) -> None:
    actions = gate.ros.collect(JointTrajectory, "/gate/action", 100)
    drive(gate)
    gate.wait_state("quiet")
    gate.ros.wait_for(lambda: len(actions) > 10, what="actions")
    sent = {from_time(command.header.stamp): command.points[0] for command in gate.commands}
    known = [action for action in actions if from_time(action.header.stamp) in sent]
    assert len(known) > 5
    for action in known:
        command = sent[from_time(action.header.stamp)]
        assert tuple(action.joint_names) == gate.contract.action.names
        assert action.points[0].positions == command.positions
        assert action.points[0].time_from_start == command.time_from_start


def test_a_source_process_killed_by_sigkill_leaves_the_arm_held_and_a_new_one_resumes(
    gate: GateGraph,
) -> None:
    def start(target: np.ndarray) -> subprocess.Popen[bytes]:
        paths = [
            str(Path(__file__).parents[2]),
            str(Path(__file__).parents[1]),
            os.environ.get("PYTHONPATH", ""),
        ]
        environment = child_environment() | {"PYTHONPATH": os.pathsep.join(paths)}
        return lifeline.start([sys.executable, "-c", SOURCE_PROCESS, *map(str, target.tolist())], environment)

    assert gate.set_source("policy").successful
    gate.wait_state("waiting for a chunk from 'policy'")
    for _ in range(2):
        process = start(gate.farther(HOME, TARGET))
        try:
            gate.wait_state("active")
            gate.wait_motion()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        gate.wait_state("hold: source 'policy' is quiet")
        gate.wait_at_rest()


def test_a_chunk_that_is_not_a_number_is_refused_with_the_reason(gate: GateGraph) -> None:
    assert gate.set_source("policy").successful
    gate.wait_state("waiting")
    gate.wait_at_rest()
    before, refused = gate.q.copy(), int(gate.values["refused chunks"])
    gate.send_chunk(np.full((5, 7), np.nan))
    gate.ros.wait_for(lambda: int(gate.values["refused chunks"]) == refused + 1, what="the refusal in diagnostics")
    assert "not finite" in gate.values["last refusal"]
    assert gate.q == pytest.approx(before)
    assert gate.state.startswith("hold")


def test_an_unknown_source_is_refused_with_the_valid_ones(gate: GateGraph) -> None:
    result = gate.set_source("polcy")
    assert not result.successful
    assert "did you mean 'policy'" in result.reason
    assert "valid: policy, teleop" in result.reason


def test_the_estop_topic_latches_until_released_and_reselected(gate: GateGraph) -> None:
    publisher = gate.ros.node.create_publisher(Bool, "/estop", 10)
    drive(gate)
    gate.ros.wait_for(lambda: publisher.get_subscription_count() > 0, what="the gate on /estop")
    publisher.publish(Bool(data=True))
    gate.wait_state("estop: topic /estop")
    gate.wait_at_rest()
    gate.ros.wait_for(lambda: gate.sources[-1] == "", what="no source on /gate/source")
    publisher.publish(Bool(data=False))
    assert not gate.set_source("policy").successful
    assert gate.ros.call(Trigger, "/gate_node/release").success
    gate.wait_state("idle")
    drive(gate)


def test_the_estop_service_stops(gate: GateGraph) -> None:
    drive(gate)
    assert gate.ros.call(Trigger, "/gate_node/estop").success
    gate.wait_state("estop: service ~/estop")
    gate.wait_at_rest()


def test_too_large_a_force_stops(gate: GateGraph) -> None:
    drive(gate)
    gate.force = -75.0
    gate.wait_state("estop: force of 75.0 N")
    gate.wait_at_rest()


def test_joint_states_that_stop_are_a_hold_and_their_return_ends_it(gate: GateGraph) -> None:
    gate.feed = False
    gate.wait_state("hold: joint states on /joint_states are")
    gate.feed = True
    gate.wait_state("idle")


def test_a_second_publisher_of_commands_is_named_and_nothing_is_sent_until_it_is_gone(
    gate: GateGraph,
) -> None:
    rival = gate.ros.add(Node("rival", context=gate.ros.context))
    publisher = rival.create_publisher(JointTrajectory, gate.contract.action.command.topic, 10)
    try:
        gate.wait_state("hold: another node publishes commands on /arm_controller/joint_trajectory: /rival")
        assert gate.statuses[-1].level == b"\x02"
        gate.ros.spin_for(0.1)  # what was under way
        gate.commands.clear()
        gate.ros.spin_for(0.3)
        assert not gate.commands
    finally:
        rival.destroy_publisher(publisher)
    gate.wait_state("idle")
    gate.ros.wait_for(lambda: gate.commands, what="commands again")


def test_it_says_its_period_and_priority(gate: GateGraph) -> None:
    gate.ros.wait_for(lambda: float(gate.values.get("period p50 [ms]", 0)) > 0, what="a measured period")
    assert float(gate.values["period p50 [ms]"]) == pytest.approx(10.0, abs=0.5)
    assert "priority" in gate.values["scheduling"] or "nice" in gate.values["scheduling"]


def test_of_a_stop_that_is_released_nothing_more_is_said(ros: RosTest) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    from vla_ros.contract import load_contract
    from vla_ros.gate import Gate
    from vla_ros.gate_output import GateOutput
    from vla_ros.kinematics import Kinematics
    from vla_ros.ros.gate_report import GateReport

    contract = load_contract("tabletop_arm")
    report = GateReport(ros.node, Gate(contract, Kinematics.of(contract), 0.01, sources=("policy",)), "")
    said = ros.collect(DiagnosticArray, "/diagnostics")
    first, last, idle = (
        GateOutput(0, *what, "", None) for what in (("estop", "first"), ("estop", "last"), ("idle", ""))
    )
    ros.wait_for(lambda: [report.tick(first), report.publish(), said][-1], 20, "word of the first stop")
    report.tick(last)
    report.forget()
    report.publish()  # as the gate does every second, while a simulation in lockstep waits
    report.tick(idle)
    ros.wait_for(lambda: said[-1].status[0].message == "idle", 20, "word of the state after it")
    assert [message.status[0].message for message in said][-3:] == ["estop: first", "estop: last", "idle"]
