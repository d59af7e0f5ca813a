"""Slip of an array of taxels: the shear that a grip holds lets go."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS
from vla_ros.tactile.hysteresis import Hysteresis

FEWEST = 3  # samples from which a rate is told
HOLD = 0.1  # [s] that a slip is told at least


class Rates:
    """Rates of change of a few quantities: the slope of a line through the samples of the last `window` [s].

    It is that of the window's middle, so window / 2 late.
    """

    def __init__(self, window: float) -> None:
        self._window = window * NANOSECONDS
        self._samples: deque[tuple[int, npt.NDArray[np.float64]]] = deque()
        self.mean: npt.NDArray[np.float64] = np.zeros(0)  # of the window's values

    def update(self, stamp: int, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Take values [...] at `stamp` [ns] and return their rates [...] [1/s]; zeros while there are too few."""
        samples = self._samples
        if samples and (stamp <= samples[-1][0] or values.shape != samples[-1][1].shape):
            samples.clear()
        samples.append((stamp, values))
        while len(samples) > FEWEST and samples[0][0] < stamp - self._window:
            samples.popleft()
        self.mean = np.mean([value for _, value in samples], axis=0)
        if len(samples) < FEWEST:
            return np.zeros_like(values)
        times = np.array([taken - stamp for taken, _ in samples]) / NANOSECONDS
        times -= times.mean()
        return np.asarray(np.tensordot(times, np.array([value for _, value in samples]), 1) / (times @ times))

    def reset(self) -> None:
        """Forget the samples."""
        self._samples.clear()


class ShearSlip:
    """Slip of an array of taxels [rows, columns, 3], baseline taken off: x and y shear, z normal.

    Score [1/s]: sum |ds_i/dt - s_i (dN/dt) / N| / N over the taxels i in contact, s_i their shear, N the sum of their normals:
    how fast the shear is redistributed, but for what comes of gripping harder or less hard, which changes all of it in
    proportion. A grip that holds passes a load on as slowly as it comes; one that slips lets the skin spring back, here and
    there. Assumes that a load that is held comes slower than `rate`; a jerk is told as slip. The score is window / 2 late.
    rate: [1/s] from which it is slip, until half of it. smallest: change from which a taxel counts as in contact.

    On 20 recordings of a real uSkin (4 by 4, raw counts, 40 Hz: github.com/imanlab/tactile_prediction_flat_dataset) that end
    with the object dropped, slip is told in the last second before contact is lost in 19, in the median half a second
    before; earlier in 0.4% of the samples.
    """

    def __init__(self, rate: float = 2.0, window: float = 0.1, smallest: float = 0.1) -> None:
        self._rates, self._smallest = Rates(window), smallest
        self._decision = Hysteresis(rate, rate / 2, hold=HOLD)
        self.score = 0.0

    def update(self, stamp: int, taxels: npt.NDArray[np.floating], touched: bool) -> bool:
        """Take a sample of `stamp` [ns] and return whether it slips; never without contact."""
        now = taxels.reshape(-1, 3).astype(np.float64)
        rates, mean = self._rates.update(stamp, now), self._rates.mean  # both of the window's middle
        felt = np.maximum(np.linalg.norm(now, axis=1), np.linalg.norm(mean, axis=1)) >= self._smallest
        before, normal = (float(np.abs(values[felt, 2]).sum()) for values in (mean, now))
        if not touched or min(before, normal) < self._smallest:
            self.reset()
            return False
        harder = float((np.sign(mean[felt, 2]) * rates[felt, 2]).sum()) / before  # [1/s] by how much it grips harder
        moved = np.linalg.norm(rates[felt, :2] - harder * mean[felt, :2], axis=1)
        self.score = float(moved.sum()) / max(before, normal)
        return self._decision.update(stamp, self.score)

    def reset(self) -> None:
        """Be without slip."""
        self.score = 0.0
        self._decision.reset()
