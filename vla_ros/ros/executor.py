"""A single-threaded executor for nodes with many small messages.

rclpy's SingleThreadedExecutor takes one message per topic and waits again, and wakes itself twice for each
callback; putting a wait together takes longer than most callbacks. This one waits once, takes in turn
whatever has arrived, and waits again when nothing is left. Callbacks, services, timers, tasks and QoS events
behave as usual.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor, TimeoutObject
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.task import Future

ROUNDS = 256  # messages taken from one subscription before timers and services are looked at again
EVENTS_PERIOD = 0.5  # [s] QoS events, of which every publisher and subscription has some, are looked at this often
AWAITED = 0.001  # [s] a coroutine that awaits something is looked at this often
INVALID = _rclpy.InvalidHandle
NEEDED = (
    "_make_handler",
    "_take_service",
    "_take_client",
    "_take_waitable",
    "_take_guard_condition",
    "_spin_once_impl",
)


def available() -> bool:
    """Return whether this release of rclpy has the inner parts that `DrainingExecutor` is built on."""
    return all(hasattr(SingleThreadedExecutor, name) for name in NEEDED)


class DrainingExecutor(SingleThreadedExecutor):
    """Runs callbacks in the thread that spins, several per wait."""

    _events_due = 0.0
    _tasks: list[Any]

    def spin_once_until_future_complete(self, future: Future, timeout_sec: Any = None) -> None:
        """Run what is ready; `spin_until_future_complete` has made the future wake this executor."""
        self._spin_once_impl(timeout_sec, future.done)

    def _spin_once_impl(self, timeout_sec: Any = None, wait_condition: Callable[[], bool] = lambda: False) -> None:
        timeout = timeout_sec.timeout if isinstance(timeout_sec, TimeoutObject) else timeout_sec
        unfinished = self._run_tasks()
        if self._is_shutdown or wait_condition():
            return
        timeout = EVENTS_PERIOD if timeout is None or timeout < 0 else timeout
        entities = _Entities(self, with_events=time.monotonic() >= self._events_due)
        if entities.waitables is not None:
            self._events_due = time.monotonic() + EVENTS_PERIOD
        with entities:
            ready = entities.wait(min(timeout, AWAITED if unfinished else EVENTS_PERIOD))
            if self._is_shutdown:
                return
            if not self._context.ok():
                raise ExternalShutdownException
            rare = [self._make_handler(waitable, node, self._take_waitable) for waitable, node in ready.waitables]
        for guard, node in ready.guards:
            guard._executor_triggered = True
            rare.append(self._make_handler(guard, node, self._take_guard_condition))
        rare += [self._make_handler(client, node, self._take_client) for client, node in ready.clients]
        rare += [self._make_handler(service, node, self._take_service) for service, node in ready.services]
        for handler in rare:
            handler()
            handler.result()
        for timer in ready.timers:
            self._call_timer(timer)
        self._drain(ready.subscriptions)

    def _drain(self, subscriptions: list[Any]) -> None:
        """Take one message of each subscription in turn until none has any left."""
        for _ in range(ROUNDS):
            subscriptions = [subscription for subscription in subscriptions if self._take(subscription)]
            if not subscriptions or self._is_shutdown:
                return

    def _take(self, subscription: Any) -> bool:
        try:
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        except INVALID:
            return False
        if taken is None:
            return False
        only = subscription._callback_type is type(subscription).CallbackType.MessageOnly
        self._call(subscription.callback, *(taken[:1] if only else taken))
        return True

    def _call_timer(self, timer: Any) -> None:
        try:
            with timer.handle:
                if not timer.handle.is_timer_ready():
                    return
                timer.handle.call_timer()
        except INVALID:
            return
        self._call(timer.callback)

    def _call(self, callback: Callable[..., Any], *arguments: Any) -> None:
        if inspect.iscoroutinefunction(callback):
            self.create_task(callback, *arguments)
        else:
            callback(*arguments)

    def _run_tasks(self) -> bool:
        """Go on with tasks (coroutines, callbacks of futures); return True if one awaits something."""
        if not self._tasks:
            return False
        with self._tasks_lock:
            tasks, self._tasks = self._tasks, []
        for task, _, _ in tasks:
            if not task.done() and not task.executing():
                task()
        waiting = [entry for entry in tasks if not entry[0].done() and not entry[0].cancelled()]
        for task, _, _ in tasks:
            if task.done():
                task.result()  # raises what went wrong in it
        with self._tasks_lock:
            self._tasks = waiting + self._tasks
        return bool(waiting)


class _Ready:
    """What a wait found, with the node where the executor needs it."""

    def __init__(self) -> None:
        self.subscriptions: list[Any] = []
        self.timers: list[Any] = []
        self.clients: list[tuple[Any, Any]] = []
        self.services: list[tuple[Any, Any]] = []
        self.guards: list[tuple[Any, Any]] = []
        self.waitables: list[tuple[Any, Any]] = []


class _Entities:
    """Everything that the nodes of an executor wait for.

    As a context it keeps them from being destroyed meanwhile.
    """

    def __init__(self, executor: DrainingExecutor, with_events: bool) -> None:
        nodes = executor.get_nodes()
        self._context = executor._context
        self._own_guards = [executor._guard, executor._sigint_gc]
        self.subscriptions = [entity for node in nodes for entity in node.subscriptions]
        self.timers = [entity for node in nodes for entity in node.timers]
        self.clients = [(entity, node) for node in nodes for entity in node.clients]
        self.services = [(entity, node) for node in nodes for entity in node.services]
        self.guards = [(entity, node) for node in nodes for entity in node.guards]
        # Other waitables (actions) are rare and looked at every time.
        waitables = [(entity, node) for node in nodes for entity in node.waitables]
        if not with_events:
            waitables = [pair for pair in waitables if not hasattr(pair[0], "event_type")]
        self.waitables = waitables if with_events else None
        self._waitables = waitables
        self._held: list[Any] = []

    def __enter__(self) -> _Entities:
        self.subscriptions = [entity for entity in self.subscriptions if self._hold(entity.handle)]
        self.timers = [entity for entity in self.timers if self._hold(entity.handle)]
        self.clients = [pair for pair in self.clients if self._hold(pair[0].handle)]
        self.services = [pair for pair in self.services if self._hold(pair[0].handle)]
        self.guards = [pair for pair in self.guards if self._hold(pair[0].handle)]
        self._own_guards = [guard for guard in self._own_guards if self._hold(guard.handle)]
        self._waitables = [pair for pair in self._waitables if self._hold(pair[0])]
        self._hold(self._context.handle)
        return self

    def __exit__(self, *error: object) -> None:
        while self._held:
            self._held.pop().__exit__(None, None, None)

    def _hold(self, handle: Any) -> bool:
        try:
            handle.__enter__()
        except INVALID:
            return False
        self._held.append(handle)
        return True

    def wait(self, timeout: float) -> _Ready:
        """Wait until something is ready, at most `timeout` [s]."""
        wait_set = self._wait_set()
        wait_set.wait(round(timeout * 1e9))
        found = _Ready()
        subscriptions = set(wait_set.get_ready_entities("subscription"))
        timers = set(wait_set.get_ready_entities("timer"))
        found.subscriptions = [entity for entity in self.subscriptions if entity.handle.pointer in subscriptions]
        found.timers = [entity for entity in self.timers if entity.handle.pointer in timers]
        for name, pairs, to in (
            ("client", self.clients, found.clients),
            ("service", self.services, found.services),
            ("guard_condition", self.guards, found.guards),
        ):
            if pairs:
                pointers = set(wait_set.get_ready_entities(name))
                to += [pair for pair in pairs if pair[0].handle.pointer in pointers]
        found.waitables = [pair for pair in self._waitables if pair[0].is_ready(wait_set)]
        return found

    def _wait_set(self) -> Any:
        counts = [entity.get_num_entities() for entity, _ in self._waitables]

        def total(kind: str) -> int:
            return sum(getattr(count, f"num_{kind}") for count in counts)

        wait_set = _rclpy.WaitSet(
            len(self.subscriptions) + total("subscriptions"),
            len(self.guards) + len(self._own_guards) + total("guard_conditions"),
            len(self.timers) + total("timers"),
            len(self.clients) + total("clients"),
            len(self.services) + total("services"),
            total("events"),
            self._context.handle,
        )
        wait_set.clear_entities()
        for entity in self.subscriptions:
            wait_set.add_subscription(entity.handle)
        for entity in self.timers:
            wait_set.add_timer(entity.handle)
        for entity, _ in self.clients:
            wait_set.add_client(entity.handle)
        for entity, _ in self.services:
            wait_set.add_service(entity.handle)
        for guard in (*self._own_guards, *(guard for guard, _ in self.guards)):
            wait_set.add_guard_condition(guard.handle)
        for waitable, _ in self._waitables:
            waitable.add_to_wait_set(wait_set)
        return wait_set
