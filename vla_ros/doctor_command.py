"""``vla-ros doctor``: is this machine fit, and what to do where it is not. One line a check."""

from __future__ import annotations

import ctypes
import getpass
import grp
import importlib.util
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from vla_ros import doctor
from vla_ros.doctor import FAIL, Verdict

UNSYNCHRONISED = 0x0040  # STA_UNSYNC of adjtimex(2)
STATUS = 40  # where struct timex of a 64-bit Linux has its status, after one padded int and four longs
RMW_PACKAGES = ("rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp", "rmw_cyclonedds_cpp", "rmw_connextdds", "rmw_zenoh_cpp")


def command() -> None:
    """Check this machine and print what to do; exit code 1 where something must be done."""
    verdicts = []
    for verdict in checks():
        print(verdict.line(), flush=True)
        verdicts.append(verdict)
    raise typer.Exit(1 if any(verdict.level == FAIL for verdict in verdicts) else 0)


def checks() -> Iterator[Verdict]:
    """Yield the verdict on each part of this machine."""
    from vla_ros.paths import share_path

    proc, dev, here = Path("/proc"), Path("/dev"), Path.cwd()
    rclpy = _folder("rclpy")
    yield doctor.ros(os.environ, rclpy, bool(rclpy) and rclpy.startswith(sys.prefix))
    yield doctor.middleware(os.environ, [name for name in RMW_PACKAGES if _installed(name)])
    yield doctor.profile(os.environ, share_path("config/fastdds.xml"))
    yield doctor.running_nodes(proc)
    yield doctor.shared_memory(_size("/dev/shm"))
    yield doctor.socket_buffers(proc)
    yield doctor.processors(len(os.sched_getaffinity(0)), Path("/sys"))
    yield doctor.gpu(_gpus(), Path("/proc/driver/nvidia/version").exists())
    yield doctor.cameras(dev, _realsense())
    yield doctor.permissions(dev, _denied(dev), getpass.getuser(), _groups())
    yield doctor.clock(_synchronised(), Path("/run"))
    yield doctor.disk(shutil.disk_usage(here).free, here)


def _folder(package: str) -> str:
    """Return where a Python package is, "" if it is not there."""
    found = importlib.util.find_spec(package)
    return str(Path(found.origin).parent) if found and found.origin else ""


def _installed(rmw: str) -> bool:
    """Say whether an RMW is there: in the ament index of a sourced ROS, or as a library of the wheels."""
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    if any((Path(prefix) / "share/ament_index/resource_index/packages" / rmw).exists() for prefix in prefixes):
        return True
    return importlib.util.find_spec(rmw) is not None


def _size(folder: str) -> int | None:
    try:
        facts = os.statvfs(folder)
    except OSError:
        return None
    return facts.f_frsize * facts.f_blocks


def _gpus() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return []
    return [str(torch.cuda.get_device_name(index)) for index in range(torch.cuda.device_count())]


def _realsense() -> list[str] | None:
    try:
        import pyrealsense2 as rs

        return [device.get_info(rs.camera_info.serial_number) for device in rs.context().query_devices()]
    except (ImportError, RuntimeError):
        return None


def _denied(dev: Path) -> set[str]:
    nodes = (path for pattern in ("video*", "ttyUSB*", "ttyACM*") for path in dev.glob(pattern))
    return {path.name for path in nodes if not os.access(path, os.R_OK | os.W_OK)}


def _groups() -> list[str]:
    names = []
    for number in os.getgroups():
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue  # a group without a name, as in containers
    return names


def _synchronised() -> bool | None:
    """Ask the kernel, by adjtimex(2), whether a time service keeps its clock; None where it does not answer."""
    timex = ctypes.create_string_buffer(512)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (AttributeError, OSError):
        return None
    return None if state < 0 else not struct.unpack_from("i", timex, STATUS)[0] & UNSYNCHRONISED
