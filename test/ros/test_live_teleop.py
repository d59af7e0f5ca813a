"""What teleop_node does with a person's device: where it takes the arm to be, what it refuses, and why it says that it holds."""

from __future__ import annotations

import array
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_contract import contract_of_actions
from ros_support import RosTest
from servo_support import JOINTS

pytest.importorskip("rclpy")
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.action import ActionChunk
from vla_ros.contract import Contract, load_contract
from vla_ros.drivers.address import Address
from vla_ros.errors import KinematicsError
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.ros import qos
from vla_ros.ros.convert import joints_to_message, to_time
from vla_ros.ros.diagnostics import ERROR, OK, WARN
from vla_ros.ros.lifecycle import ManagedNode
from vla_ros.ros.live_teleop import LiveTeleop
from vla_ros.ros.params import declare
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.topic import TopicLeader

HOME = dict(zip(JOINTS, (1.2, -0.2, 0.5, 0.2, 0.1, 0.0, 0.02), strict=True))
_names = count()


class Lead:
    """A leader on a topic whose clutch is taken, an arm that stands at HOME, and what is sent and logged of them."""

    def __init__(
        self, ros: RosTest, contract: Contract, kinematics: Kinematics | None = None, **parameters: Any
    ) -> None:
        self.ros, self.contract = ros, contract
        given = [Parameter(name, value=value) for name, value in {"clutch": True, **parameters}.items()]
        name = f"teleop_{next(_names)}"  # of its own, by which a log's publisher is found in all of the process
        self.node = ManagedNode(name, context=ros.context, parameter_overrides=given)
        declare(self.node, "clutch", True, "as teleop_node's")
        ros.add(self.node)
        self.logged: list[Log] = ros.collect(Log, "/rosout", qos.reliable(100, latched=True))
        self.chunks: list[ActionChunk] = []
        self.leader = TopicLeader(Address.parse("topic:///leader/joint_states"))
        kinematics = kinematics or Kinematics.of(contract)
        self.live = LiveTeleop(self.node, contract, kinematics, self.leader, self.chunks.append, 0.01, 8)
        self.joints = ros.node.create_publisher(JointState, contract.state.topic, qos.reliable(10))
        self.action = ros.node.create_publisher(JointTrajectory, "/gate/action", qos.reliable(10))
        self.source = ros.node.create_publisher(String, "/gate/source", qos.LATCHED)
        self.node.trigger_configure()
        self.node.trigger_activate()

    def wait_for(self, condition: Callable[[], Any], what: str, **leader: float) -> None:
        """Lead with an arm that stands still, until the condition is met."""

        def led() -> Any:
            self.see(HOME)
            self.leader.hear(HOME | leader)
            return condition()

        try:
            self.ros.wait_for(led, 60.0, what)
        except AssertionError as error:
            last = self.chunks[-1] if self.chunks else None
            raise AssertionError(f"{error}; {self.live.status()[:2]}, last chunk {last}") from None

    def see(self, joints: Mapping[str, float]) -> None:
        zero = dict.fromkeys(joints, 0.0)
        self.joints.publish(joints_to_message(time.time_ns(), joints, zero, zero))

    def send(self, joints: Mapping[str, float]) -> None:
        """Publish the gate's setpoint of what the contract moves."""
        names = list(self.contract.action.names)
        values = array.array("d", [joints[name.removesuffix(".pos")] for name in names])
        message = JointTrajectory(joint_names=names, points=[JointTrajectoryPoint(positions=values)])
        message.header.stamp = to_time(time.time_ns())
        self.action.publish(message)

    def says(self, level: int, text: str) -> Callable[[], bool]:
        return lambda: self.live.status()[:2] == (level, text)

    def log(self) -> list[str]:
        return [message.msg for message in self.logged if message.name == self.node.get_name()]


# Where the arm is


@pytest.mark.parametrize(
    "names",
    [
        ("elbow", "shoulder_lift", "shoulder_pan", "wrist_1", "wrist_2", "wrist_3", "gripper"),
        ("gripper", "elbow"),
    ],
)
def test_the_gates_setpoint_is_read_by_name_whatever_the_contract_moves(
    names: tuple[str, ...], ros: RosTest, tmp_path: Path
) -> None:
    lead = Lead(ros, contract_of_actions(tmp_path, *names))
    sent = HOME | {"elbow": 0.51}

    def at_the_setpoint() -> bool:
        lead.send(sent)
        last = lead.chunks[-1]
        return not last.empty and last.values[0] == pytest.approx([sent[name] for name in names])

    lead.wait_for(at_the_setpoint, "a chunk that begins where the gate sends the arm")


def test_joint_states_that_are_no_numbers_are_none(ros: RosTest) -> None:
    lead = Lead(ros, load_contract("tabletop_arm"))

    def warned() -> bool:
        lead.see(HOME | {"elbow": float("nan")})
        lead.leader.hear(HOME)
        return "/joint_states: position of 'elbow' is nan" in lead.log()

    ros.wait_for(warned, 60.0, "the warning")
    assert all(chunk.empty for chunk in lead.chunks)
    lead.wait_for(lambda: not lead.chunks[-1].empty, "leading")
    assert np.isfinite(lead.chunks[-1].values).all()


class Broken(Kinematics):
    """Kinematics that know of no pose."""

    def pose(self, q: Any) -> Any:
        raise KinematicsError("no pose")


def test_an_error_of_the_kinematics_holds_the_arm_and_ends_no_thread(ros: RosTest) -> None:
    contract = load_contract("tabletop_arm_ee")
    broken = Broken(load_urdf(contract.urdf), contract.joint_names, contract.action.tip)
    lead = Lead(ros, contract, broken)
    asked = np.array([0.0, 0, 0, 0, 0, 0, 1])

    def refused() -> bool:
        lead.see(HOME)
        lead.leader.on_sample(TeleopSample(time.time_ns(), pose=asked))
        return lead.live.status()[:2] == (ERROR, "no pose")

    ros.wait_for(refused, 60.0, "the reason")
    assert lead.chunks[-1].empty
    ros.wait_for(lambda: "no pose" in lead.log(), 60.0, "the reason in the log")


# Why it holds


def test_who_does_not_have_the_arm_does_not_say_that_it_leads(ros: RosTest) -> None:
    lead = Lead(ros, load_contract("tabletop_arm"))
    lead.wait_for(lead.says(WARN, "the gate follows no source"), "the gate's silence")
    lead.source.publish(String(data="policy"))
    lead.wait_for(lead.says(WARN, "the gate follows 'policy'"), "the other source")
    assert lead.live.status()[2]["clutch"] == "held"
    lead.source.publish(String(data="teleop"))
    lead.wait_for(lead.says(OK, "leading"), "leading")
    assert lead.live.status()[2]["clutch"] == "engaged"
    lead.source.publish(String(data=""))
    lead.wait_for(lead.says(WARN, "the gate follows no source"), "the stop")


def test_a_clutch_that_is_held_without_joint_states_is_not_said_to_be_open(ros: RosTest) -> None:
    lead = Lead(ros, load_contract("tabletop_arm"))
    lead.leader.hear(HOME)
    assert lead.live.status()[:2] == (WARN, "no joint states on /joint_states")
    lead.live._set_clutch(False)
    lead.leader.hear(HOME)
    assert lead.live.status()[:2] == (WARN, "the clutch is open")


def led(ros: RosTest) -> Lead:
    lead = Lead(ros, load_contract("tabletop_arm"), mode="relative", cutoff=0.0)
    lead.source.publish(String(data="teleop"))
    lead.wait_for(lead.says(OK, "leading"), "leading")
    return lead


def test_the_log_says_once_why_the_arm_does_not_come_along(ros: RosTest) -> None:
    lead = led(ros)
    why = "the arm is 0.70 behind its leader at 'elbow'; take the clutch again"
    lead.wait_for(lambda: why in lead.log(), "the reason in the log", elbow=HOME["elbow"] + 0.7)
    lead.wait_for(lead.says(WARN, why), "the reason", elbow=HOME["elbow"] + 0.7)
    assert lead.log().count(why) == 1


def test_the_log_says_once_that_the_device_cannot_lead(ros: RosTest) -> None:
    lead = led(ros)

    def told() -> bool:
        lead.see(HOME)
        lead.leader.hear({"elbow": 0.0})
        return any("unknown joint 'shoulder_pan'" in text for text in lead.log())

    ros.wait_for(told, 60.0, "the reason in the log")
    lead.leader.hear({"elbow": 0.0})
    assert sum("unknown joint" in text for text in lead.log()) == 1


def test_the_log_says_that_a_topic_is_lost_and_that_it_is_back(ros: RosTest) -> None:
    lead = led(ros)
    silent = "joint states on /leader/joint_states are 1."
    ros.wait_for(lambda: any(text.startswith(silent) for text in lead.log()), 60.0, "the loss in the log")
    assert sum(text.startswith(silent) for text in lead.log()) == 1 and lead.chunks[-1].empty
    back = "the device's samples come; take the clutch again"
    lead.wait_for(lambda: back in lead.log(), "the return in the log")
