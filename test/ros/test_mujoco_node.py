"""The simulated arm on the graph: topics and rates of the real one, commands obeyed, resets, lockstep."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ros_support import RosTest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import WrenchStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from simulator import COMMANDS, JOINTS, MS, reset, set_parameters, simulator, trajectory
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from vla_ros.errors import GraphError
from vla_ros.ros import qos
from vla_ros.ros.convert import (
    JointReader,
    depth_from_message,
    from_time,
    rgb_from_message,
    taxels_from_message,
)
from vla_ros.ros.up import Graph


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


def test_a_contract_with_a_joint_that_the_urdf_lacks_is_refused(ros_domain: int, tmp_path: Path):
    source = Path(__file__).resolve().parents[2] / "config" / "contracts" / "tabletop_arm.yaml"
    contract = tmp_path / "wrong.yaml"
    contract.write_text(source.read_text().replace("elbow.pos", "knee.pos"))
    with (
        Graph([simulator(contract=str(contract))], tmp_path / "log") as graph,
        pytest.raises(GraphError, match=r"ended with exit code 1: vla_ros: .*joint 'knee' is not in .*valid: .*elbow"),
    ):
        graph.wait_ready()
