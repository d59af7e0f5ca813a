"""A second arm as leader: whatever publishes its joints, such as one that ros2_control holds in gravity compensation."""

from __future__ import annotations

import math
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

    Samples are stamped on arrival: the leader's clock need not be ours. One with a position that is no number is none.
    on_change: called by `read` with why nothing has come for so long that the leader is lost, and by `hear` with "" when it is
    back.
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
        self._odd = ""  # what was wrong with the newest joint states
        self._told = ""  # why it is lost

    @property
    def lost(self) -> bool:
        """Whether nothing has come for so long that the clutch has to be taken again."""
        return self._age(time.time_ns()) > LOST

    def connect(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def hear(self, positions: Mapping[str, float]) -> None:
        """Take the leader's joint positions [rad, m]."""
        odd = next((name for name, value in positions.items() if not math.isfinite(value)), None)
        self._odd = "" if odd is None else f"joint states on {self.topic}: '{odd}' is {positions[odd]:g}"
        if self._odd:
            return
        joints = {self._renamed.get(name, name): value for name, value in positions.items()}
        self._newest = TeleopSample(time.time_ns(), joints)
        self.on_sample(self._newest)
        self._tell("")

    def read(self, now: int | None = None) -> TeleopSample:
        """Return the newest sample. Raises DeviceError when there is none, or it is too old."""
        age = self._age(time.time_ns() if now is None else now)
        if self._newest is not None and age <= STALE:
            return self._newest
        silent = f"no joint states yet on {self.topic}"
        if self._newest is not None:
            silent = f"joint states on {self.topic} are {age:.1f} s old"
        if age > LOST:
            self._tell(self._odd or silent)
        raise DeviceError(self._odd or silent)

    def _age(self, now: int) -> float:
        """Return how old the newest sample is at `now` [ns] in seconds, infinite without one."""
        return math.inf if self._newest is None else (now - self._newest.stamp) / NANOSECONDS

    def _tell(self, problem: str) -> None:
        if bool(problem) != bool(self._told):
            self._told = problem
            self.on_change(problem)
