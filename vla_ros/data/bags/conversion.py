"""A bag becomes episodes of a dataset, by the very code that records live: the same decoders, `Aligner` and rows.

Where recorder_node's topic `events.TOPIC` was recorded too, the episodes are those of the recorder, to the row.
Otherwise the whole bag is one episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vla_ros.action import NANOSECONDS
from vla_ros.contract import Contract
from vla_ros.data.bags.events import GATE_TOPIC, GATE_TYPE, TOPIC, EpisodeEvent
from vla_ros.data.bags.reading import BagReader
from vla_ros.data.recorder import EpisodeRecorder
from vla_ros.data.video import VideoSettings
from vla_ros.data.writer import DatasetWriter
from vla_ros.errors import DatasetError, ObservationError
from vla_ros.messages import decoder_for, setpoint_from_message, type_name
from vla_ros.observation import Aligner

SAME_CLOCK = 3600 * NANOSECONDS  # recording and stamps further apart are of two clocks: the stamps are simulated
WITHIN = 3 * NANOSECONDS // 2  # of its first row an episode must begin: what buffers still hold, and no other attempt


@dataclass(frozen=True)
class Converted:
    """An episode made from a bag: its index, rows, and rows with a stale stream by stream."""

    episode: int
    rows: int
    stale_rows: dict[str, int]


@dataclass(frozen=True)
class _Plan:
    """An episode that the bag tells of. first: time of its first row [ns]; None: as soon as all is there."""

    first: int | None
    rows: int | None
    task: str
    success: bool
    number: int = 0  # of its start event in the bag
    notes: tuple[tuple[str, float], ...] = ()  # text, and time since the first row [s]


def from_bag(
    bag: str | Path,
    contract: Contract,
    output: str | Path,
    task: str = "",
    success: bool = True,
    video: VideoSettings | None = None,
    say: Callable[[str], None] = lambda line: None,
    part: slice = slice(None),
) -> list[Converted]:
    """Append a bag's episodes to the dataset `output`, which is made if need be; return what was made of them.

    task, success: of a bag without the recorder's events; an empty task means the text topic's. part: which of the
    episodes, by default all. Raises DatasetError if the bag cannot be read, lacks a topic of the contract, has no
    usable episode, or its clock jumps back inside one; the dataset then keeps the episodes before that one.
    """
    with BagReader(bag) as reader:
        _refuse_topics(reader, contract)
        plans = _plans(reader, task, success)[part]
        with DatasetWriter(output, contract, video) as writer:
            for note in writer.notes:
                say(f"{output}: {note}")
            return _Conversion(reader, contract, writer, plans).run()


def count_episodes(bag: str | Path) -> int:
    """Return how many episodes a bag tells of. Raises DatasetError if it cannot be read or tells of none."""
    with BagReader(bag) as reader:
        return len(_plans(reader, "", True))


def _refuse_topics(reader: BagReader, contract: Contract) -> None:
    wanted = {spec.topic: type_name(spec.kind, spec.topic) for spec in contract.observation.values()}
    for topic, kind in (wanted if contract.robot_free else {**wanted, GATE_TOPIC: GATE_TYPE}).items():
        have = reader.types.get(topic)
        if have is None or not reader.counts[topic]:
            known = ", ".join(sorted(name for name, count in reader.counts.items() if count)) or "none"
            raise DatasetError(f"bag '{reader.path}' has no messages on '{topic}'; it has: {known}")
        if have != kind:
            raise DatasetError(f"bag '{reader.path}': '{topic}' is {have}, the contract wants {kind}")


def _plans(reader: BagReader, task: str, success: bool) -> list[_Plan]:
    """Return the episodes that the recorder's events tell of; without events the whole bag."""
    events = [EpisodeEvent.from_text(str(message.data)) for _, _, message in reader.messages([TOPIC])]
    if not events:
        return [_Plan(None, None, task, success)]
    plans: list[_Plan] = []
    begun: EpisodeEvent | None = None
    notes: tuple[tuple[str, float], ...] = ()
    starts = 0
    for event in events:
        if event.kind == "note":  # of the running episode, else of the one just saved
            notes += ((event.text, event.time),)
            if begun is None and plans:
                plans[-1] = replace(plans[-1], notes=notes)
            continue
        if event.kind == "save" and begun is not None:
            plans.append(_Plan(begun.first, event.rows, begun.task, event.success, starts, notes))
        elif event.kind == "start":
            notes = ()
        begun = event if event.kind == "start" else None
        starts += event.kind == "start"
    if not plans:
        raise DatasetError(f"bag '{reader.path}' tells of no saved episode on '{TOPIC}'")
    return plans


class _BagRecorder(EpisodeRecorder):
    """An episode recorder that takes no more rows than planned."""

    rows_wanted: int | None = None

    def _ready(self, t: int, now: int) -> bool:
        return (self.rows_wanted is None or self.rows < self.rows_wanted) and super()._ready(t, now)

    @property
    def full(self) -> bool:
        """True when all planned rows are there."""
        return self.rows_wanted is not None and self.rows >= self.rows_wanted


class _Conversion:
    """Feeds a bag's messages to the recorder as recorder_node feeds live ones."""

    def __init__(self, reader: BagReader, contract: Contract, writer: DatasetWriter, plans: list[_Plan]) -> None:
        self._reader, self._contract, self._plans = reader, contract, plans
        self._aligner = Aligner(contract)
        self._recorder = _BagRecorder(contract, writer, self._aligner)
        self._time = self._newest = self._jumps = 0
        self._refusal = "it ends before it begins"
        self._done: list[Converted] = []
        self._started = 0  # start events so far: an attempt that was discarded has the same times as the next
        decoders = {spec.topic: decoder_for(spec, self._now) for spec in contract.observation.values()}
        self._keys = {spec.topic: spec.key for spec in contract.observation.values()}
        self._decoders = decoders

    def run(self) -> list[Converted]:
        """Convert all planned episodes; see `from_bag`."""
        for topic, time, message in self._reader.messages({*self._decoders, GATE_TOPIC, TOPIC}):
            self._time = time
            if topic == TOPIC:
                self._started += EpisodeEvent.from_text(str(message.data)).kind == "start"
                continue
            try:
                self._take(topic, message)
            except ObservationError as error:
                raise DatasetError(f"bag '{self._reader.path}': {error}") from None
            self._go_on()
            if len(self._done) == len(self._plans):
                break
        self._end()
        return self._done

    def _now(self) -> int:
        """Return the time of text, which has no stamp: 0 on simulated time, as recorder_node has it."""
        return self._time if abs(self._time - self._newest) < SAME_CLOCK else 0

    def _take(self, topic: str, message: Any) -> None:
        if topic == GATE_TOPIC:
            reached, values = setpoint_from_message(message, self._contract.action.names)
            self._recorder.action(reached, values)
            return
        stamp, value = self._decoders[topic](message)
        if not self._aligner.push(self._keys[topic], stamp, value):
            return
        if self._aligner.jumps != self._jumps:
            self._jumps, self._newest = self._aligner.jumps, 0
            self._recorder.clock_jumped()
        self._newest = max(self._newest, stamp)

    def _go_on(self) -> None:
        recorder = self._recorder
        if recorder.state == "idle" and len(self._done) < len(self._plans):
            self._begin(self._plans[len(self._done)])
        if recorder.state == "recording":
            recorder.advance(self._newest)
            if recorder.problem:
                raise DatasetError(
                    f"bag '{self._reader.path}', episode {len(self._done)}: {recorder.problem} "
                    f"after {recorder.rows} rows, {self._newest / NANOSECONDS:.3f} s"
                )
            if recorder.full:
                self._save()

    def _begin(self, plan: _Plan) -> None:
        if self._started < plan.number:
            return
        if plan.first is not None and not plan.first <= self._newest <= plan.first + WITHIN:
            self._refusal = f"no data at {plan.first / NANOSECONDS:.3f} s, where the recorder began"
            return
        try:
            self._recorder.rows_wanted = plan.rows
            self._recorder.start(self._newest, plan.task or None, plan.first)
        except DatasetError as error:
            self._refusal = str(error)

    def _save(self) -> None:
        recorder = self._recorder
        rows, stale = recorder.rows, dict(recorder.stale_rows)
        plan = self._plans[len(self._done)]
        for text, time in plan.notes:
            recorder.note(text, time)
        episode = recorder.save(plan.success)
        self._done.append(Converted(episode, rows, stale))

    def _end(self) -> None:
        """Finish an episode that ends with the bag."""
        recorder = self._recorder
        if recorder.state == "recording" and recorder.rows_wanted is not None and not recorder.full:
            recorder.advance(self._newest + recorder.grace)
        if recorder.state == "recording" and (recorder.rows_wanted is None or recorder.full):
            self._save()
        if len(self._done) < len(self._plans):
            short = (
                f"has {recorder.rows} of {recorder.rows_wanted} rows"
                if recorder.state == "recording"
                else self._refusal
            )
            raise DatasetError(f"bag '{self._reader.path}', episode {len(self._done)}: {short}")
