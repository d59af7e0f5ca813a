"""The kill test: a recorder is killed at random moments, while it records, saves, recovers and merges.

After every kill the dataset must read, hold every episode that the recorder had said was saved, and offer the running
one up to its last second. Values tell their episode and row, so that a row or frame out of place is noticed.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.contract import parse_contract
from vla_ros.data.interrupted import recoverable
from vla_ros.data.merge import merge_files
from vla_ros.data.reader import Dataset
from vla_ros.data.recovery import recover
from vla_ros.data.writer import DatasetWriter
from vla_ros.errors import DatasetError

CAMERA = "observation.images.front"
FPS = 30
LONGEST = 4.0  # [s] until a kill, after the recorder has begun
DEADLINE = 120.0  # [s] for a recorder to begin
CONTRACT = f"""
robot: killed
urdf: none
rate: {FPS}
observation:
  {CAMERA}: {{topic: /front, kind: image, shape: [48, 64, 3]}}
  observation.state: {{topic: /joint_states, kind: joints, names: [a.pos, b.pos]}}
  task: {{topic: /instruction, kind: text}}
action: {{space: joint_position, names: [a.pos, b.pos], command: {{interface: forward, topic: /commands}}}}
limits: {{velocity: 1.0, acceleration: 5.0}}
"""


@dataclass
class KillReport:
    """What the kills did. lost: the most rows that a running episode lost [s]."""

    kills: int = 0
    moments: Counter[str] = field(default_factory=Counter)  # what the recorder was doing
    saved: int = 0  # episodes that it had said were saved
    unreadable: int = 0  # datasets
    missing: int = 0  # episodes said to be saved that were not there, or not right
    offered: int = 0  # running episodes of more than a second, offered for recovery
    not_offered: int = 0
    lost: float = 0.0
    recovered: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True if nothing was lost that must not be."""
        return not (self.unreadable or self.missing or self.not_offered or self.problems) and self.lost <= 1.0

    @property
    def text(self) -> str:
        """The report in a few lines."""
        moments = ", ".join(f"{count} while {what}" for what, count in self.moments.most_common())
        return "\n".join(
            [
                f"{self.kills} kills: {moments}",
                f"{self.saved} episodes said to be saved: {self.missing} missing or wrong; "
                f"{self.unreadable} datasets unreadable",
                f"running episodes of more than 1 s: {self.offered} offered for recovery, {self.not_offered} not; "
                f"at most {self.lost:.2f} s of one lost; {self.recovered} recovered",
                *self.problems[:10],
            ]
        )


def record_kill(kills: int, root: Path, seed: int = 0) -> KillReport:
    """Kill a recorder of the new dataset `root` so many times; return what came of it.

    Raises DatasetError if the folder exists, or if the recorder does not begin.
    """
    if root.exists():
        raise DatasetError(f"'{root}' exists; want a new folder for the kill test")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    chance, report, said = random.Random(seed), KillReport(), _Said()
    for number in range(kills):
        end, other = context.Pipe(duplex=False)
        rows = context.Value("q", 0)
        child = context.Process(target=_recorder, args=(root, chance.random(), other, rows), daemon=True)
        child.start()
        other.close()
        if not end.poll(DEADLINE):
            child.kill()
            raise DatasetError(f"the recorder did not begin within {DEADLINE:.0f} s")
        time.sleep(LONGEST * chance.random() ** 2)
        child.kill()
        child.join()
        said.hear(end)
        report.kills += 1
        report.moments[said.doing] += 1
        _check(root, report, said, rows.value, chance)
        print(f"\r{number + 1} of {kills} kills, {report.saved} episodes", end="", flush=True)
    print()
    _finish(root, report, said)
    return report


class _Said:
    """What the recorder has said: the episodes it saved (length by number), and what it was doing."""

    def __init__(self) -> None:
        self.episodes: dict[int, int] = {}
        self.doing = ""

    def hear(self, end: Connection) -> None:
        try:
            while end.poll():
                what, value = end.recv()
                if what == "saved":
                    self.episodes[value[0]] = value[1]
                else:
                    self.doing = what
        except EOFError:
            pass


def _recorder(root: Path, seed: float, out: Any, rows: Any) -> None:
    """Record, save, recover and merge until killed."""
    chance = random.Random(seed)
    contract = parse_contract(CONTRACT, "killed.yaml")
    while True:
        out.send(("opening", None))
        with DatasetWriter(root, contract) as writer:
            for _ in range(chance.randint(1, 4)):
                _episode(writer, chance, out, rows)
        if chance.random() < 0.5:
            out.send(("recovering", None))
            recover(root)
        if chance.random() < 0.5:
            out.send(("merging", None))
            merge_files(root)


def _episode(writer: DatasetWriter, chance: random.Random, out: Any, rows: Any) -> None:
    length, rows.value = chance.randint(5, 150), 0
    out.send(("recording", None))
    mark = chance.randint(0, 60)
    writer.start_episode(f"episode {mark}")
    for k in range(length):
        writer.add_frame(row(mark, k))
        rows.value = k + 1
        if chance.random() < 0.05:
            time.sleep(0.01)
    out.send(("saving", None))
    index = writer.save_episode()
    rows.value = 0
    out.send(("saved", (index, length)))


def row(mark: int, k: int) -> dict[str, Any]:
    """Return row k of an episode; its picture's left half tells k, its right half the episode's mark."""
    picture = np.empty((48, 64, 3), dtype=np.uint8)
    picture[:, :32], picture[:, 32:] = 20 + 4 * (k % 50), 10 + 4 * (mark % 60)
    values = np.array([k, mark], dtype=np.float32)
    sync = {"sync.age": np.zeros(2), "sync.stamp": np.full(2, k)}
    return {CAMERA: picture, "observation.state": values, "action": values, **sync}


def right(data: Dataset, index: int) -> bool:
    """Return whether an episode holds its rows and frames, each in its place."""
    values: npt.NDArray[Any] = data.column("action", index)
    frames = data.frames(CAMERA, index)
    mark = int(values[0, 1])
    rows = np.arange(len(values))
    left = np.rint((frames[:, 8:40, 4:28].mean(axis=(1, 2, 3)) - 20) / 4)
    marks = np.rint((frames[:, 8:40, 36:60].mean(axis=(1, 2, 3)) - 10) / 4)
    return bool(
        (values[:, 0] == rows).all()
        and (values[:, 1] == mark).all()
        and (left == rows % 50).all()
        and (marks == mark % 60).all()
        and data.episodes[index].task == f"episode {mark}"
    )


def _check(root: Path, report: KillReport, said: _Said, rows: int, chance: random.Random) -> None:
    """Check a few episodes, the newest among them, before anybody has cleaned up."""
    report.saved = len(said.episodes)
    if not (root / "meta/info.json").exists():  # killed before there was a dataset
        report.unreadable += bool(said.episodes)
        return
    try:
        data = Dataset(root)
        some = {*sorted(said.episodes)[-2:], *chance.sample(sorted(said.episodes), min(2, len(said.episodes)))}
        _compare(data, report, said, some)
        if rows and said.doing == "recording":
            waiting = recoverable(root)
            newest = waiting[-1].rows if waiting else 0
            report.lost = max(report.lost, (rows - newest) / FPS)
            report.offered += rows > FPS and newest > 0
            report.not_offered += rows > FPS and newest == 0
    except DatasetError as error:
        report.unreadable += 1
        report.problems.append(f"kill {report.kills}, {said.doing}: {error}")


def _compare(data: Dataset, report: KillReport, said: _Said, episodes: set[int]) -> None:
    for index in episodes:
        there = index < data.num_episodes and data.episodes[index].length == said.episodes[index]
        if not there or not right(data, index):
            report.missing += 1
            report.problems.append(f"kill {report.kills}, {said.doing}: episode {index} is not as saved")


def _finish(root: Path, report: KillReport, said: _Said) -> None:
    """Recover what is left, merge, and check every episode."""
    try:
        recover(root)
        merge_files(root)
        data = Dataset(root)
        _compare(data, report, said, set(said.episodes))
        others = [e.index for e in data.episodes if e.index not in said.episodes]
        report.recovered = len(others)
        report.problems += [f"recovered episode {index} is not right" for index in others if not right(data, index)]
        if recoverable(root):
            report.problems.append("something is still to be recovered")
        shutil.rmtree(root)
    except DatasetError as error:
        report.unreadable += 1
        report.problems.append(f"at the end: {error}")
