"""How truly a drawn hand, and a drawn person's elbow, are seen: the real detector on the emulated cameras' pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vla_ros.arm_shape import Elbow
from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.keypoints import KeypointTracker
from vla_ros.drivers.tracked import Tracked
from vla_ros.emulators.hand import SHOULDER, elbow_at
from vla_ros.emulators.keypoints import KeypointArmEmulator, KeypointEmulator
from vla_ros.emulators.rendered_hand import INDEX, THUMB, WRIST, hand_points
from vla_ros.errors import DeviceError

Array = npt.NDArray[np.float64]
WAIT = 0.5  # [s] for a picture


@dataclass
class Measured:
    """What was seen: pictures, of which the hand was found in `hands`. Lists have an entry for each of those.

    offsets: from the true palm [3] [m]. turns: from its orientation, rotation vectors [3] [rad]. pinches: error of the distance
    from thumb to index finger [m]. delays: from a picture's arrival to its sample [s]. elbows: seen and true angle [rad].
    """

    pictures: int = 0
    offsets: list[Array] = field(default_factory=list)
    turns: list[Array] = field(default_factory=list)
    pinches: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    elbows: list[tuple[float, float]] = field(default_factory=list)

    def text(self) -> str:
        """Return it for reading."""
        if not self.offsets:
            raise DeviceError(f"bench keypoints: the hand was found in none of {self.pictures} pictures")
        offsets, turns = np.array(self.offsets), Rotation.from_rotvec(np.array(self.turns))
        middle, usual = np.median(offsets, axis=0), turns.mean()
        about = np.linalg.norm(offsets - middle, axis=1) * 1e3
        lines = [
            f"hand found in {len(offsets)} of {self.pictures} pairs of pictures",
            f"palm, about a steady offset of {np.linalg.norm(middle) * 1e3:.1f} mm: {_figures(about)} mm",
            f"in angle, about a steady {np.degrees(usual.magnitude()):.1f} degrees: "
            f"{_figures(np.degrees((usual.inv() * turns).magnitude()))} degrees",
        ]
        if self.pinches:
            lines.append(f"thumb to index finger: {_figures(np.abs(self.pinches) * 1e3)} mm")
        lines.append(f"picture to sample: {_figures(np.array(self.delays) * 1e3)} ms")
        if self.elbows:
            seen, true = np.array(self.elbows).T
            away = np.abs(seen - true - np.median(seen - true))
            lines.append(
                f"elbow, turning by {np.degrees(np.ptp(true)):.0f} degrees: {_figures(np.degrees(away))} degrees"
            )
        return "\n".join(lines)


def measure(seconds: float, arm: bool) -> Measured:
    """Look for `seconds` at the hand that moves before the emulated cameras, or at the person. Raises DeviceError."""
    emulator = KeypointArmEmulator() if arm else KeypointEmulator()
    measured, begun = Measured(), None
    with emulator:
        tracker = KeypointTracker(Address.parse(emulator.address))
        tracker.open()
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                reading = tracker.read(WAIT)
                if reading is None:
                    continue
                measured.pictures += 1
                stamp, pose = _shown(emulator, reading.arrival)
                if "hand" in reading.value.poses:
                    _compare(measured, reading, pose, emulator.hand.pinch)
                if isinstance(emulator, KeypointArmEmulator) and (seen := _elbow(reading.value)):
                    true = _true_elbow(emulator, stamp, pose)
                    begun = begun or (seen, true)
                    turned = begun[0].turned(seen), begun[1].turned(true)
                    if turned[0] is not None and turned[1] is not None:
                        measured.elbows.append((turned[0], turned[1]))
        finally:
            tracker.close()
    return measured


def _shown(emulator: KeypointEmulator, arrival: int) -> tuple[int, Array]:
    """Return when the picture was taken that arrived then [ns], and the hand's pose in it."""
    return next(shown for shown in reversed(list(emulator.seen.values())) if shown[0] <= arrival)


def _compare(measured: Measured, reading: Reading[Tracked], true: Array, pinch: float) -> None:
    poses = reading.value.poses
    hand = poses["hand"]
    measured.offsets.append(hand[:3] - true[:3])
    measured.turns.append((Rotation.from_quat(hand[3:]) * Rotation.from_quat(true[3:]).inv()).as_rotvec())
    measured.delays.append((time.time_ns() - reading.arrival) / 1e9)
    if "hand thumb" in poses and "hand index" in poses:
        points = hand_points(true, pinch)
        apart = np.linalg.norm(poses["hand thumb"][:3] - poses["hand index"][:3])
        measured.pinches.append(float(apart - np.linalg.norm(points[THUMB] - points[INDEX])))


def _elbow(tracked: Tracked) -> Elbow | None:
    poses = tracked.poses
    if not all(name in poses for name in ("shoulder", "elbow", "hand")):
        return None
    return Elbow.of(poses["shoulder"][:3], poses["elbow"][:3], poses["hand"][:3])


def _true_elbow(emulator: KeypointArmEmulator, stamp: int, pose: Array) -> Elbow:
    wrist = hand_points(pose, emulator.hand.pinch)[WRIST]
    found = Elbow.of(SHOULDER, elbow_at(wrist, emulator.turned(stamp)), pose[:3])
    assert found is not None
    return found


def _figures(values: Array) -> str:
    p50, p95, most = np.percentile(values, [50, 95, 100])
    return f"p50 {p50:.1f}, p95 {p95:.1f}, max {most:.1f}"
