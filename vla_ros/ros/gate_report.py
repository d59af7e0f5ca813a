"""What the gate says about itself: its state and period on /diagnostics, its source on /gate/source, changes
in the log. On /gate/intervention (std_msgs/Header), from when a person has the arm (frame_id "intervention") or the
policy has it again (frame_id "").
"""

from __future__ import annotations

import re

from rclpy.node import Node
from std_msgs.msg import Header, String

from vla_ros.gate import ACTIVE, ESTOP, HOLD, IDLE, Gate
from vla_ros.gate_output import GateOutput
from vla_ros.ros import qos
from vla_ros.ros.convert import to_time
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics
from vla_ros.ros.realtime import PeriodStatistics

INTERVENTION = "/gate/intervention"
LEVELS = {IDLE: OK, ACTIVE: OK, HOLD: WARN, ESTOP: ERROR}


class GateReport:
    """Publishes for one gate. scheduling: the priority that its process was granted."""

    statistics: PeriodStatistics | None = None  # of the thread, when there is one

    def __init__(self, node: Node, gate: Gate, scheduling: str) -> None:
        self._node, self._gate, self._scheduling = node, gate, scheduling
        self._diagnostics = Diagnostics(node)
        self._source = node.create_publisher(String, "/gate/source", qos.LATCHED)
        self._interventions = node.create_publisher(Header, INTERVENTION, qos.reliable(10, latched=True))
        self._output: GateOutput | None = None
        self._shown: tuple[str, str, str] | None = None
        self._refusal = ""

    def source(self, source: str) -> None:
        """Say whose chunks are followed."""
        self._source.publish(String(data=source))

    def intervention(self, stamp: int, running: bool) -> None:
        """Say from when [ns] a person has the arm, taken from the policy, or has given it back."""
        self._interventions.publish(Header(stamp=to_time(stamp), frame_id="intervention" if running else ""))

    def refused(self, source: str, reason: str) -> None:
        """Log a refused chunk, at most once a second, and remember it for the diagnostics."""
        self._refusal = f"{source}: {reason}"
        self._node.get_logger().warning(f"chunk of {source} refused: {reason}", throttle_duration_sec=1.0)

    def tick(self, output: GateOutput) -> None:
        """Take a tick's outcome; log and publish at once when it is another state or another reason."""
        self._output = output
        shown = (output.state, re.sub(r"\d+(\.\d+)?", "#", output.reason), output.source)
        if shown != self._shown:
            self._shown = shown
            self._node.get_logger().info(f"{output.state}: {output.reason or output.source}")
            self.publish()

    def forget(self) -> None:
        """Say nothing more of the last tick: what it stopped for is released."""
        self._output = self._shown = None

    def publish(self) -> None:
        """Publish the diagnostics of the last tick."""
        output = self._output
        if output is None:
            return
        level = ERROR if self._gate.blocked else LEVELS[output.state]
        values: dict[str, object] = {
            "state": output.state,
            "reason": output.reason,
            "source": output.source,
            "refused chunks": sum(self._gate.refused.values()),
            "last refusal": self._refusal,
            "scheduling": self._scheduling,
        }
        if self.statistics is not None:
            values |= self.statistics.report().summary()
        text = f"{output.state}: {output.reason}" if output.reason else output.state
        self._diagnostics.publish(level, text, values)
