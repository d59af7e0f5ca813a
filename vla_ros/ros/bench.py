"""Measuring this machine: does the gate keep its period under load, and how long is the way from camera to
command?
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from vla_ros.contract import load_contract
from vla_ros.errors import GraphError
from vla_ros.ros import lifeline
from vla_ros.ros.bench_standins import StandInArm, StandInPolicy
from vla_ros.ros.graph import bring_up
from vla_ros.ros.lifecycle import make_executor
from vla_ros.ros.realtime import SWITCH_INTERVAL
from vla_ros.ros.up import Graph

POLICY_NICE = 5  # as the graph starts policies
START_DEADLINE = 60.0  # [s]
BUSY = """
import os, threading
import numpy as np
from vla_ros.ros import lifeline
lifeline.hold()
os.nice({nice})
def work():
    a = np.random.default_rng(0).standard_normal((384, 384)).astype(np.float32)
    while True:
        a = np.tanh(a @ a.T / 384)
for _ in range({threads}):
    threading.Thread(target=work, daemon=True).start()
threading.Event().wait()
"""


def gate(seconds: float = 20.0, load: int = 2, contract: str = "tabletop_arm") -> None:
    """Print the gate's period with nothing else running, then with `load` busy threads in another process."""
    print(machine())
    specs = [spec for spec in bring_up(contract, sim=False, source="policy") if spec.name == "gate_node"]
    with Graph(specs) as graph, node_spun_aside() as node:
        graph.wait_ready()
        arm = StandInArm(node, load_contract(contract))
        _wait(lambda: arm.gate_values.get("state") == "active", "the gate following the chunks")
        for threads in (0, load):
            with _busy(threads):
                time.sleep(seconds)
                print(f"{threads} busy threads: {_period(arm)}", flush=True)
        graph.check()


def transport(seconds: float = 20.0, contract: str = "tabletop_arm", task: str = "reach") -> None:
    """Print the time from a camera's capture stamp to the command that follows from it, without a forward
    pass, and where on the way it goes. The gate sends at its next tick: 0 to 10 ms after the chunk.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    print(machine())
    with Graph(bring_up(contract, task=task, source="policy")) as graph, node_spun_aside() as node:
        graph.wait_ready()
        policy = StandInPolicy(node, load_contract(contract))
        end = time.monotonic() + START_DEADLINE
        while not policy.commands:
            graph.check()
            policy.act(end)
        end = time.monotonic() + seconds
        while time.monotonic() < end or not policy.latencies["command"]:
            policy.act(end + START_DEADLINE)
            if time.monotonic() > end + START_DEADLINE:
                why = policy.reason or "the gate has not followed a chunk"
                raise GraphError(f"no command followed from the images: {why}; is the machine overloaded?")
        graph.check()
        for what, values in policy.latencies.items():
            print(f"capture stamp to {what}: {_percentiles(values)}")


@contextmanager
def node_spun_aside() -> Iterator[Node]:
    """Yield a node that is spun in a thread of its own."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, executor = Node("bench"), make_executor()
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown(timeout_sec=5.0)
        thread.join(timeout=5.0)
        node.destroy_node()
        rclpy.try_shutdown()


def _spin(executor: Any) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()


@contextmanager
def _busy(threads: int) -> Iterator[None]:
    """Keep `threads` threads busy with matrices in another process, at a policy's niceness."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    code = BUSY.format(nice=POLICY_NICE, threads=threads)
    process = lifeline.start([sys.executable, "-c", code], environment) if threads else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _period(arm: StandInArm) -> str:
    """Return the gate's own account of its last thousand periods."""
    before = arm.reports
    _wait(lambda: arm.reports > before, "the gate's diagnostics")
    names = ("period p50 [ms]", "period p99 [ms]", "jitter p99 [ms]", "jitter max [ms]", "missed ticks")
    numbers = ", ".join(f"{name} {arm.gate_values[name]}" for name in names)
    return f"{numbers} ({arm.gate_values['scheduling']})"


def _percentiles(seconds: list[float]) -> str:
    p50, p99, worst = 1e3 * np.percentile(seconds, [50, 99, 100])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {worst:.1f} ms ({len(seconds)} samples)"


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START_DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise GraphError(f"{what} did not happen within {START_DEADLINE:.0f} s")
        time.sleep(0.02)


def machine() -> str:
    """Return one line that says what the figures were measured on."""
    python, load = platform.python_version(), os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {python}, load {load:.1f}"


def memory_of(pid: int, field: str) -> float:
    """Return what Linux says of a process's memory [MB]: the field ``VmRSS`` (now) or ``VmHWM`` (at most)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1000
    return float("nan")
