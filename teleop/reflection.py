"""Forces on the follower, felt at the leader: torques of its joints become currents of the leader's servos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vla_ros.action import NANOSECONDS
from vla_ros.errors import DeviceError

TORQUE_PER_AMPERE = (
    0.35  # [Nm/A] of an XL330-M288: e-Manual, section 1 "Specifications", stall torque and current at 5 V
)
STALE = 0.1  # [s] older forces are not felt
RAMP = 500.0  # [mA/s]
LONGEST = 0.1  # [s] that one step may count for


@dataclass(frozen=True)
class ReflectionSettings:
    """gain: torque at the leader's joint for one at the follower's [Nm/Nm]; 0: none. limit: of a servo's current [mA]."""

    gain: float = 0.0
    limit: float = 150.0

    def __post_init__(self) -> None:
        if self.gain < 0 or self.limit <= 0:
            raise DeviceError(f"force reflection: gain {self.gain:g} and limit {self.limit:g} mA must be positive")


class ForceReflection:
    """Currents [mA] by joint, as the follower's torques ask for.

    They rise by at most RAMP, and are zero at once when the clutch is open or the forces are old. `feel` and `step` may be
    called from different threads.
    """

    def __init__(self, settings: ReflectionSettings) -> None:
        self.settings = settings
        self.engaged = False  # set by who has the clutch
        self._felt: tuple[int, Mapping[str, float]] | None = None  # stamp, torques
        self._currents: dict[str, float] = {}
        self._stepped: int | None = None

    def feel(self, stamp: int, torques: Mapping[str, float]) -> None:
        """Take what the surroundings exert on the follower's joints [Nm] by name, at `stamp` [ns]."""
        self._felt = (stamp, dict(torques))

    def restart(self) -> None:
        """Let the currents rise from zero again."""
        self._currents = {}

    def step(self, now: int) -> dict[str, float]:
        """Return the currents [mA] at `now` [ns]; positive ones turn a joint the way in which its angle grows."""
        felt, before = self._felt, self._stepped
        self._stepped = now
        if not self.engaged or felt is None or abs(now - felt[0]) > STALE * NANOSECONDS:
            self._currents = {}
            return {}
        elapsed = 0.0 if before is None else min(max((now - before) / NANOSECONDS, 0.0), LONGEST)
        most, limit = RAMP * elapsed, self.settings.limit
        made = {}
        for name, torque in felt[1].items():
            wanted = min(max(1000.0 * self.settings.gain * torque / TORQUE_PER_AMPERE, -limit), limit)
            last = self._currents.get(name, 0.0)
            made[name] = last + min(max(wanted - last, -most), most)
        self._currents = made
        return dict(made)
