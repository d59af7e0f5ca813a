"""Devices by name."""

from __future__ import annotations

from collections.abc import Callable

from vla_ros.contract import Contract
from vla_ros.errors import DeviceError, unknown_name
from vla_ros.kinematics import Kinematics
from vla_ros.sim.operator import ScriptedOperator
from vla_ros.teleop.device import LeaderDevice
from vla_ros.teleop.scripted import ScriptedLeader


def make_device(name: str, contract: Contract, kinematics: Kinematics, task: str, seed: int) -> LeaderDevice:
    """Return the device `name` (not yet connected) for a robot. task and seed: of the scripted operator.

    Raises DeviceError naming the valid devices.
    """
    devices: dict[str, Callable[[], LeaderDevice]] = {
        "scripted": lambda: ScriptedLeader(ScriptedOperator(task, kinematics), contract.joint_names, seed),
    }
    if name not in devices:
        raise DeviceError(unknown_name("teleoperation device", name, devices))
    return devices[name]()
