"""A force on the follower's wrist is felt at an emulated leader arm while its clutch is held, and not otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ros_support import RosTest
from servo_support import JOINTS, address, calibration

from vla_ros.emulators.dynamixel import DynamixelEmulator
from vla_ros.ros import lifeline

ROOT = Path(__file__).resolve().parents[2]
ELBOW, SHUT, LIMIT = 3, 1000, 40


class Follower:
    """Publishes an arm at zero, whose wrist is pushed, and that the gate says is teleop's."""

    def __init__(self, ros: RosTest) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import WrenchStamped
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String

        from vla_ros.ros import qos

        self.ros = ros
        self.diagnostics = ros.collect(DiagnosticArray, "/diagnostics", qos.COMMAND)
        self.joints = ros.node.create_publisher(JointState, "/joint_states", qos.reliable(10))
        self.wrench = ros.node.create_publisher(WrenchStamped, "/tool/wrench", qos.reliable(10))
        source = ros.node.create_publisher(String, "/gate/source", qos.LATCHED)
        source.publish(String(data="teleop"))
        for publisher in (self.joints, self.wrench):
            ros.wait_for(publisher.get_subscription_count, what=f"a subscription to {publisher.topic_name}")

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        def pushed() -> Any:
            from vla_ros.ros.convert import joints_to_message, wrench_to_message

            stamp = self.ros.node.get_clock().now().nanoseconds
            zero = dict.fromkeys(JOINTS, 0.0)
            self.joints.publish(joints_to_message(stamp, zero, zero, zero))
            self.wrench.publish(wrench_to_message(stamp, "tool0", [0.0, 0.0, -20.0, 0.0, 0.0, 0.0]))
            return condition()

        try:
            self.ros.wait_for(pushed, what=what)
        except AssertionError as error:
            said = self.diagnostics[-1].status[0] if self.diagnostics else "nothing"
            raise AssertionError(f"{error}; teleop_node says {said}") from None

    def clutch(self, held: bool) -> None:
        from std_srvs.srv import SetBool

        assert self.ros.call(SetBool, "/teleop_node/clutch", SetBool.Request(data=held)).success


@pytest.mark.timeout(300)
def test_a_push_is_felt_while_the_clutch_is_held(ros: RosTest, tmp_path: Path) -> None:
    with DynamixelEmulator(amplitude=0.0) as leader:
        leader.rest[7] = SHUT
        device = address(leader, calibration(tmp_path / "leader.yaml"), rate=100, reflect=0.5, current=LIMIT)
        command = [sys.executable, "-m", "vla_ros.ros.nodes.teleop_node", "--ros-args", "-p", f"device:='{device}'"]
        process = lifeline.start(command, os.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        try:
            follower = Follower(ros)
            follower.wait_for(lambda: leader.servos[ELBOW].table[64], "the servos' torque")
            assert leader.current(ELBOW) == 0
            retaken: list[bool] = []

            def felt() -> bool:
                if len(retaken) % 200 == 0:
                    follower.clutch(True)  # again, where a machine too busy has made it open
                retaken.append(True)
                return abs(leader.current(ELBOW)) == LIMIT

            follower.wait_for(felt, f"{LIMIT} mA at the elbow")
            follower.clutch(False)
            follower.wait_for(lambda: leader.current(ELBOW) == 0, "no current with the clutch open")
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
        assert leader.current(ELBOW) == 0
