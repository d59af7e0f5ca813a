"""A hand that a tracker sees, as a teleoperation device: where it is moves the tip, what it grips closes the gripper.

Options of its address, besides the tracker's: `body`, which thing is the hand; `follow`: "pose"; "position", which leaves
the tool's orientation as it was when the clutch engaged; "arm": the pose, and as far as that leaves it free the arm's elbow
does what the operator's does, of which two more things are tracked, `elbow` and `shoulder`. The gripper closes with the
trigger where there is one, otherwise as two tracked things come together, `thumb` and `index`, from `open` to `closed` [m]
apart. The clutch is the tracker's where it has one, otherwise the node's. Of two bare hands one is the other's clutch: when it
goes out of sight while it holds it, nobody knows whether it lets go, and it counts as a hand that is not tracked.
"""

from __future__ import annotations

import time

import numpy as np

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.tracked import Array, Tracked, Tracker
from vla_ros.drivers.webxr_message import OTHER
from vla_ros.errors import DeviceError, unknown_name
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.leap import LeapFilter

OPTIONS = ("body", "follow", "thumb", "index", "open", "closed", "elbow", "shoulder")
FOLLOW = ("pose", "position", "arm")
CLUTCH, GRIP, THUMB, INDEX = "clutch", "trigger", "thumb", "index"  # of a hand: values and poses "right clutch", ...
UNSEEN = 0.5  # [s] for which a hand may be out of sight before the clutch has to be taken again
WAITING = 1000  # samples that are passed over at once, at most
PINCH_OPEN, PINCH_CLOSED = 0.08, 0.015  # [m] between the tips of thumb and index finger
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


class TrackedHand:
    """A driver (see `vla_ros.drivers.base`) of teleoperation samples around a tracker.

    gripper: closed and open position [m], None without one. A hand that is not tracked gives no sample, so the arm holds.
    """

    def __init__(self, tracker: Tracker, address: Address, gripper: tuple[float, float] | None = None) -> None:
        address.only(*tracker.options, *OPTIONS)
        self._tracker, self._gripper = tracker, gripper
        self.device, self.rejected = tracker.device, 0
        self._body = address.text_of("body", tracker.hand)
        follow = address.text_of("follow", "pose", FOLLOW)
        self._oriented = follow != "position"
        self._arm: tuple[str, ...] = (address.text_of("shoulder", "shoulder"), address.text_of("elbow", "elbow"))
        if follow != "arm":
            if given := [name for name in ("elbow", "shoulder") if name in address.options]:
                raise DeviceError(f"{address.text}: {given[0]} is for follow=arm, and follow is '{follow}'")
            self._arm = ()
        self._tips = (address.text_of("thumb", ""), address.text_of("index", ""))
        self._open = address.number("open", PINCH_OPEN, 0.0, 1.0)
        self._closed = address.number("closed", PINCH_CLOSED, 0.0, 1.0)
        if self._closed >= self._open:
            raise DeviceError(f"{address.text}: closed is {self._closed:g} m, want less than open, {self._open:g} m")
        self._seen, self._held = 0.0, False  # when the hand was [s], and whether its clutch was
        self._leaps = LeapFilter()

    def open(self) -> None:
        """Open the tracker. Raises DeviceError, also when it does not know the hand."""
        self._tracker.open()
        known = self._tracker.bodies
        for name in (self._body, *self._tips, *self._arm):
            if name and known and name not in known:
                self._tracker.close()
                raise DeviceError(f"{self.device}: {unknown_name('body', name, known)}")
        if not self._body and len(known) > 1:
            self._tracker.close()
            raise DeviceError(f"{self.device}: which is the hand? Say body= one of {', '.join(known)}")
        self._seen, self._held = time.monotonic(), False
        self._leaps.reset()

    def read(self, timeout: float) -> Reading[TeleopSample] | None:
        """Return where the hand is; None if there is none within `timeout` [s]. Raises DeviceError when it is lost.

        Of several samples that wait the newest counts: on a busy machine the arm must not follow ever older ones.
        """
        reading = self._tracker.read(timeout)
        for _ in range(WAITING if reading is not None else 0):
            newer = self._tracker.read(0.0)
            if newer is None:
                break
            reading = newer
        self.rejected = self._tracker.rejected
        if reading is None:
            return None
        sample = self.sample(reading.value, reading.arrival)
        if sample is not None and sample.pose is not None:
            self._seen = time.monotonic()
            taken = reading.arrival / 1e9 if reading.device_time is None else reading.device_time
            if not self._leaps(taken, sample.pose):
                return None
            return Reading(sample, reading.arrival, reading.device_time, reading.sequence, reading.flags)
        if time.monotonic() - self._seen > UNSEEN:
            name = self._name(reading.value)
            unseen = OTHER[name] if name in reading.value.poses else name
            raise DeviceError(f"{self.device}: '{unseen}' is not tracked; bring it into view")
        return None

    def close(self) -> None:
        """Let the tracker go."""
        self._tracker.close()

    def end(self) -> None:
        """Stop what stays up between close and open."""
        if end := getattr(self._tracker, "end", None):
            end()

    def sample(self, tracked: Tracked, stamp: int) -> TeleopSample | None:
        """Return what is asked for, stamped `stamp` [ns]; None while the hand, or the one that holds its clutch, is not seen."""
        name = self._name(tracked)
        pose = tracked.poses.get(name)
        if pose is None or (self._held and not self._clutch_seen(name, tracked)):
            return None
        if not self._oriented:
            pose = np.concatenate([pose[:3], UPRIGHT])
        values = {key: value for key, value in tracked.values.items() if key.startswith(f"{name} ")}
        buttons = {key: value > 0.5 for key, value in values.items()}
        self._held = clutch = buttons.get(f"{name} {CLUTCH}", True)
        grip, arm = self._grip(name, tracked), self._shape(pose, tracked)
        return TeleopSample(stamp, pose=pose, gripper=grip, clutch=clutch, buttons=buttons, arm=arm)

    def _clutch_seen(self, name: str, tracked: Tracked) -> bool:
        """Return whether what holds the clutch is seen; only of a bare hand, without a trigger, is it another thing."""
        if f"{name} {CLUTCH}" not in tracked.values or f"{name} {GRIP}" in tracked.values or name not in OTHER:
            return True
        return all(f"{OTHER[name]} {tip}" in tracked.poses for tip in (THUMB, INDEX))

    def _shape(self, hand: Array, tracked: Tracked) -> Array | None:
        """Return where shoulder, elbow and hand are [3, 3] [m]; None where they are not all seen, or not to be followed."""
        if not self._arm or any(name not in tracked.poses for name in self._arm):
            return None
        return np.array([*(tracked.poses[name][:3] for name in self._arm), hand[:3]])

    def _name(self, tracked: Tracked) -> str:
        known = self._tracker.bodies or tuple(tracked.poses)
        return self._body or (known[0] if known else "hand")

    def _grip(self, name: str, tracked: Tracked) -> float | None:
        if self._gripper is None:
            return None
        closed, opened = self._gripper
        trigger = tracked.values.get(f"{name} {GRIP}")
        if trigger is None:
            apart = self._apart(name, tracked)
            if apart is None:
                return None
            trigger = 1.0 - float(np.clip((apart - self._closed) / (self._open - self._closed), 0.0, 1.0))
        return opened + (closed - opened) * trigger

    def _apart(self, name: str, tracked: Tracked) -> float | None:
        """Return how far thumb and index finger are apart [m]; None if they are not seen."""
        thumb, index = self._tips[0] or f"{name} {THUMB}", self._tips[1] or f"{name} {INDEX}"
        ends: list[Array] = [tracked.poses[tip][:3] for tip in (thumb, index) if tip in tracked.poses]
        return float(np.linalg.norm(ends[0] - ends[1])) if len(ends) == 2 else None
