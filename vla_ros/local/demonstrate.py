"""Demonstrations of the scripted operator in lockstep, in this process: the rows that the graph's recorder would write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import load_contract
from vla_ros.data import DatasetWriter, EpisodeRecorder
from vla_ros.data.ledger import Ledger, next_seed, too_many_failed
from vla_ros.gate_output import GateOutput
from vla_ros.inference import GridTicks
from vla_ros.kinematics import Kinematics
from vla_ros.local.arm import GatedArm, stopped
from vla_ros.lockstep import STEP, TAIL, WARM_UP
from vla_ros.observation import Aligner
from vla_ros.sim.operator import ScriptedOperator
from vla_ros.sim.tasks import get_task
from vla_ros.teleop.leader_follower import LeaderFollower
from vla_ros.teleop.scripted import ScriptedLeader

SOURCE = "teleop"
POINTS = 3  # targets in a chunk


@dataclass(frozen=True)
class Demonstrations:
    """What was collected: episodes in the dataset, and the seeds whose attempt failed."""

    saved: int = 0
    failed: list[int] = field(default_factory=list)


def demonstrate(
    task: str,
    episodes: int,
    seed: int,
    output: str | Path,
    contract: str = "tabletop_arm",
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Demonstrations:
    """Record `episodes` successful demonstrations into the dataset `output`, which is appended to if it exists.

    A failed attempt is discarded and replaced by the next seed. resume: episodes of this task that are there already count,
    and the seeds go on after the last one tried. Raises VlaRosError's children, also when fewer than half succeed.
    """
    root, made = Path(output), load_contract(contract)
    ledger = Ledger(root, task)
    saved = ledger.saved if resume else 0
    number, failed = next_seed(ledger, seed, resume), list[int]()
    if saved >= episodes:
        return Demonstrations(saved)
    writer = DatasetWriter(root, made)
    try:
        operated = _Operated(EpisodeRecorder(made, writer, Aligner(made)), task)
        while saved < episodes:
            episode = operated.episode(number)
            if episode is None:
                ledger.fail(number)
                failed.append(number)
                too_many_failed(task, saved, len(failed))
            else:
                ledger.add(episode, number)
                saved += 1
            say(f"{task}: {saved}/{episodes} episodes, {len(failed)} failed, seed {number}")
            number += 1
    finally:
        writer.finalize()
    return Demonstrations(saved, failed)


class _Operated:
    """An arm that the scripted operator leads, as teleop_node and recorder_node do in lockstep."""

    def __init__(self, recorder: EpisodeRecorder, task: str) -> None:
        contract = recorder.contract
        self._recorder, self._limit = recorder, get_task(task).time_limit
        kinematics = Kinematics.of(contract)
        self._leader = ScriptedLeader(ScriptedOperator(task, kinematics), contract.joint_names)
        self._arm = GatedArm(contract, task, self._sample, lambda now: True)
        self._follower = LeaderFollower(contract, kinematics, 1.0 / contract.rate, POINTS)
        self._ticks = GridTicks(contract.rate)

    def episode(self, seed: int) -> int | None:
        """Return the index of the episode of `seed`; None, and nothing is saved, where the operator has failed."""
        arm, recorder = self._arm, self._recorder
        recorder.aligner.reset()
        self._ticks.reset()
        self._follower.reset()
        self._leader.hear(arm.reset(seed).instruction)
        self._wait(0)
        self._go_on(round(WARM_UP * NANOSECONDS), led=False)
        recorder.start(arm.now)
        self._leader.restart(seed)
        arm.gate.select(SOURCE, 0)
        ends = success = False
        until = 0
        while not ends:
            until = min(
                until + round((TAIL if success else STEP) * NANOSECONDS), round((self._limit + TAIL) * NANOSECONDS)
            )
            stop = self._go_on(until, led=True)
            ends = success or bool(stop) or arm.world.failure()
            success = arm.world.success() and not stop
        if not success:
            recorder.discard()
            return None
        return recorder.save()

    def _go_on(self, until: int, led: bool) -> str:
        """Let time run until `until` [ns]; return why the gate has latched its stop, if it has."""
        arm, stop = self._arm, ""
        while arm.now < until and not stop:
            output = arm.advance(self._chunk if led else self._wait)
            self._record(output)
            stop = stopped(output)
        return stop

    def _chunk(self, now: int) -> ActionChunk | None:
        """Return the chunk of the newest instant at which the operator decides, up to `now` [ns]; None when it has answered."""
        self._leader.see_objects(now, self._arm.world.objects())
        chunk = None
        while self._ticks.now <= now:
            t = self._ticks.now
            chunk = self._follower.chunk(t, self._leader.read(t))
            self._ticks.advance()
        return chunk

    def _wait(self, now: int) -> None:
        """See what happens up to `now` [ns] with the hand off the leader."""
        self._leader.see_objects(now, self._arm.world.objects())
        while self._ticks.now <= now:
            self._ticks.advance()

    def _sample(self, key: str, stamp: int, value: Any) -> None:
        self._recorder.aligner.push(key, stamp, value)
        if key == self._recorder.contract.state.key:
            names = self._recorder.contract.joint_names
            self._leader.see_joints(stamp, dict(zip(names, self._arm.positions().tolist(), strict=True)))

    def _record(self, output: GateOutput) -> None:
        if output.command is not None:
            self._recorder.action(int(output.command.times[0]), output.command.action)
        self._recorder.advance(output.stamp)
