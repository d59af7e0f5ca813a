"""Every error this package raises on purpose. The text is one line: the bad value, where it came from, the valid ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VlaRosError(Exception):
    """Base of all errors raised by vla_ros; its text is meant for the person at the robot."""


class ContractError(VlaRosError):
    """A contract file is wrong, or two contracts do not agree."""


class ObservationError(VlaRosError):
    """A sensor value does not have the shape, type or name that the contract states."""


class ActionError(VlaRosError):
    """An action chunk is malformed."""


class GateError(VlaRosError):
    """The gate cannot run as configured."""


class KinematicsError(VlaRosError):
    """A pose cannot be reached, or a robot description lacks what kinematics needs."""


class PolicyError(VlaRosError):
    """A policy cannot be built or run."""


class CheckpointError(VlaRosError):
    """A checkpoint is incomplete, corrupt, or made for another contract."""


class DatasetError(VlaRosError):
    """A dataset cannot be read or written."""


class SimulationError(VlaRosError):
    """The simulated world cannot be built or stepped."""


class DeviceError(VlaRosError):
    """A sensor or teleoperation device is missing or misbehaves."""


class CalibrationError(VlaRosError):
    """A calibration cannot be made of what was measured, or its file cannot be read."""


class GraphError(VlaRosError):
    """A node of the running graph died or did not answer."""


def unknown_name(what: str, name: str, valid: Iterable[str]) -> str:
    """Return "unknown <what> 'name' (did you mean 'x'?); valid: ..." for error messages."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return f"unknown {what} '{name}'{hint}; valid: {', '.join(names) or 'none'}"
