"""Collect demonstrations: the scripted operator leads the simulated arm through teleop_node and the gate, and
recorder_node writes what happened as a LeRobot v3 dataset.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from rich.console import Console
from rich.live import Live
from rich.text import Text

from vla_ros.action import NANOSECONDS
from vla_ros.data import layout
from vla_ros.errors import DatasetError, GraphError
from vla_ros.ros import qos
from vla_ros.ros.convert import from_time
from vla_ros.ros.graph import bring_up
from vla_ros.ros.trials import GATE, TaskStatus, TrialDriver
from vla_ros.ros.up import Graph
from vla_ros.sim.tasks import get_task
from vla_ros.teleop.corrections import Corrections

TELEOP = "/teleop_node"
RECORDER = "/recorder_node"
SEEDS = "meta/seeds.json"
STEP = 0.3  # [s] granted at once; a multiple of 0.1 s, where the gate's grid meets the dataset's
TAIL = 0.3  # [s] recorded after success, so that a policy learns to stop
BEFORE = 0.01  # [s] before a source's tick, the clutch is taken and released: so a seed gives the same episode again
WARM_UP = 0.09  # [s] of rest in which the streams fill, ending just before a source's tick


@dataclass(frozen=True)
class Collection:
    """What to collect.

    Attempt i has seed + i; with `resume`, what `output` holds counts and its seeds are skipped. policy: the checkpoint
    of a policy that drives, and that the operator corrects; "" for the operator alone.
    """

    task: str
    episodes: int
    seed: int
    output: Path
    contract: str = "tabletop_arm"
    lockstep: bool = True
    resume: bool = False
    raw: bool = False
    policy: str = ""


@dataclass
class Outcome:
    """What was collected: episodes saved, the seeds whose attempt failed, recorded and elapsed time [s]."""

    saved: int = 0
    failed: list[int] = field(default_factory=list)
    recorded: float = 0.0
    elapsed: float = 0.0


def collect(
    task: str,
    episodes: int,
    seed: int,
    output: str | Path,
    contract: str = "tabletop_arm",
    lockstep: bool = True,
    resume: bool = False,
    raw: bool = False,
    console: Console | None = None,
    policy: str = "",
) -> Outcome:
    """Record `episodes` successful demonstrations into the dataset `output`, which is appended to if it
    exists.

    A failed attempt is discarded, reported and replaced by the next seed. With `resume`, episodes of this
    task that are there already count, and the seeds go on after the last one tried. Raises VlaRosError when
    the graph dies or stands still, or when fewer than half of the attempts succeed.
    """
    setting = Collection(task, episodes, seed, Path(output), contract, lockstep, resume, raw, policy)
    console = console or Console()
    limit = get_task(task).time_limit
    ledger = Ledger(setting.output, task)
    outcome = Outcome(saved=ledger.saved if resume else 0)
    next_seed = max([seed, *(tried + 1 for tried in ledger.seeds)]) if resume else seed
    if outcome.saved >= episodes:
        console.print(f"{setting.output} already holds {outcome.saved} episodes of {task}")
        return outcome
    started = time.monotonic()
    specs = bring_up(
        contract=contract,
        task=task,
        seed=next_seed,
        teleop="scripted",
        record=str(setting.output),
        lockstep=lockstep,
        raw=raw,
        checkpoint=policy or None,
        intervention=bool(policy),
    )
    with Graph(specs) as graph:
        graph.wait_ready()
        with TrialDriver() as driver, Live(console=console, refresh_per_second=4, transient=True) as live:
            recording = Recording(driver, setting, limit, graph.check)
            while outcome.saved < episodes:
                live.update(_progress(setting, outcome, started, next_seed))
                saved = recording.episode(next_seed)
                if saved:
                    ledger.add(int(saved["episode"]), next_seed)
                    outcome.saved += 1
                    outcome.recorded += float(saved["seconds"])
                else:
                    ledger.fail(next_seed)
                    outcome.failed.append(next_seed)
                    live.console.print(f"seed {next_seed}: {recording.reason}; discarded")
                outcome.elapsed = time.monotonic() - started
                next_seed += 1
                if len(outcome.failed) > max(5, outcome.saved):
                    tries = outcome.saved + len(outcome.failed)
                    raise DatasetError(f"only {outcome.saved} of {tries} attempts at '{task}' succeeded")
            driver.select("")
    console.print(_progress(setting, outcome, started, next_seed))
    return outcome


class Recording:
    """Conducts one episode after another on the running graph. `reason`: why the last one was not saved."""

    def __init__(self, driver: TrialDriver, setting: Collection, limit: float, alive: Callable[[], None]) -> None:
        self._driver, self._setting, self._limit, self._alive = driver, setting, limit, alive
        self._moved = threading.Condition()
        self._filled = self._target = -1  # [ns] of the recording, and what has been granted
        self.reason = ""
        self._corrections: Corrections | None = None  # of the policy, in this episode
        services = [f"{TELEOP}/reset", *(f"{RECORDER}/{name}" for name in ("start", "save", "discard"))]
        driver.expect(TELEOP, RECORDER, services=services)
        driver.node.create_subscription(Time, "/recorder/progress", self._on_progress, qos.COMMAND)

    def episode(self, seed: int) -> dict[str, Any] | None:
        """Run the attempt of `seed`; return what the recorder says it saved, None if it was discarded."""
        first = self._begin(seed)
        status = self._lead()
        if status.state == "success":
            answer = self._ask("save")
            self._driver.select("")
            if not answer["problem"]:
                return answer | {"seconds": (self._filled - first) / NANOSECONDS}
            raise GraphError(f"{RECORDER}: {answer['problem']}")
        self._driver.trigger(f"{RECORDER}/discard")
        self._driver.select("")
        self.reason = "failed" if status.state == "failure" else f"not done within {self._limit:.0f} s"
        return None

    def _begin(self, seed: int) -> int:
        driver = self._driver
        driver.select("")
        driver.trigger(f"{GATE}/release")
        driver.set_parameters(TELEOP, {"clutch": False, "seed": seed})
        driver.reset(self._setting.task, seed)
        if self._setting.lockstep:
            driver.run_until(WARM_UP)
        self._target = 0
        first = self._filled = self._start()
        self._corrections = Corrections(seed, self._limit, STEP) if self._setting.policy else None
        if self._corrections is None:
            self._take_clutch()
        driver.select("policy" if self._setting.policy else "teleop")
        return first

    def _take_clutch(self) -> None:
        self._driver.set_parameters(TELEOP, {"clutch": True})
        self._driver.trigger(f"{TELEOP}/reset")

    def _correct(self, t: float, corrections: Corrections) -> None:
        """Let the operator take the clutch at `t` [s], or release it, as the corrections say."""
        turned = corrections.turn(
            t
        )  # time stands still before a sample of the operator's: it is the first to be changed
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
                if not self._setting.lockstep or first <= round(WARM_UP * NANOSECONDS):
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

    def _lead(self) -> TaskStatus:
        """Let time pass until the task is decided and the tail is recorded."""
        limit, decided = self._limit, False
        target = 0.0 if self._corrections is None else -BEFORE
        while True:
            if self._corrections is not None and not decided:
                self._correct(target + BEFORE, self._corrections)
            target = min(target + (TAIL if decided else STEP), limit + TAIL)
            status = self._reach(target)
            if decided or status.state == "failure":
                return status
            if status.state == "success":
                decided = True
            elif status.time >= limit - 1e-6:
                return status

    def _reach(self, target: float) -> TaskStatus:
        """Wait until time and recording have reached `target` [s since the reset]; return the status then."""
        self._target = round(target * NANOSECONDS)
        if self._setting.lockstep:
            self._driver.run_until(target)
        since, last = time.monotonic(), (-1.0, -1)
        while True:
            status = self._driver.status
            now = (status.time if status else 0.0, self._filled)
            done = status is not None and status.time >= target - 1e-3
            if (
                done
                and status is not None
                and (not self._setting.lockstep or self._filled >= target * NANOSECONDS - 1e6)
            ):
                return status
            if now != last:
                since, last = time.monotonic(), now
            elif time.monotonic() - since > self._driver.progress_deadline:
                raise GraphError(f"recording stands still at {now[1] / NANOSECONDS:.2f} s, the task at {now[0]:.2f} s")
            self._alive()
            with self._moved:
                self._moved.wait(timeout=0.02)

    def _on_progress(self, message: Time) -> None:
        filled = from_time(message)
        with self._moved:
            if (
                not self._setting.lockstep or filled <= self._target + NANOSECONDS // 10
            ):  # not a late one of the last episode
                self._filled = filled
            self._moved.notify_all()


class Ledger:
    """``meta/seeds.json``: which episode came from which seed, and which seeds failed, by task."""

    def __init__(self, root: Path, task: str) -> None:
        self._path, self._task = root / SEEDS, task
        self._all: dict[str, Any] = layout.read_json(self._path) if self._path.exists() else {}
        self._mine: dict[str, list[Any]] = self._all.setdefault(task, {"episodes": [], "failed": []})

    @property
    def saved(self) -> int:
        """Episodes of this task."""
        return len(self._mine["episodes"])

    @property
    def seeds(self) -> list[int]:
        """All seeds tried."""
        return [seed for _, seed in self._mine["episodes"]] + list(self._mine["failed"])

    def add(self, episode: int, seed: int) -> None:
        """Note an episode's seed."""
        self._mine["episodes"].append([episode, seed])
        layout.write_json(self._path, self._all)

    def fail(self, seed: int) -> None:
        """Note a seed whose attempt was discarded."""
        self._mine["failed"].append(seed)
        layout.write_json(self._path, self._all)


def _progress(setting: Collection, outcome: Outcome, started: float, seed: int) -> Text:
    elapsed = time.monotonic() - started
    return Text(
        f"{setting.task}: {outcome.saved}/{setting.episodes} episodes, {len(outcome.failed)} failed, "
        f"seed {seed}, {outcome.recorded:.0f} s recorded in {elapsed:.0f} s, "
        f"{layout.disk_left(setting.output):.1f} GB disk left"
    )
