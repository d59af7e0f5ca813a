"""What the emulated skins feel, again and again: nothing, a press, a drag that sticks, one that slips, a release."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CYCLE = 4.0  # [s]
FREE, PRESSED, DRAGGED, SLIPPING = 0.5, 1.6, 2.5, 2.9  # [s] instants of the cycle at which that is so
FORCE, DRAG = 2.0, 0.8  # [N] of the press and of the drag
GRIP = 0.4  # of the drag, what is left of it when it slips
STICK, SLIDE = 0.07, 0.35  # of half the skin's width, how far the contact moves with the skin and over it
CHATTER, TREMBLE = 12.0, 0.15  # [Hz], and of the drag: stick-slip while sliding
WIDTH = 0.45  # of half the skin's width, of the contact


@dataclass(frozen=True)
class Touch:
    """A contact. press: 0 none to 1. drag: shear to the right, 0 to 1. centre: of the contact, -1 left to 1 right."""

    press: float
    drag: float
    centre: float
    slipping: bool


def touch_at(time: float) -> Touch:
    """Return the contact at `time` [s] of a cycle; time may go on beyond it."""
    time %= CYCLE
    press = float(np.interp(time, [1.0, 1.3, 3.5, 3.7], [0.0, 1.0, 1.0, 0.0]))
    drag = float(np.interp(time, [1.8, 2.2, 2.7, 2.75, 3.5, 3.7], [0.0, 1.0, 1.0, GRIP, GRIP, 0.0]))
    stuck = float(np.interp(time, [1.8, 2.2], [0.0, STICK]))
    slid = float(np.interp(time, [2.7, 3.1], [0.0, SLIDE]))
    slipping = 2.7 <= time < 3.1
    if slipping:
        drag += TREMBLE * float(np.sin(2 * np.pi * CHATTER * time))
    return Touch(press, drag, -0.3 + stuck + slid, slipping)


def taxel_forces(rows: int, columns: int, touch: Touch) -> npt.NDArray[np.float64]:
    """Return the forces [rows, columns, 3] [N] of a contact on an array: x and y shear, z normal."""
    y, x = np.linspace(-1, 1, rows) if rows > 1 else np.zeros(1), np.linspace(-1, 1, columns)
    near = np.exp(-((x[None, :] - touch.centre) ** 2 + y[:, None] ** 2) / (2 * WIDTH**2))
    share = near / near.sum()
    return np.stack([DRAG * touch.drag * share, 0.0 * share, FORCE * touch.press * share], axis=-1)
