"""A low-pass filter that says how late it makes a signal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, group_delay

from vla_ros.errors import CalibrationError

Array = npt.NDArray[np.float64]


class LowPass:
    """A Butterworth filter of second order, for samples [6] that come at `rate` [Hz]; -3 dB at `cutoff` [Hz].

    delay: by how much slow changes are delayed, its group delay at 0 Hz [s]; about 0.225 / cutoff. The first sample is
    taken for what the signal has been for ever.
    """

    def __init__(self, cutoff: float, rate: float) -> None:
        if not 0 < cutoff < rate / 2:
            raise CalibrationError(f"cutoff {cutoff:g} Hz: want more than 0 and less than half the rate, {rate:g} Hz")
        self.cutoff, self.rate = cutoff, rate
        self._b, self._a = butter(2, cutoff, fs=rate)
        _, delays = group_delay((self._b, self._a), w=[0.0], fs=rate)
        self.delay = float(delays[0]) / rate
        self.reset()

    def reset(self) -> None:
        """Begin anew with the next sample."""
        self._state: tuple[Array, Array] | None = None

    def __call__(self, sample: Array) -> Array:
        """Return the filtered sample."""
        b, a = self._b, self._a
        if self._state is None:  # as if `sample` had come for ever
            second = (b[2] - a[2]) * sample
            self._state = ((b[1] - a[1]) * sample + second, second)
        first, second = self._state
        result = np.asarray(b[0] * sample + first)
        self._state = (b[1] * sample - a[1] * result + second, b[2] * sample - a[2] * result)
        return result
