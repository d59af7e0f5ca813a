"""The shell scripts: they return at once when there is nothing to do, and refuse in one clear line."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository without an environment, as far as scripts/setup.sh looks at it."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", symlinks=True)
    shutil.copy(ROOT / "setup.py", tmp_path)
    return tmp_path


def run_setup(checkout: Path, tools: dict[str, str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run setup.sh without a ROS, with ``tools`` (name: shell script) in place of the system's own."""
    folder = checkout / "tools"
    folder.mkdir()
    for name, script in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    ros = ("ROS_DISTRO", "AMENT_PREFIX_PATH")
    without_ros = {key: value for key, value in os.environ.items() if key not in ros}
    environment = without_ros | {"PATH": f"{folder}:{os.environ['PATH']}", **variables}
    return run(checkout / "scripts/setup.sh", environment)


def run(script: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(script)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_a_prepared_checkout_is_ready_at_once() -> None:
    if not (ROOT / ".venv/.vla_ros_setup").exists():
        pytest.skip("this checkout was not prepared by scripts/setup.sh")
    start = time.monotonic()
    result = run(ROOT / "scripts/setup.sh", os.environ)
    assert (result.returncode, result.stderr) == (0, "")
    if result.stdout == "":  # else setup.py has changed since, and it was prepared again
        assert time.monotonic() - start < 1.0


def test_without_root_it_says_exactly_what_to_install(checkout: Path) -> None:
    tools = {"dpkg-query": "exit 1", "id": "echo 1000", "sudo": "exit 1", "apt-get": "exit 1"}
    result = run_setup(checkout, tools)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "setup: could not install system packages; as root, run: apt-get update && "
        "apt-get install -y libegl1 libgl1 libgles2 libgl1-mesa-dri libglib2.0-0 libgomp1 liburdfdom-tools"
    ]


def test_only_what_is_missing_is_installed_as_root(checkout: Path) -> None:
    has_all_but_egl = 'case "$3" in libegl1) exit 1;; *) echo "install ok installed";; esac'
    tools = {"dpkg-query": has_all_but_egl, "id": "echo 0", "apt-get": f'echo "$@" >> {checkout}/apt'}
    result = run_setup(checkout, tools, PYTHON="/bin/false")  # stops after the system packages
    assert result.returncode == 1
    assert (checkout / "apt").read_text().splitlines()[-1] == "install -y -qq --no-install-recommends libegl1"


def test_without_the_library_of_realsense_cameras_it_goes_on(checkout: Path) -> None:
    has_all_but_usb = 'case "$3" in libusb*) exit 1;; *) echo "install ok installed";; esac'
    tools = {"dpkg-query": has_all_but_usb, "id": "echo 1000", "sudo": "exit 1", "apt-get": "exit 1"}
    result = run_setup(checkout, tools, PYTHON="/bin/false")  # stops after the system packages
    assert "going on without libusb-1.0-0: RealSense cameras will not be found" in result.stdout
    assert result.stderr.splitlines()[-1] == "setup: PYTHON=/bin/false is not a Python 3.10 - 3.13"


def test_an_unsuitable_python_is_refused_in_one_line(checkout: Path) -> None:
    result = run_setup(checkout, {"dpkg-query": 'echo "install ok installed"'}, PYTHON="/bin/false")
    assert result.returncode == 1
    assert result.stderr.splitlines() == ["setup: PYTHON=/bin/false is not a Python 3.10 - 3.13"]


def test_a_sourced_ros_whose_rclpy_cannot_be_imported_is_refused_in_one_line(checkout: Path) -> None:
    tools = {"dpkg-query": 'echo "install ok installed"'}
    tools |= {f"python3{minor}": "exit 1" for minor in ("", ".10", ".11", ".12", ".13")}
    result = run_setup(checkout, tools, ROS_DISTRO="jazzy", AMENT_PREFIX_PATH="/opt/ros/jazzy")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "ROS jazzy is sourced, but no Python 3.10 - 3.13 here imports its rclpy" in result.stderr
