"""Recording at full rate through ROS: 4 cameras, joints at 500 Hz, a wrench at 1 kHz, two taxel pads; what is lost?

Sensors and recorder are processes of their own, as on a robot. Every value tells its time, and every picture its
number, so that the saved episode can be checked row by row.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import Trigger

from vla_ros.data import Dataset
from vla_ros.data.pictures import pictures_of
from vla_ros.data.video import decoded
from vla_ros.errors import GraphError
from vla_ros.ros import qos
from vla_ros.ros.bench import machine, memory_of, node_spun_aside
from vla_ros.ros.bench_sensors import BITS, CAMERAS, PADS, PHASE, SECOND, WINDOW, contract, number_in, rates
from vla_ros.ros.graph import NodeSpec
from vla_ros.ros.up import Graph

RECORDER = "recorder_node"
DEADLINE = 60.0  # [s] for a service, and for the recorder to take in what is under way
CLOSE = 1e-3  # [s] of difference to a float32
MEMORY = 2000.0  # [MB] wanted at most


@dataclass
class RecordReport:
    """What was recorded. lost: camera frames without a row; wrong: rows with a value or picture of another time."""

    seconds: float
    rows: int = 0
    lost: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    stale: dict[str, int] = field(default_factory=dict)
    memory: float = 0.0  # [MB], the recorder's peak
    backlog: int = 0  # frames that waited for an encoder, the most that was reported
    saving: float = 0.0  # [s]
    problem: str = ""
    load: str = ""

    @property
    def good(self) -> bool:
        """True if nothing was lost or wrong and the memory was enough."""
        return not (self.lost or self.wrong or self.problem) and self.rows > 0 and self.memory < MEMORY

    @property
    def text(self) -> str:
        """The report in a few lines."""
        wrong = ", ".join(f"{rows} of {key}" for key, rows in self.wrong.items()) or "0"
        stale = ", ".join(f"{rows} of {key}" for key, rows in self.stale.items()) or "0"
        lines = [
            self.load,
            f"{self.rows} rows in {self.seconds:.0f} s, {self.lost} frames lost of {self.rows * len(CAMERAS)}",
            f"rows wrong: {wrong}; rows marked as stale: {stale}",
            f"peak memory {self.memory:.0f} MB (want {MEMORY:.0f}), largest backlog {self.backlog} frames, "
            f"saving took {self.saving:.2f} s (want 1)",
        ]
        return "\n".join(lines + ([f"problem: {self.problem}"] if self.problem else []))


def run(seconds: float, root: Path, codec: str = "libx264", slower: int = 1) -> RecordReport:
    """Record an episode of `seconds` into the new dataset `root` and check it. Raises VlaRosError.

    slower: what all rates are divided by, for a machine that is too busy or too slow.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    file = root.with_suffix(".yaml")
    file.write_text(contract(slower).text, encoding="utf-8")
    start = time.time_ns()
    sensors = [
        NodeSpec(
            f"bench_{part}", "vla_ros.ros.bench_sensors", {"part": part, "start": str(start), "slower": slower}, nice=-5
        )
        for part in ("cameras", "numbers")
    ]
    recorder = NodeSpec(
        RECORDER, f"vla_ros.ros.nodes.{RECORDER}", {"contract": str(file), "root": str(root), "codec": codec}
    )
    report = RecordReport(seconds)
    with Graph([recorder, *sensors]) as graph, node_spun_aside() as node:
        graph.wait_ready()
        node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: _watch(m, report), qos.COMMAND)
        first = int(json.loads(_until_done(node, "start"))["first"])
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            graph.check()
            time.sleep(0.2)
        report.load, began = machine(), time.monotonic()
        answer = json.loads(_until_done(node, "save"))
        report.saving = time.monotonic() - began
        report.memory = memory_of(graph.pid(RECORDER), "VmHWM")
        report.stale, report.problem = answer["stale_rows"], answer["problem"]
    _check(Dataset(root), first, start, slower, report)
    return report


def _check(data: Dataset, first: int, start: int, slower: int, report: RecordReport) -> None:
    rate = rates(slower)
    report.rows = data.num_frames
    names = data.features["sync.stamp"].names or ()
    stamps = {name: data.column("sync.stamp")[:, i] for i, name in enumerate(names)}
    rows = (first - start) / SECOND + np.arange(report.rows) / rate["camera"]  # [s since start]
    newest = {name: (stamp - start) / SECOND for name, stamp in stamps.items()}
    expected = {"observation.state": rows, "action": rows + 1 / rate["camera"]}
    expected |= {f"observation.tactile.{pad}": newest[f"observation.tactile.{pad}"] for pad in PADS}
    for key, seconds in expected.items():
        values = data.column(key).reshape(report.rows, -1)
        _note(report, key, np.abs(values - seconds[:, None]).max(axis=1) > CLOSE)
    window = newest["observation.wrench.tool"][:, None] - np.arange(WINDOW - 1, -1, -1)[None] / rate["wrench"]
    wrench = data.column("observation.wrench.tool")
    _note(report, "observation.wrench.tool", np.abs(wrench - window[:, :, None]).max(axis=(1, 2)) > CLOSE)
    for camera in CAMERAS:
        key = f"observation.images.{camera}"
        taken = np.rint(stamps[key] * rate["camera"] / SECOND - PHASE).astype(np.int64)
        report.lost += int(taken[-1] - taken[0] + 1 - len(np.unique(taken)))
        path, at = data.video(key, 0)
        seen = [number_in(f) for f in decoded(path, at, data.fps, pictures_of(data.features[key]))]
        _note(report, key, np.array(seen) != taken % (1 << BITS))


def _note(report: RecordReport, key: str, wrong: Any) -> None:
    if np.any(wrong):
        report.wrong[key] = int(np.sum(wrong))


def _watch(message: DiagnosticArray, report: RecordReport) -> None:
    for status in message.status:
        for value in status.values:
            if value.key == "backlog":
                report.backlog = max(report.backlog, int(value.value))


def _until_done(node: Any, command: str) -> str:
    """Call a service of the recorder until it does what it is asked; return its answer."""
    client = node.create_client(Trigger, f"/{RECORDER}/{command}")
    if not client.wait_for_service(timeout_sec=DEADLINE):
        raise GraphError(f"no service /{RECORDER}/{command} within {DEADLINE:.0f} s")
    end, said = time.monotonic() + DEADLINE, "no answer"
    while time.monotonic() < end:
        future = client.call_async(Trigger.Request())
        while not future.done() and time.monotonic() < end:
            time.sleep(0.005)
        if future.done():
            answer = future.result()
            if answer.success:
                return str(answer.message)
            said = str(answer.message)
            time.sleep(0.2)
    raise GraphError(f"/{RECORDER}/{command}: {said}")
