"""Collect demonstrations: the scripted operator leads the simulated arm through teleop_node and the gate, and
recorder_node writes what happened as a LeRobot v3 dataset.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from vla_ros.contract import load_contract
from vla_ros.data import layout
from vla_ros.data.features import frames_per_second
from vla_ros.data.interrupted import recoverable
from vla_ros.data.ledger import Ledger, next_seed, too_many_failed
from vla_ros.ros.graph import bring_up
from vla_ros.ros.recording import Recording
from vla_ros.ros.trials import TrialDriver
from vla_ros.ros.up import Graph
from vla_ros.sim.tasks import get_task
from vla_ros.teleop.registry import SCRIPTED
from vla_ros.terminal.cues import NONE, Cues
from vla_ros.terminal.keys import DISCARD, HELP, QUIT, RERECORD, Keys
from vla_ros.terminal.progress import Progress


@dataclass(frozen=True)
class Collection:
    """What to collect.

    Attempt i has seed + i; with `resume`, what `output` holds counts and its seeds are skipped. policy: the checkpoint
    of a policy that drives, and that the operator corrects; "" for the operator alone. device: whose hand leads: the scripted
    operator's joints, or an emulated device that it moves (`vla_ros.teleop.hands`).
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
    device: str = SCRIPTED


@dataclass
class Outcome:
    """What was collected: episodes saved, the seeds whose attempt failed or was discarded by the operator, recorded and
    elapsed time [s].
    """

    saved: int = 0
    failed: list[int] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)
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
    cues: str = NONE,
    countdown: int = 0,
    policy: str = "",
    device: str = SCRIPTED,
    record_as: str = "",
) -> Outcome:
    """Record `episodes` successful demonstrations into the dataset `output`, which is appended to if it
    exists.

    A failed attempt is discarded, reported and replaced by the next seed. Where standard input is a terminal, the
    operator's keys (see `vla_ros.terminal.keys`) save, discard or rerecord the running episode, note something of it, or
    quit. cues: see `vla_ros.terminal.cues`; countdown [s] before each attempt. With `resume`, episodes of this
    task that are there already count, and the seeds go on after the last one tried. record_as: the dataset's contract, where
    it is not the robot's: one without a robot records what a tracked hand-held gripper would. Raises VlaRosError when
    the graph dies or stands still, or when fewer than half of the attempts succeed.
    """
    setting = Collection(task, episodes, seed, Path(output), contract, lockstep, resume, raw, policy, device)
    console = console or Console()
    limit = get_task(task).time_limit
    ledger = Ledger(setting.output, task)
    outcome = Outcome(saved=ledger.saved if resume else 0)
    number = next_seed(ledger, seed, resume)
    if outcome.saved >= episodes:
        console.print(f"{setting.output} already holds {outcome.saved} episodes of {task}")
        return outcome
    started = time.monotonic()
    specs = bring_up(
        contract=contract,
        task=task,
        seed=number,
        teleop=device,
        record=str(setting.output),
        lockstep=lockstep,
        raw=raw,
        checkpoint=policy or None,
        intervention=bool(policy),
        record_as=record_as,
    )
    told = Progress(episodes, frames_per_second(load_contract(contract)), disk_left=layout.disk_left(setting.output))
    given = Cues(cues)
    with Graph(specs) as graph:
        graph.wait_ready()
        with TrialDriver() as driver, Keys() as keys, Live(**_live(console, told, keys)) as live:

            def say(line: str) -> None:
                live.refresh()  # or the line of before would be drawn again below this one
                live.console.print(Text(line))  # as it is: a note may hold what rich takes for markup

            recording = Recording(driver, task, limit, lockstep, graph.check, keys, given, told, say, bool(policy))
            while outcome.saved < episodes:
                told.failed = len(outcome.failed)
                told.begin(outcome.saved + 1, f"{task}, seed {number}", "before")
                recording.countdown(countdown)
                saved = None if recording.told else recording.episode(number)
                if recording.told == QUIT:
                    say("the operator quit")
                    break
                if recording.told == RERECORD:
                    say(f"seed {number}: recorded again")
                    continue
                if saved:
                    ledger.add(int(saved["episode"]), number)
                    outcome.saved += 1
                    outcome.recorded += float(saved["seconds"])
                else:
                    ledger.fail(number)
                    (outcome.discarded if recording.told == DISCARD else outcome.failed).append(number)
                    say(f"seed {number}: {recording.reason}; discarded")
                outcome.elapsed = time.monotonic() - started
                number += 1
                too_many_failed(task, outcome.saved, len(outcome.failed))
            driver.select("")
    given.close()
    for one in recoverable(setting.output):
        offer = f"kept aside {one.text}; make an episode of it by: vla-ros dataset recover {setting.output}"
        console.print(Text(offer), soft_wrap=True)
    console.print(_progress(setting, outcome, started, number))
    return outcome


def _live(console: Console, told: Progress, keys: Keys) -> dict[str, Any]:
    def line() -> Text:
        if keys.line is not None:
            return Text(f"note: {keys.line}_  (Enter keeps it, Escape drops it)")
        return Text(told.line() + (f"  [{HELP}]" if keys.active else ""))

    return {"console": console, "get_renderable": line, "refresh_per_second": 4, "transient": True}


def _progress(setting: Collection, outcome: Outcome, started: float, seed: int) -> Text:
    elapsed = time.monotonic() - started
    return Text(
        f"{setting.task}: {outcome.saved}/{setting.episodes} episodes, {len(outcome.failed)} failed, "
        f"seed {seed}, {outcome.recorded:.0f} s recorded in {elapsed:.0f} s, "
        f"{layout.disk_left(setting.output):.1f} GB disk left"
    )
