"""The draining executor runs everything that rclpy's own does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from ros_support import RosTest


@pytest.fixture
def draining(ros: RosTest) -> Iterator[tuple[Any, Any]]:
    """A node of its own on a draining executor, spun by the test."""
    import rclpy

    from vla_ros.ros.executor import DrainingExecutor, available

    assert available()
    executor = DrainingExecutor(context=ros.context)
    node = rclpy.create_node("drained", context=ros.context)
    executor.add_node(node)
    yield node, executor
    executor.remove_node(node)
    node.destroy_node()
    executor.shutdown()


def spin_until(executor: Any, condition: Any, deadline: float = 10.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        executor.spin_once(timeout_sec=0.05)


def test_messages_of_several_topics_arrive_in_the_order_of_each(ros: RosTest, draining: tuple[Any, Any]) -> None:
    from std_msgs.msg import Int32

    node, executor = draining
    got: dict[str, list[int]] = {"/a": [], "/b": []}
    publishers = {}
    for topic in got:
        node.create_subscription(Int32, topic, lambda message, topic=topic: got[topic].append(message.data), 200)
        publishers[topic] = ros.node.create_publisher(Int32, topic, 200)
    spin_until(executor, lambda: all(p.get_subscription_count() for p in publishers.values()))
    for k in range(100):
        for publisher in publishers.values():
            publisher.publish(Int32(data=k))
    spin_until(executor, lambda: all(len(numbers) == 100 for numbers in got.values()))
    assert all(numbers == list(range(100)) for numbers in got.values())


def test_timers_services_and_parameters_work_while_messages_pour_in(ros: RosTest, draining: tuple[Any, Any]) -> None:
    from rcl_interfaces.srv import GetParameters
    from std_msgs.msg import Int32
    from std_srvs.srv import Trigger

    node, executor = draining
    ticks: list[float] = []
    node.create_timer(0.02, lambda: ticks.append(time.monotonic()))
    node.create_subscription(Int32, "/pour", lambda message: None, 10)
    pour = ros.node.create_publisher(Int32, "/pour", 10)
    node.create_service(Trigger, "/ask", lambda request, response: Trigger.Response(success=True, message="yes"))
    clients = [
        ros.node.create_client(Trigger, "/ask"),
        ros.node.create_client(GetParameters, "/drained/get_parameters"),
    ]
    spin_until(executor, lambda: all(client.service_is_ready() for client in clients))
    futures = [
        clients[0].call_async(Trigger.Request()),
        clients[1].call_async(GetParameters.Request(names=["use_sim_time"])),
    ]
    end = time.monotonic() + 10

    def answered() -> bool:
        pour.publish(Int32())
        ros.executor.spin_once(timeout_sec=0.0)
        return all(future.done() for future in futures) and len(ticks) > 5

    spin_until(executor, answered)
    assert futures[0].result().message == "yes" and time.monotonic() < end
    assert min(b - a for a, b in pairwise(ticks[1:])) > 0.0


def test_a_node_can_call_a_service_and_await_it(ros: RosTest, draining: tuple[Any, Any]) -> None:
    from std_msgs.msg import Int32
    from std_srvs.srv import Trigger

    node, executor = draining
    ros.node.create_service(Trigger, "/answer", lambda request, response: Trigger.Response(success=True, message="42"))
    client = node.create_client(Trigger, "/answer")
    answers: list[str] = []

    async def ask(message: Int32) -> None:
        answers.append((await client.call_async(Trigger.Request())).message)

    node.create_subscription(Int32, "/please", ask, 10)
    please = ros.node.create_publisher(Int32, "/please", 10)
    spin_until(executor, lambda: client.service_is_ready() and please.get_subscription_count())
    please.publish(Int32())

    def answered() -> bool:
        ros.executor.spin_once(timeout_sec=0.0)
        return bool(answers)

    spin_until(executor, answered)
    assert answers == ["42"]


def test_an_error_in_a_callback_ends_the_spinning(ros: RosTest, draining: tuple[Any, Any]) -> None:
    node, executor = draining

    def fail() -> None:
        raise RuntimeError("broken")

    node.create_timer(0.01, fail)
    with pytest.raises(RuntimeError, match="broken"):
        spin_until(executor, lambda: False)


def test_a_future_ends_the_spinning_and_entities_made_meanwhile_take_part(
    ros: RosTest, draining: tuple[Any, Any]
) -> None:
    from rclpy.task import Future

    node, executor = draining
    done: Future = Future()
    node.create_timer(0.01, lambda: node.create_timer(0.01, lambda: done.done() or done.set_result(True)))
    started = time.monotonic()
    executor.spin_until_future_complete(done, timeout_sec=10.0)
    assert done.done() and time.monotonic() - started < 5.0


def test_a_quiet_node_takes_hardly_any_time(draining: tuple[Any, Any]) -> None:
    _, executor = draining
    spent, end = time.process_time(), time.monotonic() + 1.0
    while time.monotonic() < end:
        executor.spin_once()
    assert time.process_time() - spent < 0.3, f"on {os.cpu_count()} cores"
