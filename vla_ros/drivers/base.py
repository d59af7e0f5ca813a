"""What every driver has in common: it is opened, read until it fails, and closed, all in one thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from vla_ros.drivers.intrinsics import Intrinsics

T = TypeVar("T", covariant=True)


@dataclass(frozen=True)
class Reading(Generic[T]):
    """One sample as it came from a device.

    value: in SI units. arrival: when its last byte was here, host time as of `time.time_ns` [ns]. device_time: when the
    device says that it was taken, by the device's own clock [s]; None where it has none. sequence: the device's
    counter, None where it has none. flags: what the device says of the sample, such as "saturated".
    """

    value: T
    arrival: int
    device_time: float | None = None
    sequence: int | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frame:
    """What a camera saw at one instant.

    colour: [H, W, 3] uint8, RGB. depth: [H, W] uint16 [mm], 0 where unknown. Either may be None, not both.
    intrinsics: the lens, None where unknown. depth_intrinsics: the lens that depth was seen by; None: depth is pixel
    by pixel that of the colours.
    """

    colour: npt.NDArray[np.uint8] | None = None
    depth: npt.NDArray[np.uint16] | None = None
    intrinsics: Intrinsics | None = None
    depth_intrinsics: Intrinsics | None = None


class Driver(Protocol[T]):
    """One device. A driver lets no exception out but DeviceError, whatever the device sends.

    device: what messages and frame ids call it. rejected: packets, lines or frames so far that were no valid ones.
    """

    device: str
    rejected: int

    def open(self) -> None:
        """Find the device and make it send. Raises DeviceError: what was looked for, what was found, what to do."""

    def read(self, timeout: float) -> Reading[T] | None:
        """Return the next sample; None if there is none within `timeout` [s]. Raises DeviceError when it is lost."""

    def close(self) -> None:
        """Let the device go; harmless when it is not open."""


@runtime_checkable
class Served(Protocol):
    """A driver to which the device connects by itself: its server stays up between `close` and the next `open`."""

    def end(self) -> None:
        """Stop the server; harmless when there is none."""


class ForceTorqueDriver(Driver[npt.NDArray[np.float64]], Protocol):
    """Wrenches [6]: force x y z [N], torque x y z [Nm], in the sensor's frame."""


class TactileDriver(Driver[npt.NDArray[np.generic]], Protocol):
    """Taxels [rows, columns, channels] float32, or the picture of a camera behind a skin [H, W, 3] uint8.

    unit: of the taxels: "N", "uT" or "counts"; "rgb" for a picture.
    """

    unit: str


class CameraDriver(Driver[Frame], Protocol):
    """Pictures."""
