"""Devices without the hardware: each speaks its device's own protocol, on a real socket or pseudo-terminal."""

from vla_ros.emulators.base import FAULTS, Emulator, SerialPort
from vla_ros.emulators.registry import EMULATORS, make_emulator

__all__ = ["EMULATORS", "FAULTS", "Emulator", "SerialPort", "make_emulator"]
