"""The simulated arm on the graph: topics and rates of the real one, commands obeyed, resets, lockstep."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_support import RosTest

pytest.importorskip("rclpy")
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import WrenchStamped
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from visualization_msgs.msg import MarkerArray

from vla_ros.errors import GraphError
from vla_ros.ros import qos
from vla_ros.ros.convert import (
    JointReader,
    depth_from_message,
    from_time,
    rgb_from_message,
    taxels_from_message,
    to_duration,
    to_time,
)
from vla_ros.ros.graph import NodeSpec
from vla_ros.ros.up import Graph

MS = 1_000_000
JOINTS = ["shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper"]
COMMANDS = "/arm_controller/joint_trajectory"


def simulator(**parameters: Any) -> NodeSpec:
    given = {"contract": "tabletop_arm", "task": "reach"} | parameters
    return NodeSpec("mujoco_node", "vla_ros.ros.nodes.mujoco_node", given)


def set_parameters(ros: RosTest, **values: Any) -> list[Any]:
    request = SetParameters.Request()
    request.parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    return list(ros.call(SetParameters, "/mujoco_node/set_parameters", request).results)


def reset(ros: RosTest, **values: Any) -> dict[str, Any]:
    assert all(result.successful for result in set_parameters(ros, **values))
    answer = ros.call(Trigger, "/mujoco_node/reset")
    assert answer.success, answer.message
    return dict(json.loads(answer.message))


def trajectory(stamp: int, target: list[float], after: int, names: list[str] = JOINTS) -> JointTrajectory:
    message = JointTrajectory(joint_names=names)
    message.header.stamp = to_time(stamp)
    still = [0.0] * len(names)
    message.points = [
        JointTrajectoryPoint(positions=target, velocities=still, time_from_start=to_duration(after))
    ]
    return message


# --- real time ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def live(module_ros: RosTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RosTest]:
    with Graph([simulator()], tmp_path_factory.mktemp("live")) as graph:
        graph.wait_ready()
        yield module_ros
        graph.check()
    assert graph.exit_codes == {"mujoco_node": 0}


def positions(ros: RosTest) -> np.ndarray:
    return JointReader(JOINTS)(ros.message(JointState, "/joint_states", qos.SENSOR))


def test_joint_states_are_alphabetical_and_complete(live: RosTest):
    message = live.message(JointState, "/joint_states", qos.SENSOR)
    assert list(message.name) == sorted(JOINTS)
    assert len(message.position) == len(message.velocity) == len(message.effort) == len(JOINTS)


def test_stamps_are_the_system_clocks(live: RosTest):
    live.message(JointState, "/joint_states", qos.SENSOR)
    message = live.message(JointState, "/joint_states", qos.SENSOR)
    assert abs(time.time_ns() - from_time(message.header.stamp)) < 500 * MS
    assert abs(time.time_ns() - from_time(live.message(Clock, "/clock", qos.SENSOR).clock)) < 500 * MS


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_cameras_give_colour_depth_and_info_of_one_instant(live: RosTest, camera: str):
    root = f"/{camera}_camera"
    topics = {"colour": "color/image_raw", "depth": "depth/image_rect_raw"}
    images = {name: live.collect(Image, f"{root}/{topic}", qos.SENSOR) for name, topic in topics.items()}
    infos = live.collect(CameraInfo, f"{root}/color/camera_info", qos.SENSOR)
    stamps: set[int] = set()

    def common() -> set[int]:
        taken = [{from_time(m.header.stamp) for m in messages} for messages in (*images.values(), infos)]
        stamps.update(set.intersection(*taken))
        return stamps

    live.wait_for(common)
    rgb, depth = rgb_from_message(images["colour"][-1]), depth_from_message(images["depth"][-1])
    assert rgb.shape == (240, 320, 3)
    assert rgb.std() > 5.0
    assert depth.shape == (240, 320)
    assert 0.02 < np.nanmin(depth) < 2.0
    assert (infos[-1].width, infos[-1].height) == (320, 240)
    assert infos[-1].k[0] > 50.0
    assert infos[-1].header.frame_id == images["colour"][-1].header.frame_id
    assert infos[-1].header.frame_id.endswith("_optical_frame") or "optical" in infos[-1].header.frame_id


def test_wrench_taxels_objects_and_status_are_there(live: RosTest):
    assert live.message(WrenchStamped, "/tool/wrench", qos.SENSOR).header.frame_id == "tool0"
    for side in ("left", "right"):
        assert taxels_from_message(live.message(Image, f"/{side}_pad/taxels", qos.SENSOR)).shape == (4, 4, 3)
    markers = live.message(MarkerArray, "/sim/objects", qos.SENSOR).markers
    assert all(marker.header.frame_id == "base_link" and marker.ns for marker in markers)
    status = live.message(DiagnosticStatus, "/sim/task_status", qos.SENSOR)
    values = {pair.key: pair.value for pair in status.values}
    assert status.message == "running"
    assert {"seed", "instruction", "time", "success"} <= set(values)
    assert live.message(String, "/instruction", qos.LATCHED).data == values["instruction"]


def test_a_trajectory_is_followed_and_its_end_held(live: RosTest):
    publisher = live.node.create_publisher(JointTrajectory, COMMANDS, qos.COMMAND)
    live.wait_for(publisher.get_subscription_count)
    target = positions(live) + [0.2, -0.1, 0.1, 0.1, 0.1, 0.3, -0.01]
    publisher.publish(trajectory(0, target.tolist(), 500 * MS))
    live.wait_for(lambda: np.abs(positions(live) - target).max() < 0.02, what="arrival")
    shuffled = [3, 1, 2, 0, 6, 5, 4]
    back = target - 0.05
    back[6] = 0.02
    names = [JOINTS[i] for i in shuffled]
    publisher.publish(trajectory(0, back[shuffled].tolist(), 300 * MS, names))
    live.wait_for(lambda: np.abs(positions(live) - back).max() < 0.02, what="arrival")


def test_a_partial_trajectory_is_refused_and_the_arm_stays(live: RosTest):
    publisher = live.node.create_publisher(JointTrajectory, COMMANDS, qos.COMMAND)
    live.wait_for(publisher.get_subscription_count)
    before = positions(live)
    publisher.publish(trajectory(0, [1.0], 100 * MS, ["elbow"]))
    live.spin_for(0.4)
    assert np.abs(positions(live) - before).max() < 0.02


def test_forward_commands_move_the_arm(live: RosTest):
    publisher = live.node.create_publisher(Float64MultiArray, "/arm_controller/commands", qos.COMMAND)
    live.wait_for(publisher.get_subscription_count)
    target = positions(live)
    target[0] += 0.1
    publisher.publish(Float64MultiArray(data=target.tolist()))
    live.wait_for(lambda: np.abs(positions(live) - target).max() < 0.02, what="arrival")


def test_a_reset_puts_the_arm_back_and_describes_the_scene(live: RosTest):
    scene = reset(live, task="pick_place", seed=11, instruction="")
    assert scene["task"] == "pick_place"
    assert scene["seed"] == 11
    assert any(colour in scene["instruction"] for colour in ("red", "green", "blue"))
    again = reset(live, task="reach", seed=3)
    first = positions(live)
    reset(live, seed=4)
    assert reset(live, seed=3) == again
    assert np.abs(positions(live) - first).max() < 0.01


def test_an_unknown_task_is_refused_with_the_valid_ones(live: RosTest):
    result = set_parameters(live, task="juggle")[0]
    assert not result.successful
    assert "unknown task 'juggle'" in result.reason
    assert "pick_place" in result.reason


def test_diagnostics_tell_the_real_time_factor(live: RosTest):
    def mine(message: DiagnosticArray) -> bool:
        return any("real-time factor" in {pair.key for pair in s.values} for s in message.status)

    assert live.message(DiagnosticArray, "/diagnostics", matching=mine)


# --- lockstep ----------------------------------------------------------------------------------------------


class Gate:
    """Answers every tick of 10 ms with a command, as gate_node does, and hears everything."""

    def __init__(self, ros: RosTest) -> None:
        self.ros, self.answering, self.offset = ros, True, 0.0
        self.trace: list[tuple[int, list[float]]] = []
        self._read = JointReader(JOINTS)
        self._commands = ros.node.create_publisher(JointTrajectory, COMMANDS, qos.COMMAND)
        self.grants = ros.node.create_publisher(Time, "/sim/run_until", qos.COMMAND)
        ros.node.create_subscription(
            JointState, "/joint_states", self._on_joints, qos.sensor(300, reliable=True)
        )

    def _on_joints(self, message: JointState) -> None:
        stamp, q = from_time(message.header.stamp), self._read(message)
        self.trace.append((stamp, q.tolist()))
        if self.answering and stamp % (10 * MS) == 0:
            self._commands.publish(trajectory(stamp, (q + self.offset).tolist(), 20 * MS))

    def run(self, until: int) -> None:
        self.grants.publish(to_time(until))
        self.ros.wait_for(lambda: self.trace and self.trace[-1][0] == until, what=f"time {until / 1e9} s")


@pytest.fixture(scope="module")
def lockstep_ros(module_ros: RosTest) -> Iterator[RosTest]:
    from ros_support import own_domain

    with own_domain() as domain, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        test = RosTest(domain)
        yield test
        test.close()


@pytest.fixture(scope="module")
def gate(lockstep_ros: RosTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    made = Gate(lockstep_ros)
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


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_contract_with_a_joint_that_the_urdf_lacks_is_refused(ros_domain: int, tmp_path: Path):
    source = Path(__file__).resolve().parents[2] / "config" / "contracts" / "tabletop_arm.yaml"
    contract = tmp_path / "wrong.yaml"
    contract.write_text(source.read_text().replace("elbow.pos", "knee.pos"))
    with (
        Graph([simulator(contract=str(contract))], tmp_path / "log") as graph,
        pytest.raises(
            GraphError, match=r"ended with exit code 1: vla_ros: .*joint 'knee' is not in .*valid: .*elbow"
        ),
    ):
        graph.wait_ready()
