"""From sensor streams to the rows of an episode, on an exact time grid.

Rows are not made by a loop that must keep up: row k is filled once everything up to its time has arrived,
from the same buffers and by the same `Aligner.align` that live inference uses. Its action is what the gate
really sent, the setpoint for the time of row k + 1, or without a robot where the hand had taken the tool by then.
Time is given by the caller; nothing here reads a clock.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS
from vla_ros.contract import Contract
from vla_ros.data.control import after
from vla_ros.data.features import AGE, INTERVENTION, STAMP, frames_per_second, sync_names
from vla_ros.data.followed import FollowedTool
from vla_ros.data.notes import Note
from vla_ros.data.writer import DatasetWriter
from vla_ros.errors import DatasetError
from vla_ros.observation import Aligner, Observation

GATE_AHEAD = 20_000_000  # [ns] the gate's setpoints are for so long after the tick at which it decides on them
ACTION_GAP = 0.1  # [s] the largest gap between two setpoints of a gate that is alive
KEEP_ACTIONS = 4096


class EpisodeRecorder:
    """Fills the episodes of `writer` from `aligner` (which the caller feeds) and the gate's setpoints.

    States: ``idle``, ``recording``, ``saving``. Rows lie at times k / rate, so that a simulation's sensors,
    which have the same grid, are met exactly. grace [s]: how far the other streams may get ahead of one that
    is late; then the row takes its last value, and its age says so (messages wait in queues of half a second,
    so what is merely not taken out yet is not late). `problem` says why recording stopped by itself; the rows
    before it are right and may be saved. `success`: the label that somebody has given the running episode; None before.
    """

    def __init__(
        self, contract: Contract, writer: DatasetWriter, aligner: Aligner | None = None, grace: float = 1.0
    ) -> None:
        self.contract = contract
        self.writer = writer
        self.aligner = aligner or Aligner(contract)
        self.grace = round(grace * NANOSECONDS)
        self._followed = FollowedTool(contract, self.aligner) if contract.robot_free else None
        self.state = "idle"
        self.problem = ""
        self.success: bool | None = None
        self._saved: int | None = None  # the episode that was saved last, until another begins
        self.stale_rows: dict[str, int] = {}  # stream to rows of this episode in which it was older than allowed
        self._fps = frames_per_second(contract)
        self._sync = sync_names(contract)
        self._text = next((stream.key for stream in contract.streams("text")), None)
        self._said = self._text  # the text stream whose words are the rows' instruction, None where it was given
        self._sensors = [self.aligner.buffers[key] for key in self._sync]
        self._action_times: list[int] = []
        self._actions: list[npt.NDArray[np.float64]] = []
        self._handed: list[tuple[int, bool]] = []  # when a person took the arm (True) or gave it back [ns]
        self._next = 0  # grid index of the next row
        self._first = 0

    @property
    def rows(self) -> int:
        """Rows of the running episode."""
        return self.writer.rows

    @property
    def first(self) -> int:
        """Time of the running episode's first row [ns]."""
        return self._grid(self._first)

    @property
    def progress(self) -> int:
        """Time [ns] up to which the running episode is filled: that of its next row."""
        return self._grid(self._next)

    def action(self, stamp: int, values: npt.NDArray[np.float64]) -> None:
        """Take a setpoint of the gate [D], in the contract's order, that is to be reached at `stamp` [ns].

        A stamp at or before an earlier one replaces what was planned from then on (the clock jumped, or a new
        plan).
        """
        if len(values) != len(self.contract.action.names):
            raise DatasetError(
                f"the gate's action has {len(values)} values, the contract {len(self.contract.action.names)}"
            )
        if self._action_times and stamp <= self._action_times[-1]:
            keep = bisect_left(self._action_times, stamp)
            del self._action_times[keep:], self._actions[keep:]
        self._action_times.append(stamp)
        self._actions.append(np.array(values, dtype=np.float64))
        if len(self._actions) > 2 * KEEP_ACTIONS:
            del self._action_times[:KEEP_ACTIONS], self._actions[:KEEP_ACTIONS]

    def intervene(self, stamp: int, running: bool) -> None:
        """Take from when [ns] a person has the arm that a policy drives, or has given it back."""
        self._handed = [(t, was) for t, was in self._handed if t < stamp][-KEEP_ACTIONS:] + [(stamp, running)]

    def start(self, now: int, task: str | None = None, first: int | None = None) -> int:
        """Begin an episode at the next grid time after the newest complete observation; return that time
        [ns].

        task: the instruction of all rows, by default the text stream's, row by row. first: the grid time to begin at
        instead [ns].
        Raises DatasetError unless idle, or naming the stream that is not valid at `now` [ns].
        """
        after(self.state, "start")
        seen = self.aligner.latest(now)
        self._said = self._text if task is None else None
        if invalid := [key for key in seen.invalid if self._needs(key)]:
            key, reason = invalid[0], seen.invalid[invalid[0]]
            raise DatasetError(f"cannot start: {key}: {reason}")
        late = not self._action_times or self._action_times[-1] < seen.stamp - ACTION_GAP * NANOSECONDS
        if late and self._followed is None:
            raise DatasetError("cannot start: no action from the gate: is it running?")
        self.writer.start_episode(task or self._instruction(seen) or "")
        self._first = self._next = -(-seen.stamp * self._fps // NANOSECONDS)
        if self._first and self._grid(self._first - 1) >= seen.stamp:  # the grid is rounded to whole nanoseconds
            self._first = self._next = self._first - 1
        if first is not None:
            self._first = self._next = round(first * self._fps / NANOSECONDS)
        self.state, self.problem, self.stale_rows = "recording", "", {}
        self.success = self._saved = None
        return self.first

    def advance(self, now: int) -> int:
        """Add every row that is complete, or overdue at `now` [ns]; return how many. Does nothing unless
        recording.

        What goes wrong, with a stream or the writer, stops the filling and is told by `problem`.
        """
        added = 0
        while self.state == "recording" and not self.problem and self._ready(self._grid(self._next), now):
            row = self._row(self._grid(self._next))
            if row is None:
                break
            try:
                self.writer.add_frame(*row)
            except DatasetError as error:
                self.problem = str(error)
                break
            self._next += 1
            added += 1
        return added

    def clock_jumped(self) -> None:
        """Stop filling the running episode: its time no longer goes on."""
        if self.state == "recording":
            self.problem = self.problem or "the clock jumped back"

    def label(self, success: bool) -> None:
        """Say whether the running episode is a success. Raises DatasetError unless recording."""
        self.state = after(self.state, "label")
        self.success = success

    def note(self, text: str, time: float | None = None) -> tuple[int, Note]:
        """Keep an operator's words with the running episode, or with the one just saved; return its index and the note.

        time: since the episode's first row [s], by default now. Raises DatasetError if there is no such episode: none
        was saved yet, or the last one was discarded.
        """
        if self.state == "recording":
            return self.writer.num_episodes, self.writer.add_note(text, time)
        if self._saved is None:
            raise DatasetError(f"cannot note while {self.state}: no episode is running, and none was just saved")
        length = (self._next - self._first) / self._fps
        return self._saved, self.writer.add_note(text, length if time is None else time, self._saved)

    def save(self, success: bool = True) -> int:
        """Commit the episode, labelled as somebody has said or else `success`, and return its index.

        Raises DatasetError unless recording, or if it cannot be saved.
        """
        after(self.state, "save")
        self.state = "saving"
        try:
            self._saved = self.writer.save_episode(success if self.success is None else self.success)
        finally:
            self.state = "idle"
        return self._saved

    def discard(self) -> int:
        """Drop the episode and return how many rows it had. Raises DatasetError unless recording."""
        after(self.state, "discard")
        rows = self.rows
        self.writer.discard_episode()
        self.state = "idle"
        return rows

    def interrupt(self) -> list[str]:
        """Stop and keep a running episode aside for recovery; return one line about it, none without one."""
        self.state = "idle"
        return self.writer.interrupt_episode()

    def _grid(self, index: int) -> int:
        return (2 * index * NANOSECONDS + self._fps) // (2 * self._fps)

    def _ready(self, t: int, now: int) -> bool:
        due = self._grid(self._next + 1)
        if self._followed is not None:
            if lacking := self._followed.lacking(due):  # an old pose is never taken for a later one
                if now > due + self.grace:
                    self.problem = f"{lacking} for row {self.rows}"
                return False
        elif not self._action_times or self._action_times[-1] < due:
            if now > due + self.grace:
                self.problem = f"no action from the gate for row {self.rows}"
            return False
        return now > t + self.grace or all(buffer.newest is not None and buffer.newest >= t for buffer in self._sensors)

    def _row(self, t: int) -> tuple[dict[str, Any], str | None] | None:
        seen = self.aligner.align(t)
        missing = [key for key in self.contract.observation if self._needs(key) and key not in seen.values]
        action, reason = self._action_at(self._grid(self._next + 1)), "no action from the gate"
        if self._followed is not None:
            action, reason = self._followed.at(self._grid(self._next + 1))
        if missing or action is None:
            self.problem = f"{missing[0]}: {seen.invalid[missing[0]]}" if missing else f"{reason} for row {self.rows}"
            return None
        for key in seen.invalid.keys() - {self._text}:
            self.stale_rows[key] = self.stale_rows.get(key, 0) + 1
        row = {key: _read_only(seen.values[key]) for key in self._sync}
        row["action"] = action
        row[INTERVENTION] = np.array(self._intervened(t, self._grid(self._next + 1) - GATE_AHEAD))
        row[AGE] = np.array([seen.age[key] for key in self._sync], dtype=np.float32)
        row[STAMP] = np.array([seen.stamps[key] for key in self._sync], dtype=np.int64)
        return row, self._instruction(seen)

    def _intervened(self, begin: int, end: int) -> bool:
        """Return whether a person had the arm at any time from `begin` to `end` [ns]."""
        before = [running for t, running in self._handed if t <= begin]
        return any(before[-1:]) or any(running for t, running in self._handed if begin < t <= end)

    def _needs(self, key: str) -> bool:
        """Return whether rows cannot be without the stream: all but the text stream of a given instruction."""
        return key != self._text or self._said is not None

    def _instruction(self, seen: Observation) -> str | None:
        return str(seen.values[self._said]) if self._said else None

    def _action_at(self, t: int) -> npt.NDArray[np.float64] | None:
        after = bisect_left(self._action_times, t)
        if after == len(self._action_times):
            return None
        t1 = self._action_times[after]
        if t1 == t:
            return self._actions[after]
        if after == 0 or t1 - self._action_times[after - 1] > ACTION_GAP * NANOSECONDS:
            return None
        t0 = self._action_times[after - 1]
        weight = (t - t0) / (t1 - t0)
        value = (1.0 - weight) * self._actions[after - 1] + weight * self._actions[after]
        if self.contract.action.space == "ee_pose":
            value[3:7] /= np.linalg.norm(value[3:7])
        return value


def _read_only(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view that promises not to change, which spares the writer a copy."""
    view = value.view()
    view.setflags(write=False)
    return view
