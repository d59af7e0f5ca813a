"""A bounded, stamp-ordered history of one stream, and its value as of any instant of it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np

from vla_ros.action import NANOSECONDS
from vla_ros.contract import StreamSpec
from vla_ros.errors import ObservationError
from vla_ros.pose import IDENTITY, between, same_side
from vla_ros.tokens import Tokens

DTYPES = {
    "image": np.uint8,
    "depth": np.float32,
    "joints": np.float32,
    "wrench": np.float32,
    "taxels": np.float32,
    "pose": np.float32,
}
LATE_PERIODS = 3  # a stamp further back than this many periods is a clock jump, not a late message


class StreamBuffer:
    """A bounded, stamp-ordered history of one stream."""

    def __init__(self, spec: StreamSpec, horizon: float = 2.0) -> None:
        self.spec = spec
        self.late = 0  # messages that arrived after a newer one and were dropped
        self._horizon = round(horizon * NANOSECONDS)
        self._stamps: list[int] = []
        self._values: list[Any] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest(self) -> int | None:
        """Capture time of the newest sample [ns]; None when empty."""
        return self._stamps[-1] if self._stamps else None

    def push(self, stamp: int, value: Any) -> bool:
        """Add a sample. Return False when its stamp lies so far back that the clock must have jumped.

        Raises ObservationError if the value does not fit the contract.
        """
        value = self._checked(value)
        if self.spec.kind == "pose" and not self.spec.is_tokens:
            value = same_side(value, self._values[-1] if self._values else IDENTITY).astype(np.float32)
        newest = self.newest
        if newest is not None and stamp <= newest:
            if newest - stamp > LATE_PERIODS * NANOSECONDS / self.spec.rate and self.spec.kind != "text":
                return False
            if stamp == newest:
                self._values[-1] = value
            else:
                self.late += 1
            return True
        self._stamps.append(stamp)
        self._values.append(value)
        self._drop_old()
        return True

    def cut(self, t: int) -> None:
        """Make the buffer fit for a clock that jumped back to `t`: what is newer belongs to the time before.

        A buffer that reaches past `t` is emptied whole, since its older part belongs to that time too; one that does
        not has already received samples of the new time. Text is said once and stays, as of `t` at the latest.
        """
        if self.spec.kind == "text":
            self._stamps = [min(stamp, t) for stamp in self._stamps]
        elif self._stamps and self._stamps[-1] > t:
            self.clear()

    def clear(self) -> None:
        """Forget every sample; text stays, since it is said once."""
        if self.spec.kind != "text":
            self._stamps.clear()
            self._values.clear()

    def gap(self, t: int) -> float:
        """Return what lies between the samples before and after `t` [s]; 0 at a sample, infinite without one on either side."""
        after = bisect_left(self._stamps, t)
        if after == len(self._stamps):
            return math.inf
        if self._stamps[after] == t:
            return 0.0
        return (self._stamps[after] - self._stamps[after - 1]) / NANOSECONDS if after else math.inf

    def at(self, t: int) -> tuple[int, Any] | None:
        """Return (capture stamp [ns], value) as the contract's `align` defines it at `t`; None without data.

        What lasts longer than the contract's `max_age` is not interpolated across: as in live inference, which knows nothing
        of the other end, the value is that before it.
        """
        index = bisect_right(self._stamps, t) - 1  # newest sample at or before t
        if self.spec.history > 1:
            return self._window(index)
        if self.spec.align != "asof" and index + 1 < len(self._stamps):
            if index >= 0 and self.spec.align == "interpolate" and not self.spec.is_tokens:
                if self._stamps[index + 1] - self._stamps[index] <= self.spec.max_age * NANOSECONDS:
                    return self._stamps[index], self._between(index, t)
                return self._stamps[index], self._values[index]
            if self.spec.align == "nearest" and (index < 0 or self._stamps[index + 1] - t < t - self._stamps[index]):
                index += 1
        return (self._stamps[index], self._values[index]) if index >= 0 else None

    def _window(self, index: int) -> tuple[int, Any] | None:
        if self.spec.is_tokens:  # the window was seen where they were made
            return (self._stamps[index], self._values[index]) if index >= 0 else None
        first = index + 1 - self.spec.history
        if first < 0:
            return None
        return self._stamps[index], np.stack(self._values[first : index + 1])

    def _between(self, index: int, t: int) -> Any:
        t0, t1 = self._stamps[index], self._stamps[index + 1]
        weight = (t - t0) / (t1 - t0)
        if self.spec.kind == "pose":
            return between(self._values[index], self._values[index + 1], weight).astype(np.float32)
        return ((1.0 - weight) * self._values[index] + weight * self._values[index + 1]).astype(np.float32)

    def _drop_old(self) -> None:
        oldest = bisect_left(self._stamps, self._stamps[-1] - self._horizon)
        if self.spec.kind == "text":
            oldest = len(self._stamps) - 16
        if oldest > 64 or (oldest > 0 and self.spec.kind in ("image", "depth")):
            del self._stamps[:oldest], self._values[:oldest]

    def _checked(self, value: Any) -> Any:
        spec = self.spec
        if spec.kind == "text":
            if not isinstance(value, str):
                raise ObservationError(f"{spec.key}: want text, got {type(value).__name__}")
            return value
        if spec.is_tokens:
            if not isinstance(value, Tokens):
                raise ObservationError(f"{spec.key} from {spec.topic}: want tokens, got {type(value).__name__}")
            return value
        array = np.asarray(value)
        if array.shape != spec.shape:
            raise ObservationError(
                f"{spec.key} from {spec.topic}: shape {list(array.shape)}, the contract says {list(spec.shape)}"
            )
        if spec.kind == "image" and array.dtype != np.uint8:
            raise ObservationError(f"{spec.key} from {spec.topic}: dtype {array.dtype}, want uint8")
        array = array.astype(DTYPES[spec.kind], copy=False)
        if spec.kind in ("joints", "wrench", "taxels", "pose") and not np.isfinite(array).all():
            raise ObservationError(f"{spec.key} from {spec.topic}: not a finite number in {array.ravel()[:8].tolist()}")
        if spec.kind == "pose" and not 0.9 < float(array[3:] @ array[3:]) < 1.1:
            raise ObservationError(f"{spec.key} from {spec.topic}: {array[3:].tolist()} is not a unit quaternion")
        return array
