"""tracker_node: one body that a tracker sees (motion capture, a headset's controller, a phone) as a stream of poses.

It publishes ``~/pose`` (PoseStamped, with the time at which the tracker saw it) while the body is tracked, in the tracker's
frame turned to z up. Parameter ``body``: which; default: the tracker's hand, or its only body. ``vla-ros teleop`` needs no such
node. Named ``--ros-args -r __node:=tracker``, its topic is where umi_node looks for a tool's pose.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from geometry_msgs.msg import PoseStamped

from vla_ros.drivers import Reading
from vla_ros.ros import qos
from vla_ros.ros.convert import pose_to_message
from vla_ros.ros.lifecycle import run_node
from vla_ros.ros.params import declare
from vla_ros.ros.sensor_node import SensorNode

UNSEEN = 0.5  # [s] without the body's pose that is worth a word


class TrackerNode(SensorNode):
    """Publishes the poses of one body, from the thread that reads the tracker."""

    kind = "tracker"

    def __init__(self) -> None:
        super().__init__("tracker_node")

    def create_outputs(self) -> None:
        """Declare the body, and create the publisher."""
        hand: str = self._stream.driver.hand  # type: ignore[attr-defined]
        self._body = declare(self, "body", hand, "what is tracked, '' for the only one", read_only=True)
        self._poses = self.create_publisher(PoseStamped, "~/pose", qos.COMMAND)
        self._seen, self._others = time.monotonic(), ""

    def publish(self, reading: Reading[Any], stamp: int) -> None:
        """Publish where the body was at `stamp` [ns]."""
        poses = reading.value.poses
        known = self._stream.driver.bodies or tuple(poses)  # type: ignore[attr-defined]
        pose = poses.get(self._body or (known[0] if len(known) == 1 else ""))
        self._others = ", ".join(known)
        if pose is not None:
            self._seen = time.monotonic()
            self._poses.publish(pose_to_message(stamp, self.frame, pose))

    def warnings(self) -> list[str]:
        """Return that the body is not seen, and what is; and what the tracker says of itself, as of a low battery."""
        told = list(self._stream.statistics.flags)
        if time.monotonic() - self._seen >= UNSEEN:
            told.append(f"'{self._body}' is not tracked; the tracker has: {self._others or 'nothing'}")
        return told


def main() -> None:
    """Run the node until it is told to stop."""
    sys.exit(run_node(TrackerNode))


if __name__ == "__main__":
    main()
