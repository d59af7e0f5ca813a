"""teleop_node as a process, in lockstep with a pretended simulation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_support import RosTest

from vla_ros.ros import lifeline

SECOND = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper")
HOME = dict(zip(JOINTS, (-0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.04), strict=True))


class Scene:
    """Publishes joints at home and a red disc, by simulated time, and keeps the chunks."""

    def __init__(self, ros: RosTest) -> None:
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String
        from trajectory_msgs.msg import JointTrajectory
        from visualization_msgs.msg import MarkerArray

        from vla_ros.ros import qos

        self.ros = ros
        self.joints = ros.node.create_publisher(JointState, "/joint_states", qos.exchanged(1000, True))
        self.objects = ros.node.create_publisher(MarkerArray, "/sim/objects", qos.exchanged(1000, True))
        self.text = ros.node.create_publisher(String, "/instruction", qos.LATCHED)
        self.chunks: list[JointTrajectory] = ros.collect(JointTrajectory, "/teleop/chunk", 200)
        subscribed = (self.joints, self.objects, self.text)
        ros.wait_for(lambda: all(p.get_subscription_count() for p in subscribed), what="teleop_node's subscriptions")
        ros.wait_for(lambda: ros.node.count_publishers("/teleop/chunk"), what="teleop_node's publisher")

    def say(self, text: str) -> None:
        """Give the instruction, wait until it leads (a topic and a service have no order), and begin anew."""
        from std_msgs.msg import String

        self.text.publish(String(data=text))
        self.ros.wait_for(self._leads, what="the arrival of the instruction")
        self.reset()
        self.chunks.clear()

    def _leads(self) -> bool:
        self.reset()
        known = len(self.chunks)
        self.run(0, 10)
        return len(self.received(known + 2)[-1].points) > 0

    def reset(self) -> None:
        from std_srvs.srv import Trigger

        assert self.ros.call(Trigger, "/teleop_node/reset").success

    def run(self, first: int, last: int) -> None:
        """Publish the joints k / 300 s for k from `first` to `last`, and the objects at 100 Hz."""
        from visualization_msgs.msg import Marker, MarkerArray

        from vla_ros.ros.convert import joints_to_message, to_time

        zero = dict.fromkeys(JOINTS, 0.0)
        for k in range(first, last + 1):
            stamp = round(k * SECOND / 300)
            self.joints.publish(joints_to_message(stamp, HOME, zero, zero))
            if k % 3 == 0:
                disc = Marker(ns="red_disc")
                disc.header.stamp = to_time(stamp)
                disc.pose.position.x, disc.pose.position.y, disc.pose.orientation.w = 0.35, 0.1, 1.0
                self.objects.publish(MarkerArray(markers=[disc]))

    def received(self, count: int) -> list[Any]:
        self.ros.wait_for(lambda: len(self.chunks) >= count, what=f"{count} chunks")
        return self.chunks


@pytest.fixture
def scene(ros: RosTest) -> Iterator[Scene]:
    command = [sys.executable, "-m", "vla_ros.ros.nodes.teleop_node", "--ros-args"]
    command += ["-p", "task:=reach", "-p", "lockstep:=true", "-p", "use_sim_time:=true"]
    process = lifeline.start(command, os.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    yield Scene(ros)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0


def times(chunks: list[Any]) -> list[int]:
    from vla_ros.ros.convert import from_time

    return [from_time(chunk.header.stamp) for chunk in chunks]


def test_chunks_come_at_the_grid_times_with_positive_times_and_the_contracts_names(scene: Scene) -> None:
    scene.say("touch the red disc")
    scene.run(0, 60)
    chunks = scene.received(7)
    assert times(chunks) == [round(k * SECOND / 30) for k in range(7)]
    assert list(chunks[0].joint_names) == [f"{name}.pos" for name in JOINTS]
    assert all(p.time_from_start.nanosec > 0 and len(chunk.points) >= 2 for chunk in chunks for p in chunk.points)
    path = np.array([chunk.points[0].positions for chunk in chunks])
    assert np.abs(path[0] - np.array(list(HOME.values()))).max() < 0.02, "it begins where the arm is"
    assert np.abs(path[-1] - path[0]).max() > 0.002, "it moves"


def test_it_says_hold_until_it_knows_what_to_do_and_while_the_clutch_is_open(ros: RosTest, scene: Scene) -> None:
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    scene.run(0, 20)
    assert [len(chunk.points) for chunk in scene.received(3)] == [0, 0, 0]
    scene.say("touch the red disc")
    scene.run(0, 20)
    assert [len(chunk.points) > 0 for chunk in scene.received(3)] == [True, True, True]
    request = SetParameters.Request(parameters=[Parameter("clutch", value=False).to_parameter_msg()])
    assert ros.call(SetParameters, "/teleop_node/set_parameters", request).results[0].successful
    scene.run(21, 40)
    assert [len(chunk.points) for chunk in scene.received(5)[3:]] == [0, 0]


def test_the_same_seed_leads_the_same_way_after_a_reset(scene: Scene) -> None:
    scene.say("touch the red disc")
    scene.run(0, 60)
    once = [tuple(chunk.points[0].positions) for chunk in scene.received(7)]
    scene.reset()
    scene.run(0, 60)
    again = scene.received(14)[7:]
    assert times(again) == [round(k * SECOND / 30) for k in range(7)]
    assert [tuple(chunk.points[0].positions) for chunk in again] == once
