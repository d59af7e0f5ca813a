"""Aligned observations: the same code for live inference, recording and conversion of recordings.

Every stream has a `StreamBuffer` of stamped samples; `Aligner.align(t)` gives every stream's value as it was
known at time t, with its age and whether it may be acted on. Stamps are capture times [ns]; a stream that can
only stamp on arrival states its latency in the contract and is shifted by it here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_ros.action import NANOSECONDS
from vla_ros.contract import Contract, StreamSpec
from vla_ros.errors import ObservationError, unknown_name
from vla_ros.pose import IDENTITY, between, same_side

DTYPES = {
    "image": np.uint8,
    "depth": np.float32,
    "joints": np.float32,
    "wrench": np.float32,
    "taxels": np.float32,
    "pose": np.float32,
}
LATE_PERIODS = 3  # a stamp further back than this many periods is a clock jump, not a late message


@dataclass(frozen=True)
class Observation:
    """Every stream's value at one instant.

    stamp: the instant [ns]. values: by contract key: arrays of `StreamSpec.value_shape`, or text; a stream
    without data is absent, never zero-filled. age: seconds between the sample used and the instant asked about.
    stamps: capture time of the sample used [ns]. invalid: key to the reason why it must not be acted on.
    """

    stamp: int
    values: Mapping[str, Any]
    age: Mapping[str, float] = field(default_factory=dict)
    stamps: Mapping[str, int] = field(default_factory=dict)
    invalid: Mapping[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """True when every stream of the contract is present and fresh."""
        return not self.invalid


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
        if self.spec.kind == "pose":
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

    def at(self, t: int) -> tuple[int, Any] | None:
        """Return (capture stamp [ns], value) as the contract's `align` defines it at `t`; None without data."""
        index = bisect_right(self._stamps, t) - 1  # newest sample at or before t
        if self.spec.history > 1:
            return self._window(index)
        if self.spec.align != "asof" and index + 1 < len(self._stamps):
            if index >= 0 and self.spec.align == "interpolate":
                return self._stamps[index], self._between(index, t)
            if self.spec.align == "nearest" and (index < 0 or self._stamps[index + 1] - t < t - self._stamps[index]):
                index += 1
        return (self._stamps[index], self._values[index]) if index >= 0 else None

    def _window(self, index: int) -> tuple[int, Any] | None:
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


class Aligner:
    """The buffers of all streams of a contract, and the one way to read them."""

    def __init__(self, contract: Contract, horizon: float = 2.0) -> None:
        self.contract = contract
        self.jumps = 0  # how often a stamp has jumped back
        self._before: dict[str, int] = {}  # streams not yet heard of since a jump: their newest stamp before it
        self.buffers = {key: StreamBuffer(spec, horizon) for key, spec in contract.observation.items()}

    def push(self, key: str, stamp: int, value: Any) -> None:
        """Add a sample of stream `key`, stamped `stamp` [ns]. A stamp that jumps back resets all streams to it.

        Raises ObservationError for an unknown key or a value that does not fit the contract.
        """
        buffer = self.buffers.get(key)
        if buffer is None:
            raise ObservationError(unknown_name("stream", key, self.buffers))
        capture = stamp - round(buffer.spec.latency * NANOSECONDS)
        if self._is_of_the_time_before(key, capture):
            return
        if not buffer.push(capture, value):
            self.jumps += 1
            self.clock_jumped(capture)
            self._before.pop(key, None)
            buffer.push(capture, value)

    def clock_jumped(self, now: int) -> None:
        """Forget what belongs to the time before the clock jumped back to `now` [ns]."""
        for key, buffer in self.buffers.items():
            newest = buffer.newest
            if newest is not None and newest > now and buffer.spec.kind != "text":
                self._before[key] = newest
            buffer.cut(now)

    def _is_of_the_time_before(self, key: str, stamp: int) -> bool:
        """Tell whether a sample was still under way when another stream told of the jump.

        Streams keep their own order: such a sample is newer than the stream's last one before the jump, and newer
        than anything of the new time.
        """
        last = self._before.get(key)
        if last is None:
            return False
        reached = max(
            (b.newest for k, b in self.buffers.items() if k not in self._before and b.newest is not None),
            default=0,
        )
        if stamp >= last and stamp > reached:
            return True
        del self._before[key]
        return False

    def reset(self) -> None:
        """Forget every sample but the last text."""
        for buffer in self.buffers.values():
            buffer.clear()

    def align(self, t: int) -> Observation:
        """Return every stream's value as of `t` [ns]; ages are relative to `t`."""
        return self._observe(t, t)

    def latest(self, now: int) -> Observation:
        """Return the newest observation in which all streams are of the same instant; ages are relative to `now`.

        The instant is the newest one that every image, joint, wrench and taxel stream has reached, so that live
        inference sees streams as a recording aligned afterwards does; what `now` has on top of it is latency,
        which the chunk's stamp carries to the gate.
        """
        newest = [b.newest for b in self.buffers.values() if b.spec.kind != "text" and b.newest is not None]
        return self._observe(min([now, *newest]), now)

    @property
    def reached(self) -> int | None:
        """The newest instant [ns] that every image, joint, wrench and taxel stream has reached; None before that."""
        newest = [b.newest for b in self.buffers.values() if b.spec.kind != "text"]
        return None if None in newest else min(stamp for stamp in newest if stamp is not None)

    def complete(self, t: int) -> bool:
        """Return True once every stream has the newest sample due at `t`: nothing up to `t` is still on its way."""
        for buffer in self.buffers.values():
            newest = buffer.newest
            if newest is None or (buffer.spec.kind != "text" and newest <= t - NANOSECONDS / buffer.spec.rate + 1000):
                return False
        return True

    def _observe(self, t: int, now: int) -> Observation:
        values: dict[str, Any] = {}
        age: dict[str, float] = {}
        stamps: dict[str, int] = {}
        invalid: dict[str, str] = {}
        unreachable: dict[str, str] = {}  # streams with nothing as old as the instant, which a late stream sets
        for key, buffer in self.buffers.items():
            sample = buffer.at(t)
            if sample is None:
                have, wanted, topic = len(buffer), buffer.spec.history, buffer.spec.topic
                if have >= wanted and now != t:
                    unreachable[key] = f"nothing from {(now - t) / NANOSECONDS * 1e3:.0f} ms ago on {topic}"
                else:
                    invalid[key] = (
                        f"{have} of {wanted} samples on {topic}" if 0 < have < wanted else f"no data yet on {topic}"
                    )
                continue
            stamps[key], values[key] = sample
            age[key] = abs(now - stamps[key]) / NANOSECONDS
            # A newer sample than the instant's shows that the stream is alive, whatever instant the others set.
            newest = buffer.newest or stamps[key]
            silence = min(age[key], max(0, now - newest) / NANOSECONDS) if now != t else age[key]
            if buffer.spec.kind != "text" and silence > buffer.spec.max_age:
                invalid[key] = (
                    f"{silence * 1e3:.0f} ms old on {buffer.spec.topic}, at most {buffer.spec.max_age * 1e3:.0f} ms allowed"
                )
        return Observation(t, values, age, stamps, invalid | unreachable)
