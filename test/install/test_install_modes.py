"""In every install mode nodes start, data files are found, and all of the package imports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ros_support import RosTest

from vla_ros.ros import lifeline

if TYPE_CHECKING:
    from conftest import Installation

pytestmark = pytest.mark.timeout(300)

DATA_FILES = [
    "config/contracts/tabletop_arm.yaml",
    "config/policies/act.yaml",
    "urdf/tabletop_arm.urdf.xacro",
    "launch/bringup.launch.py",
]
NODES = ["gate_node", "mujoco_node", "policy_node", "teleop_node", "recorder_node"]


def test_the_package_runs_from_where_it_was_installed(installation: Installation, tmp_path: Path) -> None:
    file = Path(installation.python("import vla_ros; print(vla_ros.__file__)", tmp_path))
    assert installation.home.resolve() in file.resolve().parents


def test_data_files_are_found_from_outside_the_source(installation: Installation, tmp_path: Path) -> None:
    script = f"from vla_ros.paths import share_path\nfor name in {DATA_FILES!r}: print(share_path(name))"
    found = [Path(line) for line in installation.python(script, tmp_path).splitlines()]
    assert len(found) == len(DATA_FILES) and all(path.is_file() for path in found)
    assert all(installation.home.resolve() in path.resolve().parents for path in found)


def test_the_ament_index_knows_the_package(installation: Installation, tmp_path: Path) -> None:
    pytest.importorskip("ament_index_python", reason="needs ROS 2")
    if not installation.has_data_files:
        pytest.skip("pip's editable mode installs no data files, so no ament index entry")
    script = "import ament_index_python as a; print(a.get_package_share_directory('vla_ros'))"
    share = Path(installation.python(script, tmp_path))
    assert share == installation.prefix / "share/vla_ros"
    assert (share / "package.xml").is_file()


def test_teleop_imports_as_part_of_the_package(installation: Installation, tmp_path: Path) -> None:
    assert installation.python("import vla_ros.teleop; print('imported')", tmp_path) == "imported"


def test_the_command_line_checks_a_contract(installation: Installation, tmp_path: Path) -> None:
    good = installation.run("vla-ros", "contract", "check", "tabletop_arm", folder=tmp_path)
    assert good.returncode == 0, good.stderr
    broken = tmp_path / "broken.yaml"
    broken.write_text("robot: tabletop_arm\nwheels: 4\n")
    bad = installation.run("vla-ros", "contract", "check", str(broken), folder=tmp_path)
    assert bad.returncode != 0
    assert "wheels" in bad.stderr and "broken.yaml" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_every_node_has_its_script_where_ros2_run_looks(installation: Installation) -> None:
    if not installation.has_data_files:
        pytest.skip("pip's editable mode installs no data files, so nothing in lib/vla_ros")
    scripts = [installation.prefix / "lib/vla_ros" / node for node in NODES]
    assert [script.name for script in scripts if not script.stat().st_mode & 0o111] == []


def test_a_node_starts_and_stops_at_ctrl_c(installation: Installation, ros: RosTest, tmp_path: Path) -> None:
    if installation.has_data_files:
        command = [str(installation.prefix / "lib/vla_ros/gate_node")]
    else:
        command = ["python3", "-m", "vla_ros.ros.nodes.gate_node"]
    environment = installation.environment | {"ROS_DOMAIN_ID": str(ros.domain_id)}
    with open(tmp_path / "output", "w+") as output:
        node = lifeline.start(installation.command(*command), environment, cwd=tmp_path, stdout=output, stderr=output)
        try:
            ros.wait_for(
                lambda: node.poll() is not None or "gate_node" in ros.node.get_node_names(),
                deadline=60,
                what="the start of gate_node",
            )
            node.send_signal(2)
            code = node.wait(timeout=30)
        finally:
            node.kill()
            node.wait()
        output.seek(0)
        assert code == 0, output.read()[-2000:]
