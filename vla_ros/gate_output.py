"""What the gate says at each tick: its state, and the command to send."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vla_ros.trajectory import Trajectory

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Command:
    """What is sent to the controller at one tick: the setpoint, then the path that brakes from it to rest.

    times: int64 [K] [ns]. positions, velocities: [K, N] in the contract's joint order; the last velocity is
    zero. action: the setpoint in the contract's action space [D], which is what a recorder keeps.
    """

    times: npt.NDArray[np.int64]
    positions: FloatArray
    velocities: FloatArray
    action: FloatArray

    def trajectory(self) -> Trajectory:
        """Return the command as a controller interpolates it."""
        return Trajectory(self.times, self.positions, self.velocities)


@dataclass(frozen=True)
class GateOutput:
    """One tick: state 'idle', 'active', 'hold' or 'estop', why, whose chunks are followed, and the command.

    command: None when nothing may be sent.
    """

    stamp: int
    state: str
    reason: str
    source: str
    command: Command | None
