"""Aligned observations: the same code for live inference, recording and conversion of recordings.

Every stream has a `StreamBuffer` of stamped samples; `Aligner.align(t)` gives every stream's value as it was
known at time t, with its age and whether it may be acted on. Stamps are capture times [ns]; a stream that can
only stamp on arrival states its latency in the contract and is shifted by it here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from vla_ros.action import NANOSECONDS
from vla_ros.contract import Contract
from vla_ros.errors import ObservationError, unknown_name
from vla_ros.stream_buffer import StreamBuffer


@dataclass(frozen=True)
class Observation:
    """Every stream's value at one instant.

    stamp: the instant [ns]. values: by contract key: arrays of `StreamSpec.value_shape`, or text; a stream
    without data is absent, never zero-filled. age: seconds between the sample used and the instant asked about.
    stamps: capture time of the sample used [ns]. invalid: key to the reason why it must not be acted on.
    optional: keys of the streams that who acts can do without: where invalid they are masked.
    """

    stamp: int
    values: Mapping[str, Any]
    age: Mapping[str, float] = field(default_factory=dict)
    stamps: Mapping[str, int] = field(default_factory=dict)
    invalid: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    @property
    def valid(self) -> bool:
        """True when every stream of the contract that is not optional is present and fresh."""
        return not self.lacking

    @property
    def lacking(self) -> dict[str, str]:
        """The needed streams that are missing or too old, and why: nobody may act."""
        return {key: why for key, why in self.invalid.items() if key not in self.optional}

    @property
    def masked(self) -> dict[str, str]:
        """The optional streams that are missing or too old, and why: who acts does without them."""
        return {key: why for key, why in self.invalid.items() if key in self.optional}


class Aligner:
    """The buffers of all streams of a contract, and the one way to read them.

    optional: keys of streams that whoever acts on the observations can do without (a policy says which). Nobody waits
    for one that is silent for longer than its `max_age`.
    """

    def __init__(self, contract: Contract, horizon: float = 2.0, optional: Collection[str] = ()) -> None:
        self.contract = contract
        self.optional = frozenset(optional)
        self.refused: dict[str, str] = {}  # streams whose last sample was no good, and why
        self.jumps = 0  # how often a stamp has jumped back
        self._before: dict[str, int] = {}  # streams not yet heard of since a jump: their newest stamp before it
        self.buffers = {key: StreamBuffer(spec, horizon) for key, spec in contract.observation.items()}

    def push(self, key: str, stamp: int, value: Any) -> bool:
        """Add a sample of stream `key`, stamped `stamp` [ns]. A stamp that jumps back resets all streams to it.

        Return False for a sample that is passed over: it was still under way when the clock jumped back. Raises
        ObservationError for an unknown key or a value that does not fit the contract.
        """
        buffer = self.buffers.get(key)
        if buffer is None:
            raise ObservationError(unknown_name("stream", key, self.buffers))
        capture = stamp - round(buffer.spec.latency * NANOSECONDS)
        if self._is_of_the_time_before(key, capture):
            return False
        self.refused.pop(key, None)
        if not buffer.push(capture, value):
            self.jumps += 1
            self.clock_jumped(capture)
            self._before.pop(key, None)
            buffer.push(capture, value)
        return True

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
        newest = [
            b.newest
            for key, b in self.buffers.items()
            if b.spec.kind != "text" and b.newest is not None and not self._given_up(key, now)
        ]
        return self._observe(min([now, *newest]), now)

    def has_reached(self, t: int) -> bool:
        """Return True once every image, joint, wrench and taxel stream has reached the instant `t` [ns]."""
        return all(
            b.spec.kind == "text" or (b.newest is not None and b.newest >= t) or self._given_up(key, t)
            for key, b in self.buffers.items()
        )

    def pictured(self) -> int | None:
        """Return the capture time [ns] of the newest pictures that every camera has sent; None without any."""
        newest = [
            b.newest
            for key, b in self.buffers.items()
            if b.spec.kind in ("image", "depth") and key not in self.optional and b.newest is not None
        ]
        return min(newest, default=None)

    def late(self, t: int) -> set[str]:
        """Return the streams that lack the newest sample due at `t` [ns]; without any, nothing up to `t` is on its way."""
        return {
            key
            for key, b in self.buffers.items()
            if b.newest is None or (b.spec.kind != "text" and b.newest <= t - NANOSECONDS / b.spec.rate + 1000)
        }

    def _given_up(self, key: str, t: int) -> bool:
        """Tell whether nobody waits for this stream at `t`: it is optional and would be too old."""
        if key not in self.optional:
            return False
        newest = self.buffers[key].newest
        return newest is None or t - newest > self.buffers[key].spec.max_age * NANOSECONDS

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
            silence = max(silence, (t - stamps[key]) / NANOSECONDS)  # nor is one from before a silence of the stream
            if buffer.spec.kind != "text" and silence > buffer.spec.max_age:
                invalid[key] = (
                    f"{silence * 1e3:.0f} ms old on {buffer.spec.topic}, at most {buffer.spec.max_age * 1e3:.0f} ms allowed"
                )
        for key in invalid.keys() & self.refused.keys():
            invalid[key] += f"; refused: {self.refused[key]}"
        return Observation(t, values, age, stamps, invalid | unreachable, self.optional)
