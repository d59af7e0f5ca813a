"""What a skin says when nothing touches it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS
from vla_ros.errors import DeviceError


class Baseline:
    """The mean of the first `samples` values, then a value that follows slow drift while there is no contact.

    drift: [s] time constant of that following, infinite for none. Assumes that nothing touches the skin during the
    first samples, and that drift is slower than the time constant; a contact that is not noticed is learnt as drift.
    """

    def __init__(self, samples: int = 50, drift: float = 30.0) -> None:
        if samples < 1 or not drift > 0:
            raise DeviceError(
                f"a baseline of {samples} samples and a drift over {drift} s: want at least 1 and above 0"
            )
        self.samples, self._drift = samples, drift
        self.value: npt.NDArray[np.floating] | None = None  # None until the first samples are in
        self.number = 0  # of baselines taken so far
        self._last = 0
        self.restart()

    @property
    def ready(self) -> bool:
        """Whether none is being taken."""
        return self.taken >= self.samples

    def restart(self) -> None:
        """Take a new one from the next samples; until it is complete the old one, if any, is in force."""
        self.taken = 0
        self._sum: npt.NDArray[np.floating] | None = None

    def update(self, stamp: int, value: npt.NDArray[np.generic], touched: bool) -> npt.NDArray[np.float32] | None:
        """Take a value of `stamp` [ns] and return how it differs from the baseline; None until there is one.

        touched: of the sample before; the baseline stands still meanwhile. A value of another shape starts anew.
        """
        kind: type[np.floating] = np.float32 if value.dtype == np.uint8 else np.float64  # pictures are large
        sample: npt.NDArray[np.floating] = np.asarray(value, dtype=kind)
        if self.value is not None and self.value.shape != sample.shape:
            self.value = None
            self.restart()
        passed, self._last = max(0, stamp - self._last) / NANOSECONDS, stamp
        difference = None if self.value is None else sample - self.value
        if not self.ready:
            self._take(sample)
        elif self.value is not None and difference is not None and not touched:
            self.value += float(1 - np.exp(-passed / self._drift)) * difference
        return None if difference is None else difference.astype(np.float32, copy=False)

    def _take(self, sample: npt.NDArray[np.floating]) -> None:
        if self._sum is None or self._sum.shape != sample.shape:
            self._sum, self.taken = np.zeros_like(sample), 0
        self._sum += sample
        self.taken += 1
        if self.ready:
            self.value = self._sum / self.taken
            self.number += 1
