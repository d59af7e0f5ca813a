"""Vive trackers and SteamVR's controllers, by OpenVR: ``vive://?body=LHR-1234ABCD``, or ``vive://`` where only one is there.

body: its serial number. yaw: [degrees]. rate: [Hz] at which SteamVR is asked. paths: the file that says where SteamVR is, where
that is not the usual one, as of a Steam under another user's account.

Poses are those of the standing universe, on the floor of SteamVR's room set-up. SteamVR has them for any time, from the last
sweep of a base station and the device's gyroscopes; it is asked for the present, which is the sample's time. What a base
station does not see is not in the sample, also where SteamVR goes on guessing. Values of controllers: "LHR-1234ABCD trigger",
"... clutch" (the grip button), "... menu", "... pad".
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vla_ros.beat import GATE_PERIOD, next_question
from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.parsers import ParserCase
from vla_ros.drivers.tracked import Array, Axes, Tracked
from vla_ros.drivers.vive_client import STEAMVR, Device
from vla_ros.errors import DeviceError, unknown_name

POSE = np.dtype(  # TrackedDevicePose_t, of openvr.h
    [
        ("matrix", "<f4", (3, 4)),
        ("velocity", "<f4", (3,)),
        ("turning", "<f4", (3,)),
        ("result", "<i4"),
        ("valid", "u1"),
        ("connected", "u1"),
        ("", "u1", (2,)),
    ]
)
RUNNING_OK = 200  # ETrackingResult
RESULTS = {1: "not initialised", 100: "calibrating", 101: "out of sight", 201: "out of sight", 300: "only turns"}
SKEW = 0.01  # that a rotation may be off an orthonormal matrix
UNSEEN = 0.8  # [s] without a pose
LOOK = 1.0  # [s] between two looks at which devices there are
LOW = 0.15  # of a battery
MUTE = "SteamVR tells its buttons no longer"
HANDS = ("tracker", "controller")  # a headset, which may be SteamVR's own invention, and base stations are none


class Vive:
    """What SteamVR tracks."""

    options: tuple[str, ...] = ("yaw", "body", "rate", "paths")

    def __init__(self, address: Address) -> None:
        if address.host or address.path:
            raise DeviceError(f"{address.text}: want vive://?body=LHR-1234ABCD")
        self.hand = self._body = address.text_of("body", "")
        self._paths = address.text_of("paths", "")
        self._axes = Axes.of(address, "y")
        self._period = 1.0 / address.number("rate", 1.0 / GATE_PERIOD, 1.0, 1000.0)
        self.device, self.rejected = f"vive {self._body}".strip(), 0
        self._devices: dict[int, Device] = {}
        self._batteries: dict[int, float] = {}
        self._pressed: dict[int, dict[str, float] | None] = {}  # None: SteamVR has told it, and tells it no longer
        self._why: dict[str, str] = {}  # a device is not tracked, by serial number
        self._due = self._look_due = self._seen = 0.0

    @property
    def bodies(self) -> tuple[str, ...]:
        """Serial numbers of the trackers and controllers that SteamVR knows."""
        return tuple(device.serial for device in self._devices.values() if device.kind in HANDS)

    def open(self) -> None:
        """Join SteamVR. Raises DeviceError naming the devices that it has."""
        self.close()
        STEAMVR.join(self, self._paths)
        try:
            self._look()
            if not self.bodies:
                others = ", ".join(f"{device.kind} {device.serial}" for device in self._devices.values())
                raise DeviceError(f"{self.device}: no tracker or controller is on; SteamVR has: {others or 'nothing'}")
            if self._body and self._body not in self.bodies:
                raise DeviceError(f"vive: {unknown_name('body', self._body, self.bodies)}")
        except DeviceError:
            self.close()
            raise
        self._seen = time.monotonic()
        self._due = next_question(self._seen)
        self._pressed = {}

    def read(self, timeout: float) -> Reading[Tracked] | None:
        """Return the next poses; None if there are none within `timeout` [s]. Raises DeviceError when they are lost."""
        end = time.monotonic() + timeout
        while self._due <= end:
            time.sleep(max(0.0, self._due - time.monotonic()))
            self._due += self._period
            if (now := time.monotonic()) > self._due + self._period:
                self._due = next_question(now)
            if now > self._look_due:
                self._look()
            self._hear_controllers()
            reading = self.take(*STEAMVR.poses(self))
            if reading is not None:
                self._seen = time.monotonic()
                return reading
            self._check_seen()
        time.sleep(max(0.0, end - time.monotonic()))
        return None

    def close(self) -> None:
        """Let SteamVR go."""
        STEAMVR.leave(self)

    def take(self, data: bytes, stamp: int) -> Reading[Tracked] | None:
        """Return what the poses of all devices at `stamp` [ns] say; None where nothing, or not the body, is tracked."""
        try:
            records = np.frombuffer(data, POSE)
        except ValueError:
            self.rejected += 1
            raise DeviceError(f"{self.device}: {len(data)} bytes of poses, want {POSE.itemsize} each") from None
        poses: dict[str, Array] = {}
        values: dict[str, float] = {}
        flags = []
        for index, device in self._devices.items():
            if device.kind not in HANDS or index >= len(records):
                continue
            record, pressed = records[index], self._pressed.get(index, {})
            self._why[device.serial] = MUTE if pressed is None else _untracked(record)
            if pressed is None or self._why[device.serial]:
                continue
            try:
                poses[device.serial] = self._pose(record["matrix"])
            except ValueError:
                self.rejected += 1
                self._why[device.serial] = "its poses are broken"
                continue
            values |= {f"{device.serial} {key}": value for key, value in pressed.items()}
            if self._batteries.get(index, 1.0) < LOW:
                flags.append(f"'{device.serial}': low battery, less than {LOW:.0%}")
        if not poses or (self._body and self._body not in poses):
            return None
        return Reading(Tracked(poses, values), stamp, flags=tuple(flags))

    def _pose(self, matrix: npt.NDArray[np.floating]) -> Array:
        """Return the pose [7] of a matrix float32 [3, 4]. Raises ValueError if it is none."""
        if not np.isfinite(matrix).all():
            raise ValueError("no numbers")
        matrix = matrix.astype(np.float64)
        turn = matrix[:, :3]
        if np.abs(turn @ turn.T - np.eye(3)).max() > SKEW or np.linalg.det(turn) < 0:
            raise ValueError("no rotation")
        return self._axes(matrix[:, 3], Rotation.from_matrix(turn).as_quat())

    def _look(self) -> None:
        """See which devices there are, and how their batteries are."""
        self._look_due = time.monotonic() + LOOK
        self._devices = STEAMVR.devices(self)
        charges = {i: STEAMVR.battery(self, i) for i, device in self._devices.items() if device.kind in HANDS}
        self._batteries = {index: charge for index, charge in charges.items() if charge is not None}

    def _hear_controllers(self) -> None:
        """Take triggers and buttons. A controller of which SteamVR told them, and then no more, is not tracked: whether its
        clutch is held nobody knows.
        """
        for index, device in self._devices.items():
            if device.kind == "controller":
                told = STEAMVR.controls(self, index)
                if told is not None or index in self._pressed:
                    self._pressed[index] = told

    def _check_seen(self) -> None:
        if time.monotonic() - self._seen > UNSEEN:
            wanted = [self._body] if self._body else list(self.bodies)
            told = "; ".join(f"'{name}' is not tracked: {self._why.get(name) or 'gone'}" for name in wanted)
            others = ", ".join(name for name in self.bodies if not self._why.get(name)) or "none"
            raise DeviceError(f"{self.device}: {told} (tracked: {others})")


def _untracked(record: np.void) -> str:
    """Return why a device is not tracked, "" where it is."""
    if not record["connected"]:
        return "switched off, or away from its dongle"
    result = int(record["result"])
    if result != RUNNING_OK:
        return f"{RESULTS.get(result, f'result {result}')}; bring it before the base stations"
    return "" if record["valid"] else "no valid pose; bring it before the base stations"


def fuzz_case() -> ParserCase:
    """Return how the parser is fuzzed: with spoiled poses of two devices."""
    upright = np.zeros(1, POSE)
    upright["matrix"][0, :, :3] = np.eye(3)
    upright["result"], upright["valid"], upright["connected"] = RUNNING_OK, 1, 1
    turned = upright.copy()
    turned["matrix"][0] = [[0.0, 0.0, 1.0, 0.1], [1.0, 0.0, 0.0, 1.2], [0.0, 1.0, 0.0, -0.3]]

    def parser() -> Callable[[bytes], object]:
        driver = Vive(Address.parse("vive://"))
        driver._devices = {0: Device("LHR-00000001", "tracker"), 1: Device("LHR-00000002", "controller")}
        return lambda data: driver.take(data, 0)

    one, two = upright.tobytes(), turned.tobytes()
    return ParserCase(parser, (one, one + two, two + two))
