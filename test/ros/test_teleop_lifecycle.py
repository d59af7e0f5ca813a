"""teleop_node through its lifecycle: a pause of the leader moves nothing, and a second configuration is as the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ros_support import RosTest
from servo_support import JOINTS

pytest.importorskip("rclpy")
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from vla_ros.ros import lifeline, qos
from vla_ros.ros.convert import joints_to_message

ROOT = Path(__file__).resolve().parents[2]
HOME = dict(zip(JOINTS, (1.2, -0.2, 0.5, 0.2, 0.1, 0.0, 0.02), strict=True))
ELBOW, LEADER = JOINTS.index("elbow"), "/leader/joint_states"
LED = 20  # chunks in a row


class Bench:
    """An arm that stands at HOME and has teleop's chunks, and a leader whose elbow goes where it is told, both at 50 Hz."""

    def __init__(self, ros: RosTest) -> None:
        self.ros, self.elbow = ros, 0.0
        self.chunks: list[JointTrajectory] = ros.collect(JointTrajectory, "/teleop/chunk", 200)
        self.arm = ros.node.create_publisher(JointState, "/joint_states", qos.reliable(10))
        self.leader = ros.node.create_publisher(JointState, LEADER, qos.reliable(10))
        self.source = ros.node.create_publisher(String, "/gate/source", qos.LATCHED)
        self.source.publish(String(data="teleop"))
        ros.node.create_timer(0.02, self._publish)

    def _publish(self) -> None:
        stamp, zero = self.ros.node.get_clock().now().nanoseconds, dict.fromkeys(JOINTS, 0.0)
        self.arm.publish(joints_to_message(stamp, HOME, zero, zero))
        self.leader.publish(joints_to_message(stamp, zero | {"elbow": self.elbow}, zero, zero))

    def change(self, *transitions: int) -> None:
        for transition in transitions:
            request = ChangeState.Request()
            request.transition.id = transition
            assert self.ros.call(ChangeState, "/teleop_node/change_state", request).success

    def take(self) -> None:
        assert self.ros.call(SetBool, "/teleop_node/clutch", SetBool.Request(data=True)).success

    def lead(self) -> list[JointTrajectory]:
        """Take the clutch, and return the first of many chunks in a row that lead."""

        def led() -> bool:
            return len(self.chunks) >= LED and all(chunk.points for chunk in self.chunks[-LED:])

        self.take()
        self.chunks.clear()
        self.ros.wait_for(led, 60.0, f"{LED} chunks in a row without a hold between them")
        return self.chunks[-LED:]

    def ends(self) -> tuple[int, int, int]:
        """Return how many ends of teleop_node there are: of its chunks, of the arm's and of the leader's joints."""
        node = self.ros.node
        return node.count_publishers("/teleop/chunk"), *(map(node.count_subscribers, ("/joint_states", LEADER)))


@pytest.fixture
def bench(ros: RosTest) -> Iterator[Bench]:
    command = [sys.executable, "-m", "vla_ros.ros.nodes.teleop_node", "--ros-args", "-p", "autostart:=false"]
    command += ["-p", f"device:=topic://{LEADER}", "-p", "mode:=relative", "-p", "cutoff:=0.0"]
    process = lifeline.start(command, os.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    yield Bench(ros)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_leader_that_moves_while_the_node_is_inactive_moves_nothing(bench: Bench) -> None:
    bench.change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    assert bench.lead()[-1].points[0].positions[ELBOW] == pytest.approx(HOME["elbow"])
    bench.change(Transition.TRANSITION_DEACTIVATE)
    bench.ros.wait_for(lambda: not bench.chunks[-1].points, 60.0, "the last chunk's hold")
    bench.elbow = 0.5
    bench.chunks.clear()
    bench.change(Transition.TRANSITION_ACTIVATE)
    bench.ros.wait_for(lambda: len(bench.chunks) > LED, 60.0, "chunks")
    assert not any(chunk.points for chunk in bench.chunks), "the clutch is to be taken again"
    for chunk in bench.lead():
        assert chunk.points[0].positions[ELBOW] == pytest.approx(HOME["elbow"])


def test_a_node_that_is_configured_again_is_as_new(bench: Bench) -> None:
    bench.change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    bench.lead()
    assert bench.ends() == (1, 1, 1)
    bench.change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
    bench.ros.wait_for(lambda: bench.ends() == (0, 0, 0), 60.0, "the end of the node's entities")
    bench.change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    bench.lead()
    assert bench.ends() == (1, 1, 1)
