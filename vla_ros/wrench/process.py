"""The steps between a sensor's reading and what is published: tool load, tare, filter; and what is wrong with it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vla_ros.errors import CalibrationError
from vla_ros.wrench.calibration import WrenchCalibration
from vla_ros.wrench.lowpass import LowPass

Array = npt.NDArray[np.float64]
MEASURED = 50  # intervals between samples from which their rate is told
GAP, LEAST_GAP = 5.0, 0.05  # usual intervals, [s]: after a longer one the filter begins anew, and it is flagged
REMEMBERED = 5000  # samples that a tare may be the mean of


@dataclass(frozen=True)
class Processed:
    """A wrench [6] (N, Nm), or None when it cannot be told; flags: what is wrong with it."""

    wrench: Array | None
    flags: tuple[str, ...] = ()


class WrenchProcess:
    """Takes the tool's load and the tare off, filters, and flags saturation and gaps.

    calibration: None: the load stays in. cutoff [Hz]: 0: no filter. rate [Hz] of the samples; 0: told from their stamps,
    and they pass unfiltered until it is. limits: |force|, |torque| along an axis from which the sensor is saturated
    [N, Nm]; 0: not known.
    """

    def __init__(
        self,
        calibration: WrenchCalibration | None = None,
        cutoff: float = 0.0,
        rate: float = 0.0,
        limits: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.calibration, self.cutoff = calibration, cutoff
        self._limits = np.repeat([limit or np.inf for limit in limits], 3)
        self._filter = LowPass(cutoff, rate) if cutoff and rate else None
        self._unfiltered = "the rate is not yet known"
        self._stamps: deque[int] = deque(maxlen=MEASURED + 1)
        self._recent: deque[Array] = deque(maxlen=REMEMBERED)  # without load, before tare and filter
        self.tared = np.zeros(6)  # what is taken off [N, Nm]

    @property
    def delay(self) -> float:
        """By how much the filter delays slow changes [s]; 0 without one."""
        return self._filter.delay if self._filter else 0.0

    def __call__(self, stamp: int, raw: Array, rotation: Array | None = None) -> Processed:
        """Return the wrench of a sample `raw` [6] taken at `stamp` [ns].

        rotation: R_root_sensor [3, 3] then; needed with a calibration, without it there is no wrench.
        """
        flags = [
            f"saturated: {name}"
            for name, value, limit in zip(("fx", "fy", "fz", "tx", "ty", "tz"), raw, self._limits, strict=True)
            if abs(value) >= limit
        ]
        if (gap := self._interval(stamp)) and self._filter is not None:
            self._filter.reset()
        if gap:
            flags.append(f"timeout: {gap:.3g} s without a sample")
        if self.calibration is not None:
            if rotation is None:
                return Processed(None, (*flags, "no orientation: the tool's weight cannot be taken off"))
            raw = raw - self.calibration.without_contact(rotation)
        self._recent.append(np.array(raw))
        wrench = raw - self.tared
        if self.cutoff and (low_pass := self._low_pass()) is not None:
            wrench = low_pass(wrench)
        elif self.cutoff:
            flags.append(f"unfiltered: {self._unfiltered}")
        return Processed(wrench, tuple(flags))

    def tare(self, samples: int) -> tuple[Array, Array]:
        """Take the mean of the last `samples` off from now on; return it and their standard deviation, [6] each.

        Raises CalibrationError when there are not as many since the last gap.
        """
        if not 0 < samples <= REMEMBERED:
            raise CalibrationError(f"a tare of {samples} samples: want 1 to {REMEMBERED}")
        if len(self._recent) < samples:
            raise CalibrationError(f"{len(self._recent)} samples so far, {samples} are needed for the tare")
        last = np.array(self._recent)[-samples:]
        self.tared = last.mean(axis=0)
        if self._filter is not None:
            self._filter.reset()
        return self.tared.copy(), last.std(axis=0)

    def _interval(self, stamp: int) -> float:
        """Take in a stamp; return the time since the last [s] if that is too long."""
        usual = self._usual()
        passed = (stamp - self._stamps[-1]) / 1e9 if self._stamps else 0.0
        late = usual > 0 and passed > max(GAP * usual, LEAST_GAP)
        if late or passed < 0:
            self._stamps.clear()
            self._recent.clear()
        self._stamps.append(stamp)
        return passed if late else 0.0

    def _usual(self) -> float:
        """Return the usual interval [s] between samples, 0 while it is not known."""
        if len(self._stamps) <= MEASURED:
            return 1.0 / self._filter.rate if self._filter is not None else 0.0
        return (self._stamps[-1] - self._stamps[0]) / 1e9 / MEASURED

    def _low_pass(self) -> LowPass | None:
        """Return the filter, designed once the rate of the samples is known."""
        if self._filter is None and (usual := self._usual()):
            try:
                self._filter = LowPass(self.cutoff, 1.0 / usual)
            except CalibrationError as error:
                self._unfiltered = str(error)
        return self._filter
