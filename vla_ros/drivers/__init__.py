"""Drivers of sensors: one file a device, one Protocol a kind; what they share is in `base`, `clock` and `stream`."""

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import CameraDriver, Driver, ForceTorqueDriver, Frame, Reading, TactileDriver
from vla_ros.drivers.clock import DeviceClock
from vla_ros.drivers.intrinsics import Intrinsics
from vla_ros.drivers.registry import make_driver
from vla_ros.drivers.stream import SensorStream, StreamStatistics

__all__ = [
    "Address",
    "CameraDriver",
    "DeviceClock",
    "Driver",
    "ForceTorqueDriver",
    "Frame",
    "Intrinsics",
    "Reading",
    "SensorStream",
    "StreamStatistics",
    "TactileDriver",
    "make_driver",
]
