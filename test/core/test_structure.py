"""Rules of the repository that a reader relies on, checked on its files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROS_PACKAGES = {
    *("rclpy", "launch", "launch_ros", "ament_index_python", "tf2_ros", "rpyutils"),
    *("action_msgs", "builtin_interfaces", "control_msgs", "diagnostic_msgs", "geometry_msgs"),
    *("lifecycle_msgs", "rcl_interfaces", "rosgraph_msgs", "sensor_msgs", "std_msgs", "std_srvs"),
    *("trajectory_msgs", "visualization_msgs"),
}
NODES = sorted(path.stem for path in (ROOT / "vla_ros/ros/nodes").glob("*_node.py"))


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def core_sources() -> list[Path]:
    return [path for path in sources("vla_ros", "teleop") if ROOT / "vla_ros/ros" not in path.parents]


def imported_packages(path: Path) -> Iterator[str]:
    """The top-level package of every import in the file, also of those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def line_counts_above(limit: int, paths: list[Path]) -> dict[str, int]:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    return {str(path.relative_to(ROOT)): count for path, count in counts.items() if count > limit}


def package_xml() -> str:
    return (ROOT / "package.xml").read_text(encoding="utf-8")


def test_only_vla_ros_ros_imports_ros() -> None:
    offenders = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in core_sources()
        if (found := ROS_PACKAGES.intersection(imported_packages(path)))
    }
    assert offenders == {}


def test_the_core_imports_where_there_is_no_ros() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in core_sources()]
    modules = [name.removesuffix(".__init__") for name in modules if name.startswith("vla_ros.")]
    modules += [f"vla_ros.teleop.{path.stem}" for path in sources("teleop") if path.stem != "__init__"]
    script = f"""
import importlib, sys
class NoRos:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ROS_PACKAGES!r}:
            raise ImportError(f"{{name}}: there is no ROS here")
sys.meta_path.insert(0, NoRos())
for name in {sorted(set(modules))!r}:
    importlib.import_module(name)
"""
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert result.returncode == 0, result.stderr[-2000:]


def test_package_xml_is_a_valid_ament_python_manifest() -> None:
    package = pytest.importorskip("catkin_pkg.package")
    warnings: list[str] = []
    manifest = package.parse_package_string(package_xml(), warnings=warnings)
    manifest.validate()
    assert warnings == []
    assert (manifest.name, manifest.package_format) == ("vla_ros", 3)
    assert manifest.get_build_type() == "ament_python"


def test_package_xml_names_every_ros_package_that_is_imported() -> None:
    declared = set(re.findall(r"<(?:\w+_)?depend>(\w+)</", package_xml()))
    used = {name for path in sources("vla_ros/ros", "launch") for name in imported_packages(path)}
    assert (used & ROS_PACKAGES) - declared == set()


def test_package_xml_and_setup_py_state_the_same_version() -> None:
    setup_py = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert re.search(r'version="(.+?)"', setup_py)[1] == re.search(r"<version>(.+?)<", package_xml())[1]


@pytest.mark.parametrize("node", NODES)
def test_every_node_can_be_run_by_its_name(node: str) -> None:
    script = ROOT / "scripts/nodes" / node
    assert script.exists() and script.stat().st_mode & 0o111
    assert f'"{node}"' in (ROOT / "setup.py").read_text(encoding="utf-8")
    assert "def main(" in (ROOT / f"vla_ros/ros/nodes/{node}.py").read_text(encoding="utf-8")


def test_every_folder_of_modules_is_a_package_that_gets_installed() -> None:
    folders = {path.parent for path in sources("vla_ros", "teleop")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_a_file_has_one_subject_and_at_most_300_lines() -> None:
    assert line_counts_above(300, sources("vla_ros", "teleop")) == {}


def test_nothing_is_ever_unpickled() -> None:
    forbidden = re.compile(r"\btorch\.load\(|\bpickle\.loads?\(|allow_pickle=True")
    files = sources("vla_ros", "teleop", "launch")
    assert [str(path) for path in files if forbidden.search(path.read_text(encoding="utf-8"))] == []


def test_teleop_is_importable_through_the_committed_symlink() -> None:
    assert (ROOT / "vla_ros/teleop").is_symlink()
    assert (ROOT / "vla_ros/teleop").resolve() == ROOT / "teleop"


def test_launch_files_are_short_lists() -> None:
    assert line_counts_above(80, sources("launch")) == {}
