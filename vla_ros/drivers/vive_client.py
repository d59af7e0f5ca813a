"""SteamVR, as a program that only looks on sees it, by Valve's own library (Python package ``openvr``).

OpenVR is one in a process: users are counted, the last that leaves shuts it down. Calls are made under one lock, since what
one thread shuts down must not be in use by another.
"""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from vla_ros.errors import DeviceError

REGISTRY = "VR_PATHREG_OVERRIDE"  # of the environment: a file that says where SteamVR is
USUAL = "~/.config/openvr/openvrpaths.vrpath"  # where SteamVR itself keeps that
MOST = 64  # devices
EVENTS = 1000  # that are taken at once, at most
TRIGGER_AXIS = 1
MISSING = {
    *("Init_PathRegistryNotFound", "Init_InstallationNotFound", "Init_InstallationCorrupt"),
    *("Init_VRClientDLLNotFound", "Init_FactoryNotFound", "Init_NoConfigPath", "Init_NoLogPath"),
}
OLD = {"Init_InterfaceNotFound", "Init_InvalidInterface"}
HEADLESS = 'without a headset set "requireHmd": false in the section "steamvr" of its steamvr.vrsettings'


@dataclass(frozen=True)
class Device:
    """kind: tracker, controller, headset, base station or other."""

    serial: str
    kind: str


def load_openvr() -> Any:
    """Return the binding. Raises DeviceError where it is not installed, or its library does not load."""
    try:
        import openvr
    except ImportError:
        raise DeviceError("vive: needs the Python package 'openvr': pip install openvr") from None
    except (OSError, ValueError) as error:
        raise DeviceError(f"vive: OpenVR's library does not load: {error}; it is for x86-64") from None
    return openvr


class SteamVr:
    """OpenVR in this process. user: whoever has joined; all raise DeviceError once SteamVR has ended, until it joins again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._users: set[object] = set()
        self._paths = ""
        self._vr: Any = None
        self._system: Any = None
        self._poses: Any = None

    def join(self, user: object, paths: str = "") -> None:
        """Connect. paths: the file that says where SteamVR is, "" for the usual. Raises DeviceError."""
        with self._lock:
            if not self._users:
                self._start(paths)
            elif paths != self._paths:
                raise DeviceError(f"vive: paths is '{paths}', and OpenVR is in use here with '{self._paths}'")
            self._users.add(user)

    def leave(self, user: object) -> None:
        """Let SteamVR go; harmless for one who has not joined."""
        with self._lock:
            if user in self._users:
                self._users.remove(user)
                if not self._users:
                    self._end()

    def poses(self, user: object) -> tuple[bytes, int]:
        """Return the TrackedDevicePose_t of all devices, y up, and the host time [ns] for which they hold."""
        with self._lock:
            self._check(user)
            self._listen()
            stamp = time.time_ns()
            self._system.getDeviceToAbsoluteTrackingPose(self._vr.TrackingUniverseStanding, 0.0, self._poses)
            return bytes(self._poses), stamp

    def devices(self, user: object) -> dict[int, Device]:
        """Return what SteamVR knows, by index, also what is switched off by now."""
        with self._lock:
            self._check(user)
            vr, found = self._vr, {}
            kinds = {
                vr.TrackedDeviceClass_HMD: "headset",
                vr.TrackedDeviceClass_Controller: "controller",
                vr.TrackedDeviceClass_GenericTracker: "tracker",
                vr.TrackedDeviceClass_TrackingReference: "base station",
            }
            for index in range(MOST):
                kind = self._system.getTrackedDeviceClass(index)
                if kind != vr.TrackedDeviceClass_Invalid:
                    serial = self._property("String", index, vr.Prop_SerialNumber_String)
                    if serial:
                        found[index] = Device(serial, kinds.get(kind, "other"))
            return found

    def battery(self, user: object, index: int) -> float | None:
        """Return how full a device's battery is, from 0 to 1; None where it does not say."""
        with self._lock:
            self._check(user)
            if not self._property("Bool", index, self._vr.Prop_DeviceProvidesBatteryStatus_Bool):
                return None
            charge = self._property("Float", index, self._vr.Prop_DeviceBatteryPercentage_Float)
            return charge if charge is not None and 0.0 <= charge <= 1.0 else None

    def controls(self, user: object, index: int) -> dict[str, float] | None:
        """Return a controller's trigger (0 to 1) and buttons (0 or 1); None while SteamVR has not heard of them."""
        with self._lock:
            self._check(user)
            known, state = self._system.getControllerState(index)
            if not known or state.unPacketNum == 0:
                return None
            vr, trigger = self._vr, float(state.rAxis[TRIGGER_AXIS].x)
            bits = {"clutch": vr.k_EButton_Grip, "menu": vr.k_EButton_ApplicationMenu, "pad": vr.k_EButton_Axis0}
            values = {name: float(state.ulButtonPressed >> bit & 1) for name, bit in bits.items()}
            return {"trigger": min(max(trigger, 0.0), 1.0) if math.isfinite(trigger) else 0.0, **values}

    def _start(self, paths: str) -> None:
        vr = load_openvr()
        before = os.environ.get(REGISTRY)
        if paths:
            os.environ[REGISTRY] = paths
        try:
            self._system = vr.init(vr.VRApplication_Background)  # does not start SteamVR where it does not run
        except (vr.OpenVRError, KeyError) as error:  # KeyError: the binding does not know the number
            vr.shutdown()
            raise DeviceError(_refusal(error, paths or before or USUAL)) from None
        finally:
            if before is None:
                os.environ.pop(REGISTRY, None)
            else:
                os.environ[REGISTRY] = before
        self._vr, self._paths = vr, paths
        self._poses = (vr.TrackedDevicePose_t * MOST)()

    def _end(self) -> None:
        self._users.clear()
        self._system = None
        self._vr.shutdown()

    def _check(self, user: object) -> None:
        if user not in self._users:
            raise DeviceError("vive: not open, or SteamVR has ended; start it again")

    def _listen(self) -> None:
        """Take what SteamVR tells. When it ends it kills who has not gone by then."""
        event = self._vr.VREvent_t()
        for _ in range(EVENTS):
            if not self._system.pollNextEvent(event):
                return
            if event.eventType == self._vr.VREvent_Quit:
                self._system.acknowledgeQuit_Exiting()
                self._end()
                raise DeviceError("vive: SteamVR has ended; start it again")

    def _property(self, kind: str, index: int, which: int) -> Any:
        """Return a property of a device; None where it has none."""
        try:
            return getattr(self._system, f"get{kind}TrackedDeviceProperty")(index, which)
        except (self._vr.OpenVRError, KeyError, UnicodeDecodeError):
            return None


def _refusal(error: Exception, registry: str) -> str:
    name = type(error).__name__.removeprefix("InitError_") if not isinstance(error, KeyError) else f"error {error}"
    if name in MISSING:
        return f"vive: no SteamVR by {registry} ({name}); install it with Steam, and start it once"
    if name in OLD:
        return f"vive: SteamVR does not know this OpenVR ({name}); update it"
    if name == "Init_NoServerForBackgroundApp":
        return f"vive: SteamVR is not running ({name}); start it, {HEADLESS}"
    return f"vive: SteamVR refuses ({name}); start it anew, {HEADLESS}"


STEAMVR = SteamVr()
