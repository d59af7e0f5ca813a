"""What every teleoperation device has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TeleopSample:
    """What the operator asks for at one instant: joints by name, a pose of the tip, or a velocity of it.

    stamp: when it was asked for [ns]. joints: absolute positions [rad, m] by the robot's joint names. pose:
    the tip's pose [x y z qx qy qz qw] in the action's frame. twist: its velocity [6] (m/s, rad/s) in that frame.
    gripper: opening [m] where `joints` has none.
    arm: where the operator's shoulder, elbow and hand are [3, 3] [m], in that frame; swivel: by how much the elbow is to be
    turned since the clutch engaged about the line from shoulder to wrist [rad], which the clutch makes of it.
    clutch: False while the operator's hand is off: the arm is to hold. buttons: pressed or not, by name.
    """

    stamp: int
    joints: Mapping[str, float] = field(default_factory=dict)
    pose: npt.NDArray[np.float64] | None = None
    gripper: float | None = None
    clutch: bool = True
    buttons: Mapping[str, bool] = field(default_factory=dict)
    twist: npt.NDArray[np.float64] | None = None
    arm: npt.NDArray[np.float64] | None = None
    swivel: float | None = None


class LeaderDevice(Protocol):
    """A device that an operator holds. Methods are called from one thread and return at once."""

    def connect(self) -> None:
        """Open the device. Raises DeviceError naming it and what to do."""

    def read(self, now: int) -> TeleopSample | None:
        """Return what is asked for at `now` [ns]; None without data yet.

        Raises DeviceError when it is lost.
        """

    def close(self) -> None:
        """Let the device go."""


@runtime_checkable
class WorldWatcher(Protocol):
    """A device that looks at the robot and the scene, as a person would, and is told what to do."""

    def see_joints(self, stamp: int, positions: Mapping[str, float]) -> None:
        """Take measured joint positions [rad, m]."""

    def see_objects(self, stamp: int, poses: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Take the poses [x y z qx qy qz qw] of the things on the table, in the robot's root frame."""

    def hear(self, instruction: str) -> None:
        """Take an instruction."""

    def restart(self, seed: int) -> None:
        """Begin the task anew from where the arm is."""

    def informed(self, t: int) -> bool:
        """Return True once everything that can be known at `t` [ns] has arrived."""
