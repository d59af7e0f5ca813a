"""A topic of wrenches as a force/torque device: ``topic:/force_torque_sensor_broadcaster/wrench``."""

from __future__ import annotations

import queue
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node

from vla_ros.drivers import Address, Reading
from vla_ros.errors import DeviceError
from vla_ros.ros import qos
from vla_ros.ros.convert import from_time

DEPTH = 1000  # messages that wait to be read


class WrenchTopic:
    """A driver (`vla_ros.drivers.base.Driver`) of what another node publishes, by that node's stamps."""

    device = "topic"

    def __init__(self, node: Node, address: Address) -> None:
        address.only()
        self.topic = f"/{address.host}{address.path}" if address.host else address.path
        if not self.topic.startswith("/") or self.topic == "/":
            raise DeviceError(f"{address.text}: no topic, want topic:/force_torque_sensor_broadcaster/wrench")
        self.rejected = 0
        self._node = node
        self._waiting: queue.Queue[WrenchStamped] = queue.Queue(DEPTH)
        node.create_subscription(WrenchStamped, self.topic, self._receive, qos.sensor(200))

    def open(self) -> None:
        """Look for the topic. Raises DeviceError when nobody publishes it."""
        if not self._node.count_publishers(self.topic):
            wanted = "geometry_msgs/msg/WrenchStamped"
            others = [name for name, types in self._node.get_topic_names_and_types() if wanted in types]
            found = ", ".join(sorted(set(others) - {self.topic})) or "none"
            raise DeviceError(f"topic {self.topic}: nobody publishes it; topics of wrenches here: {found}")

    def read(self, timeout: float) -> Reading[npt.NDArray[np.float64]] | None:
        """Return the next wrench; its stamp counts as its arrival, and the time now where it has none."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            try:
                message = self._waiting.get(timeout=left)
            except queue.Empty:
                return None
            force, torque = message.wrench.force, message.wrench.torque
            value = np.array([force.x, force.y, force.z, torque.x, torque.y, torque.z])
            if np.isfinite(value).all():
                return Reading(value, from_time(message.header.stamp) or time.time_ns())
            self.rejected += 1
        return None

    def close(self) -> None:
        """Forget what waits."""
        while not self._waiting.empty():
            self._waiting.get_nowait()

    def _receive(self, message: Any) -> None:
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            self.rejected += 1
