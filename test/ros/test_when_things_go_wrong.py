"""What goes wrong on a real graph: bad configuration, a camera that stops, a policy that is killed, Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from changed_contract import changed_contract, patient_contract
from ros_support import RosTest, processes_with, wait_until

from vla_ros.cli import SHIPPED
from vla_ros.contract import load_contract
from vla_ros.paths import share_path
from vla_ros.ros import lifeline
from vla_ros.ros.convert import from_time
from vla_ros.ros.environment import child_environment
from vla_ros.ros.graph import NodeSpec, bring_up
from vla_ros.ros.up import Graph, command_line

MODULE = "vla_ros.ros.nodes."


def run(node: str, **parameters: bool | int | float | str) -> subprocess.CompletedProcess[str]:
    """Run a node that is expected to refuse its configuration."""
    spec = NodeSpec(node, MODULE + node, parameters)
    return subprocess.run(command_line(spec), env=child_environment(), capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("node", ["gate_node", "mujoco_node", "policy_node", "recorder_node"])
def test_a_contract_with_an_unknown_key_is_refused_in_one_line(node: str, ros_domain: int, tmp_path: Path) -> None:
    contract = changed_contract(tmp_path, {"limits/velocty": 1.0})
    extra = {
        "policy_node": {"checkpoint": str(share_path(SHIPPED))},
        "recorder_node": {"root": str(tmp_path / "data")},
    }
    result = run(node, contract=str(contract), **extra.get(node, {}))
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert (
        last.startswith("vla_ros: ")
        and "velocty" in last
        and "did you mean 'velocity'" in last
        and str(contract) in last
    )


def test_a_joint_missing_from_the_urdf_is_refused_in_one_line(ros_domain: int, tmp_path: Path) -> None:
    names = [n.replace("elbow", "elbo") for n in load_contract("tabletop_arm").action.names]
    contract = changed_contract(tmp_path, {"observation/observation.state/names": names, "action/names": names})
    result = run("gate_node", contract=str(contract))
    assert result.returncode == 1
    assert "joint 'elbo' is not in" in result.stderr.strip().splitlines()[-1]


def test_a_checkpoint_for_another_contract_is_refused_before_anything_moves(ros_domain: int, tmp_path: Path) -> None:
    contract = changed_contract(tmp_path, {"observation/observation.wrench.tool/history": 8})
    result = run("policy_node", contract=str(contract), checkpoint=str(share_path(SHIPPED)))
    assert result.returncode == 1
    assert "observation.wrench.tool" in result.stderr.strip().splitlines()[-1]


def test_a_checkpoint_without_weights_is_refused(ros_domain: int, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(share_path(SHIPPED), folder)
    (folder / "model.safetensors").unlink()
    result = run("policy_node", checkpoint=str(folder))
    assert result.returncode == 1
    assert "model.safetensors" in result.stderr.strip().splitlines()[-1]


class Watch:
    """Follows what gate and policy say of themselves."""

    def __init__(self, ros: RosTest) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from trajectory_msgs.msg import JointTrajectory

        self.said: dict[str, list[str]] = {}
        self.holds: list[tuple[int, float]] = []  # when the gate said that its source is quiet [ns], since when [s]
        self.commands = ros.collect(JointTrajectory, "/arm_controller/joint_trajectory", 100)
        ros.node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, 100)

    def _hear(self, message: object) -> None:
        for status in message.status:  # type: ignore[attr-defined]
            self.said.setdefault(status.name, []).append(status.message)
            if quiet := re.search(r"is quiet for (\S+) s", status.message):
                self.holds.append((from_time(message.header.stamp), float(quiet[1])))  # type: ignore[attr-defined]

    def last(self, node: str) -> str:
        """Return the newest message of a node."""
        return self.said.get(node, [""])[-1]

    def still(self) -> bool:
        """Tell whether the last commands ask for no motion."""
        last = self.commands[-5:]
        return len(last) == 5 and all(not any(abs(v) > 1e-6 for v in m.points[0].velocities) for m in last)


@contextmanager
def acting_graph(contract: str, simulated: str = "", checkpoint: Path | None = None) -> Iterator[Graph]:
    """Bring up a policy driving the simulated arm, which publishes as the contract `simulated` says."""
    policy = str(checkpoint or share_path(SHIPPED))
    specs = bring_up(contract=contract, task="pick_place", seed=4, checkpoint=policy, source="policy")
    if simulated:
        specs = [
            replace(spec, parameters={**spec.parameters, "contract": simulated}) if spec.name == "mujoco_node" else spec
            for spec in specs
        ]
    with Graph(specs) as graph:
        graph.wait_ready(120.0)
        yield graph


def test_a_camera_that_stops_makes_the_arm_hold_and_diagnostics_name_it(ros: RosTest, tmp_path: Path) -> None:
    from sensor_msgs.msg import Image

    from vla_ros.ros.qos import COMMAND, SENSOR

    topic = "/relayed/image_raw"
    contract = changed_contract(
        tmp_path, {"observation/observation.images.front/topic": topic}, str(patient_contract(tmp_path))
    )
    publisher = ros.node.create_publisher(Image, topic, COMMAND)
    relay = ros.node.create_subscription(Image, "/front_camera/color/image_raw", publisher.publish, SENSOR)
    watch = Watch(ros)
    with acting_graph(str(contract), simulated="tabletop_arm"):
        ros.wait_for(lambda: watch.last("gate_node") == "active" and watch.commands, 120, "the policy driving the arm")
        ros.node.destroy_subscription(relay)
        ros.wait_for(lambda: watch.last("gate_node").startswith("hold"), 30, "the gate holding")
        ros.wait_for(lambda: topic in watch.last("policy_node"), 30, "diagnostics naming the stream")
        ros.wait_for(watch.still, 30, "commands without motion")
        ros.node.create_subscription(Image, "/front_camera/color/image_raw", publisher.publish, SENSOR)
        ros.wait_for(lambda: watch.last("gate_node") == "active", 60, "the policy driving again")


def test_an_optional_pad_that_stops_is_masked_and_used_again_and_a_needed_camera_makes_the_arm_hold(
    ros: RosTest, tmp_path: Path
) -> None:
    from sensor_msgs.msg import Image
    from trajectory_msgs.msg import JointTrajectory

    from vla_ros.ros.qos import COMMAND, SENSOR

    real = {"observation.images.front": "/front_camera/color/image_raw", "observation.tactile.left": "/left_pad/taxels"}
    topics: dict[str, object] = {f"observation/{key}/topic": f"/relayed{topic}" for key, topic in real.items()}
    contract = changed_contract(tmp_path, topics, str(patient_contract(tmp_path)))
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(share_path(SHIPPED), checkpoint)
    config = (checkpoint / "config.yaml").read_text()
    (checkpoint / "config.yaml").write_text(config.replace("optional: []", "optional: [observation.tactile.left]"))
    relays = {}

    def relay(topic: str) -> None:
        publisher = ros.node.create_publisher(Image, f"/relayed{topic}", COMMAND)
        relays[topic] = ros.node.create_subscription(Image, topic, publisher.publish, SENSOR)

    camera, pad = real.values()
    relay(camera)
    relay(pad)
    watch = Watch(ros)

    chunks = ros.collect(JointTrajectory, "/policy/chunk", 100)

    def driving() -> bool:
        new = any(chunk.points for chunk in chunks[count[0] :]) and len(watch.commands) > count[1]
        return new and watch.last("gate_node") == "active"

    with acting_graph(str(contract), "tabletop_arm", checkpoint):
        count = (0, 0)
        ros.wait_for(lambda: driving() and watch.last("policy_node") == "acting", 120, "the policy driving")
        ros.node.destroy_subscription(relays[pad])
        ros.wait_for(lambda: watch.last("policy_node").startswith("acting without"), 60, "the pad being masked")
        assert "observation.tactile.left" in watch.last("policy_node") and "/relayed/left_pad" in watch.last(
            "policy_node"
        )
        count = (len(chunks), len(watch.commands))
        ros.wait_for(driving, 60, "the policy driving without the pad")
        assert watch.last("policy_node").startswith("acting without")
        relay(pad)
        ros.wait_for(lambda: watch.last("policy_node") == "acting", 60, "the pad being used again")
        ros.node.destroy_subscription(relays[camera])
        ros.wait_for(lambda: watch.last("gate_node").startswith("hold"), 60, "the gate holding")
        ros.wait_for(lambda: "/relayed/front_camera" in watch.last("policy_node"), 60, "diagnostics naming the camera")
        ros.wait_for(watch.still, 60, "commands without motion")


def test_a_policy_says_its_chunk_again_until_it_has_the_next(ros: RosTest, tmp_path: Path) -> None:
    from trajectory_msgs.msg import JointTrajectory

    chunks = ros.collect(JointTrajectory, "/policy/chunk", 100)

    def repeats() -> list[int]:
        stamps = [from_time(chunk.header.stamp) for chunk in chunks if chunk.points]
        return [stamp for stamp in dict.fromkeys(stamps) if stamps.count(stamp) > 2]

    with acting_graph(str(patient_contract(tmp_path))):
        ros.wait_for(lambda: len(repeats()) > 2, 100, "three chunks that were repeated")


def test_a_killed_policy_makes_the_arm_hold_in_the_quiet_time_and_a_new_one_resumes(
    ros: RosTest, tmp_path: Path
) -> None:
    quiet = load_contract("tabletop_arm").limits.quiet
    assert quiet == 0.3
    watch = Watch(ros)
    with acting_graph(str(patient_contract(tmp_path))) as graph:
        ros.wait_for(lambda: watch.last("gate_node") == "active" and watch.commands, 120, "the policy driving the arm")
        watch.holds.clear()
        os.kill(graph.pid("policy_node"), signal.SIGKILL)
        ros.wait_for(lambda: watch.holds, 60, "the gate holding")
        ros.wait_for(watch.still, 60, "commands without motion")
        said, silence = watch.holds[0]
        heard = said - round((silence - 0.005) * 1e9)  # the last sign of life; the silence is rounded
        late = [m for m in watch.commands if from_time(m.header.stamp) > heard + round(quiet * 1e9)]
        speeds = [max(abs(v) for v in m.points[0].velocities) for m in late]
        assert speeds and speeds == sorted(speeds, reverse=True), "the first command past the quiet time brakes"
        assert speeds[-1] < 1e-6
        wait_until(lambda: graph.ended("policy_node"), 10)
        graph.restart("policy_node")
        ros.wait_for(lambda: watch.last("gate_node") == "active", 120, "the policy driving again")


def test_ctrl_c_ends_the_whole_graph_and_leaves_no_process(ros_domain: int) -> None:
    command = [sys.executable, "-m", "vla_ros.cli", "up", "--checkpoint", str(share_path(SHIPPED))]
    process = lifeline.start(
        command,
        child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "all nodes are active" in line:
            break
    else:
        pytest.fail("".join(lines))
    mine = f"ROS_DOMAIN_ID={ros_domain}"
    assert len(processes_with(mine)) >= 4
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    wait_until(lambda: not processes_with(mine), 20, "no process left")
