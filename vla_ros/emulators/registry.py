"""Emulators by name."""

from __future__ import annotations

from importlib import import_module

from vla_ros.emulators.base import Emulator
from vla_ros.errors import DeviceError, unknown_name

# device -> module and class, whose constructor needs no arguments. Names are those of the drivers' addresses.
EMULATORS: dict[str, str] = {
    "anyskin": "vla_ros.emulators.anyskin:AnySkinEmulator",
    "axia": "vla_ros.emulators.netft:AxiaEmulator",
    "digit": "vla_ros.emulators.gel:DigitEmulator",
    "dynamixel": "vla_ros.emulators.dynamixel:DynamixelEmulator",
    "feetech": "vla_ros.emulators.feetech:FeetechEmulator",
    "ft300": "vla_ros.emulators.ft300:Ft300Emulator",
    "gelsight": "vla_ros.emulators.gel:GelEmulator",
    "keypoints": "vla_ros.emulators.keypoints:KeypointEmulator",
    "keypoints_arm": "vla_ros.emulators.keypoints:KeypointArmEmulator",
    "mjpeg": "vla_ros.emulators.mjpeg:MjpegCamera",
    "natnet": "vla_ros.emulators.natnet:NatNetEmulator",
    "netft": "vla_ros.emulators.netft:NetFtEmulator",
    "onrobot": "vla_ros.emulators.onrobot:OnRobotEmulator",
    "paxini": "vla_ros.emulators.paxini:PaxiniEmulator",
    "rtsp": "vla_ros.emulators.rtsp:RtspCamera",
    "vive": "vla_ros.emulators.vive:ViveEmulator",
    "vrpn": "vla_ros.emulators.vrpn:VrpnEmulator",
    "webxr": "vla_ros.emulators.webxr:WebXrEmulator",
    "xela": "vla_ros.emulators.xela:XelaEmulator",
}


def make_emulator(name: str) -> Emulator:
    """Return the emulator of a device, not yet started. Raises DeviceError naming the valid ones."""
    if name not in EMULATORS:
        raise DeviceError(unknown_name("emulated device", name, EMULATORS))
    module, kind = EMULATORS[name].rsplit(":", 1)
    made: Emulator = getattr(import_module(module), kind)()
    return made
