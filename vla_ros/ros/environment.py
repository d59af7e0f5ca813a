"""What a process needs in its environment to meet the others of its graph: transport, domain, OpenGL."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vla_ros.errors import GraphError
from vla_ros.paths import share_path

READY = "vla_ros: active:"  # a node prints this and its name once it is active

# Domain d uses UDP ports from 7400 + 250 d on; these keep clear of Linux's ephemeral ports (32768 to 60999).
DOMAINS = (*range(1, 10), *range(60, 80))
_last: list[int] = []  # place in DOMAINS of the one taken last: this process does not soon come back to it


def graph_environment() -> dict[str, str]:
    """Return the variables that every process of a graph shares; what the user has set stays."""
    profile = str(share_path("config/fastdds.xml"))
    defaults = {
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,  # shared memory large enough for images
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,  # the same, for Fast DDS 2: Humble and Jazzy
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "MUJOCO_GL": "egl",
    }
    return {name: os.environ.get(name, value) for name, value in defaults.items()}


def package_installed(name: str) -> bool:
    """Return True if the ament package of that name is in the environment."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    index = "share/ament_index/resource_index/packages"
    return any(prefix and (Path(prefix) / index / name).exists() for prefix in prefixes)


def child_environment() -> dict[str, str]:
    """Return the environment for a node's process."""
    environment = dict(os.environ) | graph_environment() | {"PYTHONUNBUFFERED": "1"}
    if not environment.get("LD_LIBRARY_PATH"):  # then the ROS wheels must set it again: they restart Python to do so
        environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    return environment


@contextmanager
def isolated_domain() -> Iterator[int]:
    """Yield the user's ROS_DOMAIN_ID if set, else a domain that no other graph of this machine holds."""
    if os.environ.get("ROS_DOMAIN_ID"):
        yield int(os.environ["ROS_DOMAIN_ID"])
        return
    folder = Path(tempfile.gettempdir()) / f"vla_ros_domains_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    start = _last[0] + 1 if _last else os.getpid()
    for place in range(start, start + len(DOMAINS)):
        domain = DOMAINS[place % len(DOMAINS)]
        with open(folder / str(domain), "w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _last[:] = [place % len(DOMAINS)]
            yield domain
            return
    raise GraphError(f"all {len(DOMAINS)} ROS domains are in use (locks in {folder}); set ROS_DOMAIN_ID")


@contextmanager
def domain_in_force() -> Iterator[int]:
    """Put the graph's variables and its domain into this process's environment, and take them out again."""
    before = dict(os.environ)
    with isolated_domain() as domain:
        os.environ.update(graph_environment() | {"ROS_DOMAIN_ID": str(domain)})
        try:
            yield domain
        finally:
            for name in (*graph_environment(), "ROS_DOMAIN_ID"):
                if name in before:
                    os.environ[name] = before[name]
                else:
                    os.environ.pop(name, None)
