"""All of it in order, for an array of taxels and for a camera behind a gel: a sample in, what is felt out."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.errors import DeviceError, unknown_name
from vla_ros.tactile.baseline import Baseline
from vla_ros.tactile.flow import MarkerFlow, flow_figures, markers_in
from vla_ros.tactile.hysteresis import Hysteresis
from vla_ros.tactile.imprint import PictureSlip
from vla_ros.tactile.markers import marker_mask, without_markers
from vla_ros.tactile.mask import contact_mask
from vla_ros.tactile.slip import ShearSlip

CONFIRM = 2  # samples until a contact is told
BESIDE = 30  # [px] markers so near to the contact are counted to it


@dataclass(frozen=True)
class Thresholds:
    """From which level there is contact and below which no more, and from which score slip.

    Levels: of taxels the largest change of any one, in the sensor's unit; of a picture the share of it that is in
    contact. Scores: of taxels [1/s] (`ShearSlip`), of a picture [px/s] (`PictureSlip`). samples, drift: of `Baseline`.
    """

    contact_on: float
    contact_off: float
    slip: float
    samples: int = 50
    drift: float = 30.0


DEFAULTS = {  # by a driver's unit; to begin with, a skin of its own wants its own
    "N": Thresholds(0.15, 0.08, 2.0),
    "uT": Thresholds(30.0, 15.0, 1.3),
    "counts": Thresholds(150.0, 75.0, 2.0),
    "rgb": Thresholds(0.005, 0.0025, 25.0, 15, 60.0),
}


@dataclass(frozen=True)
class TouchState:
    """What is felt in one sample.

    difference: the sample less its baseline, float32, of taxels [rows, columns, 3], of a picture [H, W, 3] in grey levels
    with the markers taken out; None until the baseline is taken. flow: [N, 4] x y dx dy [px] of a picture's markers.
    """

    contact: bool = False
    slip: bool = False
    level: float = 0.0
    difference: npt.NDArray[np.float32] | None = None
    flow: npt.NDArray[np.float32] | None = None
    figures: dict[str, float] = field(default_factory=dict)


class TouchProcess(Protocol):
    """Samples in, states out; in one thread, but `restart`, which any may call."""

    baseline: Baseline

    def process(self, stamp: int, value: npt.NDArray[np.generic]) -> TouchState:
        """Take the sample of `stamp` [ns] and return what is felt."""

    def restart(self) -> None:
        """Take a new baseline from the next sample on."""


class _Process:
    def __init__(self, thresholds: Thresholds) -> None:
        self.baseline = Baseline(thresholds.samples, thresholds.drift)
        self._contact = Hysteresis(thresholds.contact_on, thresholds.contact_off, CONFIRM)
        self._again = threading.Event()

    def restart(self) -> None:
        """Take a new baseline from the next sample on."""
        self._again.set()

    def _begin(self) -> None:
        if self._again.is_set():
            self._again.clear()
            self.baseline.restart()


class TaxelTouch(_Process):
    """Feels with an array of taxels [rows, columns, 3]: x and y shear, z normal."""

    def __init__(self, thresholds: Thresholds) -> None:
        super().__init__(thresholds)
        self._slip = ShearSlip(thresholds.slip, smallest=thresholds.contact_off)

    def process(self, stamp: int, value: npt.NDArray[np.generic]) -> TouchState:
        """Take the taxels of `stamp` [ns] and return what is felt."""
        self._begin()
        difference = self.baseline.update(stamp, value, self._contact.state)
        if difference is None:
            return TouchState()
        level = float(np.linalg.norm(difference, axis=-1).max())
        contact = self._contact.update(stamp, level)
        slip = self._slip.update(stamp, difference, contact)
        shear = difference[..., :2].sum(axis=(0, 1))
        figures = {
            "shear_x": float(shear[0]),
            "shear_y": float(shear[1]),
            "normal": float(difference[..., 2].sum()),
            "slip_score": self._slip.score,
        }
        return TouchState(contact, slip, level, difference, None, figures)


class PictureTouch(_Process):
    """Feels with pictures [H, W, 3] uint8 RGB of a gel. markers: whether their flow is followed, which slip needs."""

    def __init__(self, thresholds: Thresholds, markers: bool = True) -> None:
        super().__init__(thresholds)
        self._slip = PictureSlip(thresholds.slip)
        self._markers = markers
        self._flow: MarkerFlow | None = None
        self._number = 0  # of the baseline that the markers are at rest in

    def process(self, stamp: int, value: npt.NDArray[np.generic]) -> TouchState:
        """Take the picture of `stamp` [ns] and return what is felt."""
        self._begin()
        picture = np.asarray(value, dtype=np.uint8)
        spots = marker_mask(picture)
        difference = self.baseline.update(stamp, without_markers(picture, spots), self._contact.state)
        if difference is None:
            return TouchState()
        if self._markers and self._number != self.baseline.number:
            self._flow, self._number = MarkerFlow(picture), self.baseline.number
        mask = contact_mask(difference)
        level = float(mask.mean())
        contact = self._contact.update(stamp, level)
        if self._flow is None:
            return TouchState(contact, False, level, difference)
        flow = self._flow.update(picture)
        slip = self._slip.update(stamp, difference, mask, spots, flow, contact)
        figures = flow_figures(markers_in(flow, _around(mask)) if contact else flow)
        figures |= {"slip_score": self._slip.score, "texture_points": float(self._slip.points)}
        return TouchState(contact, slip, level, difference, flow, figures)


def _around(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((2 * BESIDE + 1, 2 * BESIDE + 1), np.uint8)) > 0)


def touch_for(unit: str, thresholds: Thresholds | None = None, markers: bool = True) -> TouchProcess:
    """Return the process for a driver's unit, "rgb" for pictures; raises DeviceError naming the units.

    markers: whether those of a picture are followed.
    """
    if unit not in DEFAULTS:
        raise DeviceError(unknown_name("unit of touch", unit, DEFAULTS))
    chosen = thresholds or DEFAULTS[unit]
    return PictureTouch(chosen, markers) if unit == "rgb" else TaxelTouch(chosen)
