"""What can be set of the operator's hand: one default and one description for the command line, the launch files and the node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T", str, float)


@dataclass(frozen=True)
class Option(Generic[T]):
    """A setting: its default, and what it is for."""

    default: T
    what: str


MODE = Option("lead", "how a leader's joints are tied on engaging its clutch: lead, relative")
SCALE = Option(1.0, "arm's motion for the hand's, of poses and relative joints")
LEADER_URDF = Option("", "URDF or xacro of a leader whose joints are not the follower's: its tip leads the follower's")
LEADER_TIP = Option("tool0", "tip link of the leader arm")
ARM_JOINTS = Option("", "SHOULDER,ELBOW,WRIST: the robot's joints there, for follow=arm; empty: by their number")

BY_NAME: dict[str, Option[str] | Option[float]] = {
    "mode": MODE,
    "scale": SCALE,
    "leader_urdf": LEADER_URDF,
    "leader_tip": LEADER_TIP,
    "arm_joints": ARM_JOINTS,
}
