"""Poses for the wrench's calibration, asked for on a running graph."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from ros_support import RosTest

from vla_ros.errors import GraphError
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.wrench import WrenchCalibration, calibrate

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper")
TRUE = WrenchCalibration("tool0", 0.85, (0.0, 0.01, 0.05), (4.0, -2.0, 1.0), (0.05, 0.1, -0.2))
ZERO = dict.fromkeys(JOINTS, 0.0)


class Robot:
    """An arm with a sensor that publishes 100 times a second; `poses` are what it is asked to hold."""

    def __init__(self, ros: RosTest) -> None:
        from geometry_msgs.msg import WrenchStamped
        from sensor_msgs.msg import JointState

        self.kinematics = Kinematics(load_urdf("urdf/tabletop_arm.urdf.xacro"), JOINTS)
        self.positions = np.zeros(7)
        self.drift = 0.0  # [rad] a message
        self.joints = ros.node.create_publisher(JointState, "/joint_states", 10)
        self.wrench = ros.node.create_publisher(WrenchStamped, "/raw", 10)

    def publish(self) -> None:
        from vla_ros.ros.convert import joints_to_message, wrench_to_message

        self.positions = self.positions + self.drift
        named = dict(zip(JOINTS, self.positions.tolist(), strict=True))
        load = TRUE.without_contact(self.kinematics.forward(self.positions)[:3, :3])
        stamp = time.time_ns()
        self.joints.publish(joints_to_message(stamp, named, ZERO, ZERO))
        self.wrench.publish(wrench_to_message(stamp, "tool0", load.tolist()))

    @contextmanager
    def alive(self) -> Iterator[None]:
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(0.01):
                self.publish()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def test_poses_are_taken_while_the_arm_stands_still(ros: RosTest) -> None:
    from vla_ros.ros.calibrate_wrench import ask_for_poses

    robot, random, said = Robot(ros), np.random.default_rng(1), []
    questions = []

    def ask(question: str) -> str:
        questions.append(question)
        robot.drift = 0.01 if len(questions) == 2 else 0.0
        robot.positions = np.append(random.uniform(-1.0, 1.0, 6), 0.02)
        return "q" if len(questions) == 7 else ""

    with robot.alive():
        poses = ask_for_poses(robot.kinematics, "/raw", "/joint_states", 10, ask, said.append, ros.context)
    assert len(poses) == 5, "six were asked for, in one of which the arm moved"
    assert "not taken" in said[2]
    assert said[-1].startswith("taken: ") and "so far 0.850 kg" in said[-1]
    found = calibrate(poses, robot.kinematics)
    assert found.mass == pytest.approx(TRUE.mass, abs=1e-3)
    assert found.centre == pytest.approx(TRUE.centre, abs=1e-3)


def test_a_silent_graph_is_named(ros: RosTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from vla_ros.ros import calibrate_wrench

    monkeypatch.setattr(calibrate_wrench, "PATIENCE", 0.5)
    kinematics = Kinematics(load_urdf("urdf/tabletop_arm.urdf.xacro"), JOINTS)
    with pytest.raises(GraphError, match="no joint states on /joint_states within 0.5 s"):
        calibrate_wrench.ask_for_poses(kinematics, "/raw", "/joint_states", 10, lambda question: "", print, ros.context)
