"""In lockstep time stands still until it is answered and granted, and a seed repeats itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from ros_support import RosTest

pytest.importorskip("rclpy")
from builtin_interfaces.msg import Time
from geometry_msgs.msg import WrenchStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from simulator import COMMANDS, JOINTS, MS, reset, simulator, trajectory
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from vla_ros.ros import qos
from vla_ros.ros.convert import JointReader, from_time, to_time
from vla_ros.ros.up import Graph


class Gate:
    """Answers every tick of 10 ms with a command, as gate_node does, and hears everything."""

    def __init__(self, ros: RosTest) -> None:
        self.ros, self.answering, self.offset = ros, True, 0.0
        self.trace: list[tuple[int, list[float]]] = []
        self._read = JointReader(JOINTS)
        self._commands = ros.node.create_publisher(JointTrajectory, COMMANDS, qos.exchanged(10, True))
        self.grants = ros.node.create_publisher(Time, "/sim/run_until", qos.COMMAND)
        ros.node.create_subscription(JointState, "/joint_states", self._on_joints, qos.sensor(300, reliable=True))

    def _on_joints(self, message: JointState) -> None:
        stamp, q = from_time(message.header.stamp), self._read(message)
        self.trace.append((stamp, q.tolist()))
        if self.answering and stamp % (10 * MS) == 0:
            self._commands.publish(trajectory(stamp, (q + self.offset).tolist(), 20 * MS))

    def run(self, until: int) -> None:
        self.grants.publish(to_time(until))
        self.ros.wait_for(lambda: self.trace and self.trace[-1][0] == until, what=f"time {until / 1e9} s")


@pytest.fixture(scope="module")
def gate(module_ros: RosTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    made = Gate(module_ros)
    with Graph([simulator(lockstep=True, use_sim_time=True)], tmp_path_factory.mktemp("lockstep")) as graph:
        graph.wait_ready()
        yield made
        graph.check()


def test_lockstep_streams_lie_exactly_on_their_grids(gate: Gate):
    deep = qos.sensor(300, reliable=True)
    topics = {
        "/tool/wrench": (WrenchStamped, 300),
        "/left_pad/taxels": (Image, 100),
        "/front_camera/color/image_raw": (Image, 30),
        "/wrist_camera/color/image_raw": (Image, 30),
    }
    heard = {topic: gate.ros.collect(kind, topic, deep) for topic, (kind, _) in topics.items()}
    clock = gate.ros.collect(Clock, "/clock", deep)
    objects = gate.ros.collect(MarkerArray, "/sim/objects", deep)
    reset(gate.ros, task="reach", seed=1)
    gate.run(500 * MS)

    def complete(topic: str) -> Callable[[], bool]:
        return lambda: bool(heard[topic]) and from_time(heard[topic][-1].header.stamp) == 500 * MS

    for topic, (_, rate) in topics.items():
        gate.ros.wait_for(complete(topic), what=f"the last of {topic}")
        stamps = [from_time(message.header.stamp) for message in heard[topic]]
        assert stamps == [round(k * 1e9 / rate) for k in range(rate // 2 + 1)], topic
    assert len(objects) >= 50
    gate.ros.wait_for(lambda: clock and from_time(clock[-1].clock) == 500 * MS)


def test_lockstep_stands_still_without_an_answer_and_beyond_the_grant(gate: Gate):
    reset(gate.ros, task="reach", seed=2)
    gate.run(50 * MS)
    gate.ros.spin_for(0.3)
    assert gate.trace[-1][0] == 50 * MS
    gate.answering = False
    reset(gate.ros, seed=3)
    gate.grants.publish(to_time(1000 * MS))
    gate.ros.spin_for(0.3)
    gate.answering = True
    assert gate.trace[-1][0] == 0


def test_lockstep_repeats_itself_from_the_seed(gate: Gate):
    gate.offset = 0.02
    traces = []
    for other in (8, 9):
        reset(gate.ros, task="pick_place", seed=other)
        gate.run(30 * MS)
        reset(gate.ros, task="reach", seed=5)
        gate.trace = [sample for sample in gate.trace if sample[0] == 0][-1:]
        gate.run(300 * MS)
        traces.append(gate.trace[-90:])
    gate.offset = 0.0
    assert traces[0] == traces[1]
