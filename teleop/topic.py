"""A second arm as leader: whatever publishes its joints, such as one that ros2_control holds in gravity compensation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from vla_ros.action import NANOSECONDS
from vla_ros.drivers.address import Address
from vla_ros.errors import DeviceError
from vla_ros.teleop.calibration import parse_renaming
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.streamed import LOST, STALE


class TopicLeader:
    """``topic:///leader/joint_states?joints=leader_elbow:elbow``. The node that has it subscribes to `topic` and calls `hear`.

    Samples are stamped on arrival: the leader's clock need not be ours.
    """

    def __init__(self, address: Address) -> None:
        address.only("joints")
        if not address.path.strip("/"):
            raise DeviceError(f"{address.text}: no topic; want topic:///leader/joint_states")
        self.topic = address.path
        self.on_sample: Callable[[TeleopSample], None] = lambda sample: None
        self.on_change: Callable[[str], None] = lambda problem: None
        self._renamed = parse_renaming(address.text_of("joints", ""))
        self._newest: TeleopSample | None = None

    @property
    def lost(self) -> bool:
        """Whether nothing has come for so long that the clutch has to be taken again."""
        return self._newest is None or time.time_ns() - self._newest.stamp > LOST * NANOSECONDS

    def connect(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def hear(self, positions: Mapping[str, float]) -> None:
        """Take the leader's joint positions [rad, m]."""
        joints = {self._renamed.get(name, name): value for name, value in positions.items()}
        self._newest = TeleopSample(time.time_ns(), joints)
        self.on_sample(self._newest)

    def read(self, now: int | None = None) -> TeleopSample | None:
        """Return the newest sample; None before the first. Raises DeviceError when it is too old."""
        if self._newest is None:
            raise DeviceError(f"no joint states yet on {self.topic}")
        age = ((time.time_ns() if now is None else now) - self._newest.stamp) / NANOSECONDS
        if age > STALE:
            raise DeviceError(f"joint states on {self.topic} are {age:.1f} s old")
        return self._newest
