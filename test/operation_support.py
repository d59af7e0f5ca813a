"""What the tests of teleoperation's operation share: an arm that was seen and a clutch that is taken."""

from __future__ import annotations

from servo_support import JOINTS

from vla_ros.contract import Contract
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.clutch import ClutchSettings
from vla_ros.teleop.operation import Operation, OperationSettings

HOME = dict(zip(JOINTS, (0.1, -0.2, 0.3, 0.2, 0.1, 0.0, 0.02), strict=True))


def operation(
    contract: Contract, kinematics: Kinematics, leader: Kinematics | None = None, cutoff: float = 0.0, **clutch: object
) -> Operation:
    """Return one with the arm at HOME; `clutch`: of its settings."""
    settings = OperationSettings(ClutchSettings(**clutch), cutoff=cutoff)  # type: ignore[arg-type]
    made = Operation(contract, kinematics, settings, leader, period=0.01, points=8)
    made.see(0, HOME)
    made.clutch.take()
    return made
