"""Slip: the shear that a grip holds lets go, or the contact wanders over the skin."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from vla_ros.tactile.hysteresis import Hysteresis

NANOSECONDS = 1_000_000_000
FEWEST = 3  # samples from which a rate is told
HOLD = 0.1  # [s] that a slip is told at least


class Rates:
    """Rates of change of a few quantities: the slope of a line through the samples of the last `window` [s].

    It is that of the window's middle, so window / 2 late.
    """

    def __init__(self, window: float) -> None:
        self._window = window * NANOSECONDS
        self._samples: deque[tuple[int, npt.NDArray[np.float64]]] = deque()

    def update(self, stamp: int, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Take values [N] at `stamp` [ns] and return their rates [N] [1/s]; zeros while there are too few."""
        samples = self._samples
        if samples and (stamp <= samples[-1][0] or values.shape != samples[-1][1].shape):
            samples.clear()
        samples.append((stamp, values))
        while len(samples) > FEWEST and samples[0][0] < stamp - self._window:
            samples.popleft()
        if len(samples) < FEWEST:
            return np.zeros_like(values)
        times = np.array([taken - stamp for taken, _ in samples]) / NANOSECONDS
        times -= times.mean()
        return np.asarray(times @ np.array([value for _, value in samples]) / (times @ times))

    def reset(self) -> None:
        """Forget the samples."""
        self._samples.clear()


class ShearSlip:
    """Slip of an array of taxels [rows, columns, 3], baseline taken off: x and y shear, z normal.

    Score [1/s]: by how much the total shear changes faster than the total normal, per normal. A grip that holds passes
    shear on as the load comes, and both change together when it closes or opens; one that slips lets shear go at once,
    and chatters. Assumes that the load on a grip that holds comes slower than `rate`; a quick jerk is told as slip.
    The score is window / 2 late. rate: [1/s] from which it is slip, until half of it. smallest: total normal below which
    there is none.
    """

    def __init__(self, rate: float = 2.0, window: float = 0.05, smallest: float = 0.1) -> None:
        self._rates, self._smallest = Rates(window), smallest
        self._decision = Hysteresis(rate, rate / 2, hold=HOLD)
        self.score = 0.0

    def update(self, stamp: int, taxels: npt.NDArray[np.floating], touched: bool) -> bool:
        """Take a sample of `stamp` [ns] and return whether it slips; never without contact."""
        shear = taxels[..., :2].sum(axis=(0, 1), dtype=np.float64)
        normal = float(np.abs(taxels[..., 2]).sum())
        rates = self._rates.update(stamp, np.append(shear, normal))
        if not touched or normal < self._smallest:
            self.reset()
            return False
        self.score = max(0.0, float(np.hypot(rates[0], rates[1]) - abs(rates[2]))) / normal
        return self._decision.update(stamp, self.score)

    def reset(self) -> None:
        """Be without slip."""
        self.score = 0.0
        self._decision.reset()


class PictureSlip:
    """Slip behind a camera: the contact moves relative to the skin under it.

    Score [px/s]: the difference of two velocities, the contact's centre's and that of the markers in it. An object that
    sticks takes the skin along. While the contact's size changes, as when it is pressed or lifted, its centre says little:
    that change, as a speed of its edge, is taken off. Assumes that the object does not roll. The score is window / 2
    late. speed: [px/s] from which it is slip, until half of it.
    """

    def __init__(self, speed: float = 25.0, window: float = 0.12) -> None:
        self._rates = Rates(window)
        self._decision = Hysteresis(speed, speed / 2, hold=HOLD)
        self.score = 0.0

    def update(self, stamp: int, mask: npt.NDArray[np.bool_], flow: npt.NDArray[np.floating], touched: bool) -> bool:
        """Take the contact mask [H, W] and the marker flow [N, 4] at `stamp` [ns] and return whether it slips."""
        moved = markers_in(flow, mask)
        if not touched or not mask.any() or not len(moved):
            self._rates.reset()
            self.reset()
            return False
        rows, columns = np.nonzero(mask)
        radius = np.sqrt(mask.sum() / np.pi)
        centre = np.array([columns.mean(), rows.mean()])
        rates = self._rates.update(stamp, np.array([*(centre - moved[:, 2:].mean(axis=0)), radius], dtype=np.float64))
        self.score = max(0.0, float(np.hypot(rates[0], rates[1]) - abs(rates[2])))
        return self._decision.update(stamp, self.score)

    def reset(self) -> None:
        """Be without slip."""
        self.score = 0.0
        self._decision.reset()


def markers_in(flow: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.floating]:
    """Return the rows of a marker flow [N, 4] whose markers are now inside the mask [H, W]; lost ones are not."""
    seen = flow[np.isfinite(flow).all(axis=1)]
    x, y = np.rint(seen[:, :2] + seen[:, 2:]).astype(int).T
    inside = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
    inside[inside] = mask[y[inside], x[inside]]
    return np.asarray(seen[inside])
