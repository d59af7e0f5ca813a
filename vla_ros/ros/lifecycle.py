"""The managed node that all nodes derive from, and the main function they share.

A node overrides ``configure``, ``activate``, ``deactivate`` and ``cleanup`` and raises a ``VlaRosError``
when it cannot go on. With the parameter ``autostart`` (the default) ``run_node`` configures and activates
it at once; with ``autostart:=false`` it waits for a lifecycle manager.
"""

from __future__ import annotations

import atexit
import gc
import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from vla_ros.errors import VlaRosError
from vla_ros.ros import lifeline
from vla_ros.ros.environment import READY
from vla_ros.ros.executor import DrainingExecutor
from vla_ros.ros.executor import available as draining_available
from vla_ros.ros.params import declare

CONFIGURATION_ERROR = 1
CRASH = 2
LAST_RESORT = 20.0  # [s] after the signal to stop, a node that still hangs ends itself


class ManagedNode(LifecycleNode):
    """A lifecycle node whose transitions are four short methods that raise on failure.

    ``configure`` declares parameters, reads files and creates entities; ``activate`` starts acting (timers,
    threads); ``deactivate`` stops acting; ``cleanup`` frees what ``configure`` made. ``cleanup`` also runs
    when the node ends in any state past unconfigured, after ``deactivate`` when it was active.
    """

    failure: Exception | None = None  # why the last transition failed

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.autostart = declare(
            self, "autostart", True, "configure and activate at start, without a manager", read_only=True
        )

    def configure(self) -> None:
        """Read parameters and files and create the entities; raise a VlaRosError when that is impossible."""

    def activate(self) -> None:
        """Start acting."""

    def deactivate(self) -> None:
        """Stop acting; the entities stay."""

    def cleanup(self) -> None:
        """Free what ``configure`` created."""

    @property
    def active(self) -> bool:
        """True in the lifecycle state 'active'."""
        return self.state == "active"

    @property
    def state(self) -> str:
        """The label of the lifecycle state: unconfigured, inactive, active, finalized."""
        return str(self._state_machine.current_state[1])

    def stamp(self) -> int:
        """Return the node's present time (system or simulated) [ns]."""
        return int(self.get_clock().now().nanoseconds)

    def start(self) -> None:
        """Configure and activate; raise what made it fail."""
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise self.failure or VlaRosError(f"{self.get_name()} did not start")
        print(READY, self.get_name(), flush=True)

    def finish(self) -> None:
        """Deactivate and clean up from whatever state the node is in."""
        if self.state == "active":
            self.trigger_deactivate()
        if self.state == "inactive":
            self.trigger_cleanup()
        if self.state == "unconfigured":
            self.trigger_shutdown()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure the node; rclpy's hook."""
        result = self._transition(self.configure)
        if result != TransitionCallbackReturn.SUCCESS:
            self._transition(self.cleanup, keep_failure=True)
        return result if result != TransitionCallbackReturn.SUCCESS else super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate the node; rclpy's hook."""
        super().on_activate(state)  # lifecycle publishers first: activate() may publish
        return self._transition(self.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate the node; rclpy's hook."""
        result = self._transition(self.deactivate)
        super().on_deactivate(state)
        return result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean the node up; rclpy's hook."""
        super().on_cleanup(state)
        return self._transition(self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate and clean up as needed; rclpy's hook."""
        if state.label == "active":
            self._transition(self.deactivate)
        if state.label in ("active", "inactive"):
            self._transition(self.cleanup)
        return super().on_shutdown(state)

    def _transition(self, work: Callable[[], None], keep_failure: bool = False) -> TransitionCallbackReturn:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - rclpy would swallow it without a word
            if keep_failure:
                return TransitionCallbackReturn.FAILURE
            self.failure = error
            if not self.autostart:  # else run_node says it
                text = str(error) if isinstance(error, VlaRosError) else traceback.format_exc()
                self.get_logger().error(f"{work.__name__} failed: {text}")
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS


def make_executor(context: Context | None = None) -> Executor:
    """Return the executor of this package's nodes, a DrainingExecutor where this release of rclpy allows it.

    VLA_ROS_EXECUTOR=single asks for rclpy's SingleThreadedExecutor, =events for its experimental
    EventsExecutor. (That of the rclpy 7.1.6 wheels calls no callback and never releases the interpreter;
    Humble has none.)
    """
    wanted = os.environ.get("VLA_ROS_EXECUTOR", "draining")
    if wanted == "events":
        from rclpy.experimental import EventsExecutor

        return EventsExecutor(context=context)
    if wanted == "draining" and draining_available():
        return DrainingExecutor(context=context)
    return SingleThreadedExecutor(context=context)


def run_node(node_class: Callable[[], ManagedNode], args: Sequence[str] | None = None) -> int:
    """Run one node until SIGINT, SIGTERM or the end of its starter and return the exit code: every node's ``main``.

    0: stopped by a signal. 1: a VlaRosError (configuration or run time), with one line ``vla_ros:
    <message>`` on stderr. 2: a defect, with its traceback.
    """
    lifeline.hold()
    lifeline.disown()
    atexit.register(_end_at_last)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop = Future()
    restore = _on_signal(lambda: stop.done() or stop.set_result(None))
    node: ManagedNode | None = None
    executor = make_executor()
    try:
        node = node_class()
        executor.add_node(node)
        if node.autostart:
            node.start()
        _freeze_garbage()
        executor.spin_until_future_complete(stop)
        return 0
    except KeyboardInterrupt:
        return 0
    except VlaRosError as error:
        print(f"vla_ros: {error}", file=sys.stderr, flush=True)
        return CONFIGURATION_ERROR
    except Exception:  # noqa: BLE001 - the last place to tell a defect from a refusal
        traceback.print_exc()
        return CRASH
    finally:
        if node is not None:
            node.finish()
            executor.remove_node(node)
            node.destroy_node()
        executor.shutdown()
        restore()
        rclpy.try_shutdown()


def _end_at_last() -> None:
    """Let the kernel end this process should it hang after the interpreter's end.

    Fast DDS 2.14 then waits without end, at full load and deaf to signals, for a participant that is not deleted.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(LAST_RESORT))


def _freeze_garbage() -> None:
    """Move everything loaded at start out of the collector's sight, so that its pauses stay short."""
    gc.collect()
    gc.freeze()


def _on_signal(callback: Callable[[], object]) -> Callable[[], None]:
    """Call ``callback`` in a helper thread on SIGINT or SIGTERM, ROS still running; return the undo.

    An executor spinning in C++ never returns to the interpreter to run a Python signal handler, so the
    wake-up descriptor is read by a thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    old_fd = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    old = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    stopping = threading.Event()

    def wait() -> None:
        while received := os.read(read_end, 1):
            if received == b"\0":
                return
            stopping.set()
            callback()
            watchdog = threading.Timer(LAST_RESORT, os._exit, (CRASH,))
            watchdog.daemon = True
            watchdog.start()

    thread = threading.Thread(target=wait, name="signals", daemon=True)
    thread.start()

    def undo() -> None:
        for (
            number,
            handler,
        ) in old.items():  # a second Ctrl-C, or the group's beside launch's, changes nothing
            signal.signal(number, signal.SIG_IGN if stopping.is_set() else handler)
        signal.set_wakeup_fd(old_fd)
        os.write(write_end, b"\0")
        thread.join()
        os.close(read_end)
        os.close(write_end)

    return undo
