"""force_torque_node as a process: on the emulated Net F/T, and on another node's topic."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_support import RosTest, wait_until

from vla_ros.emulators import make_emulator
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.ros import lifeline
from vla_ros.wrench import WrenchCalibration

ROOT = Path(__file__).resolve().parents[2]
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper")
CALIBRATION = WrenchCalibration("tool0", 0.8, (0.01, -0.02, 0.06), (3.0, -1.0, 2.0), (0.1, 0.2, -0.3))


@contextmanager
def node(**parameters: Any) -> Iterator[None]:
    command = [sys.executable, "-m", "vla_ros.ros.nodes.force_torque_node", "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    process = lifeline.start(command, os.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors


class Seen:
    """What the node has published last."""

    def __init__(self, ros: RosTest) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import WrenchStamped

        self.ros, self.topic = ros, "/tool/wrench"
        self.wrenches: list[Any] = ros.collect(WrenchStamped, self.topic, 100)
        self._reports: list[Any] = ros.collect(DiagnosticArray, "/diagnostics", 100)

    def wrench(self, expected: Any, tolerance: float = 1e-4) -> Any:
        """Wait for a wrench like `expected` and return its message."""

        def last() -> Any:
            message = self.wrenches[-1] if self.wrenches else None
            return message if message is not None and np.allclose(numbers(message), expected, atol=tolerance) else None

        return self.ros.wait_for(last, what=f"the wrench {expected}")

    def status(self, level: int, *words: str, matching: Callable[[dict[str, str]], bool] = lambda values: True) -> Any:
        """Wait for a status of `level` from now on whose message has `words`; return its message and values."""
        self._reports.clear()

        def found() -> Any:
            for report in self._reports:
                for status in report.status:
                    values = {value.key: value.value for value in status.values}
                    as_wanted = status.level == bytes([level]) and all(word in status.message for word in words)
                    if as_wanted and matching(values):
                        return status.message, values
            return None

        return self.ros.wait_for(found, what=f"a status of level {level} with {words}")


def numbers(message: Any) -> list[float]:
    force, torque = message.wrench.force, message.wrench.torque
    return [force.x, force.y, force.z, torque.x, torque.y, torque.z]


def test_the_node_publishes_what_the_sensor_says_and_survives_an_unplugging(ros: RosTest) -> None:
    from std_srvs.srv import Trigger

    from vla_ros.ros.convert import from_time

    before = time.time_ns()
    with make_emulator("netft") as device, node(device=device.address, frame="wrist", cutoff=20.0, tare_samples=50):
        seen = Seen(ros)
        message = seen.wrench(device.wrench)
        assert message.header.frame_id == "wrist"
        assert before < from_time(message.header.stamp) <= time.time_ns()
        _, values = seen.status(0, "Hz", matching=lambda values: float(values["filter_delay_s"]) > 0)
        assert values["stamps"].startswith("device, +-")
        assert float(values["filter_delay_s"]) == pytest.approx(0.2251 / 20, rel=0.1)

        def tared() -> Any:
            answer = ros.call(Trigger, "/force_torque_node/tare")
            return answer if answer.success else None

        answer = ros.wait_for(tared, what="a tare, once there are 50 samples")
        assert "mean of 50 samples: 1 N, -2 N, 3 N" in answer.message
        seen.wrench(np.zeros(6))
        device.status = 0x80020000
        seen.status(1, "saturated")
        device.status = 0

        device.fault = "unplug"
        assert seen.status(2, "netft")[0].startswith("netft")
        assert not ros.call(Trigger, "/force_torque_node/tare").success
        device.fault, device.wrench = "none", (2.0, -2.0, 3.0, 0.1, -0.2, 0.3)
        seen.wrench((1.0, 0, 0, 0, 0, 0))
        assert int(seen.status(0, "Hz")[1]["reconnections"]) >= 1


def test_the_tools_weight_is_taken_off_a_topic_of_another_node(ros: RosTest, tmp_path: Path) -> None:
    from geometry_msgs.msg import WrenchStamped
    from sensor_msgs.msg import JointState

    from vla_ros.ros.convert import from_time, joints_to_message, wrench_to_message

    file = tmp_path / "wrench.yaml"
    CALIBRATION.save(file)
    positions = dict(zip(JOINTS, (0.3, -0.4, 0.5, 0.6, -0.7, 0.8, 0.02), strict=True))
    kinematics = Kinematics(load_urdf("urdf/tabletop_arm.urdf.xacro"), JOINTS)
    load = CALIBRATION.without_contact(kinematics.forward(list(positions.values()))[:3, :3])
    contact = np.array([1.0, -2.0, 5.0, 0.1, 0.2, -0.3])
    zero = dict.fromkeys(JOINTS, 0.0)
    with node(device="topic:/ft_broadcaster/wrench", calibration=file):
        seen = Seen(ros)
        seen.status(2, "topic /ft_broadcaster/wrench: nobody publishes it")
        joints = ros.node.create_publisher(JointState, "/joint_states", 10)
        wrenches = ros.node.create_publisher(WrenchStamped, "/ft_broadcaster/wrench", 10)
        with_joints, sent = [False], set()

        def publish() -> None:
            stamp = time.time_ns()
            if with_joints[0]:
                joints.publish(joints_to_message(stamp, positions, zero, zero))
            sent.add(stamp)
            wrenches.publish(wrench_to_message(stamp, "elsewhere", (load + contact).tolist()))

        ros.node.create_timer(0.02, publish)
        seen.status(1, "no orientation: the tool's weight cannot be taken off")
        assert seen.wrenches == [], "nothing rather than something wrong"
        with_joints[0] = True
        message = seen.wrench(contact)
        assert message.header.frame_id == "tool0"
        assert from_time(message.header.stamp) in sent, "the other node's stamps"


def test_a_manager_can_stop_the_node_and_configure_it_again(ros: RosTest) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    def change(transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        assert ros.call(ChangeState, "/force_torque_node/change_state", request).success

    with make_emulator("netft") as device, node(device=device.address):
        seen = Seen(ros)
        seen.wrench(device.wrench)
        change(Transition.TRANSITION_DEACTIVATE)
        wait_until(lambda: device._client is None, what="the end of the stream")
        change(Transition.TRANSITION_CLEANUP)
        ros.wait_for(lambda: ros.node.count_publishers(seen.topic) == 0, what="the end of the publisher")
        device.wrench = (9.0, 8.0, 7.0, 0.6, 0.5, 0.4)
        change(Transition.TRANSITION_CONFIGURE)
        change(Transition.TRANSITION_ACTIVATE)
        seen.wrench(device.wrench)
        assert ros.node.count_publishers(seen.topic) == 1


def test_a_wrong_address_ends_the_node_with_one_line(ros_domain: int) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2: source one, or pip install the extra 'ros'")
    command = [sys.executable, "-m", "vla_ros.ros.nodes.force_torque_node", "--ros-args", "-p", "device:=netfd://box"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert result.returncode == 1
    assert "vla_ros: netfd://box: unknown force_torque device 'netfd' (did you mean 'netft'?)" in result.stderr
