"""Conducts the recording of one demonstration after another on a running graph, and listens to the operator's keys."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import NANOSECONDS
from vla_ros.data.bags.events import TOPIC, EpisodeEvent
from vla_ros.errors import GraphError
from vla_ros.lockstep import STEP, TAIL, WARM_UP
from vla_ros.ros import qos
from vla_ros.ros.convert import from_time
from vla_ros.ros.trials import GATE, TaskStatus, TrialDriver
from vla_ros.teleop.corrections import Corrections
from vla_ros.terminal.cues import Cues
from vla_ros.terminal.keys import DISCARD, FAIL, NOTE, QUIT, RERECORD, SAVE, Keys
from vla_ros.terminal.progress import Progress

TELEOP = "/teleop_node"
RECORDER = "/recorder_node"
BEFORE = 0.01  # [s] before a source's tick, the clutch is taken and released: so a seed gives the same episode again


class Recording:
    """Records attempts at `task`, each at most `limit` s of its time.

    alive: raises when a node of the graph has died. say: prints a line. correct: a policy has the arm, and the operator
    corrects it. `told`: the operator's command that ended the last attempt, "" if none did. `reason`: why it was not saved.
    """

    def __init__(
        self,
        driver: TrialDriver,
        task: str,
        limit: float,
        lockstep: bool,
        alive: Callable[[], None],
        keys: Keys,
        cues: Cues,
        progress: Progress,
        say: Callable[[str], None] = print,
        correct: bool = False,
    ) -> None:
        self._driver, self._task, self._limit, self._lockstep = driver, task, limit, lockstep
        self._alive, self._keys, self._cues, self._line, self._say = alive, keys, cues, progress, say
        self._moved = threading.Condition()
        self._filled = self._target = -1  # [ns] of the recording, and what has been granted
        self._first = 0  # [ns]
        self._led = -1  # [ns] up to which the operator has decided
        self._running = self._saved = False  # an episode is being recorded; the last one was saved
        self.told = self.reason = ""
        self._correct = correct
        self._corrections: Corrections | None = None  # of the running attempt
        services = [f"{TELEOP}/reset", *(f"{RECORDER}/{name}" for name in ("start", "save", "discard"))]
        driver.expect(TELEOP, RECORDER, services=services)
        driver.node.create_subscription(Time, "/recorder/progress", self._on_progress, qos.COMMAND)
        driver.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND)
        if lockstep:
            chunks = qos.exchanged(10, lockstep)
            driver.node.create_subscription(JointTrajectory, "/teleop/chunk", self._on_chunk, chunks)
        driver.node.create_subscription(String, TOPIC, self._on_event, qos.reliable(100))
        self._notes = driver.node.create_publisher(String, "/recorder/note", qos.reliable(100))

    def countdown(self, seconds: int) -> None:
        """Wait so long before an attempt, with a cue each second; the operator may quit meanwhile, see `told`."""
        self.told = ""
        for left in range(seconds, 0, -1):
            self._line.state = f"{left} s before"
            self._cues.give(str(left))
            end = time.monotonic() + 1.0
            while not self.told and (wait := end - time.monotonic()) > 0.0:
                self._alive()
                self._listen()
                with self._moved:
                    self._moved.wait(timeout=min(wait, 0.02))

    def episode(self, seed: int) -> dict[str, Any] | None:
        """Run the attempt of `seed`; return what the recorder says it saved, None if it was not saved.

        When the operator quits, the episode is left running for the recorder to keep aside.
        """
        self.told = ""
        self._listen()
        if self.told:
            return None
        self._begin(seed)
        self._running, self._saved, self._line.state = True, False, "recording"
        self._cues.give("go")
        try:
            status = self._lead()
            return self._end(status)
        finally:
            self._running, self._line.state = False, "between"
            self._driver.select("")

    def _end(self, status: TaskStatus | None) -> dict[str, Any] | None:
        if self.told == QUIT:
            self.reason = "the operator quit"
            return None
        if self.told in (SAVE, FAIL):
            request = SetBool.Request(data=self.told == SAVE)
            self._driver.ask(SetBool, f"{RECORDER}/label", request)
        elif self.told or status is None or status.state != "success":
            self._driver.trigger(f"{RECORDER}/discard")
            self._cues.give("discarded")
            outcome = "failed" if status and status.state == "failure" else f"not done within {self._limit:.0f} s"
            self.reason = "not wanted by the operator" if self.told else outcome
            return None
        answer = self._ask("save")
        if answer["problem"]:
            raise GraphError(f"{RECORDER}: {answer['problem']}; episode {answer['episode']} is kept as a failed one")
        self._saved = True
        self._cues.give("saved")
        return answer | {"seconds": (self._filled - self._first) / NANOSECONDS}

    def _begin(self, seed: int) -> None:
        driver = self._driver
        driver.select("")
        driver.trigger(f"{GATE}/release")
        driver.set_parameters(TELEOP, {"clutch": False, "seed": seed})
        self._led = -1
        driver.reset(self._task, seed)
        if self._lockstep:
            driver.run_until(WARM_UP)
            self._wait_for_operator()
        self._target = 0
        self._first = self._filled = self._start()
        self._corrections = Corrections(seed, self._limit, STEP) if self._correct else None
        if self._corrections is None:
            self._take_clutch()
        driver.select("policy" if self._correct else "teleop")

    def _wait_for_operator(self) -> None:
        """Wait until the operator has decided what is due in the warm-up: the clutch, taken next, changes nothing of it."""
        end = WARM_UP * NANOSECONDS
        due = int(WARM_UP * self._line.fps) * NANOSECONDS // self._line.fps
        with self._moved:
            if not self._moved.wait_for(lambda: due <= self._led <= end, self._driver.deadline):
                raise GraphError(f"{TELEOP} has not led up to {due / NANOSECONDS:.3f} s of the trial")

    def _take_clutch(self) -> None:
        self._driver.set_parameters(TELEOP, {"clutch": True})
        self._driver.trigger(f"{TELEOP}/reset")

    def _hand_over(self, t: float, corrections: Corrections) -> None:
        """Let the operator take the clutch at `t` [s], or release it, as the corrections say."""
        turned = corrections.turn(t)
        if turned is True:
            self._take_clutch()
        elif turned is False:
            self._driver.set_parameters(TELEOP, {"clutch": False})

    def _start(self) -> int:
        """Start the recorder as soon as it has seen every stream; return the first row's time [ns].

        Raises GraphError with its reason if that lasts.
        """
        end = time.monotonic() + self._driver.deadline
        while True:
            try:
                first = int(self._ask("start")["first"])
                if not self._lockstep or first <= round(WARM_UP * NANOSECONDS):
                    return first
                self._ask("discard")  # it has not yet seen the reset: that was the end of the episode before
            except GraphError:
                self._alive()
                if time.monotonic() > end:
                    raise
            with self._moved:
                self._moved.wait(timeout=0.02)

    def _ask(self, command: str) -> dict[str, Any]:
        return dict(json.loads(self._driver.trigger(f"{RECORDER}/{command}")))

    def _lead(self) -> TaskStatus | None:
        """Let time pass until the task is decided and the tail is recorded, or the operator ends it."""
        limit, decided = self._limit, False
        target = 0.0 if self._corrections is None else -BEFORE
        while True:
            if self._corrections is not None and not decided:
                self._hand_over(target + BEFORE, self._corrections)
            target = min(target + (TAIL if decided else STEP), limit + TAIL)
            self._wait_for_note()
            status = None if self.told else self._reach(target)
            if status is None or decided or status.state == "failure":
                return status
            if status.state == "success":
                decided = True
            elif status.time >= limit - 1e-6:
                return status

    def _wait_for_note(self) -> None:
        """Let a lockstep simulation stand still while a note is being typed."""
        self._listen()
        while self._lockstep and self._keys.line is not None and not self.told:
            self._alive()
            with self._moved:
                self._moved.wait(timeout=0.02)
            self._listen()

    def _reach(self, target: float) -> TaskStatus | None:
        """Wait until time and recording have reached `target` [s since the reset]; return the status then.

        None if the operator ended the attempt before.
        """
        self._target = round(target * NANOSECONDS)
        if self._lockstep:
            self._driver.run_until(target)
        since, last = time.monotonic(), (-1.0, -1)
        while not self.told:
            status = self._driver.status
            now = (status.time if status else 0.0, self._filled)
            recorded = not self._lockstep or self._filled >= target * NANOSECONDS - 1e6
            if status is not None and status.time >= target - 1e-3 and recorded:
                return status
            if now != last:
                since, last = time.monotonic(), now
            elif time.monotonic() - since > self._driver.progress_deadline:
                raise GraphError(f"recording stands still at {now[1] / NANOSECONDS:.2f} s, the task at {now[0]:.2f} s")
            self._alive()
            with self._moved:
                self._moved.wait(timeout=0.02)
            self._listen()
        return None

    def _listen(self) -> None:
        """Obey the operator's keys: the first that ends the attempt counts; without one only notes and quitting do."""
        for command, text in self._keys.pressed():
            if command == NOTE and (self._running or self._saved):
                self._notes.publish(String(data=text))
            elif command == NOTE:
                self._say("no episode to note this of")
            elif self._running and command in (SAVE, FAIL) and self._filled <= self._first:
                self._say("nothing is recorded yet")
            elif command == QUIT or (self._running and command in (SAVE, FAIL, DISCARD, RERECORD)):
                self.told = self.told or command

    def _on_progress(self, message: Time) -> None:
        filled = from_time(message)
        with self._moved:  # not a late one of the last episode
            if not self._lockstep or filled <= self._target + NANOSECONDS // 10:
                self._filled = filled
                rows = round((filled - self._first) / NANOSECONDS * self._line.fps)
                self._line.filled(time.monotonic(), max(0, rows) if self._running else 0)
            self._moved.notify_all()

    def _on_chunk(self, message: JointTrajectory) -> None:
        with self._moved:
            self._led = from_time(message.header.stamp)
            self._moved.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == RECORDER.lstrip("/"):
                values = {pair.key: pair.value for pair in status.values}
                self._line.backlog = int(values["backlog"])
                self._line.disk_left = float(values["disk_left_gb"])

    def _on_event(self, message: String) -> None:
        event = EpisodeEvent.from_text(message.data)
        if event.kind == "note":
            self._say(f"noted at {event.time:.1f} s: {event.text}")
