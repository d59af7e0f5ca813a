"""An emulated AnySkin: the packets of the reference firmware on a pseudo-terminal; see `drivers.anyskin`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.emulators.serial_device import SerialEmulator
from vla_ros.emulators.touching import taxel_forces, touch_at

MAGNETOMETERS = 5
WARMTH = 28.0  # [deg C]
NOISE = 0.8  # [uT] standard deviation
RESPONSE = np.array([420.0, 420.0, -650.0])  # [uT/N] of a taxel's own force; real skins couple more than that
REST = np.array(  # [uT] of the skin and the earth at each chip without contact
    [[-12.0, 34.0, 410.0], [55.0, -20.0, 380.0], [-48.0, 15.0, 395.0], [20.0, 61.0, 402.0], [8.0, -57.0, 388.0]]
)


class AnySkinEmulator(SerialEmulator):
    """Sends 100 samples a second, unasked."""

    name = "anyskin"

    def answer(self, data: bytes) -> bytes:
        """Return nothing: the firmware does not listen."""
        return b""

    def spontaneous(self) -> bytes:
        """Return one sample's bytes."""
        return packet(self.fields() + self._random.normal(0.0, NOISE, (MAGNETOMETERS, 3)))

    def fields(self) -> npt.NDArray[np.float64]:
        """Return the fields [5, 3] [uT] of the present contact without noise."""
        return np.asarray(REST + RESPONSE * taxel_forces(1, MAGNETOMETERS, touch_at(self.at()))[0])


def packet(fields: npt.NDArray[np.float64]) -> bytes:
    """Return the bytes of a sample with `fields` [N, 3] [uT]: t x y z of each chip as float32, and the line's end."""
    sample = np.concatenate([np.full((len(fields), 1), WARMTH), fields], axis=1)
    return sample.astype("<f4").tobytes() + b"\r\n"
