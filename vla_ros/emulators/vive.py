"""A SteamVR with a Vive tracker and a controller, both where an emulated hand is: a runtime that OpenVR's own library loads.

The runtime, `vive_runtime.c`, is compiled for the installed package ``openvr`` and answers in the process that asks, from a
file that is written here. y is up. With `seen` False the devices are out of the base stations' sight, and SteamVR guesses on.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vla_ros.drivers.tracked import Array, Axes
from vla_ros.drivers.vive_client import load_openvr
from vla_ros.emulators.base import Emulator
from vla_ros.emulators.hand import EmulatedHand
from vla_ros.errors import DeviceError

SOURCE = Path(__file__).with_name("vive_runtime.c")
LIBRARY = "bin/linux64/vrclient.so"  # where OpenVR's library looks for it in a runtime's folder
SLOTS, SERIAL_SIZE = 8, 32
HEADSET, STATION, TRACKER, CONTROLLER = "Null Serial Number", "LHB-00000000", "LHR-00000001", "LHR-00000002"
FUNCTIONS = (
    *("getDeviceToAbsoluteTrackingPose", "getTrackedDeviceClass", "getBoolTrackedDeviceProperty"),
    *("getFloatTrackedDeviceProperty", "getStringTrackedDeviceProperty", "pollNextEvent", "getControllerState"),
)
ELSEWHERE = np.array([0.0, 2.0, 2.5, 0.0, 0.0, 0.0, 1.0])  # pose of what does not move


class ViveEmulator(Emulator):
    """hand: where the devices are, told `rate` times a second. battery: of the tracker, from 0 to 1.

    serials: of the devices that are there. buttons: whether SteamVR tells of them. All may be set while it runs. number: of the
    last sample that was begun.
    """

    name = "vive"

    def __init__(self, rate: float = 250.0) -> None:
        super().__init__()
        self.hand = EmulatedHand()
        self.rate, self.number, self.battery = rate, 0, 0.9
        self.serials: tuple[str, ...] = (HEADSET, STATION, TRACKER, CONTROLLER)
        self.buttons = True
        self._vr: Any = None
        self._axes, self._random = Axes("y"), random.Random(0)
        self._folder = tempfile.TemporaryDirectory(prefix="vla_ros_steamvr_")
        self._file = -1
        self._mapped: Any = None  # struct shared of the runtime
        self._locked = False

    @property
    def paths(self) -> str:
        """The file that says where the runtime is."""
        return str(Path(self._folder.name) / "openvrpaths.vrpath")

    @property
    def address(self) -> str:
        """The address that a driver takes."""
        return f"vive://?body={TRACKER}&paths={self.paths}"

    def start(self) -> None:
        """Compile the runtime, and run. Raises DeviceError where there is no compiler, or no package openvr."""
        self._vr = load_openvr()
        folder = Path(self._folder.name)
        state = folder / "state"
        shared, slot_size = _layout(self._vr)
        if not (folder / LIBRARY).exists():
            _compile(self._vr, folder / LIBRARY, state, slot_size)
        places = {"runtime": [str(folder)], "config": [str(folder)], "log": [str(folder)]}
        Path(self.paths).write_text(json.dumps({"jsonid": "vrpathreg", "version": 1, **places}), encoding="utf-8")
        self._file = os.open(state, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = ctypes.sizeof(shared)
        os.ftruncate(self._file, size)
        self._mapped = shared.from_buffer(mmap.mmap(self._file, size))
        self._write()
        self._run_or_not(True)
        self._start_loop(self._run)

    def stop(self) -> None:
        """End SteamVR, which it tells all programs."""
        self._end_loop()
        self._locked, self._mapped = False, None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _run(self) -> None:
        while not self._stop.wait(1.0 / self.rate):
            self._run_or_not(self.fault != "unplug")
            if self._locked:
                self._write()

    def _run_or_not(self, running: bool) -> None:
        if running != self._locked:
            fcntl.flock(self._file, fcntl.LOCK_EX if running else fcntl.LOCK_UN)
            self._locked = running

    def _write(self) -> None:
        self.number += 1
        vr, hand = self._vr, self.hand.at(time.time_ns())
        kinds = {
            HEADSET: (vr.TrackedDeviceClass_HMD, ELSEWHERE, -1.0),
            STATION: (vr.TrackedDeviceClass_TrackingReference, ELSEWHERE, -1.0),
            TRACKER: (vr.TrackedDeviceClass_GenericTracker, hand, self.battery),
            CONTROLLER: (vr.TrackedDeviceClass_Controller, hand, 0.9),
        }
        self._mapped.sequence += 1
        for index, (serial, (kind, pose, battery)) in enumerate(kinds.items()):
            slot = self._mapped.slots[index]
            slot.kind = kind if serial in self.serials else vr.TrackedDeviceClass_Invalid
            slot.serial, slot.battery = serial.encode(), battery
            self._place(slot.pose, pose)
            if serial == CONTROLLER:
                slot.controls.unPacketNum = self.number if self.buttons else 0
                slot.controls.ulButtonPressed = int(self.hand.held and self.buttons) << vr.k_EButton_Grip
                slot.controls.rAxis[1].x = self.hand.pinch if self.buttons else 0.0
        self._mapped.sequence += 1

    def _place(self, told: Any, pose: Array) -> None:
        """Write a TrackedDevicePose_t."""
        moves = pose is not ELSEWHERE
        there, seen = not moves or self.fault != "silence", not moves or self.hand.seen
        place = self._axes.back(pose)
        matrix = np.hstack([Rotation.from_quat(place[3:]).as_matrix(), place[:3, None]])
        data = bytearray(matrix.astype("<f4").tobytes())
        if moves and self.fault == "garbage":
            data = bytearray(self._random.randbytes(len(data)))
        elif moves and self.fault == "partial":
            data[self._random.randrange(32) :] = b""
        data = data.ljust(matrix.size * 4, b"\0")
        ctypes.memmove(ctypes.addressof(told), bytes(data), len(data))
        ok, lost = self._vr.TrackingResult_Running_OK, self._vr.TrackingResult_Running_OutOfRange
        told.bDeviceIsConnected, told.bPoseIsValid = there, there
        told.eTrackingResult = ok if seen and there else lost


def _layout(vr: Any) -> tuple[type[ctypes.Structure], int]:
    """Return struct shared of vive_runtime.c, and the size of its struct slot [bytes]."""

    class Slot(ctypes.Structure):
        _fields_ = [
            ("pose", vr.TrackedDevicePose_t),
            ("controls", vr.VRControllerState_t),
            ("serial", ctypes.c_char * SERIAL_SIZE),
            ("kind", ctypes.c_int32),
            ("battery", ctypes.c_float),
        ]

    class Shared(ctypes.Structure):
        _fields_ = [("sequence", ctypes.c_uint32), ("slots", Slot * SLOTS)]

    return Shared, ctypes.sizeof(Slot)


def _compile(vr: Any, library: Path, state: Path, slot_size: int) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        raise DeviceError("emulated vive: no C compiler 'cc' in PATH; on Debian and Ubuntu apt-get install gcc")
    table = [name for name, _ in vr.IVRSystem_FnTable._fields_]
    numbers = {
        "FUNCTIONS": len(table),
        **{f"AT_{name}": table.index(name) for name in FUNCTIONS},
        "SLOTS": SLOTS,
        "SLOT_SIZE": slot_size,
        "SERIAL_SIZE": SERIAL_SIZE,
        "POSE_SIZE": ctypes.sizeof(vr.TrackedDevicePose_t),
        "CONTROLS_SIZE": ctypes.sizeof(vr.VRControllerState_t),
        "STANDING": vr.TrackingUniverseStanding,
        "BACKGROUND": vr.VRApplication_Background,
        "QUIT": vr.VREvent_Quit,
        "SERIAL": vr.Prop_SerialNumber_String,
        "BATTERY": vr.Prop_DeviceBatteryPercentage_Float,
        "HAS_BATTERY": vr.Prop_DeviceProvidesBatteryStatus_Bool,
        "UNKNOWN_PROPERTY": vr.TrackedProp_UnknownProperty,
        "TOO_SMALL": vr.TrackedProp_BufferTooSmall,
        "NO_SERVER": vr.VRInitError_Init_NoServerForBackgroundApp,
        "NO_INTERFACE": vr.VRInitError_Init_InterfaceNotFound,
    }
    texts = {"SYSTEM": vr.IVRSystem_Version, "STATE": str(state)}
    given = [f"-D{name}={int(value)}" for name, value in numbers.items()]
    given += [f"-D{name}={json.dumps(text)}" for name, text in texts.items()]
    library.parent.mkdir(parents=True, exist_ok=True)
    command = [
        compiler,
        "-std=gnu11",
        "-O1",
        "-Wall",
        "-Werror",
        "-shared",
        "-fPIC",
        *given,
        "-o",
        str(library),
        str(SOURCE),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeviceError(
            f"emulated vive: {SOURCE.name} does not compile: {(done.stderr.splitlines() or ['no word'])[0]}"
        )
