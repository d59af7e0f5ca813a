"""Two leader arms for a robot of two arms: one device with the joints of both, one clutch, one episode.

A robot's arms are told apart by how their joints' names begin: ``left_elbow`` is the elbow of the arm ``left``.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from vla_ros.drivers.address import Address
from vla_ros.errors import DeviceError, unknown_name
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.streamed import StreamedLeader
from vla_ros.teleop.topic import TopicLeader

Leader = StreamedLeader | TopicLeader
SIDE = re.compile(r"(?:^|,)([a-z]\w*)=")  # an address begins with device:, so "left=" begins none


def parse_sides(device: str) -> dict[str, str]:
    """Return addresses by arm of ``left=ADDRESS,right=ADDRESS``; an empty mapping for the address of one device.

    Raises DeviceError when an arm is named twice or two leaders are at one port or topic.
    """
    if SIDE.match(device) is None:
        return {}
    parts = SIDE.split(device)
    names, addresses = parts[1::2], [text.strip() for text in parts[2::2]]
    sides: dict[str, str] = {}
    places: dict[tuple[str, str], str] = {}
    for name, text in zip(names, addresses, strict=True):
        if name in sides:
            raise DeviceError(f"--device: two leaders for the arm '{name}'; want left=ADDRESS,right=ADDRESS")
        if not text:
            raise DeviceError(f"--device: no address for the arm '{name}'; want left=ADDRESS,right=ADDRESS")
        address = Address.parse(text)
        place = (address.host, os.path.realpath(address.path))
        if place in places:
            raise DeviceError(
                f"the leaders of '{places[place]}' and '{name}' are both at {address.path}: each needs its own"
            )
        places[place], sides[name] = name, text
    return sides


def joints_of(side: str, joint_names: Iterable[str]) -> tuple[str, ...]:
    """Return the joints of one arm without its name in front: ``elbow`` for ``left_elbow``."""
    return tuple(name.removeprefix(f"{side}_") for name in joint_names if name.startswith(f"{side}_"))


def check_sides(sides: Iterable[str], joint_names: Iterable[str], source: str) -> None:
    """Raise DeviceError for an arm that the contract `source` does not have, or one that nobody leads."""
    names = tuple(joint_names)
    arms = list(dict.fromkeys(name.partition("_")[0] for name in names))
    for side in sides:
        if not joints_of(side, names):
            raise DeviceError(f"{source}: " + unknown_name("arm", side, arms))
    for name in names:
        if not any(name.startswith(f"{side}_") for side in sides):
            raise DeviceError(f"{source}: nobody leads joint '{name}'; leaders are given for {', '.join(sides)}")


class PairedLeaders:
    """A LeaderDevice of several, by arm. A sample has the joints of all, as of the first one's sample.

    It is lost with the first of them that is.
    """

    def __init__(self, leaders: Mapping[str, Leader]) -> None:
        self.leaders = dict(leaders)
        self.on_sample: Callable[[TeleopSample], None] = lambda sample: None
        self.on_change: Callable[[str], None] = lambda problem: None
        self._lock = threading.Lock()
        self._problems: dict[str, str] = {}
        self._first = next(iter(self.leaders))
        for side, leader in self.leaders.items():
            leader.on_change = partial(self._change, side)
        self.leaders[self._first].on_sample = self._take

    @property
    def lost(self) -> bool:
        """Whether one of them is gone, and not merely late."""
        return any(leader.lost for leader in self.leaders.values())

    def connect(self) -> None:
        """Start looking for them."""
        for leader in self.leaders.values():
            leader.connect()

    def close(self) -> None:
        """Stop reading them."""
        for leader in self.leaders.values():
            leader.close()

    def read(self, now: int | None = None) -> TeleopSample | None:
        """Return the newest sample of all; None before each has one. Raises DeviceError when one is too old."""
        joints: dict[str, float] = {}
        first: TeleopSample | None = None
        for side, leader in self.leaders.items():
            try:
                sample = leader.read(now)
            except DeviceError as error:
                raise DeviceError(f"{side}: {error}") from None
            if sample is None:
                return None
            first = first or sample
            joints |= {f"{side}_{name}": value for name, value in sample.joints.items()}
        return None if first is None else replace(first, joints=joints)

    def _take(self, sample: TeleopSample) -> None:
        try:
            both = self.read(sample.stamp)
        except DeviceError:
            return  # who watches `read` is told
        if both is not None:
            self.on_sample(replace(both, stamp=sample.stamp))

    def _change(self, side: str, problem: str) -> None:
        with self._lock:
            self._problems = {**self._problems, side: problem}
            told = "; ".join(f"{name}: {text}" for name, text in self._problems.items() if text)
        self.on_change(told)
