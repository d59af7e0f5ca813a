import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from vla_ros.errors import VlaRosError
from vla_ros.robot import load_urdf

XACRO = "urdf/tabletop_arm.urdf.xacro"
HARDWARE = (
    "mock_components/GenericSystem",
    "gz_ros2_control/GazeboSimSystem",
    "mujoco_ros2_control/MujocoSystemInterface",
)


def test_a_xacro_is_expanded_and_names_every_frame_that_the_stack_uses() -> None:
    links = {link.get("name") for link in ET.fromstring(load_urdf(XACRO)).findall("link")}
    cameras = {f"{name}_camera_{part}" for name in ("front", "wrist") for part in ("link", "optical")}
    assert {"base_link", "tool0", "ft_frame", "left_pad", "right_pad"} | cameras <= links


@pytest.mark.parametrize("hardware", HARDWARE)
def test_the_hardware_argument_chooses_the_ros2_control_plugin(hardware: str) -> None:
    root = ET.fromstring(load_urdf(XACRO, hardware=hardware))
    assert root.findtext("ros2_control/hardware/plugin") == hardware


def test_every_actuated_joint_takes_position_commands_and_reports_its_state() -> None:
    root = ET.fromstring(load_urdf(XACRO))
    actuated = {j.get("name") for j in root.findall("joint") if j.get("type") != "fixed" and j.find("mimic") is None}
    commanded = {
        joint.get("name")
        for joint in root.findall("ros2_control/joint")
        if joint.find("command_interface[@name='position']") is not None
    }
    assert commanded == actuated
    for joint in root.findall("ros2_control/joint"):
        states = [state.get("name") for state in joint.findall("state_interface")]
        assert states == ["position", "velocity", "effort"]


def test_every_moving_link_has_a_mass_and_every_joint_its_limits() -> None:
    root = ET.fromstring(load_urdf(XACRO))
    masses = {link.get("name"): link.find("inertial/mass") for link in root.findall("link")}
    for joint in root.findall("joint"):
        if joint.get("type") == "fixed":
            continue
        mass, limit = masses[joint.find("child").get("link")], joint.find("limit")
        assert mass is not None and float(mass.get("value")) > 0
        assert float(limit.get("velocity")) > 0 and float(limit.get("effort")) > 0


@pytest.mark.skipif(shutil.which("check_urdf") is None, reason="needs check_urdf (Debian: liburdfdom-tools)")
@pytest.mark.parametrize("hardware", HARDWARE)
def test_check_urdf_accepts_the_expanded_robot(tmp_path: Path, hardware: str) -> None:
    file = tmp_path / "arm.urdf"
    file.write_text(load_urdf(XACRO, hardware=hardware), encoding="utf-8")
    result = subprocess.run(["check_urdf", str(file)], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr
    assert "root Link: base_link" in result.stdout


def test_a_plain_urdf_passes_through_unchanged(tmp_path: Path) -> None:
    text = "<robot name='r'><link name='base_link'/></robot>"
    (tmp_path / "r.urdf").write_text(text, encoding="utf-8")
    assert load_urdf(tmp_path / "r.urdf") == text


def test_a_missing_file_is_named() -> None:
    with pytest.raises(VlaRosError, match=r"urdf/nothing\.urdf.*not found"):
        load_urdf("urdf/nothing.urdf")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.urdf", "<sdf/>", "starts with <sdf>"),
        ("b.urdf", "robot", "is not XML"),
        ("c.urdf.xacro", "<robot><a></robot>", "xacro cannot expand"),
        ("d.urdf.xacro", "<robot xmlns:xacro='x'><xacro:nonsense/></robot>", "xacro cannot expand"),
    ],
)
def test_a_file_that_is_no_robot_is_refused_in_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(VlaRosError, match=message) as error:
        load_urdf(file)
    assert name in str(error.value) and "\n" not in str(error.value)
