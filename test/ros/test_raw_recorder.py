"""The raw recording of an episode is whole, whatever its subscriptions have not taken out yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from ros_support import RosTest

from vla_ros.contract import load_contract
from vla_ros.data import layout
from vla_ros.data.bags.events import GATE_TOPIC, EpisodeEvent
from vla_ros.data.bags.reading import BagReader
from vla_ros.data.tools.extras import raw_path

pytest.importorskip("rclpy", reason="needs ROS 2: source one, or pip install the extra 'ros'")


def test_messages_that_wait_when_the_episode_ends_are_in_its_file(ros: RosTest, tmp_path: Path) -> None:
    from rclpy.duration import Duration
    from trajectory_msgs.msg import JointTrajectory

    from vla_ros.ros import qos
    from vla_ros.ros.raw_recorder import RawRecorder

    recorder = RawRecorder(ros.node, load_contract("tabletop_arm"), tmp_path, lockstep=True)
    publisher = ros.node.create_publisher(JointTrajectory, GATE_TOPIC, qos.exchanged(100, lockstep=True))
    ros.wait_for(lambda: publisher.get_subscription_count() == 1, what="the match of publisher and recorder")
    recorder.start(0, EpisodeEvent("start", first=0, task="reach"))
    sent = [JointTrajectory(joint_names=[str(number)]) for number in range(20)]
    for message in sent:
        publisher.publish(message)
    assert publisher.wait_for_all_acked(Duration(seconds=60))  # arrived, and nobody has spun

    assert recorder.stop(EpisodeEvent("save", rows=1)) == len(sent) + 2

    with BagReader(raw_path(layout.recording_folder(tmp_path) / layout.TREE, 0)) as bag:
        names = [message.joint_names[0] for _, _, message in bag.messages([GATE_TOPIC])]
    assert names == [message.joint_names[0] for message in sent]
