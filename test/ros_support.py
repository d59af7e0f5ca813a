"""What the tests on a running graph share: a ROS domain of their own, and waits with a deadline."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from vla_ros.ros.environment import isolated_domain

if TYPE_CHECKING:
    from rclpy.node import Node

MARK = "VLA_ROS_TEST"  # in the environment of every process that a test starts
ENDING = 10.0  # [s] that a test's processes may take to end after it
_marks = count(1)


@contextmanager
def own_domain(patience: float = ENDING) -> Iterator[int]:
    """Yield a ROS domain id that no other graph of this machine uses until the block ends.

    Meanwhile it is in ROS_DOMAIN_ID, for the processes that a test starts. Those that are left `patience` [s] after
    the end are killed and named in an AssertionError, so that they disturb no other test.
    """
    with patch.dict(os.environ):
        os.environ.pop("ROS_DOMAIN_ID", None)
        with isolated_domain() as domain:
            os.environ["ROS_DOMAIN_ID"] = str(domain)
            os.environ[MARK] = f"{os.getpid()}.{next(_marks)}"
            yield domain
            end_left_over(f"{MARK}={os.environ[MARK]}", patience)


def end_left_over(setting: str, patience: float) -> None:
    """Fail, naming them, if processes with `setting` in their environment outlive `patience` [s]; end them."""
    with suppress(AssertionError):
        wait_until(lambda: not processes_with(setting), patience)
    left = processes_with(setting)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_with(setting), 20.0, "the end of killed processes")
    assert not left, f"left running by the test: {left}"


def processes_with(setting: str) -> dict[int, str]:
    """Return id and command line of the other processes with `setting`, NAME=VALUE, in their environment."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            variables = (entry / "environ").read_bytes().split(b"\0")
            if setting.encode() in variables and int(entry.name) != os.getpid():
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found[int(entry.name)] = " ".join(word.decode(errors="replace") for word in words[:4])
    return found


def wait_until(condition: Callable[[], Any], deadline: float = 60.0, what: str = "the condition") -> Any:
    """Poll ``condition`` every 5 ms until it is true and return its value; fail after ``deadline`` seconds.

    For events outside of this process (files, other processes). On the graph use ``RosTest.wait_for``.
    """
    end, pause = time.monotonic() + deadline, threading.Event()
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {deadline:g} s")
        pause.wait(0.005)
    return value


class RosTest:
    """One test's ROS: a context and domain of its own, a node, and an executor spun while waiting."""

    def __init__(self, domain_id: int) -> None:
        import rclpy

        from vla_ros.ros.lifecycle import make_executor

        self.domain_id = domain_id
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.executor = make_executor(self.context)
        self._nodes: list[Node] = []
        self._clients: dict[tuple[type, str], Any] = {}
        self.node = self.add(rclpy.create_node("test", context=self.context))

    def add(self, node: Node) -> Node:
        """Spin ``node`` (made with ``context=ros.context``) while the test waits; destroy it at the end."""
        self.executor.add_node(node)
        self._nodes.append(node)
        return node

    def wait_for(self, condition: Callable[[], Any], deadline: float = 60.0, what: str = "the condition") -> Any:
        """Spin until ``condition()`` is true and return its value; fail after ``deadline`` seconds."""
        end = time.monotonic() + deadline
        while not (value := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not happen within {deadline:g} s")
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def spin_for(self, seconds: float) -> None:
        """Spin for a while: only to show that something does NOT happen."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def collect(self, message_type: type, topic: str, qos: Any = 10) -> list[Any]:
        """Subscribe and return the list that the messages will be appended to."""
        received: list[Any] = []
        self.node.create_subscription(message_type, topic, received.append, qos)
        return received

    def message(
        self,
        message_type: type,
        topic: str,
        qos: Any = 10,
        matching: Callable[[Any], bool] = lambda message: True,
        deadline: float = 60.0,
    ) -> Any:
        """Subscribe and return the first message that ``matching`` accepts."""
        received: list[Any] = []
        subscription = self.node.create_subscription(message_type, topic, received.append, qos)

        def first() -> Any:
            while received:
                if matching(received[0]):
                    return received[0]
                received.pop(0)
            return None

        try:
            return self.wait_for(first, deadline, f"a matching message on {topic}")
        finally:
            self.node.destroy_subscription(subscription)

    def call(
        self, service_type: type, name: str, request: Any = None, deadline: float = 60.0, again: float | None = None
    ) -> Any:
        """Call the service ``name`` once it is there and return its response.

        again: ask anew after so many seconds without an answer: a server drops its answer to a client that it has not
        discovered yet. For what may be asked twice.
        """
        client = self._clients.get((service_type, name))
        if client is None:
            client = self._clients[service_type, name] = self.node.create_client(service_type, name)
        self.wait_for(client.service_is_ready, deadline, f"service {name}")
        answers: list[Any] = []
        asked = -1.0

        def answered() -> bool:
            nonlocal asked
            if asked < 0 or (again and time.monotonic() - asked > again):
                asked = time.monotonic()
                future = client.call_async(request if request is not None else service_type.Request())
                future.add_done_callback(lambda done: answers.append(done.result()))
            return bool(answers)

        self.wait_for(answered, deadline, f"an answer of service {name}")
        return answers[0]

    def close(self) -> None:
        """Destroy the nodes and shut the context down."""
        for node in reversed(self._nodes):
            self.executor.remove_node(node)
            node.destroy_node()
        self.executor.shutdown()
        self.context.try_shutdown()
