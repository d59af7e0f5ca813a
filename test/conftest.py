"""Fixtures of all tests; the helpers for a running graph are in ros_support.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ros_support import RosTest, own_domain

from vla_ros.ros.environment import graph_environment

ROOT = Path(__file__).resolve().parent.parent
SHOWN = 300  # letters of a failure's reason

os.environ.update(graph_environment())  # before this process makes its first participant
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; children would ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in test/ros and test/install, so that -m "not ros" works without a mark in each file."""
    for item in items:
        for folder in ("ros", "install"):
            if ROOT / "test" / folder in item.path.parents:
                item.add_marker(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add each failure, with the line that says why, to the file that scripts/test.sh prints at its very end."""
    if path := os.environ.get("VLA_ROS_TEST_FAILURES"):
        reports = [r for kind in ("failed", "error") for r in terminalreporter.stats.get(kind, [])]
        with Path(path).open("a", encoding="utf-8") as file:
            for report in reports:
                crash = getattr(report.longrepr, "reprcrash", None)
                why = str(crash.message if crash else report.longrepr).partition("\n")[0]
                file.write(f"{report.nodeid}: {why[:SHOWN]}\n")


@pytest.fixture
def ros_domain() -> Iterator[int]:
    """A ROS domain id of this test's own, also in ROS_DOMAIN_ID for the processes it starts."""
    with own_domain() as domain:
        yield domain


@pytest.fixture
def ros(ros_domain: int) -> Iterator[RosTest]:
    """A node in a context and domain of this test's own; ``ros.wait_for(condition)`` spins it."""
    pytest.importorskip("rclpy", reason="needs ROS 2: source one, or pip install the extra 'ros'")
    test = RosTest(ros_domain)
    yield test
    test.close()


@pytest.fixture(scope="module")
def module_domain() -> Iterator[int]:
    """A ROS domain id for a graph that all tests of one file share, also in ROS_DOMAIN_ID."""
    with own_domain() as domain:
        yield domain


@pytest.fixture(scope="module")
def module_ros(module_domain: int) -> Iterator[RosTest]:
    """As ``ros``, shared by the tests of one file."""
    pytest.importorskip("rclpy", reason="needs ROS 2: source one, or pip install the extra 'ros'")
    test = RosTest(module_domain)
    yield test
    test.close()
