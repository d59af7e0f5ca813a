"""The qualities of service in use, so that no node invents its own.

Drivers publish reliably with a short queue; consumers of sensor data subscribe best-effort (REP-2003
draft), which a reliable publisher satisfies. In lockstep time stands still until every sample has arrived, so there
publishers keep their last messages, and consumers ask for them: one that discovery matches late misses nothing.
"""

from __future__ import annotations

from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy


def sensor(depth: int = 10, reliable: bool = False, lockstep: bool = False) -> QoSProfile:
    """Return the profile of a sensor-data consumer that keeps the last ``depth`` messages."""
    if lockstep:
        return exchanged(depth, lockstep)
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


def exchanged(depth: int, lockstep: bool) -> QoSProfile:
    """Return the profile for both ends of a topic on which lockstep waits: there it is latched."""
    return reliable(depth, latched=lockstep)


SENSOR = sensor()  # subscriptions to cameras, joint states, wrenches, taxels
COMMAND = reliable(10)  # chunks, trajectories, what a driver publishes
LATCHED = reliable(1, latched=True)  # instruction, active source: the last value is the truth
CLOCK = sensor(1)  # as rclcpp's and rclpy's time sources subscribe
