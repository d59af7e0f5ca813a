"""A graph of processes comes up, is watched, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ros_support import wait_until

pytest.importorskip("rclpy")

from vla_ros.errors import GraphError
from vla_ros.ros import lifeline
from vla_ros.ros.environment import child_environment, domain_in_force, isolated_domain
from vla_ros.ros.graph import NodeSpec, bring_up
from vla_ros.ros.up import Graph

ROOT = Path(__file__).resolve().parents[2]
GATE = NodeSpec("gate_node", "vla_ros.ros.nodes.gate_node", {"contract": "tabletop_arm"}, required=True)


def gone(pid: int) -> bool:
    """True when no process, zombies aside, has this id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_nodes_become_active_and_end_with_0(ros_domain: int, tmp_path: Path):
    with Graph(bring_up(task="reach"), tmp_path) as graph:
        graph.wait_ready()
        graph.check()
        pids = [graph.pid(spec.name) for spec in graph.specs]
    assert graph.exit_codes == {"mujoco_node": 0, "gate_node": 0}
    assert all(gone(pid) for pid in pids)


def test_a_refused_configuration_names_the_node_and_says_its_line(ros_domain: int, tmp_path: Path):
    said = r"gate_node ended with exit code 1: vla_ros: no contract 'nonsense'"
    wrong = NodeSpec("gate_node", GATE.module, {"contract": "nonsense"})
    with Graph([wrong], tmp_path) as graph, pytest.raises(GraphError, match=said):
        graph.wait_ready()


def test_a_killed_node_is_noticed_and_can_be_restarted(ros_domain: int, tmp_path: Path):
    with Graph([GATE], tmp_path) as graph:
        graph.wait_ready()
        with pytest.raises(GraphError, match="already running"):
            graph.restart("gate_node")
        os.kill(graph.pid("gate_node"), signal.SIGKILL)
        wait_until(lambda: graph.ended("gate_node"))
        with pytest.raises(GraphError, match="gate_node ended with signal SIGKILL"):
            graph.check()
        graph.restart("gate_node")
        graph.wait_ready()


def test_an_urgent_nodes_priority_counts_among_sessions_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mute.py").write_text("import signal\nsignal.pause()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Graph([NodeSpec("mute", "mute", nice=-3)], tmp_path / "log") as graph:
        priority = os.getpriority(os.PRIO_PROCESS, graph.pid("mute"))  # as ours where raising it is not permitted
        group = Path(f"/proc/{graph.pid('mute')}/autogroup")
        if priority == -3 and group.exists():
            assert group.read_text().split()[-1] == "-3"


def test_a_node_that_ignores_signals_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "deaf.py").write_text(
        "import signal, threading\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        "print('vla_ros: active: deaf', flush=True)\n"
        "threading.Event().wait()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    graph = Graph([NodeSpec("deaf", "deaf")], tmp_path / "log")
    with graph:
        graph.wait_ready()
        graph.stop(((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)))
    assert graph.exit_codes == {"deaf": -signal.SIGKILL}


def test_a_node_that_never_becomes_active_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mute.py").write_text("import signal\nprint('thinking', flush=True)\nsignal.pause()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Graph([NodeSpec("mute", "mute")], tmp_path / "log") as graph:
        wait_until(lambda: "thinking" in graph.log("mute"))
        with pytest.raises(GraphError, match=r"mute not active within 0.1 s: thinking"):
            graph.wait_ready(0.1)


def up(*arguments: str, log: Path) -> subprocess.Popen[bytes]:
    code = "import sys; from vla_ros.ros.graph import bring_up; from vla_ros.ros.up import run_up; "
    code += f"sys.exit(run_up(bring_up({', '.join(arguments)})))"
    with log.open("wb") as output:
        return lifeline.start([sys.executable, "-c", code], child_environment(), stdout=output, stderr=output, cwd=ROOT)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_on_up_exits_with_0_and_leaves_no_process(ros_domain: int, tmp_path: Path, number: signal.Signals):
    log = tmp_path / "log"
    process = up("task='reach'", log=log)
    wait_until(lambda: "all nodes are active" in log.read_text(), 120.0)
    nodes = children(process.pid)
    assert len(nodes) == 2
    process.send_signal(number)
    process.send_signal(number)  # an impatient second one changes nothing
    assert process.wait(60) == 0
    assert all(gone(pid) for pid in nodes)


def test_up_ends_with_1_when_a_required_node_dies(ros_domain: int, tmp_path: Path):
    log = tmp_path / "log"
    process = up("task='reach'", log=log)
    wait_until(lambda: "all nodes are active" in log.read_text(), 120.0)
    nodes = children(process.pid)
    os.kill(nodes[0], signal.SIGKILL)
    assert process.wait(60) == 1
    assert "vla_ros: mujoco_node ended with signal SIGKILL" in log.read_text()
    assert all(gone(pid) for pid in nodes)


def test_killing_up_itself_leaves_no_process(ros_domain: int, tmp_path: Path):
    log = tmp_path / "log"
    process = up("task='reach'", log=log)
    wait_until(lambda: "all nodes are active" in log.read_text(), 120.0)
    nodes = children(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: all(gone(pid) for pid in nodes), 30.0, "the end of all nodes")


def test_graphs_without_a_set_domain_get_different_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    with isolated_domain() as one, isolated_domain() as two:
        assert one != two
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    with isolated_domain() as users:
        assert users == 42


def test_the_environment_is_as_before_after_a_graph(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    before = dict(os.environ)
    with domain_in_force() as domain:
        assert os.environ["ROS_DOMAIN_ID"] == str(domain)
        assert Path(os.environ["FASTDDS_DEFAULT_PROFILES_FILE"]).exists()
    assert dict(os.environ) == before


def test_a_child_without_library_path_sets_the_wheels_up_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" in child_environment()
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in child_environment()


SENDER = """
from vla_ros.ros import lifeline
lifeline.hold()
import numpy as np, rclpy
from sensor_msgs.msg import Image
from vla_ros.ros import qos
from vla_ros.ros.convert import image_to_message
rclpy.init()
node = rclpy.create_node("sender")
publisher = node.create_publisher(Image, "image", qos.SENSOR)
pixels = np.zeros((480, 640, 3), np.uint8)
stamps = iter(range(90))
def send():
    if publisher.get_subscription_count() and (stamp := next(stamps, None)) is not None:
        publisher.publish(image_to_message(stamp, "", pixels, "rgb8"))
node.create_timer(1 / 30, send)
rclpy.spin(node)
"""
RECEIVER = """
from vla_ros.ros import lifeline
lifeline.hold()
import rclpy
from sensor_msgs.msg import Image
from vla_ros.ros import qos
rclpy.init()
node = rclpy.create_node("receiver")
node.create_subscription(Image, "image", lambda message: print("image", flush=True), qos.SENSOR)
rclpy.spin(node)
"""


def test_best_effort_camera_images_arrive_between_processes(ros_domain: int, tmp_path: Path):
    """With Fast DDS's default transports, 5 of 150 did."""
    log = tmp_path / "log"
    processes = []
    with log.open("wb") as output:
        for code in (RECEIVER, SENDER):
            command = [sys.executable, "-c", code]
            processes.append(lifeline.start(command, child_environment(), stdout=output, cwd=ROOT))
    try:
        wait_until(lambda: len(log.read_text().split()) >= 85, 60.0, "85 of 90 images")
    finally:
        for process in processes:
            process.kill()
            process.wait()
