"""Drive one trial after another on a running simulated graph: reset, choose the source, watch the outcome.

Used by evaluation and by demonstration collection. Every wait has a deadline and raises GraphError when it passes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from vla_ros.action import NANOSECONDS
from vla_ros.errors import GraphError
from vla_ros.ros.lifecycle import make_executor
from vla_ros.ros.qos import COMMAND, LATCHED

SIMULATOR = "/mujoco_node"
GATE = "/gate_node"
ASK_AGAIN = 3.0  # [s]


@dataclass(frozen=True)
class TaskStatus:
    """What the simulator says of the running trial. state: running, success or failure. time: s since the reset."""

    state: str
    seed: int
    time: float
    values: dict[str, str]

    @property
    def ended(self) -> bool:
        """True once the trial is decided."""
        return self.state in ("success", "failure")


class TrialDriver:
    """A node of its own, spun in its own thread, that conducts trials. Use as a context manager."""

    def __init__(self, *, deadline: float = 60.0, progress_deadline: float = 60.0) -> None:
        self.deadline = deadline  # [s] for a service to appear and answer
        self.progress_deadline = progress_deadline  # [s] in which the trial's time must advance
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node("trial_driver", context=self._context, enable_rosout=False)
        self._executor = make_executor(self._context)
        self._executor.add_node(self.node)
        self._changed = threading.Condition()
        self._status: TaskStatus | None = None
        self._seed: int | None = None  # of the running trial; statuses of another are not its
        self._gate = self._simulator = ""  # what they last said of themselves
        self._run_until = self.node.create_publisher(Time, "/sim/run_until", LATCHED)
        self.node.create_subscription(DiagnosticStatus, "/sim/task_status", self._on_status, COMMAND)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, COMMAND)
        self._clients: dict[tuple[str, type], Any] = {}
        self.expect(SIMULATOR, GATE, services=(f"{SIMULATOR}/reset", f"{GATE}/release"))
        self._thread = threading.Thread(target=self._spin, name="trial_driver", daemon=True)
        self._thread.start()

    def __enter__(self) -> TrialDriver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop spinning and leave the graph."""
        self._executor.shutdown(timeout_sec=5.0)
        self._thread.join(timeout=5.0)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    @property
    def status(self) -> TaskStatus | None:
        """The newest task status, or None before the first."""
        return self._status

    def reset(self, task: str, seed: int, instruction: str | None = None) -> dict[str, Any]:
        """Put the scene of `seed` up and return the simulator's description of it: seed, task, instruction, target.

        The simulator says the instruction on /instruction: the scene's own, or `instruction` in its place.
        """
        self.set_parameters(SIMULATOR, {"task": task, "seed": seed, "instruction": instruction or ""})
        with self._changed:
            self._status, self._seed = None, seed
        return dict(json.loads(self.trigger(f"{SIMULATOR}/reset")))

    def start(self, task: str, seed: int, source: str, instruction: str | None = None) -> dict[str, Any]:
        """Reset to `seed` and give `source` the arm; return the scene, see `reset`."""
        self.select("")
        scene = self.reset(task, seed, instruction)
        self.trigger(f"{GATE}/release")  # after the reset: what latched it may have lasted until then
        with self._changed:
            self._gate = ""
        self.select(source)
        return scene

    def select(self, source: str) -> None:
        """Give the arm to `source` ("" for none)."""
        self.set_parameters(GATE, {"source": source})

    def run_until(self, seconds: float) -> None:
        """Let a lockstep simulation advance to `seconds` after the reset."""
        t = round(seconds * NANOSECONDS)
        self._run_until.publish(Time(sec=t // NANOSECONDS, nanosec=t % NANOSECONDS))

    def watch(
        self, limit: float, *, lockstep: bool, alive: Callable[[], None] | None = None, ahead: float = 0.5
    ) -> TaskStatus:
        """Wait for the trial's end (an e-stop is a failure), or until `limit` seconds of it have passed; return the last status.

        lockstep: time is granted in portions of `ahead` seconds, so that a decided trial runs on no further.
        alive: called about ten times a second; raises when a node of the graph has died.
        """
        granted, reached, since = 0.0, -1.0, time.monotonic()
        while True:
            status = self._status
            now = status.time if status else 0.0
            if self._gate.startswith("estop"):
                return TaskStatus("failure", status.seed if status else -1, now, {"outcome": self._gate})
            if status and (status.ended or status.time >= limit - 1e-6):
                return status
            if lockstep and now + ahead / 2 >= granted and granted < limit:
                granted = min(limit, now + ahead)
                self.run_until(granted)
            if now != reached:
                reached, since = now, time.monotonic()
            elif time.monotonic() - since > self.progress_deadline and self._gate.startswith("hold"):
                return TaskStatus("failure", status.seed if status else -1, now, {"outcome": self._gate})
            elif time.monotonic() - since > self.progress_deadline:
                raise GraphError(
                    f"the trial stands still at {now:.2f} s of {limit:.1f} s since {self.progress_deadline:.0f} s; "
                    f"the simulator says '{self._simulator}', the gate '{self._gate}'"
                )
            if alive:
                alive()
            with self._changed:
                if self._status is status:
                    self._changed.wait(timeout=0.1)

    def set_parameters(self, node: str, values: dict[str, Any]) -> None:
        """Set parameters of another node. Raises GraphError with the node's own reason when it refuses."""
        request = SetParameters.Request()
        request.parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        answer = self._call(SetParameters, f"{node}/set_parameters", request, again=ASK_AGAIN)
        for name, result in zip(values, answer.results, strict=True):
            if not result.successful:
                raise GraphError(f"{node} refused {name}={values[name]!r}: {result.reason}")

    def trigger(self, service: str) -> str:
        """Call a std_srvs/Trigger service and return its message. Raises GraphError when it refuses."""
        return self.ask(Trigger, service, Trigger.Request())

    def ask(self, kind: type, service: str, request: Any) -> str:
        """Call a service whose answer has `success` and `message`; return the message. GraphError when it refuses."""
        answer = self._call(kind, service, request)
        if not answer.success:
            raise GraphError(f"{service} refused: {answer.message}")
        return str(answer.message)

    def expect(self, *nodes: str, services: Sequence[str] = ()) -> None:
        """Make the clients of what will be called: a server drops its answer to a client that it has not discovered yet."""
        for node in nodes:
            self._client(SetParameters, f"{node}/set_parameters")
        for service in services:
            self._client(Trigger, service)

    def _client(self, kind: type, name: str) -> Any:
        if (name, kind) not in self._clients:
            self._clients[name, kind] = self.node.create_client(kind, name)
        return self._clients[name, kind]

    def _call(self, kind: type, name: str, request: Any, again: float | None = None) -> Any:
        """Call a service. again: ask anew after so many seconds without an answer, for what may be asked twice."""
        client = self._client(kind, name)
        if not client.wait_for_service(timeout_sec=self.deadline):
            raise GraphError(f"service {name} did not appear within {self.deadline:.0f} s: is its node running?")
        done, answers = threading.Event(), []

        def on_answer(future: Any) -> None:
            answers.append(future.result())
            done.set()

        end = time.monotonic() + self.deadline
        while not done.is_set():
            if (left := end - time.monotonic()) <= 0.0:
                raise GraphError(f"service {name} did not answer within {self.deadline:.0f} s")
            client.call_async(request).add_done_callback(on_answer)
            done.wait(left if again is None else min(left, again))
        return answers[0]

    def _on_status(self, message: DiagnosticStatus) -> None:
        values = {pair.key: pair.value for pair in message.values}
        if self._seed not in (None, int(values["seed"])):
            return
        with self._changed:
            self._status = TaskStatus(message.message, int(values["seed"]), float(values["time"]), values)
            self._changed.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            with self._changed:
                if status.name == GATE.lstrip("/"):
                    self._gate = status.message
                    self._changed.notify_all()
                elif status.name == SIMULATOR.lstrip("/"):
                    self._simulator = status.message

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()
