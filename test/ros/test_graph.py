"""The list of a bring-up, and the launch file that reads it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.errors import GraphError
from vla_ros.ros.graph import HAND, bring_up, hand_parameters
from vla_ros.ros.up import command_line

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch" / "bringup.launch.py"


def names(**arguments: object) -> list[str]:
    return [spec.name for spec in bring_up(**arguments)]  # type: ignore[arg-type]


def test_a_bring_up_holds_what_was_asked_for_and_no_more():
    assert names() == ["mujoco_node", "gate_node"]
    assert names(sim=False) == ["gate_node"]
    assert names(checkpoint="c", teleop="scripted", record="d") == [
        "mujoco_node",
        "gate_node",
        "teleop_node",
        "recorder_node",
        "policy_node",
    ]


def test_lockstep_and_simulated_time_reach_every_node():
    for spec in bring_up(checkpoint="c", teleop="scripted", record="d", lockstep=True):
        assert spec.parameters["lockstep"] is True
        assert spec.parameters["use_sim_time"] is True
    assert all("use_sim_time" not in spec.parameters for spec in bring_up())


def test_raw_recordings_go_to_the_recorder_and_need_one():
    recorder = next(spec for spec in bring_up(record="d", raw=True) if spec.name == "recorder_node")
    assert recorder.parameters["raw"] is True and recorder.parameters["root"] == "d"
    with pytest.raises(GraphError, match="give `record` the folder"):
        bring_up(raw=True)
    result = CliRunner().invoke(app, ["up", "--raw"])
    assert isinstance(result.exception, GraphError)


def test_every_node_has_its_module():
    for spec in bring_up(checkpoint="c", teleop="scripted", record="d"):
        assert (ROOT / Path(*spec.module.split("."))).with_suffix(".py").exists()


def test_parameters_keep_their_types_on_the_command_line():
    spec = next(s for s in bring_up(task="it's", seed=7, instruction="", lockstep=True) if s.name == "mujoco_node")
    line = command_line(spec)
    assert "task:='it''s'" in line
    assert "seed:=7" in line
    assert "instruction:=''" in line
    assert "lockstep:=true" in line


def test_graph_and_up_import_without_ros():
    code = "import sys, vla_ros.ros.graph, vla_ros.ros.up; sys.exit('rclpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_launch_file_is_one_short_list_of_described_arguments():
    text = LAUNCH.read_text()
    assert len(text.splitlines()) < 80
    tree = ast.parse(text)
    imported = {
        node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }
    assert imported <= {"launch", "launch_ros", "vla_ros"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


def test_the_launch_file_starts_the_same_nodes(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("launch_ros", reason="needs ROS 2 launch: apt install ros-jazzy-launch-ros")
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    import launch

    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    context = launch.LaunchContext()
    description = PythonLaunchDescriptionSource(str(LAUNCH)).get_launch_description(context)
    started = []
    for entity in description.entities:
        assert getattr(entity, "description", "described") != ""
        started += entity.visit(context) or []
    assert [node.node_executable for node in started if hasattr(node, "node_executable")] == names()


def test_the_launch_file_of_teleoperation_hands_on_what_the_other_one_takes():
    def arguments(file: Path) -> list[str]:
        tree = ast.parse(file.read_text())
        named = next(
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ARGUMENTS"
        )
        assert isinstance(named, ast.Dict)
        return [ast.literal_eval(key) for key in named.keys if key is not None]

    teleop = arguments(ROOT / "launch" / "teleop.launch.py")
    assert {"device", "checkpoint", "record"} <= set(teleop)
    assert {"teleop", "source", "intervention", *teleop} <= set(arguments(LAUNCH))
    for file in (LAUNCH, ROOT / "launch" / "teleop.launch.py"):
        assert "    **HAND,\n" in file.read_text()


def test_what_a_launch_file_is_told_of_the_hand_reaches_teleop_node():
    told = {name: default for name, (default, _) in HAND.items()} | {"scale": "0.5", "arm_joints": "a,b,c"}
    node = next(
        n for n in bring_up(teleop="scripted", teleop_parameters=hand_parameters(told)) if n.name == "teleop_node"
    )
    assert (node.parameters["scale"], node.parameters["arm_joints"], node.parameters["mode"]) == (0.5, "a,b,c", "lead")
    with pytest.raises(GraphError, match="scale is 'twice', want a number"):
        hand_parameters(told | {"scale": "twice"})
