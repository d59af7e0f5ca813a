"""Emulators by name."""

from __future__ import annotations

from importlib import import_module

from vla_ros.emulators.base import Emulator
from vla_ros.errors import DeviceError, unknown_name

# device -> module and class, whose constructor needs no arguments. Names are those of the drivers' addresses.
EMULATORS: dict[str, str] = {
    "mjpeg": "vla_ros.emulators.mjpeg:MjpegCamera",
    "rtsp": "vla_ros.emulators.rtsp:RtspCamera",
}


def make_emulator(name: str) -> Emulator:
    """Return the emulator of a device, not yet started. Raises DeviceError naming the valid ones."""
    if name not in EMULATORS:
        raise DeviceError(unknown_name("emulated device", name, EMULATORS))
    module, kind = EMULATORS[name].rsplit(":", 1)
    made: Emulator = getattr(import_module(module), kind)()
    return made
