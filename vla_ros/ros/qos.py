"""The qualities of service in use, so that no node invents its own.

Drivers publish reliably with a short queue; consumers of sensor data subscribe best-effort (REP-2003
draft), which a reliable publisher satisfies. Lockstep runs must not lose a sample, so there consumers ask
for reliable delivery.
"""

from __future__ import annotations

from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy


def sensor(depth: int = 10, reliable: bool = False) -> QoSProfile:
    """Return the profile of a sensor-data consumer that keeps the last ``depth`` messages."""
    reliability = QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
    return QoSProfile(history=QoSHistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability)


def reliable(depth: int = 10, latched: bool = False) -> QoSProfile:
    """Return a reliable profile; ``latched`` keeps the last messages for subscribers that join later."""
    durability = QoSDurabilityPolicy.TRANSIENT_LOCAL if latched else QoSDurabilityPolicy.VOLATILE
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=QoSReliabilityPolicy.RELIABLE,
        durability=durability,
    )


SENSOR = sensor()  # subscriptions to cameras, joint states, wrenches, taxels
COMMAND = reliable(10)  # chunks, trajectories, what a driver publishes
LATCHED = reliable(1, latched=True)  # instruction, active source: the last value is the truth
CLOCK = sensor(1)  # as rclcpp's and rclpy's time sources subscribe
