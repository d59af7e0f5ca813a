"""The package installed in each of the four ways, in an environment and from a source of its own."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODES = ["pip install .", "pip install -e .", "colcon build", "colcon build --symlink-install"]
# Not "install": that is also the name of this folder.
NOT_SOURCE = (".git", ".venv", "build", "log", "runs", "outputs", "*.egg-info", "__pycache__", ".*_cache")


@dataclass(frozen=True)
class Installation:
    """One way of installing: where things went, and how a user runs them."""

    mode: str
    source: Path  # the copy of the repository it was installed from
    prefix: Path  # what AMENT_PREFIX_PATH names
    setup: Path | None  # colcon's setup file, sourced before each command
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        """Where the package's files are used from: the source in the modes that link to it."""
        return self.prefix if self.mode in ("pip install .", "colcon build") else self.source

    @property
    def has_data_files(self) -> bool:
        """False for pip's editable mode, which installs no data files: they are used from the source."""
        return self.mode != "pip install -e ."

    def command(self, *command: str) -> list[str]:
        """``command`` as it is typed after sourcing the setup file, if there is one."""
        if self.setup is None:
            return list(command)
        return ["/bin/sh", "-c", f'. "{self.setup}" && exec "$@"', "sh", *command]

    def run(self, *command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run ``command`` in ``folder``, which must lie outside the source tree."""
        return run(self.command(*command), folder, self.environment)

    def python(self, script: str, folder: Path) -> str:
        """Return what ``script`` prints."""
        result = self.run("python3", "-c", script, folder=folder)
        assert result.returncode == 0, result.stderr[-2000:]
        return result.stdout.strip()


@pytest.fixture(scope="session")
def colcon_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with colcon in it, shared by the two colcon modes."""
    folder = make_environment(tmp_path_factory.mktemp("colcon") / "venv")
    result = pip(folder, "colcon-core>=0.18", "colcon-ros>=0.4", "setuptools>=64,<80")
    if result.returncode:
        pytest.skip(f"colcon cannot be installed: {result.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture(scope="module", params=MODES)
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The package installed in one of the four modes."""
    mode: str = request.param
    folder = tmp_path_factory.mktemp("installed")
    if mode.startswith("pip"):
        yield install_by_pip(mode, folder)
    else:
        yield install_by_colcon(mode, folder, request.getfixturevalue("colcon_environment"))
    shutil.rmtree(folder)


def install_by_pip(mode: str, folder: Path) -> Installation:
    """``pip install .`` or ``pip install -e .`` into a new environment."""
    source = copy_source(folder / "source")
    venv = make_environment(folder / "venv")
    result = pip(venv, "--no-deps", "--no-build-isolation", *mode.split()[2:-1], str(source))
    assert result.returncode == 0, result.stderr[-2000:]
    # What a user of the bare ROS wheels sets so that get_package_share_directory finds packages.
    environment = environment_of(venv) | {"AMENT_PREFIX_PATH": str(venv)}
    return Installation(mode, source, venv, None, environment)


def install_by_colcon(mode: str, folder: Path, venv: Path) -> Installation:
    """``colcon build`` in a new workspace, by the colcon of the environment ``venv``."""
    workspace = folder / "workspace"
    source = copy_source(workspace / "src" / "vla_ros")
    environment = environment_of(venv)
    environment.pop("AMENT_PREFIX_PATH", None)
    result = run([str(venv / "bin/python3"), "-m", "colcon", *mode.split()[1:]], workspace, environment)
    assert result.returncode == 0, result.stdout + result.stderr
    prefix = workspace / "install" / "vla_ros"
    return Installation(mode, source, prefix, workspace / "install" / "setup.sh", environment)


def copy_source(destination: Path) -> Path:
    """Copy the repository without what is built or installed in it; links stay links."""
    return Path(shutil.copytree(ROOT, destination, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE)))


def make_environment(folder: Path) -> Path:
    """Make a virtual environment that sees the libraries of this one, but not its vla_ros.

    Folders named in a .pth file are searched without their own .pth files being read: those would bring
    this environment's editable vla_ros in.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    cmeel = "import importlib.util as u; u.find_spec('cmeel_pth') and __import__('cmeel_pth')"
    lines = [*site.getsitepackages(), cmeel]
    (folder / "lib" / version / "site-packages" / "shared.pth").write_text("\n".join(lines) + "\n")
    script = "import vla_ros; print(vla_ros.__file__)"
    leak = run([str(folder / "bin/python3"), "-c", script], folder, environment_of(folder))
    if leak.returncode == 0:
        pytest.skip(f"a vla_ros is installed where it cannot be hidden: {leak.stdout.strip()}")
    return folder


def environment_of(venv: Path) -> dict[str, str]:
    """The environment variables of a shell in which ``venv`` is activated.

    The library path that the ROS wheels set for this process stays: they are shared with ``venv``.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONHOME"}
    environment["PATH"] = f"{venv / 'bin'}{os.pathsep}{environment['PATH']}"
    environment["VIRTUAL_ENV"] = str(venv)
    return environment


def pip(venv: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``pip install`` into ``venv``, by the pip of this environment."""
    command = [sys.executable, "-m", "pip", "--python", str(venv / "bin/python3"), "install", "--quiet"]
    return run([*command, *arguments], venv, dict(os.environ))


def run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in ``folder`` and keep what it prints."""
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
