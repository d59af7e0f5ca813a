"""What is published on a contract's topics arrives in the aligner; what does not fit is said and left out."""

from __future__ import annotations

import numpy as np
import pytest
from ros_support import RosTest

pytest.importorskip("rclpy")
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from vla_ros.contract import parse_contract
from vla_ros.observation import Aligner
from vla_ros.ros import qos
from vla_ros.ros.convert import image_to_message, joints_to_message
from vla_ros.ros.subscribe import observe

MS = 1_000_000
CONTRACT = parse_contract(
    """
robot: two_joints
urdf: urdf/none.urdf
rate: 30
observation:
  observation.images.front: {topic: /front, kind: image, shape: [2, 3, 3], rate: 30, max_age: 0.2}
  observation.state: {topic: /joint_states, kind: joints, names: [b.pos, a.pos], rate: 100, max_age: 0.2}
  task: {topic: /instruction, kind: text}
action:
  space: joint_position
  names: [b.pos, a.pos]
  command: {interface: forward, topic: /commands}
limits: {velocity: 1.0, acceleration: 1.0}
""",
    "test",
)


class Robot:
    """Publishes the contract's streams."""

    def __init__(self, ros: RosTest) -> None:
        self.ros = ros
        self._image = ros.node.create_publisher(Image, "/front", qos.COMMAND)
        self._joints = ros.node.create_publisher(JointState, "/joint_states", qos.COMMAND)
        self._words = ros.node.create_publisher(String, "/instruction", qos.LATCHED)

    def wait_for_subscribers(self) -> None:
        publishers = (self._image, self._joints, self._words)
        self.ros.wait_for(lambda: all(publisher.get_subscription_count() for publisher in publishers))

    def image(self, stamp: int, shape: tuple[int, int, int] = (2, 3, 3)) -> None:
        self._image.publish(image_to_message(stamp, "", np.full(shape, 5, np.uint8), "rgb8"))

    def joints(self, stamp: int, **positions: float) -> None:
        self._joints.publish(joints_to_message(stamp, positions, positions, positions))

    def say(self, words: str) -> None:
        self._words.publish(String(data=words))


@pytest.fixture
def robot(ros: RosTest) -> Robot:
    return Robot(ros)


def test_every_stream_arrives_in_the_contracts_shape_and_order(robot: Robot):
    ros, aligner = robot.ros, Aligner(CONTRACT)
    robot.say("said before anyone listened")
    heard: list[tuple[str, int]] = []
    observe(ros.node, CONTRACT, aligner, on_sample=lambda key, stamp: heard.append((key, stamp)))
    robot.wait_for_subscribers()
    now = ros.node.get_clock().now().nanoseconds
    robot.image(now)
    robot.joints(now, a=1.0, b=2.0)
    ros.wait_for(lambda: len(heard) == 3)
    observation = aligner.align(now + 1000 * MS)
    assert observation.values["observation.state"].tolist() == [2.0, 1.0]
    assert observation.values["observation.images.front"].shape == (2, 3, 3)
    assert observation.values["task"] == "said before anyone listened"


def test_a_message_that_does_not_fit_is_said_and_left_out(robot: Robot):
    ros, aligner = robot.ros, Aligner(CONTRACT)
    errors: list[tuple[str, str]] = []
    observe(ros.node, CONTRACT, aligner, on_error=lambda key, text: errors.append((key, text)))
    robot.wait_for_subscribers()
    robot.image(1, shape=(4, 4, 3))
    robot.joints(1, a=1.0)
    ros.wait_for(lambda: len(errors) == 2)
    said = dict(errors)
    assert "shape [4, 4, 3]" in said["observation.images.front"]
    assert "unknown joint 'b'" in said["observation.state"]
    assert "observation.state" in aligner.align(1).invalid


def test_on_simulated_time_nothing_is_lost_and_words_are_said_at_zero(robot: Robot):
    ros, aligner = robot.ros, Aligner(CONTRACT)
    ros.node.set_parameters([Parameter("use_sim_time", value=True)])
    heard: list[tuple[str, int]] = []
    observe(ros.node, CONTRACT, aligner, on_sample=lambda key, stamp: heard.append((key, stamp)))
    robot.wait_for_subscribers()
    robot.say("pick")
    for k in range(55):  # 0.55 s of joint states while nobody spins
        robot.joints(10 * k * MS, a=0.0, b=float(k))
    ros.wait_for(lambda: len(heard) == 56)
    assert ("task", 0) in heard
    assert [stamp for key, stamp in heard if key == "observation.state"] == [10 * k * MS for k in range(55)]


def test_a_sample_of_the_time_before_a_jump_is_not_told_of(robot: Robot):
    ros, aligner = robot.ros, Aligner(CONTRACT)
    heard: list[int] = []
    observe(ros.node, CONTRACT, aligner, on_sample=lambda key, stamp: heard.append(stamp))
    robot.wait_for_subscribers()
    robot.joints(3000 * MS, a=1.0, b=2.0)
    ros.wait_for(lambda: heard == [3000 * MS])
    aligner.clock_jumped(0)  # as another stream tells
    robot.joints(3010 * MS, a=1.0, b=2.0)  # was under way
    robot.joints(0, a=1.0, b=2.0)
    ros.wait_for(lambda: heard[-1] == 0)
    assert heard == [3000 * MS, 0]
