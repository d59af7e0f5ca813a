"""Starts a list of nodes as processes, watches and stops them: `vla-ros up`, for where there is no launch.

Nothing is left behind: nodes are stopped by SIGINT, then SIGTERM, then SIGKILL, and end by themselves when
the process that started them dies (see `lifeline`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

from vla_ros.errors import GraphError, unknown_name
from vla_ros.ros import lifeline
from vla_ros.ros.environment import READY, child_environment, domain_in_force
from vla_ros.ros.graph import NodeSpec

POLL = 0.02  # [s]
LAST_LINES = 5


@dataclass
class _Child:
    spec: NodeSpec
    process: subprocess.Popen[bytes]
    log: Path


class Graph:
    """The processes of a list of nodes. Use as a context manager: they run from entry to exit.

    While it is up, this process's environment has the ROS domain and the transport profile of the nodes, so
    that a ROS context made here meets them. The domain is one of its own unless ROS_DOMAIN_ID is set.
    log_dir: a folder for one log file a node, by default a new one below the system's temporary folder.
    """

    def __init__(self, specs: Iterable[NodeSpec], log_dir: Path | None = None) -> None:
        self.specs = tuple(specs)
        self.log_dir = log_dir or Path(tempfile.mkdtemp(prefix="vla_ros_log_"))
        self.exit_codes: dict[str, int] = {}
        self._children: dict[str, _Child] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Graph:
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(domain_in_force())
        try:
            for spec in self.specs:
                self.start(spec)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, spec: NodeSpec) -> None:
        """Start one node; a node of the same name that has ended is replaced."""
        if spec.name in self._children and self._children[spec.name].process.poll() is None:
            raise GraphError(f"{spec.name} is already running")
        log = self.log_dir / f"{spec.name}.log"
        with log.open("wb") as output:
            process = lifeline.start(
                command_line(spec),
                child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this process alone, which stops the nodes in order
            )
        self._children[spec.name] = _Child(spec, process, log)
        _renice(process.pid, spec.nice)

    def restart(self, name: str) -> None:
        """Start a node of the list again after it has ended."""
        self.start(self._child(name).spec)

    def pid(self, name: str) -> int:
        """Return the process id of a node."""
        return self._child(name).process.pid

    def log(self, name: str) -> str:
        """Return what a node has printed so far."""
        return self._child(name).log.read_text(encoding="utf-8", errors="replace")

    def ready(self, name: str) -> bool:
        """Return True once a node is active."""
        return f"{READY} {name}" in self.log(name)

    def ended(self, name: str) -> str:
        """Return how a node has ended: its exit code and last line; '' while it runs."""
        child = self._child(name)
        code = child.process.poll()
        if code is None:
            return ""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{name} ended with {how}: {self._last_line(name)} (log: {child.log})"

    def check(self) -> None:
        """Raise GraphError, naming node, exit code and last line, if a node has ended."""
        for name in self._children:
            if ended := self.ended(name):
                raise GraphError(ended)

    def wait_ready(self, deadline: float = 60.0) -> None:
        """Wait until every node is active. GraphError when one ends, or is not active within `deadline` s."""
        end = time.monotonic() + deadline
        waiting = list(self._children)
        while waiting := [name for name in waiting if not self.ready(name)]:
            self.check()
            if time.monotonic() > end:
                raise GraphError(
                    f"{', '.join(waiting)} not active within {deadline:g} s: {self._last_line(waiting[0])}"
                    f" (log: {self._child(waiting[0]).log})"
                )
            time.sleep(POLL)

    def stop(self, patience: Sequence[tuple[signal.Signals, float]] | None = None) -> dict[str, int]:
        """Stop all nodes and return their exit codes (negative: the signal that ended it).

        patience: signals to send, each with the seconds to wait for the nodes to end.
        """
        steps = patience or ((signal.SIGINT, 12.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))
        for number, wait in steps:
            alive = [child for child in self._children.values() if child.process.poll() is None]
            for child in alive:
                child.process.send_signal(number)
            end = time.monotonic() + wait
            while any(child.process.poll() is None for child in alive) and time.monotonic() < end:
                time.sleep(POLL)
        self.exit_codes = {name: child.process.wait() for name, child in self._children.items()}
        self._stack.close()
        return self.exit_codes

    def _child(self, name: str) -> _Child:
        if name not in self._children:
            raise GraphError(unknown_name("node", name, self._children))
        return self._children[name]

    def _last_line(self, name: str) -> str:
        lines = [line.strip() for line in self.log(name).splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("vla_ros: ")]
        return (said or lines or ["it printed nothing"])[-1]


def run_up(specs: Iterable[NodeSpec], log_dir: Path | None = None, once_active: Callable[[], object] = int) -> int:
    """Keep the nodes up, showing what they print, until Ctrl-C, SIGTERM or the starter's end (return 0).

    once_active: called when all nodes are active.

    A required node that ends ends the graph (return 1); of another one it is said, and the arm is held by
    the gate.
    """
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    graph = Graph(specs, log_dir)
    try:
        with graph:
            names = ", ".join(spec.name for spec in graph.specs)
            print(
                f"up: {names} in ROS domain {os.environ['ROS_DOMAIN_ID']}, logs in {graph.log_dir}",
                flush=True,
            )
            _watch(graph, once_active)
    except KeyboardInterrupt:
        return 0
    except GraphError as error:
        print(f"vla_ros: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _watch(graph: Graph, once_active: Callable[[], object]) -> NoReturn:
    shown = dict.fromkeys((spec.name for spec in graph.specs), 0)
    gone: set[str] = set()
    waiting = set(shown)
    while True:
        for name in shown:
            shown[name] = _echo(graph, name, shown[name])
        for spec in graph.specs:
            ended = None if spec.name in gone else graph.ended(spec.name)
            if ended and (spec.required or spec.name in waiting):
                raise GraphError(ended)
            if ended:
                gone.add(spec.name)
                print(f"vla_ros: {ended}; the others go on", file=sys.stderr, flush=True)
        if waiting and not (waiting := {name for name in waiting if not graph.ready(name)}):
            print("up: all nodes are active; Ctrl-C stops them", flush=True)
            once_active()
        time.sleep(0.1)


def command_line(spec: NodeSpec) -> list[str]:
    """Return the command that runs a node."""
    words = [sys.executable, "-m", spec.module, "--ros-args", "-r", f"__node:={spec.name}"]
    for name, value in spec.parameters.items():
        words += ["-p", f"{name}:={_yaml(value)}"]
    return words


def _yaml(value: bool | int | float | str) -> str:
    if isinstance(value, str):  # quoted, so that "7" or "" stay text; in YAML '' stands for ' in single quotes
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _echo(graph: Graph, name: str, shown: int) -> int:
    text = graph.log(name)
    complete = text.rfind("\n") + 1
    for line in text[shown:complete].splitlines():
        print(f"[{name}] {line}", flush=True)
    return max(shown, complete)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # stopping is under way: a second Ctrl-C must not leave nodes behind
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _renice(pid: int, nice: int) -> None:
    with suppress(OSError):  # not permitted, or already gone: the node runs at normal priority
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    if nice < 0:  # where Linux shares the CPU among sessions first, only the session's priority counts
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="utf-8")
