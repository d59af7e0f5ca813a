"""tracker_node before an emulated tracker: the poses of a body for whoever wants them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ros_support import RosTest
from vive_support import steamvr_or_skip

from vla_ros.emulators.natnet import NatNetEmulator
from vla_ros.emulators.vive import CONTROLLER, TRACKER, ViveEmulator


@pytest.fixture
def start(ros: RosTest) -> Any:
    """Start a tracker_node in this process with parameters; it is finished after the test."""
    from rclpy.parameter import Parameter

    from vla_ros.ros.nodes.tracker_node import TrackerNode

    nodes: list[Any] = []

    def begin(name: str, **parameters: Any) -> Any:
        given = [Parameter(key, value=value) for key, value in parameters.items()]

        class Named(TrackerNode):
            def __init__(self) -> None:
                super(TrackerNode, self).__init__(name, context=ros.context, parameter_overrides=given)

        node = ros.add(Named())
        nodes.append(node)
        node.start()
        return node

    yield begin
    for node in nodes:
        node.finish()


def told(ros: RosTest, words: str) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    ros.message(
        DiagnosticArray, "/diagnostics", matching=lambda array: any(words in one.message for one in array.status)
    )


def test_a_bodys_poses_are_published_while_it_is_tracked(ros: RosTest, start: Any) -> None:
    from geometry_msgs.msg import PoseStamped

    from vla_ros.ros.convert import from_time

    with NatNetEmulator() as motive:
        motive.hand.amplitude = motive.hand.swing = 0.0
        start("tracker", device=f"natnet://127.0.0.1:{motive.port}", body="Hand")
        message = ros.message(PoseStamped, "/tracker/pose")
        place, turn = message.pose.position, message.pose.orientation
        pose = np.array([place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w])
        assert pose == pytest.approx(motive.hand.at(0), abs=1e-6)
        assert message.header.frame_id == "tracker" and from_time(message.header.stamp) >= motive.hand.began
        motive.hand.seen = False
        told(ros, "'Hand' is not tracked; the tracker has: Hand, Thumb, Index")
        motive.fault = "unplug"
        told(ros, "natnet 127.0.0.1")


def test_of_a_vive_tracker_the_body_that_the_address_names_is_published(ros: RosTest, start: Any) -> None:
    from geometry_msgs.msg import PoseStamped

    steamvr_or_skip()
    with ViveEmulator() as steamvr:
        steamvr.hand.amplitude = steamvr.hand.swing = 0.0
        start("tracker", device=steamvr.address)
        place = ros.message(PoseStamped, "/tracker/pose").pose.position
        assert [place.x, place.y, place.z] == pytest.approx(steamvr.hand.rest, abs=1e-6)
        steamvr.battery = 0.12
        told(ros, f"'{TRACKER}': low battery, less than 15%")
        steamvr.serials = (CONTROLLER,)
        told(ros, f"vive {TRACKER}")
