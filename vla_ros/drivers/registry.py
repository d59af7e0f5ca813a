"""Drivers by kind and name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Driver
from vla_ros.errors import DeviceError, unknown_name

# kind -> device -> module and class, whose constructor takes an Address. Imported when asked for: each needs its own
# vendor library.
DRIVERS: dict[str, dict[str, str]] = {
    "camera": {
        "realsense": "vla_ros.drivers.realsense:RealSense",
        "uvc": "vla_ros.drivers.uvc:UvcCamera",
        "video": "vla_ros.drivers.video_file:VideoFile",
        "rtsp": "vla_ros.drivers.network_camera:NetworkCamera",
        "rtsps": "vla_ros.drivers.network_camera:NetworkCamera",
        "http": "vla_ros.drivers.network_camera:NetworkCamera",
        "https": "vla_ros.drivers.network_camera:NetworkCamera",
        "mjpeg": "vla_ros.drivers.network_camera:NetworkCamera",
    },
    "force_torque": {
        "axia": "vla_ros.drivers.netft:Axia",
        "ft300": "vla_ros.drivers.ft300:Ft300",
        "netft": "vla_ros.drivers.netft:NetFt",
        "onrobot": "vla_ros.drivers.onrobot:OnRobotHex",
    },
    "tactile": {
        "anyskin": "vla_ros.drivers.anyskin:AnySkinDriver",
        "digit": "vla_ros.drivers.gelsight:DigitDriver",
        "gelsight": "vla_ros.drivers.gelsight:GelSightDriver",
        "paxini": "vla_ros.drivers.paxini:PaxiniDriver",
        "xela": "vla_ros.drivers.xela:XelaDriver",
    },
    "tracker": {
        "keypoints": "vla_ros.drivers.keypoints:KeypointTracker",
        "natnet": "vla_ros.drivers.natnet:NatNet",
        "vive": "vla_ros.drivers.vive:Vive",
        "vrpn": "vla_ros.drivers.vrpn:Vrpn",
        "webxr": "vla_ros.drivers.webxr:WebXr",
    },
}


def make_driver(kind: str, address: str) -> Driver[Any]:
    """Return the driver of the device at `address`, not yet open. kind: camera, force_torque, tactile or tracker.

    Raises DeviceError naming the valid devices or options.
    """
    parsed = Address.parse(address)
    devices = DRIVERS[kind]
    if parsed.device not in devices:
        raise DeviceError(f"{address}: {unknown_name(f'{kind} device', parsed.device, devices)}")
    module, name = devices[parsed.device].rsplit(":", 1)
    try:
        made = getattr(import_module(module), name)(parsed)
    except ImportError as error:
        raise DeviceError(f"{address}: needs the Python package '{error.name}': pip install {error.name}") from None
    driver: Driver[Any] = made
    return driver
