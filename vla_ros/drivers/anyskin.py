"""AnySkin: a magnetic skin over five magnetometers, whose microcontroller sends their fields over USB serial.

Protocol: the reference firmware, github.com/raunaqbhirangi/anyskin, arduino/5X_binary_burst_stream: per sample, for each
of the five MLX90393, four little-endian float32 t, x, y, z as they lie in the microcontroller's memory, then "\\r\\n"
(Serial.println). Units are those of the MLX90393 library: t [deg C], x y z [uT]. 115200 baud, no checksum, no counter.
"""

from __future__ import annotations

import time
from collections import deque

import numpy as np
import numpy.typing as npt

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.parsers import ParserCase
from vla_ros.drivers.serial_line import SerialLine

Array = npt.NDArray[np.float32]
END = b"\r\n"
CHANNELS = 4  # t, x, y, z
BAUD = 115200
LARGEST = 1e6  # [uT], [deg C] beyond what any setting of an MLX90393 can give: such bytes are no sample


class AnySkinParser:
    """Bytes to samples [magnetometers, 4]: t [deg C], x, y, z [uT]. Lets no exception out, whatever the bytes.

    With no checksum, a sample counts once the bytes after it are one too, until then and after any that is none; so
    the first one after a gap comes one period late. rejected: stretches of a sample's length that were no sample.
    """

    def __init__(self, magnetometers: int = 5) -> None:
        self.rejected = 0
        self._shape = (magnetometers, CHANNELS)
        self._length = 4 * CHANNELS * magnetometers + len(END)
        self._buffer = bytearray()
        self._aligned = False
        self._dropped = 0  # bytes since the last sample that was right

    def feed(self, data: bytes) -> list[Array]:
        """Take bytes as they come and return the samples that they complete."""
        self._buffer += data
        samples: list[Array] = []
        while len(self._buffer) >= self._length * (1 if self._aligned else 2):
            sample = self._sample(0)
            if sample is not None and (self._aligned or self._sample(self._length) is not None):
                samples.append(sample)
                del self._buffer[: self._length]
                self._aligned, self._dropped = True, 0
            else:
                self._skip()
        return samples

    def _sample(self, start: int) -> Array | None:
        end = start + self._length
        if self._buffer[end - len(END) : end] != END:
            return None
        values = np.frombuffer(bytes(self._buffer[start : end - len(END)]), dtype="<f4")
        plausible = bool((np.abs(values) <= LARGEST).all())  # false for NaN, too
        return values.reshape(self._shape).astype(np.float32) if plausible else None

    def _skip(self) -> None:
        """Drop bytes up to the next place that could be a sample's beginning."""
        self._aligned = False
        end = self._buffer.find(END, self._length - 1)
        dropped = end + len(END) - self._length if end >= 0 else len(self._buffer) - self._length + 1
        del self._buffer[:dropped]
        before, self._dropped = self._dropped, self._dropped + dropped
        self.rejected += -(-self._dropped // self._length) - -(-before // self._length)


class AnySkinDriver:
    """``anyskin:///dev/ttyACM0?magnetometers=5``: fields [1, magnetometers, 3] float32 [uT], x y z of each chip."""

    device = "anyskin"
    unit = "uT"

    def __init__(self, address: Address) -> None:
        address.only("magnetometers")
        self._parser = AnySkinParser(address.whole("magnetometers", 5, 1, 64))
        self._line = SerialLine(self.device, address.path, BAUD)
        self._samples: deque[tuple[int, Array]] = deque()  # arrival [ns], t x y z

    @property
    def rejected(self) -> int:
        """Stretches of bytes that were no sample."""
        return self._parser.rejected

    def open(self) -> None:
        """Open the port; the firmware sends as soon as it is open. Raises DeviceError."""
        rejected, magnetometers = self._parser.rejected, self._parser._shape[0]
        self._parser = AnySkinParser(magnetometers)
        self._parser.rejected = rejected
        self._samples.clear()
        self._line.open()

    def read(self, timeout: float) -> Reading[npt.NDArray[np.generic]] | None:
        """Return the next sample; None if there is none within `timeout` [s]. Raises DeviceError when it is unplugged."""
        end = time.monotonic() + timeout
        while not self._samples:
            data = self._line.read(end - time.monotonic())
            arrival = time.time_ns()
            self._samples.extend((arrival, sample) for sample in self._parser.feed(data))
            if time.monotonic() >= end and not self._samples:
                return None
        arrival, sample = self._samples.popleft()
        return Reading(np.ascontiguousarray(sample[None, :, 1:]), arrival)

    def close(self) -> None:
        """Close the port."""
        self._line.close()


def fuzz_case() -> ParserCase:
    """Return how the parser is fuzzed: a stream of samples, spoiled."""
    random = np.random.default_rng(0)
    fields = [random.normal(0.0, 500.0, (5, CHANNELS)).astype("<f4"), np.zeros((5, CHANNELS), "<f4")]
    samples = tuple(field.tobytes() + END for field in fields)
    return ParserCase(lambda: AnySkinParser().feed, (*samples, samples[0] * 3))
