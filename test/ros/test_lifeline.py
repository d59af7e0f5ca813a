"""Whatever ends the process that started a node, the node ends too: active, configuring or still importing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ros_support import wait_until

pytest.importorskip("rclpy")

from vla_ros.ros import lifeline
from vla_ros.ros.environment import READY, child_environment

IMPORTING = """
import threading
import vla_ros.ros.nodes
print("importing", flush=True)
threading.Event().wait()
"""
NODE = """
import sys, threading
from vla_ros.ros import lifecycle
class Probe(lifecycle.ManagedNode):
    def __init__(self):
        super().__init__("probe")
    def configure(self):
        print("configuring", flush=True)
        {configure}
    def deactivate(self):
        print("deactivate", flush=True)
lifecycle.LAST_RESORT = 1.0
sys.exit(lifecycle.run_node(Probe))
"""
READY_NODE, HANGING = NODE.format(configure="pass"), NODE.format(configure="threading.Event().wait()")

LAUNCHER = """
import os, signal, sys
from vla_ros.ros import lifeline
for code in sys.argv[1:]:
    print("child", lifeline.start([sys.executable, "-c", code], os.environ).pid, flush=True)
fork = os.fork()
if fork:
    print("fork", fork, flush=True)
signal.pause()
"""


class Launcher:
    """A process that starts others, forks itself, and waits."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *codes: str) -> None:
        with self._log.open("wb") as log:
            command = [sys.executable, "-c", LAUNCHER, *codes]
            self.process = lifeline.start(command, child_environment(), stdout=log, stderr=log)

    def said(self) -> str:
        return self._log.read_text()

    def wait_said(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.said().count(text) >= times, 120, f"'{text}'")

    def pids(self, kind: str) -> list[int]:
        return [int(line.split()[1]) for line in self.said().splitlines() if line.startswith(kind + " ")]

    def kill(self) -> None:
        """End the launcher as nothing can prevent."""
        assert self.process is not None
        self.wait_said("fork ")
        self.process.kill()
        self.process.wait()

    def wait_children_gone(self) -> None:
        wait_until(lambda: all(gone(pid) for pid in self.pids("child")), 60, "the end of the orphans")


@pytest.fixture
def launcher(tmp_path: Path, ros_domain: int) -> Iterator[Launcher]:
    made = Launcher(tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait()
        for pid in made.pids("fork"):
            subprocess.run(["kill", "-9", str(pid)], check=True)


def gone(pid: int) -> bool:
    """True when no process, zombies aside, has this id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_nodes_stop_in_order_when_their_starter_is_killed_though_a_fork_of_it_lives_on(
    launcher: Launcher,
) -> None:
    launcher.start(READY_NODE, READY_NODE)
    launcher.wait_said(f"{READY} probe", times=2)
    launcher.kill()
    launcher.wait_children_gone()
    assert launcher.said().count("deactivate") == 2
    assert not gone(launcher.pids("fork")[0])


def test_a_node_that_is_still_importing_ends(launcher: Launcher) -> None:
    launcher.start(IMPORTING)
    launcher.wait_said("importing")
    launcher.kill()
    launcher.wait_children_gone()


def test_a_node_that_hangs_in_its_configuration_ends(launcher: Launcher) -> None:
    launcher.start(HANGING)
    launcher.wait_said("configuring")
    launcher.kill()
    launcher.wait_children_gone()


def test_a_node_starts_nothing_that_has_its_own_lifeline(launcher: Launcher) -> None:
    code = "import os; from vla_ros.ros import lifeline; lifeline.hold(); lifeline.disown(); "
    launcher.start(code + f"print('inherited', os.environ.get({lifeline.LIFELINE!r}), flush=True)")
    launcher.wait_said("inherited None")


def test_a_node_started_by_hand_does_not_care_about_its_standard_input(tmp_path: Path, ros_domain: int) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        node = subprocess.Popen(
            [sys.executable, "-c", READY_NODE], stdin=subprocess.DEVNULL, stdout=output, env=child_environment()
        )
    try:
        wait_until(lambda: f"{READY} probe" in log.read_text(), 60, "the node's activation")
        assert node.poll() is None
        node.terminate()
        assert node.wait(60) == 0
    finally:
        node.kill()
        node.wait()
