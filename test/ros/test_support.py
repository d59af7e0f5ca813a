"""The tests' own tools: one domain per test, waiting with a deadline."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ros_support import RosTest, own_domain

std_msgs = pytest.importorskip("std_msgs.msg")


def test_a_message_published_on_the_test_node_is_waited_for(ros: RosTest) -> None:
    publisher = ros.node.create_publisher(std_msgs.String, "/greeting", 10)
    received = ros.collect(std_msgs.String, "/greeting")
    ros.wait_for(publisher.get_subscription_count, what="discovery")
    publisher.publish(std_msgs.String(data="hello"))
    ros.wait_for(lambda: received, what="the greeting")
    assert received[0].data == "hello"


def test_a_condition_that_never_holds_fails_at_its_deadline_by_name(ros: RosTest) -> None:
    with pytest.raises(AssertionError, match=r"the moon did not happen within 0\.1 s"):
        ros.wait_for(lambda: False, deadline=0.1, what="the moon")


def test_two_tests_at_once_get_different_domains(ros_domain: int) -> None:
    with own_domain() as other:
        assert os.environ["ROS_DOMAIN_ID"] == str(other) != str(ros_domain)
    assert os.environ["ROS_DOMAIN_ID"] == str(ros_domain)


def test_a_test_that_leaves_a_process_fails_by_name_and_the_process_is_ended() -> None:
    with pytest.raises(AssertionError, match=r"left running by the test: .*signal\.pause"):
        with own_domain(patience=0.1):
            left = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    assert left.wait(10) == -9


def test_one_domain_after_another_is_taken() -> None:
    domains = []
    for _ in range(3):
        with own_domain() as domain:
            domains.append(domain)
    assert len(set(domains)) == 3
