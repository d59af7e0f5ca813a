"""The tests' own tools: one domain per test, waiting with a deadline."""

from __future__ import annotations

import os

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
