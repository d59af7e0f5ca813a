"""What a node says about itself on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from vla_ros.ros import qos

OK, WARN, ERROR, STALE = 0, 1, 2, 3


def status(name: str, level: int, message: str, values: Mapping[str, object] | None = None) -> DiagnosticStatus:
    """Return one status; ``level`` is OK, WARN, ERROR or STALE, values are shown as text."""
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in (values or {}).items()]
    return DiagnosticStatus(level=bytes([level]), name=name, message=message, hardware_id="vla_ros", values=pairs)


class Diagnostics:
    """Publishes statuses of one node on /diagnostics, each named ``<node>: <part>``."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.COMMAND)

    def publish(self, level: int, message: str, values: Mapping[str, object] | None = None, part: str = "") -> None:
        """Publish one status, stamped now."""
        name = self._node.get_name() + (f": {part}" if part else "")
        array = DiagnosticArray(status=[status(name, level, message, values)])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
